//! Hedging the slowest few percent.

use core::time::Duration;

use super::warmup::{Start, Warmup};
use super::{Hints, Plan, Strategy};
use crate::time::millis;
use crate::window::Window;
use crate::{ConfigError, Instant, Report, StrategyKind};

#[cfg(test)]
mod tests;

/// Hedges at a percentile of the last `N` latencies of primaries, so that a steady share of requests
/// is hedged: 5 % at 95.
///
/// Only primaries count, and those that a hedge overtook count as *at least* as long as they ran
/// (the percentile is a product-limit estimate). A record of answers alone would lose its slow end
/// to the hedges and end up hedging twice as often. Attempts that failed do not count.
///
/// A larger window is steadier and follows changes later: about 10 samples should lie above the
/// percentile, so 200 at 95 and 1000 at 99. The delay follows in steps of a 64th of the window.
///
/// An option that cannot be right is refused by `build()`; if that is bypassed, the nearest that can
/// be is used.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Percentile, Strategy};
/// use hedge_core::{Hints, Instant, Report, Sample};
///
/// let mut strategy = Percentile::with_window::<200>(95.0).initial_delay(Duration::from_millis(30));
/// let delay = |strategy: &mut Percentile<200>| strategy.plan(&Hints::NONE, Instant::ZERO).delay();
/// assert_eq!(delay(&mut strategy), Some(Duration::from_millis(30)));
///
/// for millis in 1..=100 {
///     let primary = Sample::Finished(Duration::from_millis(millis));
///     strategy.record(&Report::new(primary), Instant::ZERO);
/// }
/// assert_eq!(delay(&mut strategy), Some(Duration::from_millis(96)));
/// ```
#[derive(Clone, Debug)]
pub struct Percentile<const N: usize = 1000> {
    percent: f64,
    /// As asked for; the window holds what is possible.
    window_size: u32,
    start: Start,
    window: Window<N>,
    /// The percentile of the window, `changes` ago.
    learned: Option<Duration>,
    changes: u16,
}

impl Percentile {
    /// Hedges at this percentile, 50 to 99.9, of the last 1000 latencies.
    pub const fn new(percent: f64) -> Self {
        Self::with_window(percent)
    }

    /// The same, with room for the last `N` latencies, 10 to 65 535, at 8 bytes each.
    pub const fn with_window<const N: usize>(percent: f64) -> Percentile<N> {
        const { assert!(N >= 10, "a window holds 10 or more samples") };
        Percentile {
            percent,
            window_size: N as u32,
            start: Start::DEFAULT,
            window: Window::new(N, None),
            learned: None,
            changes: 0,
        }
    }
}

impl<const N: usize> Percentile<N> {
    /// How many of the last latencies count: 10 to `N`, which is the default. Setting it forgets all
    /// samples.
    #[must_use]
    pub const fn window_size(mut self, samples: usize) -> Self {
        self.window_size = saturated(samples);
        let max_age = self.window.max_age();
        self.emptied(samples, max_age)
    }

    /// When to hedge until there are enough samples; 100 ms unless set.
    #[must_use]
    pub const fn initial_delay(mut self, delay: Duration) -> Self {
        self.start.initial_delay = delay;
        self
    }

    /// How many samples are enough: 1 to the window's size; 10 unless set.
    #[must_use]
    pub const fn min_samples(mut self, samples: usize) -> Self {
        self.start.min_samples = saturated(samples);
        self
    }

    /// What to do until there are enough samples.
    #[must_use]
    pub const fn warmup(mut self, warmup: Warmup) -> Self {
        self.start.warmup = warmup;
        self
    }

    /// Samples this old, more than zero, are forgotten, to within an eighth: they leave in groups, each
    /// between 7/8 of it and all of it old. With too few left, the strategy warms up again. Setting
    /// it forgets all samples.
    #[must_use]
    pub const fn max_age(self, age: Duration) -> Self {
        let size = self.window_size as usize;
        self.emptied(size, Some(age))
    }

