//! The best delay and chance for a budget.

use core::iter;
use core::time::Duration;

use super::memory::{LatencyMemory, Share, memory_options};
use super::{Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::attempt::Cause;
use crate::error::ConfigError;
use crate::outcome::{StrategyKind, Suppressed};
use crate::record::{Group, NONE, Record, Sample};
use crate::time::{Instant, nanos};
use crate::window::Entry;

use choose::{DelayMean, Goal, SingleR, choose};
use clustering::Clustering;
use dependence::{Finished, Hypotheses, Pair};
use rate::Rate;

mod choose;
mod clustering;
mod curve;
mod dependence;
mod rate;
mod search;
#[cfg(test)]
mod tests;

/// Lowers one percentile of the latency as far as a budget of hedges allows.
///
/// A hedge at the 98th percentile costs 2 % extra load, but comes too late to lower the 99th much. To hedge half of the
/// requests that pass the 96th percentile costs the same and helps more. The SingleR policy therefore hedges a request
/// that takes longer than a delay d with a chance q. This strategy estimates from about the last 4000 latencies which d
/// and q = min(1, budget / P(X > d)) lead to the lowest target percentile (Kaler, He and Elnikety: "Optimal Reissue
/// Policies for Reducing Tail Latency", SPAA 2017). It hedges a request at most once, however many hedges are allowed.
///
/// * **Latencies.** Only primaries count, and those that lost to a hedge count as *at least* as long as they ran: the
///   distribution is a product-limit estimate. Until three samples lie above the target, which takes 300 for the 99th
///   percentile, the strategy hedges all requests at the percentile that the budget pays for.
/// * **Budget.** The strategy hedges 98 % of `budget_percent` of the requests. If more or fewer hedges start, the
///   policy is corrected so that the difference disappears over about the next 1000 requests. The hedger's own budget
///   should be larger: it is a safety net.
/// * **Requests that are slow wherever they run.** The dependence of a hedge's latency on that of its primary is
///   estimated from hedged requests. If hedges rarely win, the delay changes, or hedging stops: it must reduce the
///   target percentile by half of the percentage that the budget adds to the load, and by 1 % to 10 %. When it stops,
///   one request in 400 is still hedged as a probe, and hedging resumes when probes win.
///
/// * **Requests that are slow one after the other.** If slow requests come in clusters, the policy is chosen more
///   often, and the budget applies over a longer time, so that quiet times make up for a cluster.
///
/// The policy is chosen again when a tenth of the latencies are new, or after 500 requests, 64 in clusters. That takes at most
/// about 20 ns for each sample; other requests cost what they do for [`Percentile`](super::Percentile).
///
/// `build()` refuses an invalid option. A strategy that is used without `build()` takes the nearest valid value.
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
/// assert!(plan.delay() < Some(Duration::from_millis(15)));
/// assert!(plan.chance() > 0.5);
///
/// let stats = strategy.stats();
/// assert!(stats.unhedged > Some(Duration::from_millis(380)));
/// assert!(stats.predicted < Some(Duration::from_millis(27)));
/// ```
#[derive(Clone, Debug)]
pub struct Optimal {
    target_percent: f64,
    budget_percent: f64,
    memory: LatencyMemory,
    learned: Learned,
}

/// What was learned apart from the latencies.
#[derive(Clone, Debug)]
struct Learned {
    hypotheses: Hypotheses,
    rate: Rate,
    delay_mean: DelayMean,
    clustering: Clustering,
    /// The policy, which was chosen `changes` requests ago.
    policy: Option<SingleR>,
    changes: u16,
    /// The requests that have been saved up to pay for learning from pairs.
    credit: u16,
}

impl Learned {
    const NOTHING: Self = Self {
        hypotheses: Hypotheses::new(),
        rate: Rate::new(),
        delay_mean: DelayMean::new(),
        clustering: Clustering::new(),
        policy: None,
        changes: 0,
        credit: 0,
    };
}

/// The number of samples in a search, which takes about 4 KB on the stack.
const SAMPLES: usize = 1000;

/// The number of requests that pay for learning from one pair, which takes about as long as recording them.
const PRICE: u16 = 15;

impl Optimal {
    /// Creates a strategy that lowers this percentile, 50 to 99.9, with hedges for this percentage of the requests,
    /// more than 0.
    pub const fn new(target_percent: f64, budget_percent: f64) -> Self {
        Self {
            target_percent,
            budget_percent,
            memory: LatencyMemory::new(Share::of(used(budget_percent))).without_stretch(),
            learned: Learned::NOTHING,
        }
    }

    memory_options!(memory);

    /// Returns statistics of what has been learned.
    pub fn stats(&self) -> OptimalStats {
        let (plan, policy) = (self.current(), self.learned.policy);
        OptimalStats {
            window: self.memory.window(),
            samples: self.memory.weight(),
            censored: self.memory.dropped(),
            pairs: self.learned.hypotheses.pairs(),
            warming_up: !self.memory.is_warm(),
            probing: self.is_probing(),
            clustered: self.learned.clustering.is_clustered(),
            delay: plan.delay(),
            chance: plan.chance(),
            predicted: policy.map(|policy| Duration::from_micros(policy.predicted)),
            unhedged: policy
                .and_then(|policy| policy.unhedged)
                .map(Duration::from_micros),
            median: self.memory.median(),
        }
    }

    fn current(&self) -> Plan {
        let usable = self.memory.is_warm() || self.memory.start.blends();
        let policy = self.learned.policy.filter(|_| usable);
        let delay = policy.map(|policy| Duration::from_micros(policy.delay));
        let chance = policy.map_or(1.0, |policy| policy.chance);
        let brake = self.learned.rate.brake(self.budget(), self.clustered());
        self.memory
            .plan(delay)
            .with_chance(chance * brake)
            // Plan no second hedge.
            .then_every(Duration::MAX)
    }

    fn is_probing(&self) -> bool {
        self.learned.policy.is_some_and(|policy| policy.probing)
    }

    fn clustered(&self) -> bool {
        self.learned.clustering.is_clustered()
    }

    fn choose(&mut self) {
        let goal = self.goal(&self.learned, self.is_probing());
        let mut delay_mean = self.learned.delay_mean;
        self.learned.policy = self.chosen(goal, &mut delay_mean);
        self.learned.delay_mean = delay_mean;
        self.learned.changes = 0;
    }

    fn chosen(&self, goal: Goal, delay_mean: &mut DelayMean) -> Option<SingleR> {
        let mut entries = [Entry::ZERO; SAMPLES];
        let histogram = self.memory.histogram();
        let len = histogram.expand(&mut entries, !goal.clustered);
        let sorted = entries.get(..len).unwrap_or_default();
        let longest = histogram.longest_finished() / 1000;
        choose(sorted, longest, goal, delay_mean)
    }

    fn goal(&self, learned: &Learned, probing: bool) -> Goal {
        let clustered = learned.clustering.is_clustered();
        Goal {
            target: self.target(),
            budget: self.budget(),
            dependence: learned.hypotheses.mean(),
            correction: learned.rate.correction(self.budget(), clustered),
            clustered,
            probing,
        }
    }

    /// Returns whether enough latencies are new to choose again, so that the cost of a choice is spread over many
    /// requests.
    fn is_stale(&self) -> bool {
        let most = if self.clustered() { 64 } else { 500 };
        let changes = usize::from(self.learned.changes);
        changes > 0 && (10 * changes >= self.memory.weight() || changes >= most)
    }

    /// Learns from a request that was hedged, but not from too many, since looking up a latency takes as long as
    /// recording tens of requests.
    fn learn_pair(&mut self, record: &Record) {
        let saved = self.learned.credit.saturating_add(1);
        self.learned.credit = saved.min(16 * PRICE);
        if self.learned.credit >= PRICE
            && let Some(pair) = self.pair(record)
        {
            self.learned.credit -= PRICE;
            self.learned.hypotheses.learn(pair);
        }
    }

    fn pair(&self, record: &Record) -> Option<Pair> {
        if record.hedge_cause() != Some(Cause::Delay) || record.attempts != 2 {
            return None;
        }
        let hedge = record.hedge()?;
        let finished = match (record.primary(), hedge) {
            (Sample::Finished(_), Sample::Dropped(_)) => Finished::Primary,
            (Sample::Dropped(_), Sample::Finished(_)) => Finished::Hedge,
            (Sample::Dropped(_), Sample::Dropped(_)) => Finished::Neither,
            _ => return None,
        };
        Some(Pair {
            primary: self.share_above(record.primary())?,
            hedge: self.share_above(hedge)?,
            finished,
        })
    }

    /// Returns the share of attempts that take longer, or at least as long if the attempt was dropped. A finished
    /// attempt lies in the middle of those that take equally long.
    fn share_above(&self, sample: Sample) -> Option<f32> {
        let (elapsed, dropped) = match sample {
            Sample::Finished(latency) => (latency, false),
            Sample::Dropped(elapsed) => (elapsed, true),
            Sample::Failed(_) => return None,
        };
        let histogram = self.memory.histogram();
        Some(histogram.survival(nanos(elapsed), dropped, !self.clustered()))
    }

    /// Returns the percentile to lower as a share, clamped.
    fn target(&self) -> f32 {
        within(self.target_percent / 100.0, 0.5, 0.999)
    }

    fn budget(&self) -> f32 {
        used(self.budget_percent)
    }
}

/// Returns the share of requests to hedge, which is slightly less than allowed to make up for errors of the estimate.
const fn used(budget_percent: f64) -> f32 {
    const USE: f64 = 0.98;
    const LEAST: f64 = 1e-6;
    within(budget_percent / 100.0 * USE, LEAST, 1.0)
}

impl Default for Optimal {
    /// Lowers the 99th percentile, with hedges for 5 % of the requests.
    fn default() -> Self {
        Self::new(99.0, 5.0)
    }
}

impl Strategy for Optimal {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, now: Instant) -> Plan {
        if self.memory.expire(now) {
            self.choose();
        }
        self.memory.lasting(self.current())
    }

    fn record(&mut self, record: &Record) {
        self.learn_pair(record);
        // In observe mode and in the control group, count the hedges that would have started.
        let observed = record.due() && record.suppressed == Some(Suppressed::ObserveOnly);
        let withheld = record.group() == Some(Group::Control);
        let hedged = record.hedge_cause() == Some(Cause::Delay) || observed || withheld;
        let (budget, sparing) = (self.budget(), self.is_probing());
        let clustered = self.clustered();
        self.learned.rate.count(hedged, budget, sparing, clustered);
        if record.hedge_delay != NONE {
            let passed = record.primary > record.hedge_delay;
            self.learned.clustering.record(passed);
        }
        if self.memory.record(record) {
            self.learned.changes = self.learned.changes.saturating_add(1);
        }
        if self.is_stale() {
            self.choose();
        }
    }

    fn typical_latency(&self, _: &Hints) -> Option<Duration> {
        self.memory.typical_latency()
    }

    fn expected_win_rate(&self) -> Option<f32> {
        let delay = self.current().delay()?;
        Some(self.memory.wins_after(delay))
    }

    fn reset(&mut self) {
        self.memory.clear();
        self.learned = Learned::NOTHING;
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Optimal
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("optimal_target", self.target_percent, 50.0, 99.9)?;
        ConfigError::check_above("optimal_budget_percent", self.budget_percent, 0.0)?;
        self.memory.validate()
    }

    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        self.memory.export(columns, now);
        let probing = f64::from(u8::from(self.is_probing()));
        columns.column("probing", &mut iter::once(probing));
        self.learned.hypotheses.export(columns);
        self.learned.rate.export(columns);
        self.learned.delay_mean.export(columns);
        self.learned.clustering.export(columns);
    }

    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        // Restore the latencies first: their errors are the most informative.
        let mut memory = self.memory.clone();
        memory.restore(columns, now)?;
        let probing = columns.number("probing", 0.0, 1.0)? > 0.5;
        let mut learned = Learned {
            hypotheses: Hypotheses::restore(columns)?,
            rate: Rate::restore(columns)?,
            delay_mean: DelayMean::restore(columns)?,
            clustering: Clustering::restore(columns)?,
            ..Learned::NOTHING
        };
        self.memory = memory;
        let goal = self.goal(&learned, probing);
        let mut delay_mean = learned.delay_mean;
        learned.policy = self.chosen(goal, &mut delay_mean);
        self.learned = learned;
        Ok(())
    }
}

