//! The plan of a strategy for one request.

use core::time::Duration;

use crate::outcome::Suppressed;
use crate::time;

/// A plan that says when to hedge one request.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::Plan;
///
/// // Hedge k at k × 100 ms.
/// let plan = Plan::after(Duration::from_millis(100));
/// assert_eq!(plan.offset(3), Some(Duration::from_millis(300)));
/// // The first at 100 ms, then every 20 ms.
/// let plan = plan.then_every(Duration::from_millis(20));
/// assert_eq!(plan.offset(3), Some(Duration::from_millis(140)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// In nanoseconds, as is `step`.
    when: Result<u64, Suppressed>,
    step: Option<u64>,
    chance: f32,
    reusable: bool,
}

impl Plan {
    /// Creates a plan that hedges after `delay`; hedge k is due at k × `delay`.
    pub const fn after(delay: Duration) -> Self {
        Self::after_nanos(time::nanos(delay))
    }

    pub(crate) const fn after_nanos(delay: u64) -> Self {
        Self {
            when: Ok(delay),
            step: None,
            chance: 1.0,
            reusable: false,
        }
    }

    /// Creates a plan that does not hedge, for this reason. [`Suppressed::Off`] rules out hedges after failures too;
    /// with any other reason, a failure still starts one.
    pub const fn never(reason: Suppressed) -> Self {
        Self {
            when: Err(reason),
            step: None,
            chance: 1.0,
            reusable: false,
        }
    }

    /// Sets the time from one hedge to the next. Default: the delay.
    #[must_use]
    pub const fn then_every(mut self, step: Duration) -> Self {
        self.step = Some(time::nanos(step));
        self
    }

    /// Hedges only this share, 0 to 1, of the requests that pass the delay.
    #[must_use]
    pub const fn with_chance(mut self, chance: f32) -> Self {
        self.chance = chance;
        self
    }

    /// Declares that all requests with the same hints get this plan until the next [`record`](super::Strategy::record),
    /// so that servers can reuse it without calling the strategy.
    #[must_use]
    pub const fn reusable(mut self) -> Self {
        self.reusable = true;
        self
    }

    /// Returns the plan with its first delay and its step mapped by `f`; a plan that does not hedge stays as it is.
    #[must_use]
    pub fn map_delays(self, f: impl Fn(Duration) -> Duration) -> Self {
        self.map_nanos(|delay| time::nanos(f(duration(delay))))
    }

    pub(crate) fn map_nanos(mut self, f: impl Fn(u64) -> u64) -> Self {
        self.when = self.when.map(&f);
        self.step = self.step.map(f);
        self
    }

    /// Returns when the first hedge is due, from the start of the request; `None` if none is planned.
    pub fn delay(&self) -> Option<Duration> {
        self.when.ok().map(duration)
    }

    /// Returns the delay in nanoseconds; the largest number if no hedge is planned.
    pub(crate) fn delay_nanos(&self) -> u64 {
        self.when.unwrap_or(u64::MAX)
    }

    /// Returns the time from one hedge to the next, in nanoseconds.
    pub(crate) fn step_nanos(&self) -> u64 {
        self.step.unwrap_or(self.delay_nanos())
    }

    /// Returns why no hedge is planned; `None` if one is.
    pub fn suppressed(&self) -> Option<Suppressed> {
        self.when.err()
    }

    /// Returns the share, 0 to 1, of the requests past the delay that are hedged.
    pub const fn chance(&self) -> f32 {
        self.chance
    }

    /// Returns whether the plan holds for every request with the same hints until the next record.
    pub const fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Returns when hedge `k`, 1 or more, is due, from the start of the request; `None` if the plan does not hedge.
    pub fn offset(&self, k: u8) -> Option<Duration> {
        let first = self.when.ok()?;
        let step = self.step.unwrap_or(first);
        let later = step.saturating_mul(k.saturating_sub(1).into());
        Some(duration(first.saturating_add(later)))
    }
}

/// Converts nanoseconds to a duration; the largest number means that a hedge is never due.
fn duration(nanos: u64) -> Duration {
    match nanos {
        u64::MAX => Duration::MAX,
        nanos => time::duration(nanos),
    }
}
