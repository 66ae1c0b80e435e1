//! Requests whose time is up.

use core::error::Error as _;
use core::pin::pin;

use hedge_core::telemetry::EventKind;
use hedge_core::{Error, Timer, Verdict};

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
