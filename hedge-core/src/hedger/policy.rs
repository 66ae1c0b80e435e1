//! The decisions of a hedger: its strategy, options and guard.

use core::time::Duration;

use super::guard::{Admission, Guard};
use super::retry_guard::RetryGuard;
use super::traffic::TrafficMonitor;
use crate::error::ConfigError;
use crate::hedger::{HedgerFlags, Options, PolicyOptions, RequestPlan, Traffic};
use crate::outcome::Suppressed;
use crate::random::SplitMix;
use crate::record::{Group, Record, RequestEnd};
use crate::strategy::{Hints, HintsClass, Plan, Strategy};
use crate::time::Instant;

/// A strategy, with its options and guard, which a hedger keeps behind a lock.
#[derive(Clone, Debug)]
pub struct Policy<S> {
    pub(crate) strategy: S,
    options: PolicyOptions,
    guard: Guard,
    retry_guard: RetryGuard,
    traffic: TrafficMonitor,
    /// Whether `max_delay` cut the last delay that was planned.
    is_delay_cut: bool,
    draws: SplitMix,
}

/// A request's question whether it may start a hedge.
#[derive(Clone, Copy, Debug)]
pub struct HedgeQuery {
    /// The share of the requests past their delay that may hedge.
    pub(crate) chance: f32,
    /// The time until the deadline; `None` if there is none.
    pub(crate) remaining: Option<Duration>,
    /// What the caller said about the request, with the hedger's defaults.
    pub(crate) hints: HintsClass,
    /// Whether the hedge follows a failed attempt rather than the hedge delay.
    pub(crate) retry: bool,
    /// Whether the hedge delay of the request has just passed.
    pub(crate) first_due: bool,
    /// Whether this hedge was asked for before, so that it was drawn already.
    pub(crate) drawn: bool,
    /// Whether the primary probes a suspect replica, and this is the first attempt beside it.
    pub(crate) rescues_probe: bool,
    /// The step: the request has waited for 2^`step` times this hedge's delay.
    pub(crate) step: u8,
    pub(crate) now: Instant,
}

/// A hedge that may start, as far as the strategy and the guard go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Admitted {
    /// What the hedger knows of its traffic, for the budget.
    pub(crate) traffic: Traffic,
    /// The guard admitted it although it puts others off. To be given back if it does not start.
    pub(crate) is_probe: bool,
}

/// Why an attempt may not start now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The attempt may not start later either.
    Final(Suppressed),
    /// The attempt may start later.
    Deferred {
        /// Why it may not start yet.
        reason: Suppressed,
        /// The step at which to ask again, when the request has waited for 2^`step` times the hedge's delay.
        step: u8,
    },
}

impl Refusal {
    /// Creates a refusal that may not apply any more at the next step.
    pub(crate) const fn temporary(reason: Suppressed) -> Self {
        Self::Deferred { reason, step: 0 }
    }
}

impl<S> Policy<S> {
    /// Creates a policy that has not learned anything.
    pub const fn new(strategy: S, options: Options) -> Self {
        Self {
            strategy,
            options: PolicyOptions::new(options),
            guard: Guard::new(),
            retry_guard: RetryGuard::new(),
            traffic: TrafficMonitor::new(),
            is_delay_cut: false,
            draws: SplitMix(0),
        }
    }

    pub(crate) fn seeded(mut self, seed: u64) -> Self {
        self.draws = SplitMix(seed);
        self
    }

    pub(crate) fn options(&self) -> Options {
        self.options.options()
    }

    /// Returns how many nanoseconds the first attempt of a request may take by the options.
    pub(crate) fn limit(&self) -> u64 {
        self.options.limit()
    }

    /// Returns the longest pushback that a request waits for by the options, in nanoseconds.
    pub(crate) const fn max_pushback(&self) -> u64 {
        self.options.max_pushback
    }
}

impl<S: Strategy> Policy<S> {
    /// Returns a policy with the same options that has learned nothing; `None` if the strategy cannot be created
    /// afresh.
    ///
    /// It draws other random numbers than policies that were created with another `number`.
    #[cfg(feature = "std")]
    pub(crate) fn fresh(&self, number: u64) -> Option<Self> {
        let policy = Self::new(self.strategy.fresh()?, self.options());
        Some(policy.seeded(self.draws.clone().next() ^ number))
    }

