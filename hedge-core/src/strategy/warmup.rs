//! The behaviour of a learned strategy until it has enough samples.

use super::Plan;
use super::choice::choice;
use crate::error::ConfigError;
use crate::outcome::Suppressed;

choice! {
    /// What a learned strategy does until it has `min_samples`.
    ///
    /// ```
    /// use hedge_core::strategy::Warmup;
    ///
    /// assert_eq!("prior".parse(), Ok(Warmup::Prior));
    /// assert_eq!(Warmup::default().as_str(), "delay");
    /// ```
    #[derive(Default)]
    pub enum Warmup("warmup", "delay, off or prior") {
        /// The strategy hedges at `initial_delay`, or not at all if there is none.
        #[default]
        Delay = "delay",
        /// The strategy does not hedge.
        Off = "off",
        /// The strategy moves gradually from `initial_delay` to the learned delay. With n samples it hedges at
        ///
        /// (m · `initial_delay` + n · learned delay) / (m + n)
        ///
        /// where m is `min_samples`, as if the first delay had been learned from m samples. With 10 m samples, or once
        /// the window is full, it uses the learned delay alone. Without an `initial_delay`, this is the same as
        /// `delay`.
        Prior = "prior",
    }
}

/// The three options of all learned strategies for the time until they have enough samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// In nanoseconds.
    pub(super) initial_delay: Option<u64>,
    /// The option `min_samples`; `None` for the default.
    pub(super) min_samples: Option<u32>,
    pub(super) warmup: Warmup,
}

impl Start {
    pub(super) const DEFAULT: Self = Self {
        initial_delay: None,
        min_samples: None,
        warmup: Warmup::Delay,
    };

    /// The default of `min_samples`, unless the window is smaller.
    pub(super) const DEFAULT_MIN_SAMPLES: usize = 64;

    /// Returns whether `samples` of at most `window` are enough.
    pub(super) fn is_over(&self, samples: usize, window: usize) -> bool {
        samples >= self.needed(window)
    }

    /// Returns whether a learned delay is used before there are enough samples.
    pub(super) fn blends(&self) -> bool {
        self.warmup == Warmup::Prior && self.initial_delay.is_some()
    }

    /// Returns the plan, given the delay in nanoseconds that was learned from `samples` of at most `window`.
    pub(super) fn plan(&self, learned: Option<u64>, samples: usize, window: usize) -> Plan {
        let over = self.is_over(samples, window);
        match (self.warmup, self.initial_delay, learned) {
            (Warmup::Prior, Some(initial), Some(learned)) => {
                Plan::after_nanos(self.blend(initial, learned, samples, window))
            }
            (_, _, Some(learned)) if over => Plan::after_nanos(learned),
            (Warmup::Off, _, _) | (_, None, _) => Plan::never(Suppressed::WarmingUp),
            (Warmup::Delay | Warmup::Prior, Some(initial), _) => Plan::after_nanos(initial),
        }
    }

    /// Checks that `min_samples` fits in the window.
    pub(super) fn validate(&self, window: usize) -> Result<(), ConfigError> {
        let samples = self.min_samples.map_or(1.0, f64::from);
        ConfigError::check_range("min_samples", samples, 1.0, window as f64)
    }

    fn blend(&self, initial: u64, learned: u64, samples: usize, window: usize) -> u64 {
        let needed = self.needed(window);
        if samples >= window || samples >= needed.saturating_mul(10) {
            return learned;
        }
        let (needed, samples) = (needed as u64, samples as u64);
        let all = needed + samples;
        // The sum of both would overflow an integer if latencies were days.
        let [initial, learned] = [(initial, needed), (learned, samples)]
            .map(|(delay, weight)| delay / all * weight + delay % all * weight / all);
        initial + learned
    }

    /// Returns how many samples are enough, at most `window`.
    pub(super) fn needed(&self, window: usize) -> usize {
        let set = self.min_samples.map(usize::try_from);
        let needed = set.map_or(Self::DEFAULT_MIN_SAMPLES, |set| set.unwrap_or(usize::MAX));
        needed.min(window).max(1)
    }
}

/// Defines the builder methods of a strategy that has a `Start` at the given path.
macro_rules! start_options {
    ($($path:ident).+) => {
        /// Sets the hedge delay until there are enough samples. Default: none, so that no request is hedged until then.
        #[must_use]
        pub const fn initial_delay(mut self, delay: core::time::Duration) -> Self {
            self.$($path).+.initial_delay = Some($crate::time::nanos(delay));
            self
        }

        /// Sets how many samples are enough, 1 to the window's size. Default: 64, or the window's size if that is
        /// smaller.
        #[must_use]
        pub const fn min_samples(mut self, samples: usize) -> Self {
            self.$($path).+.min_samples = Some($crate::strategy::warmup::saturated(samples));
            self
        }

        /// Sets the behaviour until there are enough samples. Default: `delay`, which hedges at `initial_delay`.
        #[must_use]
        pub const fn warmup(mut self, warmup: $crate::strategy::Warmup) -> Self {
            self.$($path).+.warmup = warmup;
            self
        }
    };
}

pub(super) use start_options;

/// Converts an option to 32 bits, saturating: larger values are invalid anyway.
pub(super) const fn saturated(samples: usize) -> u32 {
    if samples < u32::MAX as usize {
        samples as u32
    } else {
        u32::MAX
    }
}
