//! A delay that grows when hedges do not pay.

use core::iter;
use core::time::Duration;

use super::{Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::time::{millis, nanos};
use crate::{ConfigError, End, Instant, Report, StrategyKind, Suppressed};

/// Hedges after a delay that every request moves by a factor, as congestion control moves a window.
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
/// and never leaves `min_delay` to `max_delay`.
///
/// Only the request's end counts. A hedge that was started because the primary failed is judged like
/// any other: if it wins, the caller saw no error. A hedge that the budget refused came due too early for
/// what is allowed, and counts as one that lost: else, as every request that needs none shortens the delay, a
/// spent budget would drive it to its minimum.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{ExponentialBackoff, Strategy};
/// use hedge_core::{Hints, Instant, Report, Sample};
///
/// let mut strategy = ExponentialBackoff::new().base_delay(Duration::from_millis(200));
/// let fast = Report::new(Sample::Finished(Duration::from_millis(5)));
/// strategy.record(&fast, Instant::ZERO);
/// let failed = Report::new(Sample::Failed(Duration::from_millis(5)));
/// strategy.record(&failed, Instant::ZERO);
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
    /// The base delay until the first adjustment; either may be out of bounds.
    current: Option<Duration>,
    last: Option<Ending>,
    streak: u64,
    adjustments: u64,
}

