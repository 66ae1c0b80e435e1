//! Options of a working hedger.

use core::pin::pin;
use core::time::Duration;

use futures_lite::future::poll_once;
use hedge_core::adapter::BudgetHandle;
use hedge_core::{
    Budget, Fixed, Hedger, Options, Sink, Strategy, Suppressed, Timer, WindowedPercentile,
};

use super::run_until;
use crate::backend::{Backend, err, never, ok};
use crate::world::Built;
use crate::{Home, World};

fn change<T, H, S, K, const MAX: usize>(
    hedger: &Built<T, H, S, hedge_core::Metrics, K, MAX>,
    f: impl FnOnce(&mut Options),
) where
    T: Timer + Clone,
    H: Home,
    S: Strategy,
    K: Sink,
{
    let mut options = hedger.options();
    f(&mut options);
    hedger.set_options(options).unwrap();
}

/// `enabled: false` makes one attempt, counts it and learns from it; `true` hedges again.
pub async fn hedging_can_be_disabled<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let strategy = WindowedPercentile::with_window::<20>(95.0).initial_delay(world.ticks(1));
    let hedger: Built<T, H, _> = world.build(world.with_strategy(strategy));
    change::<T, H, _, _, 4>(&hedger, |options| options.enabled = false);
    let backend = Backend::new(world, &[ok(4)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(
        (hedged.value, hedged.outcome.suppressed),
        (0, Some(Suppressed::Off))
    );
    assert_eq!(hedged.outcome.hedge_delay, None);
    let backend = Backend::new(world, &[err(1)]);
    assert_eq!(
        hedger
            .request(|a| backend.call(a))
            .await
            .unwrap_err()
            .attempts(),
        1
    );
    assert_eq!(hedger.metrics().total_requests, 2);
    assert_eq!(hedger.with_strategy(|strategy| strategy.stats().samples), 1);

    change::<T, H, _, _, 4>(&hedger, |options| options.enabled = true);
    let backend = Backend::new(world, &[never(), ok(1)]);
    assert_eq!(
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .value,
        1
    );
}

/// `observe_only` starts no hedge, but charges it and reports it.
pub async fn hedges_can_be_only_observed<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(100.0).burst(2);
    let hedger = world.build(world.fixed(1).max_hedges(2).budget(budget));
    change::<T, H, _, _, 4>(&hedger, |options| options.observe_only = true);
    // What would have been started is bounded as if it had been.
    for reason in [Suppressed::ObserveOnly; 2] {
        let backend = Backend::new(world, &[ok(8)]);
        let hedged = hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap();
        assert_eq!(
            (hedged.outcome.suppressed, hedged.outcome.hedged),
            (Some(reason), false)
        );
        assert_eq!(hedged.outcome.hedge_delay, Some(world.ticks(1)));
        assert_eq!((backend.started(), hedger.in_flight()), (1, 0));
    }
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 1.0);
    let metrics = hedger.metrics();
    assert_eq!((metrics.hedges, metrics.hedges_due), (0, 2));

    change::<T, H, _, _, 4>(&hedger, |options| options.observe_only = false);
    let backend = Backend::new(world, &[never(), ok(1)]);
    assert_eq!(
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .value,
        1
    );
}

/// Options change for requests that are made from then on; one that is running keeps its own.
pub async fn a_running_request_keeps_its_options<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[never(), ok(1)]);
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    assert!(poll_once(request.as_mut()).await.is_none());
    change::<T, H, _, _, 4>(&hedger, |options| options.enabled = false);
    assert_eq!(request.await.unwrap().value, 1);
    let backend = Backend::new(world, &[ok(3)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::Off));
}

/// Why a request was not hedged is told by its own options, too.
pub async fn a_running_request_is_told_of_by_its_options<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[ok(2)]);
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    assert!(poll_once(request.as_mut()).await.is_none());
    change::<T, H, _, _, 4>(&hedger, |options| options.enabled = false);
    let suppressed = request.await.unwrap().outcome.suppressed;
    assert_eq!(suppressed, Some(Suppressed::NotDue));
}

/// The number of hedges and the timeout can be changed.
pub async fn limits_can_be_changed<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    change::<T, H, _, _, 4>(&hedger, |options| {
        options.max_hedges = 3;
        options.timeout = Some(world.ticks(20));
    });
    let backend = Backend::new(world, &[]);
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.attempts(), 4);
}

/// Invalid options are refused, and change nothing.
pub async fn wrong_options_change_nothing<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let before = hedger.options();
    let wrong = |f: fn(&mut Options)| {
        let mut options = before;
        f(&mut options);
        hedger.set_options(options).unwrap_err().option()
    };
    // More than the type has room for.
    assert_eq!(wrong(|options| options.max_hedges = 4), "max_hedges");
    assert_eq!(wrong(|options| options.max_hedges = 0), "max_hedges");
    assert_eq!(
        wrong(|options| options.timeout = Some(Duration::ZERO)),
        "timeout_ms"
    );
    assert_eq!(hedger.options(), before);
    assert_eq!(
        hedger
            .set_budget(Budget::percent(-1.0))
            .unwrap_err()
            .option(),
        "budget_percent"
    );
    assert_eq!(
        hedger.budget().edit(|budget| budget.tokens()),
        f64::INFINITY
    );
}

/// The budget can be changed; what is in flight stays counted.
pub async fn the_budget_can_be_changed<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    // One hedge only: a poll that is late would start two, and run past what is waited for.
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[]);
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    run_until(request.as_mut(), || backend.started() == 2).await;
    hedger
        .set_budget(Budget::percent(100.0).max_in_flight(1))
        .unwrap();
    assert_eq!(hedger.in_flight(), 1);
    let other = Backend::new(world, &[ok(8)]);
    let hedged = hedger.request(|attempt| other.call(attempt)).await.unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::InFlight));
}

/// A delay of the strategy's that is changed holds for the next request.
pub async fn the_strategy_can_be_changed<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let delay = async |hedger: &Hedger<_, _, _, _, 4>| {
        let backend = Backend::new(world, &[ok(1)]);
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .outcome
            .hedge_delay
    };
    assert_eq!(delay(&hedger).await, Some(world.ticks(40)));
    hedger.with_strategy(|strategy| *strategy = Fixed::new(world.ticks(20)));
    assert_eq!(delay(&hedger).await, Some(world.ticks(20)));
}

/// A reset forgets what was learned and nothing else; metrics are reset by themselves.
pub async fn what_was_learned_can_be_forgotten<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let strategy = WindowedPercentile::with_window::<20>(95.0);
    let hedger = world.build(world.with_strategy(strategy));
    for _ in 0..3 {
        let backend = Backend::new(world, &[ok(0)]);
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap();
    }
    let samples = || hedger.with_strategy(|strategy| strategy.stats().samples);
    assert_eq!(samples(), 3);
    hedger.reset();
    assert_eq!((samples(), hedger.metrics().total_requests), (0, 3));
    hedger.reset_metrics();
    assert_eq!(hedger.metrics().total_requests, 0);
}
