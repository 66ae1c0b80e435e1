//! Hedging the slowest few percent.

use core::time::Duration;

use super::memory::{LatencyMemory, Share, memory_options};
use super::{Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::record::Record;
use crate::time::Instant;

pub use windowed::WindowedPercentile;

#[cfg(test)]
mod tests;
mod windowed;

/// Hedges at a percentile of the latencies of primaries, so that a steady share of requests is hedged: 5 %
/// at 95.
///
/// It remembers latencies in a histogram that slowly forgets: each 4000 requests halve the weight of those
/// before. Slow requests cluster, and a short memory would raise the delay in the midst of a cluster, just when
/// hedges help. When all becomes faster, and when an incident is over, it forgets within hundreds of
/// requests. While a replica hangs, so that more requests are late than the percentile leaves above it,
/// the delay stays near those that finish, and the budget bounds how many are hedged.
///
/// Only primaries count. One that was dropped, because its hedge won, counts as if it had taken a little longer
/// than the delay. Attempts that failed, and requests that their caller dropped before a hedge was due,
/// do not count. Latencies are told apart to within 6 %, from 256 ns to 9.7 hours; where the percentile
/// is longer, no request is hedged.
///
/// `build()` refuses an invalid option. A strategy that is used without `build()` takes the nearest valid value.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Percentile, Sample, Strategy};
/// use hedge_core::{Hints, Instant, Record};
///
/// let mut strategy = Percentile::new(95.0).initial_delay(Duration::from_millis(30));
/// let delay = |strategy: &mut Percentile| strategy.plan(&Hints::NONE, Instant::ZERO).delay();
/// assert_eq!(delay(&mut strategy), Some(Duration::from_millis(30)));
///
/// for millis in 1..=100 {
///     let primary = Sample::Finished(Duration::from_millis(millis));
///     strategy.record(&Record::new(primary));
/// }
/// let delay = delay(&mut strategy).unwrap_or_default().as_millis();
/// assert!((90..=97).contains(&delay));
/// ```
#[derive(Clone, Debug)]
pub struct Percentile {
    percent: f64,
    memory: LatencyMemory,
}

impl Percentile {
    /// Creates a strategy that hedges at this percentile, 50 to 99.9.
    pub const fn new(percent: f64) -> Self {
        Self {
            percent,
            memory: LatencyMemory::new(Share::above(percent)),
        }
    }

    memory_options!(memory);

    /// Returns what has been learned, for people to look at.
    pub fn stats(&self) -> PercentileStats {
        PercentileStats {
            window: self.memory.window(),
            samples: self.memory.weight(),
            censored: self.memory.dropped(),
            warming_up: !self.memory.is_warm(),
            delay: self.memory.plan(self.memory.delay()).delay(),
            median: self.memory.median(),
        }
    }
}

impl Default for Percentile {
    /// At the 95th percentile.
    fn default() -> Self {
        Self::new(95.0)
    }
}

impl Strategy for Percentile {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, now: Instant) -> Plan {
        self.memory.expire(now);
        self.memory.lasting(self.memory.plan(self.memory.delay()))
    }

    fn record(&mut self, record: &Record) {
        self.memory.record(record);
    }

    fn typical_latency(&self) -> Option<Duration> {
        self.memory.typical_latency()
    }

    fn planned_pass_rate(&self) -> Option<f32> {
        Some(self.memory.share().get())
    }

    fn expected_win_rate(&self) -> Option<f32> {
        let delay = self.memory.plan(self.memory.delay()).delay()?;
        Some(self.memory.wins_after(delay))
    }

    fn reset(&mut self) {
        self.memory.clear();
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Percentile
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("percentile", self.percent, 50.0, 99.9)?;
        self.memory.validate()?;
        check_window(self.memory.window(), self.percent)
    }

    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        self.memory.export(columns, now);
    }

    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        self.memory.restore(columns, now)
    }
}

/// Checks that a window holds a sample above the percentile: without one, the delay would be the longest latency, and
/// more requests would pass it than the percentile says.
fn check_window(samples: usize, percent: f64) -> Result<(), ConfigError> {
    // This is 1 / (1 − p), rounded so that 99.9 needs 1000 samples.
    let least = 100.0 / (100.0 - percent);
    if samples as f64 + 1.0 >= least - 1e-6 {
        return Ok(());
    }
    let expected = "large enough that one sample lies above the `percentile`: 20 at 95, 100 at 99, 1000 at 99.9";
    Err(ConfigError::number("window_size", samples as f64, expected))
}

/// What a [`Percentile`] or a [`WindowedPercentile`] has learned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PercentileStats {
    /// How many samples fit in the window.
    pub window: usize,
    /// How many samples there are. Where the weight of a sample fades, as in [`Percentile`], up to twice the window.
    pub samples: usize,
    /// The number of these samples that are attempts that were dropped.
    pub censored: usize,
    /// Whether there are fewer than `min_samples`.
    pub warming_up: bool,
    /// When the next request is hedged; `None` if it is not, because there are too few samples.
    pub delay: Option<Duration>,
    /// The median latency of primaries; `None` if it is not known.
    pub median: Option<Duration>,
}
