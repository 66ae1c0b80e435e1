//! The decisions of a hedger: its strategy, options and guard.

use core::time::Duration;

use crate::error::ConfigError;
use crate::hedger::{Guard, HedgerFlags, Options, RequestPlan};
use crate::outcome::Suppressed;
use crate::random::SplitMix;
use crate::record::Record;
use crate::strategy::{Hints, Plan, Strategy};
use crate::time::Instant;

/// A strategy, with its options and guard, which a hedger keeps behind a lock.
#[derive(Clone, Debug)]
pub struct Policy<S> {
    pub(crate) strategy: S,
    options: Options,
    guard: Guard,
    draws: SplitMix,
}

/// The question whether a hedge may be started.
#[derive(Clone, Copy, Debug)]
pub struct HedgeQuery {
    /// The share of such requests that may hedge.
    pub(crate) chance: f32,
    /// The time until the deadline; `None` if there is none.
    pub(crate) remaining: Option<Duration>,
    /// Whether the hedge follows a failed attempt rather than the hedge delay.
    pub(crate) retry: bool,
}

impl<S> Policy<S> {
    /// Creates a policy that has not learned anything.
    pub const fn new(strategy: S, options: Options) -> Self {
        Self {
            strategy,
            options,
            guard: Guard::new(),
            draws: SplitMix(0),
        }
    }

    pub(crate) fn seeded(mut self, seed: u64) -> Self {
        self.draws = SplitMix(seed);
        self
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }
}

impl<S: Strategy> Policy<S> {
    pub(crate) fn flags(&self) -> HedgerFlags {
        HedgerFlags::new(&self.strategy, &self.options, self.guarded())
    }

    fn guarded(&self) -> bool {
        let wanted = || self.strategy.guard_by_default();
        self.options.guard.unwrap_or_else(wanted)
    }

    pub(crate) fn set_options(&mut self, options: Options) -> Result<(), ConfigError> {
        options.validate()?;
        self.options = options;
        Ok(())
    }

    /// Returns the plan of the next request, and whether it also applies to all other requests
    /// without hints until the next record.
    pub(crate) fn request_plan(&mut self, hints: &Hints, now: Instant) -> (RequestPlan, bool) {
        let plan = if self.options.enabled {
            let hints = hints.or(self.options.hints);
            self.strategy.plan(&hints, now)
        } else {
            Plan::never(Suppressed::Off).reusable()
        };
        let plan = if self.strategy.learns() {
            plan.map_delays(|delay| self.clamp(delay))
        } else {
            plan
        };
        (RequestPlan::new(&plan, &self.options), plan.is_reusable())
    }

    fn clamp(&self, delay: Duration) -> Duration {
        // No hedge is planned; `max_delay` must not turn that into a hedge.
        if delay == Duration::MAX {
            return delay;
        }
        let delay = delay.max(self.options.min_delay);
        self.options.max_delay.map_or(delay, |max| delay.min(max))
    }

    /// Returns whether the strategy and the guard allow a hedge.
    pub(crate) fn may_hedge(&mut self, query: &HedgeQuery) -> Result<(), Suppressed> {
        let typical = self.strategy.typical_latency().unwrap_or(Duration::ZERO);
        if query
            .remaining
            .is_some_and(|remaining| remaining <= typical)
        {
            return Err(Suppressed::Deadline);
        }
        // A failed attempt is worth another one, whatever the latencies are.
        if query.retry {
            return Ok(());
        }
        // Compare in this form so that a NaN hedges nothing.
        let certain = query.chance >= 1.0;
        let drawn = certain || self.draw() < query.chance;
        if !drawn {
            return Err(Suppressed::NotDrawn);
        }
        if self.guarded() && !self.guard.admit() {
            return Err(Suppressed::Guard);
        }
        Ok(())
    }

    /// Draws a uniform number in [0, 1).
    fn draw(&mut self) -> f32 {
        (self.draws.next() >> 40) as f32 / (1 << 24) as f32
    }

