//! Thompson Sampling over a few delays.

use core::iter;
use core::time::Duration;

use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;

use super::warmup::start_options;
use super::{Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::random::Draws;
use crate::record::Record;
use crate::time::{Instant, nanos};

pub use arms::ArmStats;
use arms::Arms;
pub use candidates::DelayCandidates;
use history::History;
use price::Price;
use replay::Replay;

mod arms;
mod candidates;
mod history;
mod price;
#[cfg(test)]
mod quality;
mod replay;
#[cfg(test)]
mod tests;

/// Finds the best of up to 16 delays by Thompson Sampling, as a bandit whose arms are the delays.
///
/// The reward of a request, between 0 and 1, is
///
/// 1 − min(1, (latency / median + `cost_weight` · hedges) / 10)
///
/// where the median is that of the last `N` primaries. A hedge therefore costs as much as waiting for `cost_weight`
/// medians, and all rewards beyond ten medians are 0.
///
/// The belief about each arm's mean reward is a Beta(α, β) distribution. For every request, one number is drawn from
/// each distribution, and the delay with the highest number is used. So a delay is tried as often as it is likely to be
/// the best one (Thompson, 1933; Russo et al., *A Tutorial on Thompson Sampling*, 2018). Servers record requests in
/// batches of up to 32, or of a millisecond, and draw once for each batch.
///
/// - **Every request teaches every arm.** A request whose primary finished shows the result of all longer delays, and
///   one that was hedged often shows that of shorter ones. An unknown latency is drawn from the last attempts that took
///   longer than its lower bound (from the product-limit estimate, since many of them were dropped, too), and beyond
///   the longest of them from a Pareto distribution. Hedges are drawn from past hedges, so that the strategy notices if
///   hedges are slow when their primaries are slow. While there are few hedges, they are drawn from primaries.
/// - **Beliefs are as sharp as the evidence.** Rewards vary less than the coin flips that a Beta distribution counts,
///   and a slow request lowers the reward of all arms alike. So α and β count each request as m (1 − m) / v coin flips,
///   1 to 1000, where m is the arm's mean reward and v the variance of its lead over the average arm.
/// - **The budget sets a price.** While the budget refuses hedges, each costs more than `cost_weight`, up to the whole
///   reward, until the delays in use ask for about as many hedges as the budget pays for. So an early delay gains
///   nothing from hedges that would be refused. Rare clusters of refusals do not raise the price.
/// - **Old evidence fades.** The weight of every request is multiplied by 1 − `learning_rate` / 100 with each one after
///   it: at 0.1, the last 1000 count. When the median has doubled or halved, the weight is divided by four, since the
///   delays then lie elsewhere in the distribution.
///
/// The delays should lie between the median and the longest latencies. The strategy needs some hundred requests to
/// choose well.
///
/// `build()` refuses an invalid option. A strategy that is used without `build()` takes the nearest valid value. Memory: 8 bytes per sample and 1.2 KiB, so 3.2 KiB for the usual 256.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Adaptive, Strategy};
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Hints, Instant, Record};
///
/// let delays = [20, 50, 500].map(Duration::from_millis);
/// let mut strategy = Adaptive::new().candidates(&delays).seed(7);
/// for request in 0..1000 {
///     let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
///     // Every tenth attempt is stuck, but here nobody hedges.
///     let millis = if request % 10 == 0 { 800 } else { 10 };
///     let primary = Sample::Finished(Duration::from_millis(millis));
///     strategy.record(&Record::new(primary));
/// }
/// // Still it has found out that it would pay, and that all others are done after 20 ms.
/// assert_eq!(strategy.stats().best, Some(Duration::from_millis(20)));
/// ```
#[derive(Clone, Debug)]
pub struct Adaptive<const N: usize = 256> {
    arms: Arms,
    history: History<N>,
    price: Price,
    learning_rate: f64,
    cost_weight: f64,
    seed: u64,
    /// The generator, which is seeded when it is first used, since a `const` cannot do that.
    rng: Option<Xoshiro128PlusPlus>,
    /// The median when the weight of the evidence was last adapted to it.
    reference: f32,
    /// The most hedges that any request has had.
    max_hedges: u8,
}

impl Adaptive {
    /// Creates the strategy with delays of 50, 100, 200, 500 and 1000 ms.
    pub const fn new() -> Self {
        Self::with_window()
    }

