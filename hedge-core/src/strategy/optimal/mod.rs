//! The best delay and chance for a budget.

use core::iter;
use core::time::Duration;

use super::recent::{Recent, start_options};
use super::{Hints, Plan, ReadColumns, RestoreError, Strategy, Warmup, WriteColumns};
use crate::attempt::Cause;
use crate::error::ConfigError;
use crate::outcome::{StrategyKind, Suppressed};
use crate::record::{Record, Sample};
use crate::time::Instant;
use crate::window::Entry;

use choose::{Goal, SingleR, Steady, choose};
use curve::Cursor;
use dependence::{Finished, Hypotheses, Pair};
use rate::Rate;

mod choose;
mod curve;
mod dependence;
mod rate;
mod search;
#[cfg(test)]
mod tests;

/// Lowers one percentile of the latency as far as a budget of hedges allows.
///
/// A hedge at the 98th percentile costs 2 % extra load, but comes too late to lower the 99th
/// much. To hedge half of the requests that pass the 96th costs the same: the SingleR policy
/// hedges a request that takes longer than a delay d with a chance q. This strategy
/// estimates from the last `N` latencies which d and q = min(1, budget / P(X > d)) lead to the lowest
/// target percentile (Kaler, He and Elnikety: "Optimal Reissue Policies for Reducing Tail
/// Latency", SPAA 2017). It hedges a request once, however many hedges are allowed.
///
/// * **Latencies.** Only primaries count, and those that a hedge overtook count as *at least* as long
///   as they ran: the distribution is a product-limit estimate. Until three samples lie above the
///   target, which takes 300 for the 99th percentile, every request is hedged that passes the
///   percentile that the budget pays for.
/// * **Budget.** It is the share of requests to hedge, in percent, of which 98 % are used. Where more
///   or fewer hedges are started, the policy is corrected so that the difference goes away as if over
///   the next 1000 requests. The hedger's own budget should be looser: it is the safety net.
/// * **Requests that are slow wherever they run.** How much the latency of a hedge depends on that of its
///   primary is estimated from the requests that were hedged. Where hedges seldom win, the delay moves,
///   or hedging ends: it has to take off half as much of the target percentile as the budget adds
///   to the load, at least 1 % and at most 10 %. Otherwise one request in 400 is still hedged as a
///   probe, and hedging comes back when the probes win.
///
/// The policy is chosen again when a tenth of the window is new, or after 500 requests. That takes at most
/// about 20 ns for each sample; other requests cost what they do for [`Percentile`](super::Percentile).
///
/// An option that cannot be right is refused by `build()`; if that is bypassed, the nearest that can
/// be is used.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Optimal, Strategy};
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Hints, Instant, Record};
///
/// // One request in 50 is slow, and takes 400 ms instead of 8 to 14.
/// let mut strategy = Optimal::new(99.0, 2.0);
/// for n in 0..1000 {
///     let micros = if n % 50 == 0 { 400_000 } else { 8_000 + 37 * n % 6_000 };
///     let primary = Sample::Finished(Duration::from_micros(micros));
///     strategy.record(&Record::new(primary));
/// }
/// let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
/// assert!(plan.delay() < Some(Duration::from_millis(14)));
/// assert!(plan.chance() > 0.5);
///
/// let stats = strategy.stats();
/// assert_eq!(stats.unhedged, Some(Duration::from_millis(400)));
/// assert!(stats.predicted < Some(Duration::from_millis(27)));
/// ```
#[derive(Clone, Debug)]
pub struct Optimal<const N: usize = 1000> {
    target_percent: f64,
    budget_percent: f64,
    recent: Recent<N>,
    learned: Learned,
}

/// What was learned, the window aside.
#[derive(Clone, Debug)]
struct Learned {
    hypotheses: Hypotheses,
    rate: Rate,
    steady: Steady,
    /// What the window suggested, `changes` ago.
    policy: Option<SingleR>,
    changes: u16,
    /// Requests that pay for the next pairs to be learned from.
    credit: u16,
}

impl Learned {
    const NOTHING: Self = Self {
        hypotheses: Hypotheses::new(),
        rate: Rate::new(),
        steady: Steady::new(),
        policy: None,
        changes: 0,
        credit: 0,
    };
}

impl Optimal {
    /// Lowers this percentile, 50 to 99.9, with hedges for this percentage of requests, more than 0,
    /// by the last 1000 latencies.
    pub const fn new(target_percent: f64, budget_percent: f64) -> Self {
        Self::with_window(target_percent, budget_percent)
    }