    pub(crate) fn flags(&self) -> HedgerFlags {
        let slow = self.traffic.traffic(self.planned_pass_rate()).slow;
        HedgerFlags::new(&self.strategy, &self.options, self.guarded(), slow)
    }

    fn guarded(&self) -> bool {
        let wanted = || self.strategy.guard_by_default();
        self.options.guard.unwrap_or_else(wanted)
    }

    /// Returns the share of requests that the strategy plans to pass its delay.
    fn planned_pass_rate(&self) -> Option<f32> {
        // If the delay was cut short, more requests pass it than the strategy planned.
        (!self.is_delay_cut)
            .then(|| self.strategy.planned_pass_rate())
            .flatten()
    }

    pub(crate) fn set_options(&mut self, options: Options) -> Result<(), ConfigError> {
        options.validate()?;
        self.options = PolicyOptions::new(options);
        Ok(())
    }

    /// Returns the plan of the next request, and whether it also applies to all other requests
    /// without hints until the next record.
    pub(crate) fn request_plan(&mut self, hints: &Hints, now: Instant) -> (RequestPlan, bool) {
        let hints = hints.or(self.options.hints);
        let plan = if self.options.enabled {
            self.strategy.plan(&hints, now)
        } else {
            Plan::never(Suppressed::Off).reusable()
        };
        let planned = plan.delay_nanos();
        let plan = if self.strategy.learns() {
            plan.map_nanos(|delay| self.clamp(delay))
        } else {
            plan
        };
        self.is_delay_cut = plan.delay_nanos() < planned;
        let request_plan = RequestPlan::new(&plan, &self.options, &hints);
        (request_plan, plan.is_reusable())
    }

    fn clamp(&self, delay: u64) -> u64 {
        let PolicyOptions {
            min_delay,
            max_delay,
            ..
        } = self.options;
        match delay {
            // No hedge is planned; `max_delay` must not turn that into a hedge.
            PolicyOptions::NEVER => delay,
            delay => delay.max(min_delay).min(max_delay),
        }
    }

    /// Returns whether the strategy and the guard allow a hedge, and the state of the traffic.
    pub(crate) fn may_hedge(&mut self, query: &HedgeQuery) -> Result<Admitted, Refusal> {
        let planned = self.planned_pass_rate();
        let traffic = self.traffic.traffic(planned);
        if query.first_due {
            // Record this when the hedge is due, not when the request ends: if many requests hang at the same time, not
            // all of them may be hedged before the first one ends.
            self.traffic.record(true, planned);
        }
        if query
            .remaining
            .is_some_and(|remaining| remaining <= typical_latency(&self.strategy, query.hints))
        {
            return Err(Refusal::Final(Suppressed::Deadline));
        }
        // The request was sent to a suspect on purpose, so only the budget may keep it there.
        if query.rescues_probe {
            return Ok(Admitted {
                traffic,
                is_probe: false,
            });
        }
        // A retry does not depend on the latencies.
        if query.retry {
            let is_probe = self.guarded();
            return if is_probe && !self.retry_guard.admit() {
                Err(Refusal::temporary(Suppressed::Guard))
            } else {
                Ok(Admitted { traffic, is_probe })
            };
        }
        // Both comparisons are false for a NaN, so that it hedges nothing.
        let certain = query.drawn || query.chance >= 1.0;
        let drawn = certain || self.draw() < query.chance;
        if !drawn {
            return Err(Refusal::Final(Suppressed::NotDrawn));
        }
        let admission = if self.guarded() {
            self.guard.admit(query.step, query.now)
        } else {
            Admission::Admit
        };
        match admission {
            Admission::Defer(step) => {
                let reason = Suppressed::Guard;
                Err(Refusal::Deferred { reason, step })
            }
            Admission::Admit | Admission::Probe => Ok(Admitted {
                traffic,
                is_probe: admission == Admission::Probe,
            }),
        }
    }

    /// Takes back a probe that was granted to a hedge, or to a retry, that did not start.
    pub(crate) fn give_back_probe(&mut self, retry: bool) {
        if retry {
            self.retry_guard.give_back();
        } else {
            self.guard.give_back_probe();
        }
    }

