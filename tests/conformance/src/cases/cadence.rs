//! When hedges start.

use core::time::Duration;

use futures_lite::future::poll_once;
use hedge_core::strategy::Plan;
use hedge_core::{Cause, Error, Off, Timer};

use super::abandon;
use crate::backend::{Backend, Failure, Step, err, never, ok};
use crate::spy::Spy;
use crate::{Home, World};

/// With 1 to 7 hedges allowed, hedge k starts at k × delay, and no more than are allowed.
pub async fn hedge_k_starts_at_k_delays<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for hedges in 1..=7_u8 {
        let hedger = world.build(world.fixed(2).attempts::<8>().max_hedges(hedges));
        let mut script = [never(); 8];
        // Time for another, were it allowed.
        script[usize::from(hedges)] = ok(3);
        let backend = Backend::new(world, &script);
        let hedged = hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap();
        assert_eq!(
            (hedged.value, hedged.outcome.attempts),
            (hedges.into(), hedges + 1)
        );
        let ticks: heapless::Vec<u32, 8> = (0..=u32::from(hedges)).map(|k| 2 * k).collect();
        backend.assert_started_at(&ticks);
        assert_eq!(hedger.metrics().hedges, u64::from(hedges));
    }
}

/// A delay of zero starts every attempt at once.
pub async fn zero_delay_starts_all_at_once<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(0).max_hedges(3));
    let backend = Backend::new(world, &[never(); 4]);
    let request = core::pin::pin!(hedger.request(|attempt| backend.call(attempt)));
    assert!(poll_once(request).await.is_none());
    assert_eq!(backend.started(), 4);
    assert_eq!(backend.nth(3).attempt.cause(), Cause::Delay);
}

/// A strategy may let later hedges follow at another pace.
pub async fn later_hedges_follow_the_plan<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let plan = Plan::after(world.ticks(4)).then_every(world.ticks(1));
    let hedger = world.build(world.with_strategy(Spy::new(plan)).max_hedges(3));
    let backend = Backend::new(world, &[never(), never(), never(), ok(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    backend.assert_started_at(&[0, 4, 5, 6]);
}

/// A delay that is over only after the timeout starts nothing.
pub async fn a_delay_beyond_the_timeout_starts_nothing<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(9).timeout(world.ticks(3)));
    let backend = Backend::new(world, &[never()]);
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!((error.attempts(), backend.started()), (1, 1));
}

/// A delay that is over exactly when the time is up starts nothing.
pub async fn a_delay_as_long_as_the_timeout_starts_nothing<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(3).timeout(world.ticks(3)));
    let backend = Backend::new(world, &[never()]);
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!((error.attempts(), backend.started()), (1, 1));
}

/// The longest delay there is never comes.
pub async fn the_longest_delay_does_not_come<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.with_strategy(hedge_core::Fixed::new(Duration::MAX)));
    let backend = Backend::new(world, &[ok(4)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 1));
    // Nor does it keep a failed request waiting.
    let backend = Backend::new(world, &[never()]);
    let request = hedger
        .call()
        .timeout(world.ticks(2))
        .request(|attempt| backend.call(attempt));
    assert!(request.await.unwrap_err().is_timeout());
}

/// `Off` does not hedge, not even after an error.
pub async fn off_makes_one_attempt<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.with_strategy(Off));
    let backend = Backend::new(world, &[ok(4)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.hedge_delay), (0, None));
    let backend = Backend::new(world, &[err(1)]);
    let result = hedger.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(0),
            attempts: 1
        })
    );
    assert_eq!(hedger.metrics().hedges, 0);
}

/// Hedges stop at `max_hedges` however many attempts the type has room for, and at the type's room.
pub async fn no_more_hedges_than_allowed<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let script: [Step; 0] = [];
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &script);
    let request = hedger
        .call()
        .timeout(world.ticks(12))
        .request(|attempt| backend.call(attempt));
    assert_eq!(request.await.unwrap_err().attempts(), 3);
    let backend = Backend::new(world, &script);
    abandon(&hedger, &backend, 3).await;
    assert_eq!(backend.dropped(), 3);
    assert!(
        world
            .fixed(1)
            .attempts::<2>()
            .max_hedges(2)
            .build_with(H::ledger, H::budget)
            .is_err()
    );
}
