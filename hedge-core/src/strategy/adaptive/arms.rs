//! The arms of the bandit: the belief about each delay.

use core::iter;
use core::time::Duration;

use rand_core::Rng;

use crate::error::ConfigError;
use crate::random::Draws;
use crate::strategy::{ReadColumns, RestoreError, WriteColumns};
use crate::time::millis;

/// The delays and the evidence on each. All share one weight, since every request teaches all of them.
#[derive(Clone, Debug)]
pub(super) struct Arms {
    arms: [Arm; Self::MAX],
    /// The number of arms that were asked for; those that do not fit are not kept.
    len: usize,
    /// The weight of the evidence, in requests.
    weight: f64,
}

#[derive(Clone, Copy, Debug)]
struct Arm {
    /// In nanoseconds.
    delay: u64,
    mean: f64,
    /// The variance of the arm's lead over the average arm.
    variance: f64,
    /// The number of hedges that become due per request.
    demand: f32,
    picks: u32,
}

impl Arm {
    const fn new(delay: u64) -> Self {
        Self {
            delay,
            mean: 0.0,
            variance: 0.0,
            demand: 0.0,
            picks: 0,
        }
    }

    const fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay)
    }
}

impl Arms {
    pub(super) const MAX: usize = 16;

    pub(super) const fn new() -> Self {
        Self {
            arms: [Arm::new(0); Self::MAX],
            len: 0,
            weight: 0.0,
        }
    }

    pub(super) const fn add(&mut self, delay: u64) {
        if self.len < Self::MAX {
            self.arms[self.len] = Arm::new(delay);
        }
        self.len = self.len.saturating_add(1);
    }

    pub(super) const fn len(&self) -> usize {
        if self.len < Self::MAX {
            self.len
        } else {
            Self::MAX
        }
    }

    pub(super) const fn weight(&self) -> f64 {
        self.weight
    }

    /// Multiplies the weight of the evidence by `share`.
    pub(super) fn fade(&mut self, share: f64) {
        self.weight *= share;
    }

    pub(super) fn clear(&mut self) {
        self.weight = 0.0;
    }

    pub(super) fn forget_picks(&mut self) {
        self.arms.iter_mut().for_each(|arm| arm.picks = 0);
    }

    /// Adds one request to the evidence, and multiplies the weight of earlier ones by `memory` (West, 1979, with
    /// weights that fade). `outcome` returns the reward and the number of hedges at a delay in seconds.
    pub(super) fn learn(&mut self, memory: f64, outcome: impl Fn(f32) -> (f32, u8)) {
        self.weight = self.weight * memory + 1.0;
        let step = 1.0 / self.weight;
        let len = self.len();
        let share = 1.0 / len as f64;
        let mut rewards = [0.0; Self::MAX];
        let (mut average, mut average_mean) = (0.0, 0.0);
        for (slot, arm) in rewards.iter_mut().zip(&mut self.arms).take(len) {
            let (reward, hedges) = outcome(arm.delay as f32 * 1e-9);
            *slot = f64::from(reward);
            arm.demand += step as f32 * (f32::from(hedges) - arm.demand);
            average += share * *slot;
            average_mean += share * arm.mean;
        }
        for (reward, arm) in rewards.iter().zip(&mut self.arms).take(len) {
            let surprise = (reward - average) - (arm.mean - average_mean);
            arm.variance = (1.0 - step) * (arm.variance + step * surprise * surprise);
            arm.mean += step * (reward - arm.mean);
        }
    }

    /// Draws a reward for each arm, less `price` for its hedges, and returns the delay with the highest one; `None`
    /// while there is no evidence.
    pub(super) fn pick<R: Rng>(
        &mut self,
        price: f64,
        draws: &mut Draws<'_, R>,
    ) -> Option<Duration> {
        if self.weight <= 0.0 {
            return None;
        }
        let (len, weight) = (self.len(), self.weight);
        let mut best: Option<(f64, &mut Arm)> = None;
        for arm in self.arms.iter_mut().take(len) {
            let (alpha, beta) = arm.belief(weight, len);
            let draw = draws.beta(alpha as f32, beta as f32);
            let worth = f64::from(draw) - arm.charge(price);
            if best.as_ref().is_none_or(|(highest, _)| worth > *highest) {
                best = Some((worth, arm));
            }
        }
        let (_, arm) = best?;
        arm.picks = arm.picks.saturating_add(1);
        Some(arm.delay())
    }

