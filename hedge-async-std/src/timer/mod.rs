//! The timer: that of async-io on native targets, and that of the browser on the web.

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod native;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod web;

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
use native as platform;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use web as platform;

pub use platform::Sleep;

use core::pin::Pin;
use std::sync::OnceLock;

use hedge_core::runtime::Runtime;
use hedge_core::{Instant, Timer};

/// The clock and the timers of async-std, smol and browsers. All timers of a process have one epoch, when the first of
/// them was created, so that hedgers can share what they know of [replicas](crate::replicas).
///
/// ```
/// use core::time::Duration;
/// use hedge_async_std::{AsyncStdTimer, Timer};
///
/// # smol::block_on(async {
/// let timer = AsyncStdTimer::new();
/// let deadline = timer.now() + Duration::from_millis(5);
/// timer.sleep_until(deadline).await;
/// assert!(timer.now() >= deadline);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AsyncStdTimer {
    epoch: platform::Instant,
}

impl AsyncStdTimer {
    /// Creates a timer.
    pub fn new() -> Self {
        static EPOCH: OnceLock<platform::Instant> = OnceLock::new();
        Self {
            epoch: *EPOCH.get_or_init(platform::Instant::now),
        }
    }

    /// Converts `instant` to this timer's clock. Its type is that of `std::time`, or of the crate `web_time` on the
    /// web. Returns the epoch if `instant` was before it.
    pub fn instant(&self, instant: platform::Instant) -> Instant {
        Instant::from_epoch(instant.saturating_duration_since(self.epoch))
    }

    /// Converts `instant` to the platform's clock; `None` if that cannot represent it.
    fn at(&self, instant: Instant) -> Option<platform::Instant> {
        self.epoch.checked_add(instant.since_epoch())
    }
}

impl Default for AsyncStdTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for AsyncStdTimer {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_epoch(self.epoch.elapsed())
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::until(self.at(deadline))
    }

    fn rearm(&self, sleep: Pin<&mut Sleep>, deadline: Instant) {
        sleep.get_mut().reset(self.at(deadline));
    }
}

impl Runtime for AsyncStdTimer {
    type Instant = platform::Instant;

    fn instant(&self, instant: platform::Instant) -> Instant {
        self.instant(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timers_of_a_process_agree() {
        let (first, second) = (AsyncStdTimer::new(), AsyncStdTimer::new());
        let now = platform::Instant::now();
        assert_eq!(first.instant(now), second.instant(now));
    }
}
