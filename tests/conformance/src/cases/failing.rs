//! Failures: what they start, and what is returned.

use heapless::Vec;
use hedge_core::adapter::{BudgetHandle, Lock};
use hedge_core::{Attempt, Budget, ByAttempt, Cause, Error, OnFailure, Suppressed, Timer, Verdict};

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

/// An error may ask to wait for the attempts that run: no other starts, neither now nor later, nor after another error.
pub async fn an_error_may_leave_it_to_those_that_run<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(4).max_hedges(3));
    let waits = ByAttempt(|attempt: &Attempt, result: &Result<usize, Failure>| {
        match (result, attempt.index()) {
            (Ok(_), _) => Verdict::Accept,
            (Err(_), 1) => Verdict::Wait,
            (Err(_), _) => Verdict::Retry,
        }
    });
    let backend = Backend::new(world, &[ok(20), err(1)]);
    let call = hedger.call().classify(waits);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    world.assert_took(hedged.outcome.total_latency, 20);
    let backend = Backend::new(world, &[err(9), err(1)]);
    let start = world.now();
    let call = hedger.call().classify(waits);
    let result = call.request(|attempt| backend.call(attempt)).await;
    let error = Failure::Plain(0);
    assert_eq!(result, Err(Error::Failed { error, attempts: 2 }));
    world.assert_took(world.now().since(start), 9);
    assert_eq!(hedger.in_flight(), 0);
}

/// An error that asks to wait when nothing runs is returned at once.
pub async fn with_nothing_to_wait_for_the_error_is_returned<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[ok(1)]);
    let start = world.now();
    let call = hedger.call().classify(|_: &Result<_, _>| Verdict::Wait);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert!(!hedged.outcome.accepted);
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::Pushback));
    let took = world.now().since(start);
    world.assert_took(took, 1);
    assert!(took < world.ticks(40), "{took:?}");
}

/// The classifier knows the attempt, as it was launched.
pub async fn the_classifier_knows_the_attempt<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(2).timeout(world.ticks(60)));
    let backend = Backend::new(world, &[ok(9), ok(1), ok(1)]);
    let judged = H::lock(Vec::<Attempt, 4>::new());
    // What hedges say counts only once the primary has failed.
    let classify = ByAttempt(|attempt: &Attempt, _: &Result<usize, Failure>| {
        judged.with(|judged| assert!(judged.push(*attempt).is_ok()));
        if attempt.is_hedge() {
            Verdict::Retry
        } else {
            Verdict::Accept
        }
    });
    let call = hedger.call().classify(classify);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 3));
    let judged = judged.with(|judged| judged.clone());
    let launched = [1, 2, 0].map(|index| backend.nth(index).attempt);
    assert_eq!(judged.as_slice(), launched);
    assert_eq!(launched[1].cause(), Cause::Retry);
    assert!(launched.iter().all(|attempt| attempt.remaining().is_some()));
}

/// The value of a request, which holds something until it is dropped.
struct Held<'a, L: Lock<Data = u32>>(&'a L);

impl<'a, L: Lock<Data = u32>> Held<'a, L> {
    fn new(held: &'a L) -> Self {
        held.with(|held| *held += 1);
        Self(held)
    }
}

impl<L: Lock<Data = u32>> Drop for Held<'_, L> {
    fn drop(&mut self) {
        self.0.with(|held| *held -= 1);
    }
}

/// What a refused value holds is kept until the request ends, or let go before the next attempt starts.
pub async fn a_refused_value_may_be_let_go<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40).max_hedges(2));
    for (keep, free, winner) in [(true, [true, false, false], 0), (false, [true; 3], 2)] {
        let held = H::lock(0_u32);
        let seen = H::lock(Vec::<bool, 4>::new());
        let backend = Backend::new(world, &[ok(1), ok(1), ok(1)]);
        let refuse = |_: &Result<Held<'_, _>, Failure>| Verdict::Retry;
        let call = hedger.call().keep_refused(keep).classify(refuse);
        let hedged = call.request(|attempt| {
            let is_free = held.with(|held| *held == 0);
            seen.with(|seen| assert!(seen.push(is_free).is_ok()));
            let answer = backend.call(attempt);
            let held = &held;
            async move { answer.await.map(|_| Held::new(held)) }
        });
        let hedged = hedged.await.unwrap();
        assert!(!hedged.outcome.accepted);
        assert_eq!(
            (hedged.outcome.winner, hedged.outcome.attempts),
            (winner, 3)
        );
        assert_eq!(seen.with(|seen| seen.clone()).as_slice(), free);
        drop(hedged);
        assert_eq!(held.with(|held| *held), 0);
    }
    // What no attempt follows is kept.
    let held = H::lock(0_u32);
    let backend = Backend::new(world, &[ok(1)]);
    let refuse = |_: &Result<Held<'_, _>, Failure>| Verdict::Retry;
    let call = hedger.call().max_hedges(0).keep_refused(false);
    let hedged = call.classify(refuse).request(|attempt| {
        let answer = backend.call(attempt);
        let held = &held;
        async move { answer.await.map(|_| Held::new(held)) }
    });
    assert_eq!(hedged.await.unwrap().outcome.winner, 0);
}
