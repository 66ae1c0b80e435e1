//! The percentile of the exact last latencies.

use core::slice;
use core::time::Duration;

use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::record::Record;
use crate::strategy::memory::Share;
use crate::strategy::recent::Recent;
use crate::strategy::warmup::start_options;
use crate::strategy::{Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::time::Instant;

use super::{PercentileStats, check_window};

#[cfg(test)]
mod tests;

/// Hedges at a percentile of exactly the last `N` latencies of primaries. It is for firmware, where 64 latencies take
/// less memory than [`Percentile`](super::Percentile), and for tests, in which the delay can be predicted.
///
/// Only primaries count, and those that lost to a hedge count as *at least* as long as they ran (the percentile is a
/// product-limit estimate). Attempts that failed do not count.
///
/// A window follows every change, also a burst of slow requests. If more requests hang than the percentile allows, the
/// delay grows until they are dropped. About 10 samples should lie above the percentile, so use 200 at 95 and 1000 at
/// 99. The delay is estimated again after every 64th of the window.
///
/// `build()` refuses an invalid option. A strategy that is used without `build()` takes the nearest valid value.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Strategy, WindowedPercentile};
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Hints, Instant, Record};
///
/// let mut strategy = WindowedPercentile::with_window::<200>(95.0).initial_delay(Duration::from_millis(30));
/// let delay = |strategy: &mut WindowedPercentile<200>| strategy.plan(&Hints::NONE, Instant::ZERO).delay();
/// assert_eq!(delay(&mut strategy), Some(Duration::from_millis(30)));
///
/// for millis in 1..=100 {
///     let primary = Sample::Finished(Duration::from_millis(millis));
///     strategy.record(&Record::new(primary));
/// }
/// assert_eq!(delay(&mut strategy), Some(Duration::from_millis(96)));
/// ```
#[derive(Clone, Debug)]
pub struct WindowedPercentile<const N: usize = 1000> {
    percent: f64,
    /// The share of latencies above the percentile, clamped.
    above: Share,
    recent: Recent<N>,
    /// The percentile of the window, `changes` samples ago, in nanoseconds.
    learned: Option<u64>,
    changes: u16,
}

impl WindowedPercentile {
    /// Creates a strategy that hedges at this percentile, 50 to 99.9, of the last 1000 latencies.
    pub const fn new(percent: f64) -> Self {
        Self::with_window(percent)
    }

    /// Creates a strategy that hedges at this percentile, 50 to 99.9, of the last `N` latencies, 10 to 65 535, at 8
    /// bytes each.
    pub const fn with_window<const N: usize>(percent: f64) -> WindowedPercentile<N> {
        WindowedPercentile {
            percent,
            above: Share::above(percent),
            recent: Recent::new(),
            learned: None,
            changes: 0,
        }
    }
}

impl<const N: usize> WindowedPercentile<N> {
    /// Sets how many of the last latencies count: 10 to `N`, which is the default. Setting it forgets all samples.
    #[must_use]
    pub const fn window_size(self, samples: usize) -> Self {
        Self {
            recent: self.recent.sized(samples),
            learned: None,
            changes: 0,
            ..self
        }
    }

    start_options!(recent.start);

    /// Sets the age, more than zero, at which samples expire. They expire in groups, at 7/8 of this age or later. If
    /// too few are left, the strategy warms up again. Setting the age forgets all samples.
    #[must_use]
    pub const fn max_age(self, age: Duration) -> Self {
        Self {
            recent: self.recent.aging(age),
            learned: None,
            changes: 0,
            ..self
        }
    }

    /// Returns statistics of what has been learned.
    pub fn stats(&self) -> PercentileStats {
        let window = &self.recent.window;
        PercentileStats {
            window: window.size(),
            samples: window.len(),
            censored: window.censored(),
            warming_up: !self.recent.is_warm(),
            delay: self.recent.plan(self.estimate()).delay(),
            median: self.recent.median(),
        }
    }

    /// Returns the percentile of the window, in nanoseconds, which may lag by a few samples.
    fn estimate(&self) -> Option<u64> {
        if self.is_stale() {
            self.recent.window.exceeded_by(self.above.bits().into())
        } else {
            self.learned
        }
    }

    /// Returns whether a 64th of the window has changed, so that the cost of an estimate is spread over many requests.
    /// The percentile changes by much less than its error in this time.
    fn is_stale(&self) -> bool {
        self.changes > 0 && 64 * usize::from(self.changes) >= self.recent.window.len()
    }
}

impl<const N: usize> Default for WindowedPercentile<N> {
    /// Hedges at the 95th percentile.
    fn default() -> Self {
        WindowedPercentile::with_window(95.0)
    }
}

impl<const N: usize> Strategy for WindowedPercentile<N> {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, now: Instant) -> Plan {
        if self.recent.window.expire(now) {
            self.changes = u16::MAX;
        }
        if self.is_stale() {
            self.learned = self.estimate();
            self.changes = 0;
        }
        self.recent.lasting(self.recent.plan(self.learned))
    }

    fn record(&mut self, record: &Record) {
        self.record_batch(slice::from_ref(record));
    }

    fn record_batch(&mut self, records: &[Record]) {
        let pushed = self.recent.window.push_batch(records);
        let pushed = u16::try_from(pushed).unwrap_or(u16::MAX);
        self.changes = self.changes.saturating_add(pushed);
    }

    fn typical_latency(&self, _: &Hints) -> Option<Duration> {
        self.recent.typical_latency()
    }

    fn planned_pass_rate(&self) -> Option<f32> {
        Some(self.above.get())
    }

    fn expected_win_rate(&self) -> Option<f32> {
        let delay = self.recent.plan(self.learned).delay_nanos();
        (delay < u64::MAX).then(|| self.recent.window.wins_after(delay))
    }

    fn reset(&mut self) {
        self.recent.window.clear();
        self.learned = None;
        self.changes = 0;
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Percentile
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("percentile", self.percent, 50.0, 99.9)?;
        self.recent.validate()?;
        check_window(self.recent.window.size(), self.percent)
    }

    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        self.recent.window.export("latencies_us", columns, now);
    }

    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        self.recent.window.restore("latencies_us", columns, now)?;
        self.changes = u16::MAX;
        Ok(())
    }
}
