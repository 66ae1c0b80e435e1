//! A delay that grows when hedges do not help.

use core::iter;
use core::time::Duration;

use super::{Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::error::ConfigError;
use crate::outcome::{StrategyKind, Suppressed};
use crate::record::{Record, RequestEnd};
use crate::time::{Instant, millis, nanos};

#[cfg(test)]
mod tests;

/// Hedges after a delay that every request changes by a factor, as congestion control changes a window.
///
/// | the request | the delay |
/// |---|---|
/// | was won by a hedge, or by the primary before a hedge was due | × decrease factor (0.9) |
/// | was won by the primary after a hedge had started | × increase factor (1.5) |
/// | failed or timed out | × error factor (2.0) |
/// | was won by the primary when a hedge was due that the budget or `observe_only` refused | × increase factor |
/// | was won by the primary when a hedge was held back for another reason | stays |
/// | was dropped by its caller | stays |
///
/// and stays within `min_delay` and `max_delay`.
///
/// Only the end of the request counts. A hedge that started because the primary failed is treated like any other: if it
/// wins, the caller saw no error. A hedge that the budget refused counts as one that lost, since the delay is too short
/// for the budget. Otherwise, a spent budget would drive the delay to its minimum, because every request that needs no
/// hedge shortens it.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{ExponentialBackoff, Strategy};
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Hints, Instant, Record};
///
/// let mut strategy = ExponentialBackoff::new().base_delay(Duration::from_millis(200));
/// let fast = Record::new(Sample::Finished(Duration::from_millis(5)));
/// strategy.record(&fast);
/// let failed = Record::new(Sample::Failed(Duration::from_millis(5)));
/// strategy.record(&failed);
///
/// let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
/// assert_eq!(plan.delay(), Some(Duration::from_millis(360)));
/// assert_eq!(strategy.stats().error_streak, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialBackoff {
    base: Duration,
    min: Duration,
    max: Duration,
    increase: f64,
    decrease: f64,
    error: f64,
    /// The current delay, which is `base_delay` until the first adjustment; both may be out of bounds.
    current: Option<Duration>,
    last: Option<Ending>,
    streak: u64,
    adjustments: u64,
}

/// The three ways in which a request changes the delay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Success,
    Failure,
    Error,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Error];
}

impl ExponentialBackoff {
    /// Creates the strategy with a delay of 100 ms, within 10 ms and 5 s, and factors of 0.9, 1.5 and 2.
    pub const fn new() -> Self {
        Self {
            base: Duration::from_millis(100),
            min: Duration::from_millis(10),
            max: Duration::from_millis(5000),
            increase: 1.5,
            decrease: 0.9,
            error: 2.0,
            current: None,
            last: None,
            streak: 0,
            adjustments: 0,
        }
    }

    /// Sets the first delay, within the bounds.
    #[must_use]
    pub const fn base_delay(mut self, delay: Duration) -> Self {
        self.base = delay;
        self
    }

    /// Sets the shortest delay, less than the longest.
    #[must_use]
    pub const fn min_delay(mut self, delay: Duration) -> Self {
        self.min = delay;
        self
    }

    /// Sets the longest delay.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max = delay;
        self
    }

    /// Sets the factor for the delay after a hedge that lost, greater than 1.
    #[must_use]
    pub const fn increase_factor(mut self, factor: f64) -> Self {
        self.increase = factor;
        self
    }

    /// Sets the factor for the delay after a hedge that won or was not needed, between 0 and 1.
    #[must_use]
    pub const fn decrease_factor(mut self, factor: f64) -> Self {
        self.decrease = factor;
        self
    }

    /// Sets the factor for the delay after a failed request, greater than 1.
    #[must_use]
    pub const fn error_factor(mut self, factor: f64) -> Self {
        self.error = factor;
        self
    }

    /// Returns the current delay, and the counts that led to it.
    pub fn stats(&self) -> BackoffStats {
        let streak = |of| {
            if self.last == Some(of) {
                self.streak
            } else {
                0
            }
        };
        BackoffStats {
            delay: self.delay(),
            success_streak: streak(Ending::Success),
            failure_streak: streak(Ending::Failure),
            error_streak: streak(Ending::Error),
            adjustments: self.adjustments,
        }
    }

    fn delay(&self) -> Duration {
        // `clamp` would panic if the lower bound is above the upper one.
        self.current
            .unwrap_or(self.base)
            .max(self.min)
            .min(self.max)
    }

    /// Returns the factor for this ending; 1 if the option is invalid.
    fn factor(&self, ending: Ending) -> f64 {
        match ending {
            Ending::Success => self.decrease.min(1.0),
            Ending::Failure => self.increase.max(1.0),
            Ending::Error => self.error.max(1.0),
        }
    }
}

