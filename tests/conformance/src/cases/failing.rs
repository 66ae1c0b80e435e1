//! Failures: what they start, and what is returned.

use hedge_core::adapter::BudgetHandle;
use hedge_core::{Budget, Cause, Error, OnFailure, Suppressed, Timer, Verdict};

use crate::backend::{Backend, Failure, by_failure, err, fatal, never, ok};
use crate::{Home, World};

/// An error starts the next hedge at once, because of a retry.
pub async fn an_error_starts_the_next_hedge_at_once<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(20));
    let backend = Backend::new(world, &[err(1), ok(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    world.assert_took(hedged.outcome.total_latency, 2);
    backend.assert_started_at(&[0, 1]);
    assert_eq!(backend.nth(1).attempt.cause(), Cause::Retry);
}

/// An error at the first poll starts the next hedge in that same poll.
pub async fn an_error_at_once_is_retried_at_once<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(20).max_hedges(3));
    let backend = Backend::new(world, &[err(0), err(0), err(0), ok(0)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (3, 4));
    world.assert_took(hedged.outcome.total_latency, 0);
}

/// A strategy that hedges on failure starts the next attempt then, and none for slowness.
pub async fn on_failure_starts_nothing_for_slowness<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.with_strategy(OnFailure).max_hedges(2));
    let backend = Backend::new(world, &[ok(30)]);
    let slow = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(backend.started(), 1);
    assert_eq!(slow.outcome.suppressed, Some(Suppressed::NotDue));
    let backend = Backend::new(world, &[err(4), err(2), ok(9)]);
    let failed = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(failed.value, 2);
    backend.assert_started_at(&[0, 4, 6]);
    assert_eq!(hedger.metrics().hedges_due, 0);
}

/// A hedge that an error started counts as a hedge, and is paid for.
pub async fn a_retry_counts_as_a_hedge<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(20).budget(Budget::percent(50.0).burst(4)));
    let backend = Backend::new(world, &[err(1), ok(1)]);
    let outcome = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap()
        .outcome;
    assert!(outcome.hedged && outcome.hedge_won);
    assert_eq!(outcome.cost, 2.0);
    let metrics = hedger.metrics();
    assert_eq!(
        (metrics.hedges, metrics.hedge_wins, metrics.hedges_due),
        (1, 1, 0)
    );
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 3.0);
    assert_eq!(hedger.in_flight(), 0);
}

/// After a hedge that an error started, later ones keep to k × delay from the start.
pub async fn later_hedges_keep_to_the_schedule<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(4).max_hedges(2));
    let backend = Backend::new(world, &[err(1), never(), ok(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 2);
    backend.assert_started_at(&[0, 1, 8]);
    assert_eq!(backend.nth(2).attempt.cause(), Cause::Delay);
}

/// Every error starts one hedge, as long as there are any.
pub async fn every_error_starts_one_hedge<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40).max_hedges(3));
    let backend = Backend::new(world, &[err(1), err(2), err(1), ok(3)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 3);
    backend.assert_started_at(&[0, 1, 3, 4]);
}

/// All failed: the error of the earliest attempt, with the number of attempts, the moment the last fails.
pub async fn if_all_fail_the_earliest_error_is_returned_at_once<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40).max_hedges(2));
    let backend = Backend::new(world, &[err(1), err(1), err(1)]);
    let start = world.now();
    let result = hedger.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(0),
            attempts: 3
        })
    );
    world.assert_took(world.now().since(start), 3);
    assert_eq!(hedger.metrics().failed, 1);
}

/// All failed, the earliest attempt last: its error all the same.
pub async fn the_earliest_error_need_not_be_the_first<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &[err(9), err(3), err(3)]);
    let start = world.now();
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        Error::Failed {
            error: Failure::Plain(0),
            attempts: 3
        }
    );
    assert_eq!(error.into_inner(), Some(Failure::Plain(0)));
    world.assert_took(world.now().since(start), 9);
}

/// An error that nothing may follow is returned at once, not when the hedge would have been due.
pub async fn an_error_without_budget_is_returned_at_once<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40).budget(Budget::percent(0.0)));
    let backend = Backend::new(world, &[err(1)]);
    let start = world.now();
    let result = hedger.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(0),
            attempts: 1
        })
    );
    world.assert_took(world.now().since(start), 1);
}

/// A fatal error stops the request: it is returned, and the others are dropped.
pub async fn a_fatal_error_stops<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(3));
    let backend = Backend::new(world, &[never(), fatal(0)]);
    let request = hedger.call().classify(by_failure::<usize>);
    let result = request.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Fatal(1),
            attempts: 2
        })
    );
    assert_eq!((backend.started(), backend.dropped()), (2, 1));
    assert_eq!((hedger.metrics().failed, hedger.in_flight()), (1, 0));
}

/// A fatal error is returned even if an earlier attempt has failed.
pub async fn a_fatal_error_goes_before_an_earlier_one<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40).max_hedges(3));
    let backend = Backend::new(world, &[err(1), fatal(1)]);
    let request = hedger.call().classify(by_failure::<usize>);
    let result = request.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Fatal(1),
            attempts: 2
        })
    );
}

/// An `Ok` may be fatal: it is returned, but not as accepted.
pub async fn a_fatal_ok_is_returned_unaccepted<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[never(), ok(1)]);
    let call = hedger.call().classify(|_: &Result<_, _>| Verdict::Fatal);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.winner), (1, 1));
    assert!(!hedged.outcome.accepted && !hedged.outcome.hedge_won);
    assert_eq!(backend.dropped(), 1);
    assert_eq!((hedger.metrics().failed, hedger.metrics().won), (1, 0));
}

/// An `Ok` that the classifier refuses starts a hedge as an error does.
pub async fn a_refused_ok_is_retried<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[ok(1), ok(1)]);
    let picky = |result: &Result<usize, _>| match result {
        Ok(1) => Verdict::Accept,
        _ => Verdict::Retry,
    };
    let hedged = hedger
        .call()
        .classify(picky)
        .request(|a| backend.call(a))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    assert!(hedged.outcome.accepted);
    world.assert_took(hedged.outcome.total_latency, 2);
}

/// If every `Ok` is refused, the earliest is returned, but not as accepted.
pub async fn if_every_ok_is_refused_the_earliest_is_returned<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(2).max_hedges(2));
    let backend = Backend::new(world, &[ok(9), ok(1), ok(1)]);
    let call = hedger.call().classify(|_: &Result<_, _>| Verdict::Retry);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 3));
    assert!(!hedged.outcome.accepted && hedged.outcome.hedged && !hedged.outcome.hedge_won);
    world.assert_took(hedged.outcome.total_latency, 9);
    assert_eq!(hedger.metrics().failed, 1);
}