    pub(crate) fn record(&mut self, record: &Record) {
        self.strategy.record(record);
        self.guard
            .record(record, || self.strategy.expected_win_rate());
    }

    /// Records requests in the order in which they ended.
    #[cfg(feature = "std")]
    pub(crate) fn record_batch(&mut self, records: &[Record]) {
        self.strategy.record_batch(records);
        for record in records {
            self.guard
                .record(record, || self.strategy.expected_win_rate());
        }
    }

    /// Replaces the strategy and resets the guard.
    pub(crate) fn set_strategy(&mut self, strategy: S) {
        self.strategy = strategy;
        self.guard.reset();
    }

    pub(crate) fn reset(&mut self) {
        self.strategy.reset();
        self.guard.reset();
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::outcome::StrategyKind;
    use crate::record::{RequestEnd, Sample};
    use crate::strategy::{
        Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Learned, Off, Optimal, Percentile,
        WorkloadAware,
    };

    #[test]
    fn a_batch_teaches_what_its_records_would_one_by_one() {
        let strategies: [AnyStrategy<64>; 7] = [
            Off.into(),
            Fixed::new(Duration::from_millis(5)).into(),
            Percentile::with_window(90.0).into(),
            Adaptive::with_window().into(),
            Optimal::with_window(99.0, 5.0).into(),
            ExponentialBackoff::new().into(),
            WorkloadAware::over(Percentile::with_window::<64>(90.0)).into(),
        ];
        assert_eq!(strategies.len() + 1, StrategyKind::ALL.len());
        for strategy in strategies {
            let kind = strategy.kind();
            let mut rng = SplitMix(7);
            let mut together = Policy::new(strategy, Options::DEFAULT);
            let mut one_by_one = together.clone();
            let mut now = Instant::ZERO;
            for batch in 0..50_usize {
                let requests = core::array::from_fn::<_, 32, _>(|_| single(&mut rng, &mut now));
                let requests = requests.get(..batch % 32).unwrap_or_default();
                together.record_batch(requests);
                for record in requests {
                    one_by_one.record(record);
                }
                assert_eq!(together.guard, one_by_one.guard, "{kind}");
                let learned = |policy: &Policy<_>| Learned::of(&policy.strategy, now);
                assert_eq!(learned(&together), learned(&one_by_one), "{kind}");
                let plan = together.request_plan(&Hints::NONE, now);
                assert_eq!(plan, one_by_one.request_plan(&Hints::NONE, now), "{kind}");
            }
        }
    }

    #[test]
    fn a_longest_delay_makes_no_second_hedge_of_none() {
        let options = Options {
            max_hedges: 2,
            max_delay: Some(Duration::from_millis(500)),
            ..Options::DEFAULT
        };
        let once = Optimal::with_window::<64>(99.0, 5.0).initial_delay(Duration::from_secs(2));
        let (plan, _) = Policy::new(once, options).request_plan(&Hints::NONE, Instant::ZERO);
        assert_eq!(plan.offset(1), Some(500_000_000));
        assert_eq!(plan.offset(2), Some(u64::MAX));
    }

    fn single(rng: &mut SplitMix, now: &mut Instant) -> Record {
        let total = Duration::from_nanos(rng.next() >> (20 + rng.next() % 44));
        *now = *now + Duration::from_nanos(rng.next() % 1_000_000);
        let reasons = &Suppressed::ALL;
        let mut record = match rng.next() % 4 {
            0 => Record::new(Sample::Finished(total)),
            1 => Record::new(Sample::Failed(total)),
            2 => Record::new(Sample::Dropped(total)),
            _ => Record::new(Sample::Dropped(total)).ended(RequestEnd::TimedOut, total),
        };
        record.hedge_delay = rng.next() >> 40;
        record.due = rng.next().is_multiple_of(2);
        record.suppressed = Some(reasons[rng.next() as usize % reasons.len()]);
        record.at(*now)
    }
}