impl Default for ExponentialBackoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for ExponentialBackoff {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(self.delay()).reusable()
    }

    fn record(&mut self, record: &Record) {
        let Some(ending) = ending(record) else {
            return;
        };
        // No factor would raise a delay of 0.
        let from = self.delay().max(Duration::from_micros(1));
        self.current = Some(scaled(from, self.factor(ending)));
        self.streak = if self.last == Some(ending) {
            self.streak.saturating_add(1)
        } else {
            1
        };
        self.last = Some(ending);
        self.adjustments = self.adjustments.saturating_add(1);
    }

    /// Returns false: hedges that lose lengthen the delay.
    fn guard_by_default(&self) -> bool {
        false
    }

    fn reset(&mut self) {
        self.current = None;
        self.last = None;
        self.streak = 0;
        self.adjustments = 0;
    }

    fn export(&self, columns: &mut dyn WriteColumns, _: Instant) {
        let current = self.current.map(|delay| nanos(delay) as f64);
        let ending = self.last.map(|ending| f64::from(ending as u8));
        columns.column("delay_ns", &mut current.into_iter());
        columns.column("ending", &mut ending.into_iter());
        columns.column("streak", &mut iter::once(self.streak as f64));
        columns.column("adjustments", &mut iter::once(self.adjustments as f64));
    }

    fn restore(&mut self, columns: &dyn ReadColumns, _: Instant) -> Result<(), RestoreError> {
        let most = u64::MAX as f64;
        let current = columns.optional("delay_ns", 0.0, most)?;
        let ending = columns.optional("ending", 0.0, 2.0)?;
        let streak = columns.number("streak", 0.0, most)?;
        let adjustments = columns.number("adjustments", 0.0, most)?;
        *self = Self {
            current: current.map(|nanos| Duration::from_nanos(nanos as u64)),
            last: ending.and_then(|ending| Ending::ALL.get(ending as usize).copied()),
            streak: streak as u64,
            adjustments: adjustments as u64,
            ..*self
        };
        Ok(())
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::ExponentialBackoff
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let (min, max) = (millis(self.min), millis(self.max));
        ConfigError::check_above("exponential_max_delay", max, min)?;
        ConfigError::check_range("exponential_base_delay", millis(self.base), min, max)?;
        ConfigError::check_above("exponential_increase_factor", self.increase, 1.0)?;
        if !(self.decrease > 0.0 && self.decrease < 1.0) {
            let expected = "greater than 0 and less than 1";
            return Err(ConfigError::number(
                "exponential_decrease_factor",
                self.decrease,
                expected,
            ));
        }
        ConfigError::check_above("exponential_error_factor", self.error, 1.0)
    }
}

/// Returns how a request changes the delay; `None` if it does not.
fn ending(record: &Record) -> Option<Ending> {
    match record.end {
        RequestEnd::Won(_) if record.hedge_won() => Some(Ending::Success),
        RequestEnd::Won(_) if record.hedged() => Some(Ending::Failure),
        RequestEnd::Won(_) => match record.suppressed? {
            Suppressed::NotDue => Some(Ending::Success),
            Suppressed::BudgetRatio
            | Suppressed::BudgetRate
            | Suppressed::InFlight
            | Suppressed::ObserveOnly => Some(Ending::Failure),
            _ => None,
        },
        RequestEnd::Fatal(_) | RequestEnd::Failed(_) | RequestEnd::TimedOut => Some(Ending::Error),
        RequestEnd::Dropped | RequestEnd::NoReplica(_) => None,
    }
}

/// Returns `delay` × `factor`, rounded to the nanosecond and saturating; zero for a NaN.
pub(super) fn scaled(delay: Duration, factor: f64) -> Duration {
    Duration::from_nanos((nanos(delay) as f64 * factor + 0.5) as u64)
}

/// The statistics of an [`ExponentialBackoff`]. At most one of the streaks is above zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackoffStats {
    /// The hedge delay of the next request.
    pub delay: Duration,
    /// The number of requests in a row that were won by a hedge or needed none.
    pub success_streak: u64,
    /// The number of requests in a row that were hedged and won by the primary.
    pub failure_streak: u64,
    /// The number of requests in a row that failed or timed out.
    pub error_streak: u64,
    /// The number of requests that changed the delay, or would have changed it without its bounds.
    pub adjustments: u64,
}
