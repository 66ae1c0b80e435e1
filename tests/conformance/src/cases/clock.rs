//! What a [`Timer`] must do.

use core::pin::pin;

use futures_lite::future::poll_once;
use hedge_core::{Instant, Timer};

use crate::{Home, World};

/// Time does not go backwards.
pub async fn time_never_goes_back<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let mut last = world.now();
    for ticks in [0, 1, 0, 1] {
        world.sleep(ticks).await;
        let now = world.now();
        assert!(now >= last);
        last = now;
    }
}

/// A sleep ends when its deadline has come, not before.
pub async fn a_sleep_is_never_early<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for ticks in [1, 2, 3] {
        let start = world.now();
        world.sleep(ticks).await;
        world.assert_took(world.now().since(start), ticks);
    }
}

/// A sleep into the past ends at once.
pub async fn a_deadline_that_has_passed_is_not_waited_for<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    world.sleep(2).await;
    let start = world.now();
    world.timer().sleep_until(start).await;
    world.timer().sleep_until(Instant::ZERO).await;
    world.assert_took(world.now().since(start), 0);
}

/// A sleep that is moved to a later deadline ends then.
pub async fn a_sleep_can_be_put_off<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let start = world.now();
    let mut sleep = pin!(world.sleep(2));
    assert!(poll_once(sleep.as_mut()).await.is_none());
    world.timer().rearm(sleep.as_mut(), start + world.ticks(5));
    sleep.await;
    world.assert_took(world.now().since(start), 5);
}

/// A sleep that is moved to an earlier deadline ends then.
pub async fn a_sleep_can_be_cut_short<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let start = world.now();
    let mut sleep = pin!(world.timer().sleep_until(Instant::MAX));
    assert!(poll_once(sleep.as_mut()).await.is_none());
    world.timer().rearm(sleep.as_mut(), start + world.ticks(2));
    sleep.await;
    world.assert_took(world.now().since(start), 2);
}

/// A sleep until the end of time waits, and may be dropped.
pub async fn the_end_of_time_does_not_come<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let mut sleep = pin!(world.timer().sleep_until(Instant::MAX));
    assert!(poll_once(sleep.as_mut()).await.is_none());
    world.sleep(2).await;
    assert!(poll_once(sleep.as_mut()).await.is_none());
}