    /// Returns the level of the guard and whether the backend counts as slow; 0 and `false` without a guard.
    pub(crate) fn guard_state(&self) -> (u8, bool) {
        if self.guarded() {
            (self.guard.level(), self.guard.is_slow())
        } else {
            (0, false)
        }
    }

    /// Returns whether hedges are withheld from some requests, for a control group.
    pub(crate) fn has_control(&self) -> bool {
        self.options.holdback > 0.0
    }

    /// Draws the group of a request whose first hedge may start; `None` if there is no control group.
    pub(crate) fn draw_group(&mut self) -> Option<Group> {
        let share = self.options.holdback;
        self.has_control().then(|| {
            if self.draw() < share {
                Group::Control
            } else {
                Group::Hedged
            }
        })
    }

    /// Draws a uniform number in [0, 1).
    fn draw(&mut self) -> f32 {
        (self.draws.next() >> 40) as u32 as f32 / (1 << 24) as f32
    }

    pub(crate) fn record(&mut self, record: &Record) {
        self.teach(record);
        self.watch(record, self.planned_pass_rate());
    }

    fn teach(&mut self, record: &Record) {
        if self.options.hints.is_empty() {
            self.strategy.record(record);
            return;
        }
        let mut record = *record;
        record.default_hints(&self.options.hints);
        self.strategy.record(&record);
    }

    /// Records requests in the order in which they ended.
    #[cfg(feature = "std")]
    pub(crate) fn record_batch(&mut self, records: &[Record]) {
        if self.options.hints.is_empty() {
            self.strategy.record_batch(records);
        } else {
            records.iter().for_each(|record| self.teach(record));
        }
        let planned = self.planned_pass_rate();
        for record in records {
            if record.is_ordinary() {
                self.watch_ordinary(planned);
            } else {
                self.watch(record, planned);
            }
        }
    }

    /// Updates the guard and the other monitors with a request that the strategy has recorded.
    fn watch(&mut self, record: &Record, planned: Option<f32>) {
        if record.passed() == Some(false) && matches!(record.end, RequestEnd::Won(_)) {
            self.traffic.record(false, planned);
        }
        let strategy = &self.strategy;
        self.guard.record(
            record,
            || typical_latency(strategy, record.hints_class()),
            || strategy.expected_win_rate(),
        );
        self.retry_guard.record(record);
    }

    /// Fast path of [`watch`](Self::watch), for a request that was answered before a hedge was due.
    #[cfg(feature = "std")]
    fn watch_ordinary(&mut self, planned: Option<f32>) {
        self.traffic.record(false, planned);
        self.guard.record_slowness(false);
    }

    /// Replaces the strategy, and forgets everything about requests so far.
    pub(crate) fn set_strategy(&mut self, strategy: S) {
        self.strategy = strategy;
        self.forget_requests();
    }

    /// Forgets what was learned about requests outside of the strategy.
    fn forget_requests(&mut self) {
        self.guard = Guard::new();
        self.retry_guard = RetryGuard::new();
        self.traffic = TrafficMonitor::new();
    }

    pub(crate) fn reset(&mut self) {
        self.strategy.reset();
        self.forget_requests();
    }
}

