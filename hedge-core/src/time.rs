//! Monotonic time, and the one trait that a runtime must provide.

use core::future::Future;
use core::ops::Add;
use core::pin::Pin;
use core::time::Duration;

/// A point on one [`Timer`](crate::Timer)'s monotonic clock, in nanoseconds since its epoch.
///
/// Two instants are comparable only when they came from the same timer. Arithmetic saturates: a
/// deadline too far to express is [`Instant::MAX`], which no request lives to see.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::Instant;
///
/// let start = Instant::from_epoch(Duration::from_millis(5));
/// let due = start + Duration::from_millis(100);
/// assert_eq!(due.since(start), Duration::from_millis(100));
/// assert_eq!(start.since(due), Duration::ZERO);
/// assert_eq!(start + Duration::MAX, Instant::MAX);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The epoch.
    pub const ZERO: Self = Self(0);
    /// The far future: about 584 years after the epoch.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `since_epoch` after the epoch, saturating at [`Instant::MAX`].
    pub const fn from_epoch(since_epoch: Duration) -> Self {
        Self(nanos(since_epoch))
    }

    /// Time since the epoch.
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same in nanoseconds. A `Duration` takes a division, which is slow on microcontrollers.
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many nanoseconds later; saturates at [`Instant::MAX`].
    pub(crate) const fn later(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::MAX`].
    fn add(self, rhs: Duration) -> Self {
        self.later(nanos(rhs))
    }
}

/// Whole nanoseconds, saturating.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    const GIGA: u64 = 1_000_000_000;
    let secs = duration.as_secs();
    // Without 128 bits, which take many instructions, above all on microcontrollers.
    if secs > u64::MAX / GIGA {
        u64::MAX
    } else {
        (secs * GIGA).saturating_add(duration.subsec_nanos() as u64)
    }
}

/// Milliseconds with a fraction, as in a config.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A monotonic clock that can wake a task.
///
/// Implementations are cheap to clone (`&Clock` implements `Timer` where the clock must be
/// borrowed). [`ManualTimer`](crate::manual::ManualTimer) is a complete example.
pub trait Timer {
    /// Completes once [`now`](Timer::now) has reached the deadline, never before.
    type Sleep: Future<Output = ()>;

    /// The current time. Never goes backwards.
    fn now(&self) -> Instant;

    /// Sleeps until `deadline`; resolves at once if it has passed. A deadline too far for the
    /// runtime's clock is never reached.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// Moves an existing sleep to a new deadline. The default makes a new one; override it where
    /// moving is cheaper.
    fn rearm(&self, mut sleep: Pin<&mut Self::Sleep>, deadline: Instant) {
        sleep.set(self.sleep_until(deadline));
    }
}
