//! Requests that their callers drop.

use core::pin::pin;

use hedge_core::adapter::BudgetHandle;
use hedge_core::strategy::{Plan, RequestEnd, Sample};
use hedge_core::telemetry::EventKind;
use hedge_core::{Budget, Timer};

use super::abandon;
use crate::backend::{Backend, never, ok};
use crate::spy::{Ear, Spy};
use crate::{Home, World};

/// A request that is never polled has not happened.
pub async fn a_request_never_polled_has_not_happened<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let ear = Ear::<H>::new();
    let budget = Budget::percent(100.0).burst(2);
    let strategy = Spy::new(Plan::after(world.ticks(1)));
    let hedger = world.build(world.with_strategy(strategy).budget(budget).sink(&ear));
    let backend = Backend::new(world, &[]);
    // A deposit would show.
    assert!(hedger.budget().withdraw(world.now()).is_ok());
    drop(hedger.request(|attempt| backend.call(attempt)));
    assert_eq!(backend.started(), 0);
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 1.0);
    assert_eq!(hedger.in_flight(), 1);
    assert_eq!(hedger.metrics().total_requests, 0);
    assert!(ear.events().is_empty());
    assert!(hedger.with_strategy(|spy| spy.heard.is_empty()));
}

/// Dropping a request drops every attempt, before anybody hears of it; it is counted as cancelled.
pub async fn dropping_a_request_drops_every_attempt<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let backend = Backend::new(world, &[never(); 3]);
    let running = H::lock(None);
    let hedger = world.build(
        world
            .fixed(1)
            .max_hedges(2)
            .sink(|event: &hedge_core::Event| {
                if let EventKind::RequestDropped { .. } = event.kind {
                    let now = backend.running();
                    hedge_core::adapter::Lock::with(&running, |running| *running = Some(now));
                }
            }),
    );
    abandon(&hedger, &backend, 3).await;
    assert_eq!((backend.running(), backend.dropped()), (0, 3));
    assert_eq!(
        hedge_core::adapter::Lock::with(&running, |running| *running),
        Some(0)
    );
    let metrics = hedger.metrics();
    assert_eq!(
        (metrics.total_requests, metrics.cancelled, metrics.hedges),
        (1, 1, 2)
    );
}

/// A dropped request frees its places in flight, so that another may hedge.
pub async fn a_dropped_request_frees_its_places_in_flight<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1).budget(Budget::unlimited().max_in_flight(1)));
    for _ in 0..3 {
        let backend = Backend::new(world, &[]);
        abandon(&hedger, &backend, 2).await;
        assert_eq!(hedger.in_flight(), 0);
    }
}

/// What the hedges of a dropped request cost stays spent.
pub async fn tokens_of_a_dropped_request_stay_spent<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::percent(50.0).burst(4);
    let hedger = world.build(world.fixed(1).max_hedges(3).budget(budget));
    let backend = Backend::new(world, &[]);
    abandon(&hedger, &backend, 4).await;
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 1.0);
}

/// A dropped request teaches that its attempts would have taken longer, and nothing else.
pub async fn a_dropped_request_teaches_a_bound<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let strategy = Spy::new(Plan::after(world.ticks(2)));
    let hedger = world.build(world.with_strategy(strategy));
    let backend = Backend::new(world, &[]);
    abandon(&hedger, &backend, 2).await;
    let report = hedger.with_strategy(|spy| spy.last());
    assert_eq!((report.end(), report.attempts()), (RequestEnd::Dropped, 2));
    let (Sample::Dropped(primary), Some(Sample::Dropped(_))) = (report.primary(), report.hedge())
    else {
        panic!("{report:?}");
    };
    world.assert_took(primary, 2);
    assert_eq!(report.total(), primary);
    assert_eq!(hedger.metrics().sample_count, 0);
}

/// A request that is dropped after its answer has ended once.
pub async fn dropping_an_answered_request_changes_nothing<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).sink(&ear));
    let backend = Backend::new(world, &[never(), ok(1)]);
    {
        let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
        request.as_mut().await.unwrap();
    }
    let metrics = hedger.metrics();
    assert_eq!(
        (metrics.total_requests, metrics.won, metrics.cancelled),
        (1, 1, 0)
    );
    let names = [
        "request.start",
        "hedge.fired",
        "hedge.won",
        "request.cancelled",
        "request.stop",
    ];
    ear.assert_heard(&names);
}

/// A request without metrics, sink or anything to learn is dropped as well as any.
pub async fn an_untimed_request_can_be_dropped<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(50.0).burst(4);
    let hedger = world.build(world.fixed(1).without_metrics().budget(budget));
    let backend = Backend::new(world, &[]);
    abandon(&hedger, &backend, 2).await;
    assert_eq!((backend.dropped(), hedger.in_flight()), (2, 0));
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 3.0);
}