/// Returns how long an attempt of a request with these hints usually takes; zero if that is not known.
fn typical_latency(strategy: &impl Strategy, hints: HintsClass) -> Duration {
    strategy.typical_latency(&hints.hints()).unwrap_or_default()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::attempt::Cause;
    use crate::outcome::StrategyKind;
    use crate::record::{RequestEnd, Sample};
    use crate::strategy::{
        Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Learned, Off, OnFailure, Optimal,
        Percentile, WorkloadAware,
    };

    #[test]
    fn a_batch_teaches_what_its_records_would_one_by_one() {
        let strategies: [AnyStrategy; 8] = [
            Off.into(),
            OnFailure.into(),
            Fixed::new(Duration::from_millis(5)).into(),
            Percentile::new(90.0).into(),
            Adaptive::with_window().into(),
            Optimal::new(99.0, 5.0).into(),
            ExponentialBackoff::new().into(),
            WorkloadAware::over(Percentile::new(90.0)).into(),
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
                // The guard compares with the typical latency at the end of the batch.
                assert_eq!(together.traffic, one_by_one.traffic, "{kind}");
                let learned = |policy: &Policy<_>| Learned::of(&policy.strategy, now);
                assert_eq!(learned(&together), learned(&one_by_one), "{kind}");
                let plan = together.request_plan(&Hints::NONE, now);
                assert_eq!(plan, one_by_one.request_plan(&Hints::NONE, now), "{kind}");
            }
        }
    }

    fn query() -> HedgeQuery {
        HedgeQuery {
            chance: 1.0,
            hints: Hints::NONE.class(),
            remaining: None,
            retry: false,
            first_due: true,
            drawn: false,
            rescues_probe: false,
            step: 0,
            now: Instant::ZERO,
        }
    }

    fn guarded() -> Policy<Fixed> {
        let options = Options {
            guard: Some(true),
            ..Options::DEFAULT
        };
        Policy::new(Fixed::new(Duration::from_millis(5)), options)
    }

    #[test]
    fn a_hedge_is_drawn_once() {
        let mut policy = guarded();
        let unlikely = HedgeQuery {
            chance: 0.0,
            ..query()
        };
        let refused = Err(Refusal::Final(Suppressed::NotDrawn));
        assert_eq!(policy.may_hedge(&unlikely), refused);
        // This hedge was drawn before it was refused for another reason.
        let drawn = HedgeQuery {
            drawn: true,
            ..unlikely
        };
        let admitted = policy.may_hedge(&drawn).unwrap();
        assert_eq!(admitted.traffic, Traffic::CALM);
    }

    #[test]
    fn requests_that_hang_together_are_a_surge_before_one_ends() {
        let mut policy = guarded();
        let surges =
            |policy: &mut Policy<Fixed>| policy.may_hedge(&query()).unwrap().traffic.surging;
        assert_eq!((0..100).filter(|_| !surges(&mut policy)).count(), 21);
        // A hedge that is asked for again belongs to a request that has been counted.
        let again = HedgeQuery {
            first_due: false,
            ..query()
        };
        let fast = Record::new(Sample::Finished(Duration::from_millis(1)));
        (0..20).for_each(|_| policy.record(&fast));
        (0..100).for_each(|_| {
            let _ = policy.may_hedge(&again);
        });
        assert!(!surges(&mut policy));
    }

    #[test]
    fn retries_that_fail_are_thinned_out_and_hedges_are_not() {
        let mut policy = guarded();
        let after = Duration::from_millis(1);
        let failed = Record::new(Sample::Failed(after))
            .with_hedge(Cause::Retry, after, Sample::Failed(after))
            .ended(RequestEnd::Failed(0), after);
        (0..1000).for_each(|_| policy.record(&failed));
        let retry = HedgeQuery {
            retry: true,
            ..query()
        };
        let granted = (0..640).filter(|_| policy.may_hedge(&retry).is_ok());
        assert_eq!(granted.count(), 10);
        assert_eq!(
            policy.may_hedge(&retry),
            Err(Refusal::temporary(Suppressed::Guard))
        );
        assert!(policy.may_hedge(&query()).is_ok());
        // Without a guard, hedges are not deferred.
        policy.options.guard = Some(false);
        assert!((0..100).all(|_| policy.may_hedge(&retry).is_ok()));
    }

    #[test]
    fn a_delay_that_was_cut_is_not_what_the_strategy_planned() {
        let slow = |max_delay| {
            let options = Options {
                max_delay,
                ..Options::DEFAULT
            };
            let strategy = Percentile::new(95.0).initial_delay(Duration::from_millis(30));
            let mut policy = Policy::new(strategy, options);
            let _ = policy.request_plan(&Hints::NONE, Instant::ZERO);
            (0..500).for_each(|_| {
                let _ = policy.may_hedge(&query());
            });
            policy.flags().traffic().slow
        };
        assert!(slow(None));
        assert!(slow(Some(Duration::from_millis(30))));
        assert!(!slow(Some(Duration::from_millis(29))));
    }

    #[test]
    fn a_longest_delay_makes_no_second_hedge_of_none() {
        let options = Options {
            max_hedges: 2,
            max_delay: Some(Duration::from_millis(500)),
            ..Options::DEFAULT
        };
        let once = Optimal::new(99.0, 5.0).initial_delay(Duration::from_secs(2));
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
        record = record.with_due(rng.next().is_multiple_of(2));
        record.suppressed = Some(reasons[rng.next() as usize % reasons.len()]);
        record.at(*now)
    }
}
