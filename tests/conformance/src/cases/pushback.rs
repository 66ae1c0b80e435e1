//! Servers that ask for patience.

use core::time::Duration;

use hedge_core::{Cause, Error, Timer, Verdict};

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