/// The statistics of an [`Optimal`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimalStats {
    /// The number of samples after which the weight of older ones is halved.
    pub window: usize,
    /// About the number of samples that count, up to twice the window.
    pub samples: usize,
    /// The number of samples of dropped attempts.
    pub censored: usize,
    /// The number of hedged requests from which the dependence of hedges on primaries was learned.
    pub pairs: u32,
    /// Whether there are fewer than `min_samples`.
    pub warming_up: bool,
    /// Whether only probes are hedged, because hedges do not help.
    pub probing: bool,
    /// Whether slow requests come in clusters, so that an early hedge would not pay.
    pub clustered: bool,
    /// The hedge delay of the next request; `None` if it is not hedged, because there are too few samples.
    pub delay: Option<Duration>,
    /// The share of the requests past the delay that are hedged, 0 to 1.
    pub chance: f32,
    /// The target percentile that is expected with this policy.
    pub predicted: Option<Duration>,
    /// The target percentile without hedging; `None` if too much of the tail is hidden by hedges to estimate it.
    pub unhedged: Option<Duration>,
    /// The median latency of primaries; `None` if it is not known.
    pub median: Option<Duration>,
}

/// Returns the nearest share in the range; `low` for a NaN.
const fn within(share: f64, low: f64, high: f64) -> f32 {
    (if share >= low { share.min(high) } else { low }) as f32
}
