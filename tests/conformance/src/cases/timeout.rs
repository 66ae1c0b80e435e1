//! Requests whose time is up.

use core::error::Error as _;
use core::pin::pin;

use hedge_core::adapter::BudgetHandle;
use hedge_core::strategy::{Hints, Off, Plan, Priority, Strategy};
use hedge_core::telemetry::{EventKind, NoSink};
use hedge_core::{
    Budget, Cause, Error, Fixed, Instant, Options, Record, Suppressed, Timer, Verdict,
    WorkloadAware,
};

use super::run_until;
use crate::backend::{Backend, Failure, err, never, ok};
use crate::spy::Ear;
use crate::{Home, World};

/// The timeout covers the whole request, however late its hedges started, and drops every attempt.
pub async fn the_timeout_covers_every_attempt<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(
        world
            .fixed(2)
            .max_hedges(3)
            .timeout(world.ticks(9))
            .sink(&ear),
    );
    let backend = Backend::new(world, &[never(), never(), never(), ok(100)]);
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    let Err(Error::Timeout {
        elapsed,
        attempts,
        error: None,
    }) = request.as_mut().await
    else {
        panic!("it did not time out");
    };
    world.assert_took(elapsed, 9);
    assert_eq!(usize::from(attempts), backend.started());
    if world.is_exact() {
        backend.assert_started_at(&[0, 2, 4, 6]);
    }
    // The request is alive: what is gone was dropped by the timeout.
    assert_eq!(
        (backend.running(), backend.dropped()),
        (0, backend.started())
    );
    assert_eq!((hedger.in_flight(), hedger.metrics().timed_out), (0, 1));
    let timed_out = ear.only(|event| match event {
        EventKind::RequestException { timed_out, .. } => Some(timed_out),
        _ => None,
    });
    assert!(timed_out);
}

/// A timeout after failures reports the timeout, with the earliest attempt's error as its source.
pub async fn a_timeout_tells_the_earliest_error<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).max_hedges(2).timeout(world.ticks(20)));
    // The later hedge fails first.
    let backend = Backend::new(world, &[never(), err(5), err(1)]);
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.attempts(), 3);
    let source = error.source().and_then(|source| source.downcast_ref());
    assert_eq!(source, Some(&Failure::Plain(1)));
}

/// A value that the classifier refused does not hide a later attempt's error.
pub async fn a_refused_value_does_not_hide_an_error<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1).max_hedges(2).timeout(world.ticks(20)));
    let backend = Backend::new(world, &[ok(1), err(1), never()]);
    let picky = |result: &Result<usize, Failure>| match result {
        Ok(_) | Err(_) => Verdict::Retry,
    };
    let error = hedger
        .call()
        .classify(picky)
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    let source = error.source().and_then(|source| source.downcast_ref());
    assert_eq!(source, Some(&Failure::Plain(1)));
}

/// A timeout without failures has no source.
pub async fn a_timeout_without_failures_has_no_source<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1).timeout(world.ticks(3)));
    let backend = Backend::new(world, &[never(), never()]);
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout() && error.source().is_none());
}

/// An attempt that is ready when the time is up wins.
pub async fn what_is_ready_in_time_wins<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).timeout(world.ticks(8)));
    let backend = Backend::new(world, &[never(), ok(7)]);
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    run_until(request.as_mut(), || backend.started() == 2).await;
    // Nobody polls it until its time is up, and its hedge ready.
    world.sleep(10).await;
    assert_eq!(request.await.unwrap().value, 1);
}

/// A request without time makes its attempt, and is answered only if that is ready at once.
pub async fn no_time_is_enough_for_an_answer_at_once<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(0));
    let call = || hedger.call().timeout(core::time::Duration::ZERO);
    let backend = Backend::new(world, &[ok(0)]);
    assert_eq!(
        call()
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .value,
        0
    );
    let backend = Backend::new(world, &[ok(1)]);
    let error = call()
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!((error.attempts(), backend.dropped()), (1, 1));
}

/// An `Ok` that was refused is not an error that a timeout could tell.
pub async fn a_timeout_after_a_refused_ok_has_no_source<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1).timeout(world.ticks(4)));
    let backend = Backend::new(world, &[ok(2), never()]);
    let call = hedger.call().classify(|_: &Result<_, _>| Verdict::Retry);
    let error = call
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout() && error.source().is_none());
}

