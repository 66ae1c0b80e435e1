//! Servers that ask for patience.

use core::time::Duration;

use futures_lite::future::zip;
use hedge_core::adapter::BudgetHandle;
use hedge_core::{Budget, Cause, Error, Suppressed, Timer, Verdict};

use crate::backend::{Backend, Failure, busy, by_failure, err, never, ok};
use crate::{Home, World};

/// No further hedge starts before the time that a server asked for; then it starts at once.
pub async fn pushback_delays_the_next_hedge<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(8));
    let backend = Backend::new(world, &[busy(1, 12), ok(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 1);
    world.assert_took(hedged.outcome.total_latency, 14);
    backend.assert_started_at(&[0, 13]);
    assert_eq!(backend.nth(1).attempt.cause(), Cause::Retry);
}

/// Pushback holds back hedges that were due by their delay, though another attempt is running.
pub async fn pushback_holds_back_every_hedge<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(2));
    let backend = Backend::new(world, &[never(), busy(0, 10), ok(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 2);
    backend.assert_started_at(&[0, 2, 12]);
}

/// Pushback holds back the hedge that another attempt's error would start at once.
pub async fn pushback_holds_back_retries<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &[err(4), busy(0, 9), ok(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 2);
    backend.assert_started_at(&[0, 1, 10]);
}

/// Hedges after one that pushback held up follow at their usual pace.
pub async fn pushback_shifts_the_schedule<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(3));
    let backend = Backend::new(world, &[busy(0, 5), never(), never(), ok(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 3);
    backend.assert_started_at(&[0, 5, 7, 9]);
}

/// With nothing running and no hedge allowed before the request's time is up, it ends at once.
pub async fn pushback_beyond_the_deadline_returns_at_once<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40).timeout(world.ticks(60)));
    let backend = Backend::new(world, &[busy(1, 600)]);
    let start = world.now();
    let call = hedger.call().classify(by_failure::<usize>);
    let result = call.request(|attempt| backend.call(attempt)).await;
    let error = Failure::Busy(0, world.ticks(600));
    assert_eq!(result, Err(Error::Failed { error, attempts: 1 }));
    world.assert_took(world.now().since(start), 1);
    assert_eq!(hedger.metrics().timed_out, 0);
}

/// Pushback beyond the deadline leaves the attempts that are running.
pub async fn pushback_leaves_what_is_running<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).max_hedges(3).timeout(world.ticks(100)));
    let backend = Backend::new(world, &[ok(8), busy(0, 600)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    world.assert_took(hedged.outcome.total_latency, 8);
}

/// The longest pushback there is leaves nothing to wait for, whether the request has a timeout or not.
pub async fn pushback_may_last_for_ever<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for timed in [true, false] {
        let mut builder = world.fixed(40);
        if timed {
            builder = builder.timeout(world.ticks(60));
        }
        let hedger = world.build(builder);
        let backend = Backend::new(world, &[err(1)]);
        let call = hedger.call();
        let call = call.classify(|_: &Result<_, _>| Verdict::RetryAfter(Duration::MAX));
        let result = call.request(|attempt| backend.call(attempt)).await;
        let error = Failure::Plain(0);
        assert_eq!(result, Err(Error::Failed { error, attempts: 1 }));
    }
}

/// Pushback of no time is an ordinary error.
pub async fn pushback_may_be_zero<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(20));
    let backend = Backend::new(world, &[busy(1, 0), ok(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 1);
    backend.assert_started_at(&[0, 1]);
}

/// What would be refused after a wait is refused before it, whatever refuses it: the budget's share, its places, or what a
/// hedge needs.
pub async fn what_would_be_refused_is_refused_before_the_wait<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let spent = || Budget::percent(10.0).burst(1);
    let crowded = || Budget::unlimited().max_in_flight(1);
    for (budget, ready, reason) in [
        (spent(), true, Suppressed::BudgetRatio),
        (crowded(), true, Suppressed::InFlight),
        (Budget::unlimited(), false, Suppressed::NotReady),
    ] {
        let hedger = world.build(world.fixed(40).budget(budget));
        hedger.budget().withdraw(world.now()).unwrap();
        let backend = Backend::new(world, &[busy(1, 60), ok(1)]);
        let start = world.now();
        let call = hedger.call().classify(by_failure::<usize>);
        let request = call.request_if(|_| ready, |attempt| backend.call(attempt));
        let error = Failure::Busy(0, world.ticks(60));
        assert_eq!(request.await, Err(Error::Failed { error, attempts: 1 }));
        let took = world.now().since(start);
        world.assert_took(took, 1);
        assert!(took < world.ticks(60), "{reason}: {took:?}");
        assert_eq!(hedger.metrics().refused(reason), 1);
        hedger.budget().give_back(1);
    }
}

