//! Strategies that hedge the slowest few percent of the requests.

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
/// It remembers latencies in a histogram that forgets slowly: after every 4000 requests, the weight of older ones is
/// halved. Slow requests come in clusters, and a short memory would raise the delay in the middle of a cluster, just
/// when hedges help. When all requests become faster, and when an incident is over, it forgets within hundreds of
/// requests. While a replica hangs, more requests are late than the percentile allows; the delay then stays near the
/// latencies that finish, and the budget limits the hedges.
///
/// Only primaries count. A primary that was dropped because its hedge won counts as if it had taken slightly longer
/// than the delay. Attempts that failed, and requests that their caller dropped before a hedge was due, do not count.
/// Latencies are resolved to within 6 %, from 256 ns to 9.7 hours. If the percentile is longer than that, no request is
/// hedged.
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

    /// Returns statistics of what has been learned.
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
    /// Hedges at the 95th percentile.
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

    fn typical_latency(&self, _: &Hints) -> Option<Duration> {
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

/// Checks that a window holds a sample above the percentile. Without one, the delay would be the longest latency, and
/// too many requests would pass it.
fn check_window(samples: usize, percent: f64) -> Result<(), ConfigError> {
    // This is 1 / (1 − p), rounded so that 99.9 needs 1000 samples.
    let least = 100.0 / (100.0 - percent);
    if samples as f64 + 1.0 >= least - 1e-6 {
        return Ok(());
    }
    let expected = "large enough that one sample lies above the `percentile`: 20 at 95, 100 at 99, 1000 at 99.9";
    Err(ConfigError::number("window_size", samples as f64, expected))
}

/// The statistics of a [`Percentile`] or a [`WindowedPercentile`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PercentileStats {
    /// The size of the window, in samples.
    pub window: usize,
    /// The number of samples. In [`Percentile`], where their weight fades, it is up to twice the window.
    pub samples: usize,
    /// The number of samples of dropped attempts.
    pub censored: usize,
    /// Whether there are fewer than `min_samples`.
    pub warming_up: bool,
    /// The hedge delay of the next request; `None` if it is not hedged, because there are too few samples.
    pub delay: Option<Duration>,
    /// The median latency of primaries; `None` if it is not known.
    pub median: Option<Duration>,
}