/// All failed just in time: the error, not the timeout.
pub async fn a_failure_before_the_timeout_is_a_failure<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40).timeout(world.ticks(30)));
    let backend = Backend::new(world, &[err(1), err(1)]);
    let result = hedger.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(0),
            attempts: 2
        })
    );
    assert_eq!(hedger.metrics().timed_out, 0);
}

/// Nothing is sent for a request whose deadline has passed, and nothing deposited or learned.
pub async fn a_deadline_that_has_passed_sends_nothing<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::percent(100.0).burst(4);
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).budget(budget).sink(&ear));
    let silent = world.build(world.fixed(1).without_metrics());
    while hedger.budget().withdraw(world.now()).is_ok() {
        hedger.budget().give_back(1);
    }
    let deadline = world.now();
    world.sleep(1).await;
    let backend = Backend::new(world, &[ok(0)]);
    let call = hedger.call().deadline(deadline);
    let result = call.request(|attempt| backend.call(attempt)).await;
    let Err(Error::Timeout {
        attempts: 0,
        error: None,
        ..
    }) = result
    else {
        panic!("{result:?}");
    };
    let call = silent.call().deadline(deadline);
    let error = call.request(|attempt| backend.call(attempt)).await;
    assert_eq!(error.unwrap_err().attempts(), 0);
    assert_eq!(backend.started(), 0);
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 0.0);
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.timed_out), (1, 1));
    assert_eq!((metrics.hedges, metrics.total_cost), (0, 0.0));
    let attempts = ear.only(|event| match event {
        EventKind::RequestException { attempts, .. } => Some(attempts),
        _ => None,
    });
    assert_eq!(attempts, 0);
}

/// An attempt knows how long it has: until the deadline of the request, or until it lasts too long.
pub async fn attempts_know_how_long_they_have<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ticks = |ticks| Some(world.ticks(ticks));
    for (timeout, attempt_timeout, remaining) in [
        (None, None, [None, None]),
        (Some(20), None, [ticks(20), ticks(16)]),
        (None, Some(9), [ticks(9), ticks(9)]),
        (Some(10), Some(9), [ticks(9), ticks(6)]),
    ] {
        let mut options = Options::DEFAULT;
        options.timeout = timeout.map(|ticks| world.ticks(ticks));
        options.attempt_timeout = attempt_timeout.map(|ticks| world.ticks(ticks));
        let hedger = world.build(world.fixed(4).options(options));
        let backend = Backend::new(world, &[never(), ok(1)]);
        let request = hedger.request(|attempt| backend.call(attempt));
        assert_eq!(request.await.unwrap().value, 1);
        assert_eq!(backend.nth(0).attempt.remaining(), remaining[0]);
        let hedge = backend.nth(1).attempt.remaining();
        if world.is_exact() {
            assert_eq!(hedge, remaining[1]);
        } else {
            assert!(hedge <= remaining[1], "{hedge:?}");
        }
    }
    // A call's own limits count whether it may be hedged or not.
    let hedger = world.build(world.fixed(4).timeout(world.ticks(9)));
    for (ticks, left) in [(3, 3), (40, 40)] {
        let backend = Backend::new(world, &[ok(0)]);
        let call = hedger.call().unhedged().timeout(world.ticks(ticks));
        call.request(|attempt| backend.call(attempt)).await.unwrap();
        let remaining = backend.nth(0).attempt.remaining();
        assert_eq!(remaining, Some(world.ticks(left)));
    }
}

/// An attempt that lasts too long is dropped, and the next one starts as after an error.
pub async fn an_attempt_that_lasts_too_long_has_failed<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let ear = Ear::<H>::new();
    let builder = world.fixed(40).max_hedges(2);
    let hedger = world.build(builder.attempt_timeout(world.ticks(5)).sink(&ear));
    let backend = Backend::new(world, &[never(), never(), ok(2)]);
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    run_until(request.as_mut(), || backend.started() == 2).await;
    // The first is gone before the second is launched.
    assert_eq!(backend.dropped(), 1);
    let hedged = request.await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (2, 3));
    assert_eq!(hedged.outcome.primary_latency, None);
    world.assert_took(hedged.outcome.total_latency, 12);
    if world.is_exact() {
        backend.assert_started_at(&[0, 5, 10]);
    }
    assert_eq!(backend.nth(2).attempt.cause(), Cause::Retry);
    assert_eq!(hedger.in_flight(), 0);
    let events = ear.events();
    let expired = events.iter().filter_map(|event| match event.kind {
        EventKind::AttemptTimeout { attempt, .. } => Some(attempt),
        _ => None,
    });
    assert!(expired.eq([0, 1]));
}

