//! A delay that depends on hints about the request.

use core::time::Duration;

use super::backoff::scaled;
use super::{Fixed, Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns, forward};
use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::record::Record;
use crate::time::Instant;

/// Multiplies another strategy's delay by a factor that depends on the [`Hints`] about a request, so that a request
/// that naturally takes long is not hedged for that reason.
///
/// The delay and the time between later hedges are at least 10 ms. The inner strategy learns from all requests: from
/// each latency divided by the request's factor, so that the size of a request does not count twice.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::Instant;
/// use hedge_core::strategy::{Hints, ModelComplexity, Strategy, TimeOfDay, WorkloadAware};
///
/// let hints = Hints::NONE
///     .prompt_length(1500)
///     .model_complexity(ModelComplexity::Complex)
///     .time_of_day(TimeOfDay::Peak);
/// let plan = WorkloadAware::new().plan(&hints, Instant::ZERO);
/// // 100 ms × 1.5 × 2.0 × 0.7
/// assert_eq!(plan.delay(), Some(Duration::from_millis(210)));
/// ```
///
/// A learned delay can be scaled too:
///
/// ```
/// use hedge_core::strategy::{Percentile, WorkloadAware};
///
/// let strategy = WorkloadAware::over(Percentile::new(95.0));
/// assert_eq!(strategy.inner().stats().samples, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkloadAware<S = Fixed> {
    inner: S,
}

impl WorkloadAware {
    /// Creates a strategy that scales a delay of 100 ms.
    pub const fn new() -> Self {
        Self::base_delay(Duration::from_millis(100))
    }

    /// Creates a strategy that scales this delay.
    pub const fn base_delay(delay: Duration) -> Self {
        Self::over(Fixed::new(delay))
    }
}

impl<S> WorkloadAware<S> {
    /// The shortest delay after scaling.
    pub const MIN_DELAY: Duration = Duration::from_millis(10);

    /// Creates a strategy that scales the delays of another strategy.
    pub const fn over(inner: S) -> Self {
        Self { inner }
    }

