//! What a hedger decides by: its strategy, options and guard.

use core::time::Duration;

use crate::error::ConfigError;
use crate::hedger::{Guard, HedgerFlags, Options, RequestPlan};
use crate::outcome::Suppressed;
use crate::random::SplitMix;
#[cfg(feature = "std")]
use crate::record::Alone;
use crate::record::Report;
use crate::strategy::{Hints, Plan, Strategy};
use crate::time::Instant;

/// A strategy and what surrounds it, as behind a hedger's lock.
#[derive(Clone, Debug)]
pub struct Policy<S> {
    pub(crate) strategy: S,
    options: Options,
    guard: Guard,
    draws: SplitMix,
}

/// What a request that wants to hedge tells.
#[derive(Clone, Copy, Debug)]
pub struct HedgeQuery {
    /// The share of such requests that may.
    pub(crate) chance: f32,
    /// How much time it has left.
    pub(crate) remaining: Option<Duration>,
    /// Whether an attempt failed; if not, the hedge delay passed.
    pub(crate) retry: bool,
}

impl<S> Policy<S> {
    /// A policy that has learned nothing.
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

    /// The terms of the next request, and whether every request without hints has the same until the
    /// next record.
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
        // That of a hedge which is not to be.
        if delay == Duration::MAX {
            return delay;
        }
        let delay = delay.max(self.options.min_delay);
        self.options.max_delay.map_or(delay, |max| delay.min(max))
    }

    /// Whether a request may start a hedge, as far as the strategy and the guard go.
    pub(crate) fn may_hedge(&mut self, query: &HedgeQuery) -> Result<(), Suppressed> {
        let typical = self.strategy.typical_latency().unwrap_or(Duration::ZERO);
        if query
            .remaining
            .is_some_and(|remaining| remaining <= typical)
        {
            return Err(Suppressed::Deadline);
        }
        // A failure is worth another attempt, however slow or fast the others are.
        if query.retry {
            return Ok(());
        }
        // Written so that a NaN hedges nothing.
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

    /// In [0, 1), uniform.
    fn draw(&mut self) -> f32 {
        (self.draws.next() >> 40) as f32 / (1 << 24) as f32
    }

    pub(crate) fn record(&mut self, report: &Report, now: Instant) {
        self.strategy.record(report, now);
        self.guard
            .record(report, || self.strategy.expected_win_rate());
    }

    /// The same of requests that made one attempt each.
    #[cfg(feature = "std")]
    pub(crate) fn record_batch(&mut self, requests: &[Alone]) {
        self.strategy.record_batch(requests);
        for alone in requests {
            self.guard.record_batch(alone);
        }
    }

    /// Another strategy, which starts with a clean slate.
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
    use crate::record::End;
    use crate::strategy::{
        Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Learned, Off, Optimal, Percentile,
        WorkloadAware,
    };

    /// As servers tell of most requests.
    #[test]
    fn requests_told_of_together_teach_what_they_would_one_by_one() {
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
                let requests = core::array::from_fn::<_, 32, _>(|_| alone(&mut rng, &mut now));
                let requests = requests.get(..batch % 32).unwrap_or_default();
                together.record_batch(requests);
                for alone in requests {
                    one_by_one.record(&alone.report(), alone.ended_at());
                }
                assert_eq!(together.guard, one_by_one.guard, "{kind}");
                let learned = |policy: &Policy<_>| Learned::of(&policy.strategy, now);
                assert_eq!(learned(&together), learned(&one_by_one), "{kind}");
                let terms = together.request_plan(&Hints::NONE, now);
                assert_eq!(terms, one_by_one.request_plan(&Hints::NONE, now), "{kind}");
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
        let (terms, _) = Policy::new(once, options).request_plan(&Hints::NONE, Instant::ZERO);
        assert_eq!(terms.offset(1), Some(500_000_000));
        assert_eq!(terms.offset(2), Some(u64::MAX));
    }

    fn alone(rng: &mut SplitMix, now: &mut Instant) -> Alone {
        let total = rng.next() >> (20 + rng.next() % 44);
        *now = *now + Duration::from_nanos(rng.next() % 1_000_000);
        let ends = [End::Won(0), End::Failed, End::TimedOut, End::Cancelled];
        let reasons = &Suppressed::ALL;
        Alone {
            end: ends[rng.next() as usize % ends.len()],
            total,
            delay: rng.next() >> 40,
            due: rng.next().is_multiple_of(2),
            suppressed: Some(reasons[rng.next() as usize % reasons.len()]),
            cost: 1.0,
            now: *now,
        }
    }
}