/// The three ways a request moves the delay.
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
    /// Starts at 100 ms and stays within 10 ms to 5 s, by factors of 0.9, 1.5 and 2.
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

    /// The first delay, within the bounds.
    #[must_use]
    pub const fn base_delay(mut self, delay: Duration) -> Self {
        self.base = delay;
        self
    }

    /// The shortest delay, less than the longest.
    #[must_use]
    pub const fn min_delay(mut self, delay: Duration) -> Self {
        self.min = delay;
        self
    }

    /// The longest delay.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max = delay;
        self
    }

    /// What a lost hedge multiplies the delay by; greater than 1.
    #[must_use]
    pub const fn increase_factor(mut self, factor: f64) -> Self {
        self.increase = factor;
        self
    }

    /// What a hedge that won or was not needed multiplies the delay by; between 0 and 1.
    #[must_use]
    pub const fn decrease_factor(mut self, factor: f64) -> Self {
        self.decrease = factor;
        self
    }

    /// What a failed request multiplies the delay by; greater than 1.
    #[must_use]
    pub const fn error_factor(mut self, factor: f64) -> Self {
        self.error = factor;
        self
    }

    /// Where the delay is, and how it got there.
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
        // Not `clamp`, which panics when the bounds are the wrong way round.
        self.current
            .unwrap_or(self.base)
            .max(self.min)
            .min(self.max)
    }

    /// The factor for this ending. One that could not be right changes nothing.
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
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(self.delay()).reusable()
    }

    fn record(&mut self, report: &Report, _: Instant) {
        let Some(ending) = ending(report) else {
            return;
        };
        // From zero no factor would lead up again.
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

    /// Hedges that lose lengthen the delay.
    fn wants_guard(&self) -> bool {
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

/// What a request says about the delay, if anything.
fn ending(report: &Report) -> Option<Ending> {
    match report.end {
        End::Won(_) if report.hedge_won() => Some(Ending::Success),
        End::Won(_) if report.hedged() => Some(Ending::Failure),
        End::Won(_) => match report.suppressed? {
            Suppressed::NotDue => Some(Ending::Success),
            Suppressed::BudgetRatio
            | Suppressed::BudgetRate
            | Suppressed::InFlight
            | Suppressed::ObserveOnly => Some(Ending::Failure),
            _ => None,
        },
        End::Failed | End::TimedOut => Some(Ending::Error),
        End::Cancelled => None,
    }
}

/// `delay` times `factor`, to the nanosecond; what cannot be expressed becomes the nearest that can,
/// and NaN zero.
pub(super) fn scaled(delay: Duration, factor: f64) -> Duration {
    Duration::from_nanos((nanos(delay) as f64 * factor + 0.5) as u64)
}

/// Where an [`ExponentialBackoff`] is. At most one of the streaks is above zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackoffStats {
    /// When the next request is hedged.
    pub delay: Duration,
    /// How many requests in a row were won by a hedge or needed none.
    pub success_streak: u64,
    /// How many in a row were hedged and won by the primary.
    pub failure_streak: u64,
    /// How many in a row failed or timed out.
    pub error_streak: u64,
    /// How many requests have moved the delay, or would have but for its bounds.
    pub adjustments: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Sample};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn delay(strategy: &ExponentialBackoff) -> Duration {
        strategy
            .clone()
            .plan(&Hints::NONE, Instant::ZERO)
            .delay()
            .unwrap_or(Duration::MAX)
    }

    /// The delay that one request ended so leaves of 100 ms.
    fn after(edit: impl FnOnce(&mut Report)) -> Duration {
        let mut report = Report::new(Sample::Finished(ms(1)));
        edit(&mut report);
        let mut strategy = ExponentialBackoff::new();
        strategy.record(&report, Instant::ZERO);
        assert_eq!(strategy.stats().delay, delay(&strategy));
        delay(&strategy)
    }

    fn hedged(cause: Cause, end: End) -> impl FnOnce(&mut Report) {
        move |report| {
            report.attempts = 2;
            report.suppressed = None;
            report.hedge_cause = Some(cause);
            report.end = end;
        }
    }

    #[test]
    fn a_hedge_that_won_or_was_not_needed_shortens_the_delay() {
        assert_eq!(after(|_| ()), ms(90));
        assert_eq!(after(hedged(Cause::Delay, End::Won(1))), ms(90));
        assert_eq!(after(hedged(Cause::Delay, End::Won(3))), ms(90));
        assert_eq!(after(hedged(Cause::Retry, End::Won(1))), ms(90));
    }

    #[test]
    fn a_hedge_that_lost_lengthens_it() {
        assert_eq!(after(hedged(Cause::Delay, End::Won(0))), ms(150));
    }

    #[test]
    fn a_request_that_failed_lengthens_it_most() {
        for end in [End::Failed, End::TimedOut] {
            assert_eq!(after(|report| report.end = end), ms(200));
            assert_eq!(after(hedged(Cause::Delay, end)), ms(200));
            assert_eq!(after(hedged(Cause::Retry, end)), ms(200));
        }
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        assert_eq!(after(|report| report.end = End::Cancelled), ms(100));
        assert_eq!(after(hedged(Cause::Delay, End::Cancelled)), ms(100));
        for reason in Suppressed::ALL {
            let told = after(|report| report.suppressed = Some(reason));
            let expected = match reason {
                Suppressed::NotDue => ms(90),
                Suppressed::BudgetRatio
                | Suppressed::BudgetRate
                | Suppressed::InFlight
                | Suppressed::ObserveOnly => ms(150),
                _ => ms(100),
            };
            assert_eq!(told, expected, "{reason}");
        }
    }

    /// Latencies of 0 to 100 ms, in turn, and no hedge allowed: of what is due one in five, for 1.5 × 0.9^4 is about 1.
    #[test]
    fn a_spent_budget_does_not_drive_it_to_its_minimum() {
        let mut strategy = ExponentialBackoff::new();
        let mut due = 0;
        for n in 0..20_000_u64 {
            let latency = ms(n * 37 % 100);
            let is_due = latency > delay(&strategy);
            let mut report = Report::new(Sample::Finished(latency));
            if is_due {
                report.suppressed = Some(Suppressed::BudgetRatio);
                due += 1;
            }
            strategy.record(&report, Instant::ZERO);
        }
        assert!((3_000..5_000).contains(&due), "{due}");
    }

    #[test]
    fn streaks_count_and_break() {
        let mut strategy = ExponentialBackoff::new();
        let mut record = |edit: &dyn Fn(&mut Report)| {
            let mut report = Report::new(Sample::Finished(ms(1)));
            edit(&mut report);
            strategy.record(&report, Instant::ZERO);
            let stats = strategy.stats();
            let streaks = [
                stats.success_streak,
                stats.failure_streak,
                stats.error_streak,
            ];
            (streaks, stats.adjustments)
        };
        assert_eq!(record(&|_| ()), ([1, 0, 0], 1));
        assert_eq!(record(&|_| ()), ([2, 0, 0], 2));
        let lost = |report: &mut Report| hedged(Cause::Delay, End::Won(0))(report);
        assert_eq!(record(&lost), ([0, 1, 0], 3));
        assert_eq!(
            record(&|report| report.end = End::Cancelled),
            ([0, 1, 0], 3)
        );
        assert_eq!(record(&lost), ([0, 2, 0], 4));
        assert_eq!(record(&|report| report.end = End::Failed), ([0, 0, 1], 5));
        assert_eq!(record(&|_| ()), ([1, 0, 0], 6));
    }

    #[test]
    fn the_delay_stays_within_its_bounds_and_a_reset_restores_it() {
        let fresh = ExponentialBackoff::new()
            .base_delay(ms(50))
            .min_delay(ms(20))
            .max_delay(ms(70));
        let mut strategy = fresh;
        let failed = Report::new(Sample::Failed(ms(1)));
        (0..3).for_each(|_| strategy.record(&failed, Instant::ZERO));
        assert_eq!(delay(&strategy), ms(70));
        let fast = Report::new(Sample::Finished(ms(1)));
        strategy.record(&fast, Instant::ZERO);
        // From the bound, not from where the factors alone would have led.
        assert_eq!(delay(&strategy), ms(63));
        (0..20).for_each(|_| strategy.record(&fast, Instant::ZERO));
        assert_eq!(delay(&strategy), ms(20));
        assert_eq!(strategy.stats().adjustments, 24);
        strategy.reset();
        assert_eq!(strategy, fresh);
    }

    #[test]
    fn the_factors_can_be_set() {
        let strategy = ExponentialBackoff::new()
            .increase_factor(3.0)
            .decrease_factor(0.5)
            .error_factor(4.0);
        let after = |edit: &dyn Fn(&mut Report)| {
            let mut report = Report::new(Sample::Finished(ms(1)));
            edit(&mut report);
            let mut strategy = strategy;
            strategy.record(&report, Instant::ZERO);
            delay(&strategy)
        };
        assert_eq!(after(&|_| ()), ms(50));
        assert_eq!(
            after(&|report| hedged(Cause::Delay, End::Won(0))(report)),
            ms(300)
        );
        assert_eq!(after(&|report| report.end = End::Failed), ms(400));
    }

    #[test]
    fn it_leaves_zero_again() {
        let mut strategy = ExponentialBackoff::new().base_delay(ms(0)).min_delay(ms(0));
        assert_eq!(delay(&strategy), ms(0));
        let failed = Report::new(Sample::Failed(ms(1)));
        (0..20).for_each(|_| strategy.record(&failed, Instant::ZERO));
        assert!(delay(&strategy) > ms(1000));
    }

    #[test]
    fn what_cannot_be_right_is_named() {
        let new = ExponentialBackoff::new;
        let bad = [
            (
                "exponential_max_delay",
                new().min_delay(ms(100)).max_delay(ms(100)),
            ),
            ("exponential_base_delay", new().base_delay(ms(9))),
            ("exponential_base_delay", new().base_delay(ms(5001))),
            ("exponential_increase_factor", new().increase_factor(1.0)),
            (
                "exponential_increase_factor",
                new().increase_factor(f64::INFINITY),
            ),
            ("exponential_decrease_factor", new().decrease_factor(0.0)),
            ("exponential_decrease_factor", new().decrease_factor(1.0)),
            (
                "exponential_decrease_factor",
                new().decrease_factor(f64::NAN),
            ),
            ("exponential_error_factor", new().error_factor(0.5)),
            ("exponential_error_factor", new().error_factor(f64::NAN)),
        ];
        for (option, strategy) in bad {
            assert_eq!(
                strategy.validate().map_err(|error| error.option()),
                Err(option)
            );
        }
        let edges = new()
            .base_delay(ms(10))
            .increase_factor(1.001)
            .decrease_factor(0.999);
        for good in [
            new(),
            edges,
            new().base_delay(ms(5000)),
            new().max_delay(Duration::MAX),
        ] {
            assert_eq!(good.validate(), Ok(()));
        }
    }

    #[test]
    fn options_that_cannot_be_right_are_survived() {
        let factors = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300];
        let delays = [Duration::ZERO, ms(100), Duration::MAX];
        for (factor, bound) in factors.into_iter().flat_map(|f| delays.map(|d| (f, d))) {
            let mut strategy = ExponentialBackoff::new()
                .base_delay(bound)
                .min_delay(Duration::MAX)
                .max_delay(bound)
                .increase_factor(factor)
                .decrease_factor(factor)
                .error_factor(factor);
            for end in [End::Won(0), End::Won(1), End::Failed, End::TimedOut] {
                let mut report = Report::new(Sample::Finished(ms(1)));
                hedged(Cause::Delay, end)(&mut report);
                strategy.record(&report, Instant::ZERO);
                assert_eq!(delay(&strategy), bound);
            }
        }
    }

    #[test]
    fn a_factor_that_cannot_be_right_changes_nothing() {
        let strategy = ExponentialBackoff::new()
            .increase_factor(0.5)
            .decrease_factor(2.0)
            .error_factor(0.5);
        let undefined = ExponentialBackoff::new()
            .increase_factor(f64::NAN)
            .decrease_factor(f64::NAN)
            .error_factor(f64::NAN);
        for mut strategy in [strategy, undefined] {
            for end in [End::Won(0), End::Won(1), End::Failed] {
                let mut report = Report::new(Sample::Finished(ms(1)));
                hedged(Cause::Delay, end)(&mut report);
                strategy.record(&report, Instant::ZERO);
                assert_eq!(delay(&strategy), ms(100));
            }
        }
    }

    #[test]
    fn scaling_rounds_and_saturates() {
        assert_eq!(
            scaled(Duration::from_nanos(3), 0.5),
            Duration::from_nanos(2)
        );
        assert_eq!(scaled(Duration::MAX, 2.0), Duration::from_nanos(u64::MAX));
        assert_eq!(scaled(ms(1), -1.0), Duration::ZERO);
        assert_eq!(scaled(ms(1), f64::NAN), Duration::ZERO);
    }
}