/// A request all of whose attempts lasted too long has timed out; one with an error has failed.
pub async fn attempts_that_all_last_too_long_time_out<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(40).attempt_timeout(world.ticks(5)));
    let backend = Backend::new(world, &[never(), never()]);
    let request = hedger.request(|attempt| backend.call(attempt));
    let Err(Error::Timeout {
        elapsed,
        attempts: 2,
        error: None,
    }) = request.await
    else {
        panic!("it did not time out");
    };
    world.assert_took(elapsed, 10);
    let backend = Backend::new(world, &[never(), err(1)]);
    let request = hedger.request(|attempt| backend.call(attempt));
    let error = Failure::Plain(1);
    assert_eq!(request.await, Err(Error::Failed { error, attempts: 2 }));
    assert_eq!(hedger.metrics().timed_out, 1);
}

/// The hedger's limits do not apply to a request that may not be hedged.
pub async fn what_may_not_be_hedged_has_no_new_limit<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let limited = |builder: hedge_core::Builder<T, Fixed, hedge_core::Metrics, NoSink, 4>| {
        let builder = builder.attempt_timeout(world.ticks(2));
        world.build(builder.timeout(world.ticks(3)))
    };
    let hedger = limited(world.fixed(1));
    let never_on = limited(world.fixed(1));
    never_on
        .set_options({
            let mut options = never_on.options();
            options.enabled = false;
            options
        })
        .unwrap();
    for call in [
        hedger.call().unhedged(),
        hedger.call().max_hedges(0),
        never_on.call(),
    ] {
        let backend = Backend::new(world, &[ok(8)]);
        let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
        world.assert_took(hedged.outcome.total_latency, 8);
        assert_eq!(backend.nth(0).attempt.remaining(), None);
    }
    let off = world.with_strategy(Off).timeout(world.ticks(3));
    let off = world.build(off.attempt_timeout(world.ticks(2)));
    let backend = Backend::new(world, &[ok(8)]);
    let request = off.request(|attempt| backend.call(attempt));
    assert_eq!(request.await.unwrap().value, 0);
    // A custom strategy may decide that for one request, and be wrapped.
    let picky = world.with_strategy(OffIfUrgent).timeout(world.ticks(3));
    let wrapped = world.with_strategy(WorkloadAware::over(OffIfUrgent));
    let wrapped = wrapped.timeout(world.ticks(3));
    let urgent = Hints::NONE.priority(Priority::High);
    let backend = Backend::new(world, &[ok(8)]);
    let prompt = Backend::new(world, &[ok(0)]);
    let picky = world.build(picky.without_metrics());
    let call = picky.call().hints(urgent);
    assert!(call.request(|attempt| backend.call(attempt)).await.is_ok());
    let wrapped = world.build(wrapped.without_metrics());
    let call = wrapped.call().hints(urgent);
    assert!(call.request(|attempt| backend.call(attempt)).await.is_ok());
    let request = picky.request(|attempt| prompt.call(attempt));
    assert!(request.await.is_ok());
    let request = wrapped.request(|attempt| prompt.call(attempt));
    assert!(request.await.is_ok());
    for n in [0, 1] {
        assert_eq!(backend.nth(n).attempt.remaining(), None);
        let limit = Some(world.ticks(3));
        assert_eq!(prompt.nth(n).attempt.remaining(), limit);
    }
}

/// Does not hedge urgent requests.
struct OffIfUrgent;

impl Strategy for OffIfUrgent {
    fn plan(&mut self, hints: &Hints, _: Instant) -> Plan {
        if hints.priority == Some(Priority::High) {
            Plan::never(Suppressed::Off)
        } else {
            Plan::never(Suppressed::NotDue)
        }
    }

    fn record(&mut self, _: &Record) {}

    fn learns(&self) -> bool {
        false
    }
}