    const fn emptied(mut self, size: usize, max_age: Option<Duration>) -> Self {
        self.window = Window::new(size, max_age);
        self.learned = None;
        self.changes = 0;
        self
    }

    /// What has been learned, for people to look at.
    pub fn stats(&self) -> PercentileStats {
        let (samples, window) = (self.window.len(), self.window.size());
        PercentileStats {
            window,
            samples,
            censored: self.window.censored(),
            warming_up: !self.start.is_over(samples, window),
            delay: self.start.plan(self.estimate(), samples, window).delay(),
            median: self.window.percentile(0.5),
        }
    }

    /// The percentile of the window, give or take the last few samples.
    fn estimate(&self) -> Option<Duration> {
        if self.is_stale() {
            self.window.percentile(self.share())
        } else {
            self.learned
        }
    }

    /// Whether a 64th of the window has changed, so that the cost of an estimate is spread over as
    /// many requests. It moves by much less than its own error meanwhile.
    fn is_stale(&self) -> bool {
        self.changes > 0 && 64 * usize::from(self.changes) >= self.window.len()
    }

    /// The percentile, within what is possible, as a share. For a NaN the window gives its largest
    /// sample.
    fn share(&self) -> f64 {
        self.percent.clamp(50.0, 99.9) / 100.0
    }
}

impl<const N: usize> Default for Percentile<N> {
    /// At the 95th percentile.
    fn default() -> Self {
        Percentile::with_window(95.0)
    }
}

impl<const N: usize> Strategy for Percentile<N> {
    fn plan(&mut self, _: &Hints, now: Instant) -> Plan {
        if self.window.expire(now) {
            self.changes = u16::MAX;
        }
        if self.is_stale() {
            self.learned = self.estimate();
            self.changes = 0;
        }
        let plan = self
            .start
            .plan(self.learned, self.window.len(), self.window.size());
        // Samples that leave by age change the plan without a record.
        if self.window.max_age().is_some() {
            plan
        } else {
            plan.reusable()
        }
    }

    fn record(&mut self, report: &Report, now: Instant) {
        if self.window.push(report.primary, now) {
            self.changes = self.changes.saturating_add(1);
        }
    }

    fn typical(&self) -> Option<Duration> {
        let (samples, window) = (self.window.len(), self.window.size());
        if self.start.is_over(samples, window) {
            self.window.percentile(0.5)
        } else {
            None
        }
    }

    fn reset(&mut self) {
        self.window.clear();
        self.learned = None;
        self.changes = 0;
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Percentile
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("percentile", self.percent, 50.0, 99.9)?;
        let size = f64::from(self.window_size);
        let capacity = N as f64;
        ConfigError::check_at_least("window_size", size, 10.0)?;
        ConfigError::check_at_most(
            "window_size",
            size,
            capacity,
            "which is what the type holds",
        )?;
        self.start.validate(self.window.size())?;
        match self.window.max_age() {
            Some(age) => ConfigError::check_above("max_age_ms", millis(age), 0.0),
            None => Ok(()),
        }
    }
}

/// What a [`Percentile`] has learned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PercentileStats {
    /// How many samples fit in the window.
    pub window: usize,
    /// How many samples there are.
    pub samples: usize,
    /// How many of them are attempts that were dropped.
    pub censored: usize,
    /// Whether there are fewer than `min_samples`.
    pub warming_up: bool,
    /// When the next request is hedged; absent if it is not, for want of samples.
    pub delay: Option<Duration>,
    /// What half of the primaries do not exceed.
    pub median: Option<Duration>,
}

/// Options are kept in 32 bits; more than fits is not valid anyway.
const fn saturated(samples: usize) -> u32 {
    if samples < u32::MAX as usize {
        samples as u32
    } else {
        u32::MAX
    }
}
