//! Monotonic time, and the timer trait that a runtime implements.

use core::cmp::Ordering;
use core::future::Future;
use core::ops::Add;
use core::pin::Pin;
use core::time::Duration;

/// A point on one [`Timer`](crate::Timer)'s monotonic clock, in nanoseconds since its epoch.
///
/// Two instants are comparable only if they came from the same timer. Arithmetic saturates: a
/// deadline too far to express is [`Instant::MAX`], which is about 584 years after the epoch.
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
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Instant(u64);

impl Instant {
    /// The timer's epoch.
    pub const ZERO: Self = Self(0);
    /// The far future: about 584 years after the epoch.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the instant `since_epoch` after the epoch, saturating at [`Instant::MAX`].
    pub const fn from_epoch(since_epoch: Duration) -> Self {
        Self(nanos(since_epoch))
    }

    /// Returns the instant `nanos` nanoseconds after the epoch.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::Instant;
    ///
    /// let instant = Instant::from_nanos(5_000_000);
    /// assert_eq!(instant, Instant::from_epoch(Duration::from_millis(5)));
    /// assert_eq!(instant.as_nanos(), 5_000_000);
    /// ```
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the number of nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time since the epoch.
    pub const fn since_epoch(self) -> Duration {
        duration(self.0)
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        duration(self.nanos_since(earlier))
    }

    /// Returns the nanoseconds from `earlier` to `self`. A `Duration` would take a division, which
    /// is slow on microcontrollers.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the instant `nanos` nanoseconds later, saturating at [`Instant::MAX`].
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) const fn later(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the instant `nanos` nanoseconds earlier, saturating at [`Instant::ZERO`].
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) const fn earlier(self, nanos: u64) -> Self {
        Self(self.0.saturating_sub(nanos))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// The operators do not go through an `Ordering`, as derived ones do: that takes more code where a number takes two
/// registers.
impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn lt(&self, other: &Self) -> bool {
        self.0 < other.0
    }

    fn le(&self, other: &Self) -> bool {
        self.0 <= other.0
    }

    fn gt(&self, other: &Self) -> bool {
        self.0 > other.0
    }

    fn ge(&self, other: &Self) -> bool {
        self.0 >= other.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Adds a duration, saturating at [`Instant::MAX`].
    fn add(self, rhs: Duration) -> Self {
        self.later(nanos(rhs))
    }
}

/// Converts a duration to whole nanoseconds, saturating.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    const GIGA: u64 = 1_000_000_000;
    let secs = duration.as_secs();
    // Avoid 128-bit arithmetic, which takes many instructions on microcontrollers.
    if secs > u64::MAX / GIGA {
        u64::MAX
    } else {
        (secs * GIGA).saturating_add(duration.subsec_nanos() as u64)
    }
}

/// Converts nanoseconds to a duration. Not inlined in firmware, where a division takes many instructions.
#[cfg_attr(not(feature = "std"), inline(never))]
pub(crate) const fn duration(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Converts a duration to milliseconds with a fraction, as in a config file.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A monotonic clock that can wake a task.
///
/// Implementations should be cheap to clone: implement `Timer` for `&Clock` where the clock has to
/// be borrowed. [`ManualTimer`](crate::manual::ManualTimer) is a complete example.
pub trait Timer {
    /// A future that completes once [`now`](Timer::now) has reached the deadline, never earlier.
    type Sleep: Future<Output = ()>;

    /// Returns the current time, which never goes backwards.
    fn now(&self) -> Instant;

    /// Sleeps until `deadline`, and completes immediately if it has passed. A deadline beyond the
    /// range of the runtime's clock is never reached.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// Moves an existing sleep to a new deadline. The default implementation makes a new sleep;
    /// override it if moving is cheaper.
    fn rearm(&self, mut sleep: Pin<&mut Self::Sleep>, deadline: Instant) {
        sleep.set(self.sleep_until(deadline));
    }
}