    /// The same, with room for the last `N` latencies, 10 to 65 535, at 8 bytes each. About 10 should lie
    /// above the target, 1000 for the 99th percentile, and 40 are better.
    pub const fn with_window<const N: usize>(
        target_percent: f64,
        budget_percent: f64,
    ) -> Optimal<N> {
        Optimal {
            target_percent,
            budget_percent,
            recent: Recent::new(),
            learned: Learned::NOTHING,
        }
    }
}

impl<const N: usize> Optimal<N> {
    /// How many of the last latencies count: 10 to `N`, which is the default. Forgets what was learned.
    #[must_use]
    pub const fn window_size(self, samples: usize) -> Self {
        Self {
            recent: self.recent.sized(samples),
            learned: Learned::NOTHING,
            ..self
        }
    }

    start_options!(recent.start);

    /// Forgets samples as old as this, more than zero, to within an eighth: they leave in eight
    /// groups, none of them younger than 7/8 of it. With too few left, the strategy warms up again. Forgets what
    /// was learned.
    #[must_use]
    pub const fn max_age(self, age: Duration) -> Self {
        Self {
            recent: self.recent.aging(age),
            learned: Learned::NOTHING,
            ..self
        }
    }

    /// What has been learned, for people to look at.
    pub fn stats(&self) -> OptimalStats {
        let (plan, policy) = (self.current(), self.learned.policy);
        let micros = |micros: u32| Duration::from_micros(micros.into());
        let window = &self.recent.window;
        OptimalStats {
            window: window.size(),
            samples: window.len(),
            censored: window.censored(),
            pairs: self.learned.hypotheses.pairs(),
            warming_up: !self.recent.is_warm(),
            probing: self.is_probing(),
            delay: plan.delay(),
            chance: plan.chance(),
            predicted: policy.map(|policy| micros(policy.predicted)),
            unhedged: policy.and_then(|policy| policy.unhedged).map(micros),
            median: self.recent.median(),
        }
    }

    fn current(&self) -> Plan {
        let usable = self.recent.is_warm() || self.recent.start.warmup == Warmup::Prior;
        let policy = self.learned.policy.filter(|_| usable);
        let delay = policy.map(|policy| Duration::from_micros(policy.delay.into()));
        let chance = policy.map_or(1.0, |policy| policy.chance);
        self.recent
            .plan(delay)
            .with_chance(chance * self.learned.rate.brake(self.budget()))
            // A second hedge never.
            .then_every(Duration::MAX)
    }

    fn is_probing(&self) -> bool {
        self.learned.policy.is_some_and(|policy| policy.probing)
    }

    fn choose(&mut self) {
        let goal = self.goal(&self.learned, self.is_probing());
        let learned = &mut self.learned;
        learned.policy = choose(self.recent.window.sorted(), goal, &mut learned.steady);
        learned.changes = 0;
    }

    fn goal(&self, learned: &Learned, probing: bool) -> Goal {
        Goal {
            target: self.target(),
            budget: self.budget(),
            dependence: learned.hypotheses.mean(),
            correction: learned.rate.correction(self.budget()),
            probing,
        }
    }

    /// Whether a tenth of the window has changed, so that the cost of a choice is spread over as many
    /// requests.
    fn is_stale(&self) -> bool {
        let changes = usize::from(self.learned.changes);
        changes > 0 && (10 * changes >= self.recent.window.len() || changes >= 500)
    }

    /// Learns from a request that was hedged, but not from too many: to look up a latency takes about
    /// 1 ns for each sample in the window.
    fn learn_pair(&mut self, record: &Record) {
        let price = self.recent.window.len() as u16 / 64;
        let saved = self.learned.credit.saturating_add(1);
        self.learned.credit = saved.min(16 * price.max(1));
        if self.learned.credit >= price
            && let Some(pair) = self.pair(record)
        {
            self.learned.credit -= price;
            self.learned.hypotheses.learn(pair);
        }
    }

    fn pair(&self, record: &Record) -> Option<Pair> {
        if record.hedge_cause() != Some(Cause::Delay) || record.attempts != 2 {
            return None;
        }
        let finished = match (record.primary(), record.hedge()?) {
            (Sample::Finished(_), Sample::Dropped(_)) => Finished::Primary,
            (Sample::Dropped(_), Sample::Finished(_)) => Finished::Hedge,
            (Sample::Dropped(_), Sample::Dropped(_)) => Finished::Neither,
            _ => return None,
        };
        Some(Pair {
            primary: self.share_above(record.primary())?,
            hedge: self.share_above(record.hedge()?)?,
            finished,
        })
    }