    /// Creates the strategy with room for the last `N` latencies of primaries. The median and the draws for unknown
    /// latencies come from them. 64 are enough, and with more than 1000 the strategy is slow to notice a change.
    pub const fn with_window<const N: usize>() -> Adaptive<N> {
        Adaptive {
            arms: Arms::new(),
            history: History::new(),
            price: Price::new(),
            learning_rate: 0.1,
            cost_weight: 0.25,
            seed: 0,
            rng: None,
            reference: 0.0,
            max_hedges: 1,
        }
        .candidates(&[
            Duration::from_millis(50),
            Duration::from_millis(100),
            Duration::from_millis(200),
            Duration::from_millis(500),
            Duration::from_millis(1000),
        ])
    }
}

impl<const N: usize> Adaptive<N> {
    /// The maximum number of delays.
    pub const MAX_CANDIDATES: usize = Arms::MAX;

    /// Sets the delays to choose from, 2 to 16 different ones. What was learned about the former delays is forgotten.
    #[must_use]
    pub const fn candidates(mut self, delays: &[Duration]) -> Self {
        self.arms = Arms::new();
        let mut rest = delays;
        while let Some((delay, others)) = rest.split_first() {
            self.arms.add(nanos(*delay));
            rest = others;
        }
        self
    }

    /// Sets how fast evidence fades, 0 to 1: each request multiplies the weight of those before it by 1 − `rate` / 100,
    /// so that the last 100 / `rate` count. Default: 0.1. At 0, the strategy never forgets, not even when the median
    /// changes.
    #[must_use]
    pub const fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Sets what a hedge costs, as a multiple of waiting for the median latency: 0 or more. Default: 0.25.
    #[must_use]
    pub const fn cost_weight(mut self, weight: f64) -> Self {
        self.cost_weight = weight;
        self
    }