/// A hedge that waits has its token and its place: others cannot take them meanwhile.
pub async fn a_wait_is_paid_for_when_it_begins<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(10.0).burst(1).max_in_flight(1);
    let hedger = world.build(world.fixed(40).budget(budget));
    let patient = Backend::new(world, &[busy(1, 12), ok(1)]);
    let refused = Backend::new(world, &[err(1), ok(1)]);
    let later = async {
        world.sleep(4).await;
        let call = hedger.call().classify(by_failure::<usize>);
        call.request(|attempt| refused.call(attempt)).await
    };
    let call = hedger.call().classify(by_failure::<usize>);
    let (patient_result, refused_result) =
        zip(call.request(|attempt| patient.call(attempt)), later).await;
    assert_eq!(patient_result.unwrap().value, 1);
    patient.assert_started_at(&[0, 13]);
    assert!(matches!(
        refused_result,
        Err(Error::Failed { attempts: 1, .. })
    ));
    assert_eq!(hedger.metrics().refused(Suppressed::InFlight), 1);
    assert_eq!(hedger.in_flight(), 0);
}

/// A request that ends during a wait gives back what that had reserved.
pub async fn a_wait_that_is_cut_short_costs_nothing<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::percent(10.0).burst(4);
    let hedger = world.build(world.fixed(2).max_hedges(2).budget(budget));
    // The primary answers while the second hedge waits.
    let backend = Backend::new(world, &[ok(8), busy(1, 60)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 3.0);
    assert_eq!(hedger.in_flight(), 0);
}

/// Requests with a budget that others have spent do not wait either.
pub async fn what_others_have_spent_is_not_waited_for<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = H::lock(Budget::percent(10.0).burst(1));
    let build = || {
        let builder = world.audited(world.fixed(40));
        builder.build_with(H::ledger, |_| &budget).unwrap()
    };
    let (search, ads) = (build(), build());
    let backend = Backend::new(world, &[err(0), ok(1)]);
    let request = search.request(|attempt| backend.call(attempt));
    assert_eq!(request.await.unwrap().value, 1);
    let backend = Backend::new(world, &[busy(1, 60), ok(1)]);
    let start = world.now();
    let call = ads.call().classify(by_failure::<usize>);
    let result = call.request(|attempt| backend.call(attempt)).await;
    let error = Failure::Busy(0, world.ticks(60));
    assert_eq!(result, Err(Error::Failed { error, attempts: 1 }));
    let took = world.now().since(start);
    assert!(took < world.ticks(60), "{took:?}");
    assert_eq!(ads.metrics().refused(Suppressed::BudgetRatio), 1);
}

/// A wait that would end after the request's time is up is not begun. One that has begun ends, and gives back what it has
/// reserved.
pub async fn a_wait_beyond_the_deadline_is_given_up<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::percent(10.0).burst(8).max_in_flight(3);
    let hedger = world.build(world.fixed(4).max_hedges(3).budget(budget));
    // The first hedge asks for patience that there is. The second, which runs then, asks for more.
    let backend = Backend::new(world, &[ok(60), busy(6, 20), busy(8, 600)]);
    let call = hedger.call().timeout(world.ticks(300));
    let call = call.classify(by_failure::<usize>);
    let request = call.request(|attempt| backend.call(attempt));
    let look = async {
        world.sleep(20).await;
        (
            hedger.in_flight(),
            hedger.budget().edit(|budget| budget.tokens()),
        )
    };
    let (hedged, meanwhile) = zip(request, look).await;
    let attempts = hedged.unwrap().outcome.attempts;
    if world.is_exact() {
        assert_eq!((attempts, meanwhile), (3, (0, 6.0)));
    }
    let spent = f64::from(attempts - 1);
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 8.0 - spent);
}

/// After a pushback that is longer than `max_pushback` nothing more starts: the request is answered at once, or by an
/// attempt that runs. Nothing was asked or paid for.
pub async fn more_patience_than_allowed_starts_nothing_more<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = || Budget::percent(10.0).burst(4);
    let builder = world.fixed(40).max_hedges(2).budget(budget());
    let hedger = world.build(builder.max_pushback(world.ticks(10)));
    let backend = Backend::new(world, &[busy(1, 10), ok(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 1);
    backend.assert_started_at(&[0, 11]);

    let backend = Backend::new(world, &[busy(1, 60), ok(1)]);
    let start = world.now();
    let call = hedger.call().classify(by_failure::<usize>);
    let result = call.request(|attempt| backend.call(attempt)).await;
    let error = Failure::Busy(0, world.ticks(60));
    assert_eq!(result, Err(Error::Failed { error, attempts: 1 }));
    let took = world.now().since(start);
    world.assert_took(took, 1);
    assert!(took < world.ticks(60), "{took:?}");
    assert_eq!(hedger.metrics().refused(Suppressed::Pushback), 1);
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 3.0 + 0.1);

    let eager = world.fixed(2).max_hedges(3);
    let eager = world.build(eager.max_pushback(Duration::ZERO));
    let backend = Backend::new(world, &[ok(20), busy(1, 1)]);
    let call = eager.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    // No patience is asked for.
    let backend = Backend::new(world, &[busy(1, 0), ok(1)]);
    let call = eager.call().classify(by_failure::<usize>);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.value, 1);
}