    /// The share of attempts that take longer, or at least as long as one that was dropped. Where many
    /// take the same time, what finished lies in their midst.
    fn share_above(&self, sample: Sample) -> Option<f32> {
        let entry = Entry::of(sample)?;
        let mut cursor = Cursor::new(self.recent.window.sorted());
        cursor.up_to(entry.micros());
        let at_least = cursor.next_survival();
        if entry.is_censored() {
            return Some(at_least);
        }
        cursor.up_past(entry.micros());
        Some(0.5 * (at_least + cursor.next_survival()))
    }

    /// The percentile to lower, within what is possible, as a share.
    fn target(&self) -> f32 {
        within(self.target_percent / 100.0, 0.5, 0.999)
    }

    /// The share of requests to hedge: a little less than is allowed, so that what is estimated a
    /// little wrong stays within.
    fn budget(&self) -> f32 {
        const USE: f64 = 0.98;
        const LEAST: f64 = 1e-6;
        within(self.budget_percent / 100.0 * USE, LEAST, 1.0)
    }
}

impl<const N: usize> Default for Optimal<N> {
    /// The 99th percentile, for 5 % of the requests.
    fn default() -> Self {
        Optimal::with_window(99.0, 5.0)
    }
}

impl<const N: usize> Strategy for Optimal<N> {
    fn plan(&mut self, _: &Hints, now: Instant) -> Plan {
        if self.recent.window.expire(now) {
            self.choose();
        }
        self.recent.lasting(self.current())
    }

    fn record(&mut self, record: &Record) {
        self.learn_pair(record);
        // Where hedges are only observed, those that would have been count.
        let observed = record.due && record.suppressed == Some(Suppressed::ObserveOnly);
        let hedged = record.hedge_cause() == Some(Cause::Delay) || observed;
        let (budget, sparing) = (self.budget(), self.is_probing());
        self.learned.rate.count(hedged, budget, sparing);
        if self.recent.window.push(record.primary(), record.ended_at) {
            self.learned.changes = self.learned.changes.saturating_add(1);
        }
        if self.is_stale() {
            self.choose();
        }
    }

    fn typical_latency(&self) -> Option<Duration> {
        self.recent.typical_latency()
    }

    fn expected_win_rate(&self) -> Option<f32> {
        let delay = self.current().delay()?;
        Some(self.recent.window.wins_after(delay))
    }

    fn reset(&mut self) {
        self.recent.window.clear();
        self.learned = Learned::NOTHING;
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Optimal
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("optimal_target", self.target_percent, 50.0, 99.9)?;
        ConfigError::check_above("optimal_budget_percent", self.budget_percent, 0.0)?;
        self.recent.validate()
    }

    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        self.recent.window.export("latencies_us", columns, now);
        let probing = f64::from(u8::from(self.is_probing()));
        columns.column("probing", &mut iter::once(probing));
        self.learned.hypotheses.export(columns);
        self.learned.rate.export(columns);
        self.learned.steady.export(columns);
    }

    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        let probing = columns.number("probing", 0.0, 1.0)? > 0.5;
        let mut learned = Learned {
            hypotheses: Hypotheses::restore(columns)?,
            rate: Rate::restore(columns)?,
            steady: Steady::restore(columns)?,
            ..Learned::NOTHING
        };
        self.recent.window.restore("latencies_us", columns, now)?;
        let goal = self.goal(&learned, probing);
        let mut steady = learned.steady;
        learned.policy = choose(self.recent.window.sorted(), goal, &mut steady);
        self.learned = learned;
        Ok(())
    }
}

/// What an [`Optimal`] has learned.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimalStats {
    /// How many samples fit in the window.
    pub window: usize,
    /// How many samples there are.
    pub samples: usize,
    /// How many of them are attempts that were dropped.
    pub censored: usize,
    /// How many hedged requests have taught how primaries and hedges depend on each other.
    pub pairs: u32,
    /// Whether there are fewer than `min_samples`.
    pub warming_up: bool,
    /// Whether only probes are hedged, because hedges do not help.
    pub probing: bool,
    /// When the next request is hedged; absent if it is not, for want of samples.
    pub delay: Option<Duration>,
    /// The share of the requests past the delay that are hedged, 0 to 1.
    pub chance: f32,
    /// The target percentile as it should be under this policy.
    pub predicted: Option<Duration>,
    /// What it would be without hedging; absent if hedges have hidden too much of the tail to tell.
    pub unhedged: Option<Duration>,
    /// What half of the primaries do not exceed.
    pub median: Option<Duration>,
}

/// The nearest that can be; a NaN is nearest to `low`.
fn within(share: f64, low: f64, high: f64) -> f32 {
    (if share.is_nan() {
        low
    } else {
        share.clamp(low, high)
    }) as f32
}