    /// Sets the seed of the random draws. Default: 0. Equal seeds and records give equal choices on every machine.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.rng = None;
        self
    }

    start_options!(history.primaries.start);

    /// Sets the age, more than zero, at which samples expire. They expire in groups, at 7/8 of this age or later. If
    /// too few are left, the strategy warms up again; if none is left, it has forgotten everything. Setting the age
    /// forgets all samples.
    #[must_use]
    pub const fn max_age(self, age: Duration) -> Self {
        Self {
            history: self.history.aging(age),
            ..self
        }
    }

    /// Returns statistics of what has been learned.
    pub fn stats(&self) -> AdaptiveStats {
        let samples = self.history.len();
        let mut arms = [ArmStats::NONE; Arms::MAX];
        for (slot, arm) in arms.iter_mut().zip(self.arms.stats()) {
            *slot = arm;
        }
        AdaptiveStats {
            samples,
            warming_up: !self.history.primaries.is_warm(),
            median: self.history.primaries.median(),
            weight: self.arms.weight(),
            best: self.arms.best(self.price.value()),
            arms,
            len: self.arms.len(),
        }
    }

    /// Learns the reward that each arm would have had for this request.
    fn learn(&mut self, record: &Record, median: f32) {
        let mut draws = Draws::new(generator(&mut self.rng, self.seed));
        let replay = Replay::complete(record, self.max_hedges, &self.history, &mut draws);
        // At 10 a hedge leaves no reward, so larger values have the same effect.
        let cost_weight = within(self.cost_weight, 0.0, 10.0) as f32;
        self.arms.learn(self.memory(), |delay| {
            let (latency, hedges) = replay.after(delay);
            let loss = (latency / median + cost_weight * f32::from(hedges)) / 10.0;
            (1.0 - loss.min(1.0), hedges)
        });
    }

    /// Reduces the weight of the evidence if the median has halved or doubled.
    fn notice_change(&mut self, median: f32) {
        /// The number of samples below which a median may be wrong by a factor of two.
        const ENOUGH: usize = 64;
        /// The share of the weight that is kept, so that a median that alternates between two modes does not erase the
        /// evidence.
        const KEPT: f64 = 0.25;

        if self.history.len() < ENOUGH || self.memory() == 1.0 {
            return;
        }
        if median > 2.0 * self.reference || median < 0.5 * self.reference {
            if self.reference > 0.0 {
                self.arms.fade(KEPT);
                self.history.fade_hedges(KEPT as f32);
            }
            self.reference = median;
        }
    }

    /// Returns the factor by which each request reduces the weight of earlier ones.
    fn memory(&self) -> f64 {
        1.0 - within(self.learning_rate, 0.0, 1.0) / 100.0
    }

    fn forget(&mut self) {
        self.arms.clear();
        self.history.clear();
        self.price = Price::new();
        self.reference = 0.0;
        self.max_hedges = 1;
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Strategy for Adaptive<N> {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, now: Instant) -> Plan {
        if self.history.expire(now) && self.history.len() == 0 {
            self.forget();
        }
        let mut draws = Draws::new(generator(&mut self.rng, self.seed));
        let picked = self.arms.pick(self.price.value(), &mut draws);
        // The beliefs stay the same until the next record, so one draw serves all requests until then.
        let primaries = &self.history.primaries;
        primaries.lasting(primaries.plan(picked.map(nanos)))
    }

    fn record(&mut self, record: &Record) {
        let hedges = record.attempts.saturating_sub(1);
        self.max_hedges = self.max_hedges.max(hedges);
        self.price.learn(record);
        // Skip failed requests, whose latency is the time that they took to fail.
        if let Some(median) = self.history.median()
            && !record.end.is_failure()
        {
            self.notice_change(median);
            self.learn(record, median);
        }
        self.history.push(record, self.memory() as f32);
    }

    fn typical_latency(&self, _: &Hints) -> Option<Duration> {
        self.history.primaries.typical_latency()
    }

    fn expected_win_rate(&self) -> Option<f32> {
        let delay = self.arms.best(self.price.value())?;
        Some(self.history.primaries.window.wins_after(nanos(delay)))
    }

    fn reset(&mut self) {
        self.forget();
        self.arms.forget_picks();
        self.rng = None;
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Adaptive
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.arms.validate()?;
        ConfigError::check_range("learning_rate", self.learning_rate, 0.0, 1.0)?;
        ConfigError::check_at_least("cost_weight", self.cost_weight, 0.0)?;
        self.history.primaries.validate()
    }

    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        self.history.export(columns, now);
        self.arms.export(columns);
        columns.column("reference_s", &mut iter::once(self.reference.into()));
        columns.column("max_hedges", &mut iter::once(self.max_hedges.into()));
        columns.column("price", &mut iter::once(self.price.value()));
    }

    /// Restores the beliefs about the delays if the delays are the same.
    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        let reference = columns.number("reference_s", 0.0, f32::MAX.into())? as f32;
        let max_hedges = columns.number("max_hedges", 1.0, u8::MAX.into())? as u8;
        // Missing in exports of versions that did not write it.
        let price = match columns.column("price") {
            Some(_) => Price::of(columns.number("price", 0.0, 1.0)? as f32),
            None => Price::new(),
        };
        let arms = self.arms.restored(columns)?;
        self.history.restore(columns, now)?;
        (self.arms, self.reference, self.max_hedges) = (arms, reference, max_hedges);
        self.price = price;
        Ok(())
    }
}

/// Returns the generator. A function, so that it borrows no other field.
fn generator(rng: &mut Option<Xoshiro128PlusPlus>, seed: u64) -> &mut Xoshiro128PlusPlus {
    rng.get_or_insert_with(|| Xoshiro128PlusPlus::seed_from_u64(seed))
}

/// Returns the nearest value in the range; `low` for a NaN.
fn within(value: f64, low: f64, high: f64) -> f64 {
    if value >= low { value.min(high) } else { low }
}

/// The statistics of an [`Adaptive`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdaptiveStats {
    /// The number of latencies of primaries.
    pub samples: usize,
    /// Whether there are fewer than `min_samples`.
    pub warming_up: bool,
    /// The median latency of primaries; `None` if it is not known.
    pub median: Option<Duration>,
    /// The weight of the evidence in requests, in which older requests count less.
    pub weight: f64,
    /// The delay with the highest mean reward, less what its hedges cost while the budget refuses some; `None` while
    /// nothing has been learned.
    pub best: Option<Duration>,
    arms: [ArmStats; Arms::MAX],
    len: usize,
}

impl AdaptiveStats {
    /// Returns the beliefs about the delays, in the order in which they were set.
    pub fn arms(&self) -> &[ArmStats] {
        self.arms.get(..self.len).unwrap_or_default()
    }
}