    /// Returns the strategy whose delay is scaled.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the strategy whose delay is scaled.
    pub const fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the strategy whose delay is scaled, without the scaling.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl Default for WorkloadAware {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Strategy> Strategy for WorkloadAware<S> {
    fn fresh(&self) -> Option<Self> {
        let inner = self.inner.fresh()?;
        Some(Self { inner })
    }

    fn plan(&mut self, hints: &Hints, now: Instant) -> Plan {
        let factor = hints.factor();
        let scaled = |delay| scaled(delay, factor).max(Self::MIN_DELAY);
        self.inner.plan(hints, now).map_delays(scaled)
    }

    fn record(&mut self, record: &Record) {
        let factor = record.workload_factor();
        if factor == 1.0 {
            self.inner.record(record);
        } else {
            self.inner.record(&record.scaled_down(factor));
        }
    }

    fn record_batch(&mut self, records: &[Record]) {
        if records.iter().all(|record| record.workload_factor() == 1.0) {
            self.inner.record_batch(records);
        } else {
            records.iter().for_each(|record| self.record(record));
        }
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::WorkloadAware
    }

    fn typical_latency(&self, hints: &Hints) -> Option<Duration> {
        let ordinary = self.inner.typical_latency(hints)?;
        Some(scaled(ordinary, hints.factor()))
    }

    forward!(self => self.inner, self.inner; except plan, kind, record, typical_latency);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Suppressed;
    use crate::strategy::{
        ModelComplexity, Off, Percentile, Priority, TimeOfDay, WindowedPercentile,
    };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Plans 10 ms steps after the first delay.
    struct Stepping(Duration);

    impl Strategy for Stepping {
        fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
            Plan::after(self.0).then_every(ms(20)).reusable()
        }
    }

    fn delay(base: Duration, hints: Hints) -> Option<Duration> {
        WorkloadAware::base_delay(base)
            .plan(&hints, Instant::ZERO)
            .delay()
    }

    #[test]
    fn prompt_length_counts_by_thresholds() {
        let cases = [
            (0, 100),
            (1000, 100),
            (1001, 150),
            (2000, 150),
            (2001, 200),
            (4000, 200),
            (4001, 250),
            (u32::MAX, 250),
        ];
        for (length, expected) in cases {
            let hints = Hints::NONE.prompt_length(length);
            assert_eq!(delay(ms(100), hints), Some(ms(expected)), "{length}");
        }
    }

    #[test]
    fn every_choice_has_its_factor() {
        let complexity =
            ModelComplexity::ALL.map(|c| delay(ms(100), Hints::NONE.model_complexity(c)));
        assert_eq!(complexity, [50, 100, 200].map(|millis| Some(ms(millis))));
        let time = TimeOfDay::ALL.map(|t| delay(ms(100), Hints::NONE.time_of_day(t)));
        assert_eq!(time, [70, 100, 130].map(|millis| Some(ms(millis))));
        let priority = Priority::ALL.map(|p| delay(ms(100), Hints::NONE.priority(p)));
        assert_eq!(priority, [150, 100, 60].map(|millis| Some(ms(millis))));
    }

    #[test]
    fn the_delay_and_the_step_stay_at_10_ms_or_more() {
        let hints = Hints::NONE
            .priority(Priority::High)
            .model_complexity(ModelComplexity::Simple);
        assert_eq!(delay(ms(30), hints), Some(ms(10)));
        assert_eq!(delay(Duration::ZERO, Hints::NONE), Some(ms(10)));
        let plan = WorkloadAware::over(Stepping(ms(100))).plan(&hints, Instant::ZERO);
        assert_eq!(plan.offset(1), Some(ms(30)));
        assert_eq!(plan.offset(3), Some(ms(50)));
    }

    #[test]
    fn the_longest_delay_does_not_overflow() {
        let hints = Hints::NONE.prompt_length(u32::MAX);
        assert!(delay(Duration::MAX, hints) >= Some(Duration::from_secs(500 * 365 * 86_400)));
    }

    #[test]
    fn the_step_is_scaled_with_the_delay() {
        let hints = Hints::NONE.prompt_length(5000);
        let plan = WorkloadAware::over(Stepping(ms(100))).plan(&hints, Instant::ZERO);
        assert_eq!(plan.offset(1), Some(ms(250)));
        assert_eq!(plan.offset(3), Some(ms(350)));
        let plan = WorkloadAware::new().plan(&hints, Instant::ZERO);
        assert_eq!(plan.offset(3), Some(ms(750)));
    }

    #[test]
    fn the_inner_strategy_learns_what_an_ordinary_request_would_take() {
        let mut strategy = WorkloadAware::over(WindowedPercentile::with_window::<20>(50.0));
        let large = Hints::NONE.model_complexity(ModelComplexity::Complex);
        let small = Hints::NONE.model_complexity(ModelComplexity::Simple);
        let records = [(100, large), (25, small), (50, Hints::NONE)].map(|(millis, hints)| {
            let record = Record::new(crate::record::Sample::Finished(ms(millis)));
            record.planned(ms(millis * 2)).with_hints(&hints)
        });
        (0..10).for_each(|_| strategy.record_batch(&records));
        records.iter().for_each(|record| strategy.record(record));
        assert_eq!(strategy.inner().stats().median, Some(ms(50)));
        assert_eq!(strategy.inner().stats().delay, Some(ms(50)));
        let plan = strategy.plan(&large, Instant::ZERO);
        assert_eq!(plan.delay(), Some(ms(100)));
    }

    #[test]
    fn an_attempt_takes_as_long_as_its_request_is_large() {
        let mut strategy = WorkloadAware::over(WindowedPercentile::with_window::<10>(50.0));
        let report = Record::new(crate::record::Sample::Finished(ms(40)));
        (0..10).for_each(|_| strategy.record(&report));
        for (complexity, latency) in [
            (ModelComplexity::Simple, 20),
            (ModelComplexity::Medium, 40),
            (ModelComplexity::Complex, 80),
        ] {
            let hints = Hints::NONE.model_complexity(complexity);
            assert_eq!(strategy.typical_latency(&hints), Some(ms(latency)));
        }
    }

    #[test]
    fn the_inner_strategy_decides_whether_to_hedge_and_learns() {
        let plan = WorkloadAware::over(Off).plan(&Hints::NONE, Instant::ZERO);
        assert_eq!(plan.suppressed(), Some(Suppressed::Off));
        assert!(!WorkloadAware::new().learns());

        let mut strategy = WorkloadAware::over(WindowedPercentile::with_window::<10>(50.0));
        assert!(strategy.learns());
        let report = Record::new(crate::record::Sample::Finished(ms(40)));
        (0..10).for_each(|_| strategy.record(&report));
        assert_eq!(strategy.typical_latency(&Hints::NONE), Some(ms(40)));
        let hints = Hints::NONE.time_of_day(TimeOfDay::OffPeak);
        assert_eq!(strategy.plan(&hints, Instant::ZERO).delay(), Some(ms(52)));
        strategy.reset();
        assert_eq!(strategy.inner().stats().samples, 0);
        assert_eq!(strategy.kind(), StrategyKind::WorkloadAware);
        let strategy = WorkloadAware::over(Percentile::new(20.0));
        assert_eq!(
            strategy.validate().map_err(|error| error.option()),
            Err("percentile")
        );
    }
}