    /// Returns the delay with the highest mean reward, less `price` for its hedges.
    pub(super) fn best(&self, price: f64) -> Option<Duration> {
        let arms = self
            .arms
            .iter()
            .take(self.len())
            .filter(|_| self.weight > 0.0);
        let worth = |arm: &Arm| arm.mean - arm.charge(price);
        let best = arms.reduce(|best, arm| if worth(arm) > worth(best) { arm } else { best });
        best.map(Arm::delay)
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = ArmStats> {
        self.arms.iter().take(self.len()).map(|arm| {
            let (alpha, beta) = arm.belief(self.weight, self.len());
            ArmStats {
                delay: arm.delay(),
                picks: arm.picks,
                mean_reward: (self.weight > 0.0).then_some(arm.mean),
                alpha,
                beta,
            }
        })
    }

    pub(super) fn export(&self, columns: &mut dyn WriteColumns) {
        let arms = || self.arms.iter().take(self.len());
        columns.column("delays_ns", &mut arms().map(|arm| arm.delay as f64));
        columns.column("means", &mut arms().map(|arm| arm.mean));
        columns.column("variances", &mut arms().map(|arm| arm.variance));
        columns.column("demands", &mut arms().map(|arm| arm.demand.into()));
        columns.column("picks", &mut arms().map(|arm| arm.picks.into()));
        columns.column("weight", &mut iter::once(self.weight));
    }

    /// Returns the restored arms; arms without evidence if the delays differ.
    pub(super) fn restored(&self, columns: &dyn ReadColumns) -> Result<Self, RestoreError> {
        let delays = columns.numbers("delays_ns", 0.0, u64::MAX as f64)?;
        let means = columns.exactly(delays.len(), "means", 0.0, 1.0)?;
        let variances = columns.exactly(delays.len(), "variances", 0.0, 1.0)?;
        let demands = columns.exactly(delays.len(), "demands", 0.0, u8::MAX.into())?;
        let picks = columns.exactly(delays.len(), "picks", 0.0, u32::MAX.into())?;
        let weight = columns.number("weight", 0.0, f64::MAX)?;

        let mut restored = self.clone();
        restored.forget_picks();
        restored.clear();
        let arms = restored.arms.iter_mut().take(self.len());
        if !arms.map(|arm| arm.delay as f64).eq(delays.iter().copied()) {
            return Ok(restored);
        }
        restored.weight = weight;
        let beliefs = means.iter().zip(variances).zip(demands).zip(picks);
        for (arm, (((mean, variance), demand), picks)) in restored.arms.iter_mut().zip(beliefs) {
            (arm.mean, arm.variance, arm.demand) = (*mean, *variance, *demand as f32);
            arm.picks = *picks as u32;
        }
        Ok(restored)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const EXPECTED: &str = "2 to 16 delays";
        if !(2..=Self::MAX).contains(&self.len) {
            return Err(ConfigError::number(
                "delay_candidates",
                self.len as f64,
                EXPECTED,
            ));
        }
        for (at, arm) in self.arms.iter().take(self.len).enumerate() {
            if self
                .arms
                .iter()
                .take(at)
                .any(|other| other.delay == arm.delay)
            {
                let delay = millis(arm.delay());
                return Err(ConfigError::number(
                    "delay_candidates",
                    delay,
                    "listed only once",
                ));
            }
        }
        Ok(())
    }
}

impl Arm {
    /// Returns the cost of its hedges per request.
    fn charge(&self, price: f64) -> f64 {
        price * f64::from(self.demand)
    }

    /// Returns α and β of the belief, which starts from a uniform prior.
    fn belief(&self, weight: f64, arms: usize) -> (f64, f64) {
        /// The most coin flips that a request counts as.
        const SHARPEST: f64 = 1000.0;
        /// The most coin flips that all requests count as: a draw is then within 0.0005 of the mean reward.
        const MOST: f64 = 1e7;

        if weight <= 0.0 {
            return (1.0, 1.0);
        }
        let coin = self.mean * (1.0 - self.mean);
        // The average includes the arm itself, so the lead varies less than against an independent arm.
        let share = 1.0 / arms as f64;
        let variance = self.variance / (1.0 - share);
        // Add one request with the variance of a coin flip, so that a few equal rewards do not count as certainty.
        let variance = (variance * weight + coin) / (weight + 1.0);
        let sharpness = if variance > 0.0 { coin / variance } else { 1.0 };
        let flips = (weight * sharpness.clamp(1.0, SHARPEST)).min(MOST);
        (1.0 + flips * self.mean, 1.0 + flips * (1.0 - self.mean))
    }
}

/// The belief of an [`Adaptive`](super::Adaptive) about one delay.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ArmStats {
    /// The delay.
    pub delay: Duration,
    /// How often it was drawn.
    pub picks: u32,
    /// The mean reward of the delay, 0 to 1; `None` while nothing has been learned.
    pub mean_reward: Option<f64>,
    /// The α of the Beta distribution of the next draw.
    pub alpha: f64,
    /// The β of the Beta distribution of the next draw.
    pub beta: f64,
}

impl ArmStats {
    pub(super) const NONE: Self = Self {
        delay: Duration::ZERO,
        picks: 0,
        mean_reward: None,
        alpha: 1.0,
        beta: 1.0,
    };
}
