//! What a learned strategy does before there is enough to learn from.

use core::time::Duration;

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
        /// The strategy goes over from `initial_delay` to the learned delay gradually: with n samples it hedges at
        ///
        /// (m · `initial_delay` + n · learned delay) / (m + n)
        ///
        /// where m is `min_samples`, as if the first delay had been learned from m samples. With
        /// 10 m samples, or once the window is full, the learned delay stands alone. Without an
        /// `initial_delay` this is the same as `delay`.
        Prior = "prior",
    }
}

/// How a learned strategy starts: three options that all of them have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) initial_delay: Option<Duration>,
    /// 64, or the window if that is smaller, unless set.
    pub(super) min_samples: Option<u32>,
    pub(super) warmup: Warmup,
}

impl Start {
    pub(super) const DEFAULT: Self = Self {
        initial_delay: None,
        min_samples: None,
        warmup: Warmup::Delay,
    };

    /// How many samples are enough unless an option says otherwise, if the window is no smaller.
    pub(super) const DEFAULT_MIN_SAMPLES: usize = 64;

    /// Whether `samples` are enough, of at most `window`.
    pub(super) fn is_over(&self, samples: usize, window: usize) -> bool {
        samples >= self.needed(window)
    }

    /// Whether a delay that is not yet learned from enough samples is used.
    pub(super) fn blends(&self) -> bool {
        self.warmup == Warmup::Prior && self.initial_delay.is_some()
    }

    /// The plan, given the delay that `samples` of at most `window` suggest.
    pub(super) fn plan(&self, learned: Option<Duration>, samples: usize, window: usize) -> Plan {
        let over = self.is_over(samples, window);
        match (self.warmup, self.initial_delay, learned) {
            (Warmup::Prior, Some(initial), Some(learned)) => {
                Plan::after(self.blend(initial, learned, samples, window))
            }
            (_, _, Some(learned)) if over => Plan::after(learned),
            (Warmup::Off, _, _) | (_, None, _) => Plan::never(Suppressed::WarmingUp),
            (Warmup::Delay | Warmup::Prior, Some(initial), _) => Plan::after(initial),
        }
    }

    /// Checks `min_samples` against the window it has to fit in.
    pub(super) fn validate(&self, window: usize) -> Result<(), ConfigError> {
        let samples = self.min_samples.map_or(1.0, f64::from);
        ConfigError::check_range("min_samples", samples, 1.0, window as f64)
    }

    fn blend(
        &self,
        initial: Duration,
        learned: Duration,
        samples: usize,
        window: usize,
    ) -> Duration {
        let needed = self.needed(window);
        if samples >= window || samples >= needed.saturating_mul(10) {
            return learned;
        }
        let (needed, samples) = (needed as u32, samples as u32);
        let sum = initial.saturating_mul(needed);
        let sum = sum.saturating_add(learned.saturating_mul(samples));
        sum.checked_div(needed.saturating_add(samples))
            .unwrap_or(learned)
    }

    /// How many samples are enough, of at most `window`.
    pub(super) fn needed(&self, window: usize) -> usize {
        let set = self.min_samples.map(usize::try_from);
        let needed = set.map_or(Self::DEFAULT_MIN_SAMPLES, |set| set.unwrap_or(usize::MAX));
        needed.min(window).max(1)
    }
}

/// The builder methods on how to start, for a strategy with a `Start` at the path given.
macro_rules! start_options {
    ($($path:ident).+) => {
        /// Sets the hedge delay until there are enough samples. Unless set, no request is hedged before that.
        #[must_use]
        pub const fn initial_delay(mut self, delay: core::time::Duration) -> Self {
            self.$($path).+.initial_delay = Some(delay);
            self
        }

        /// Sets how many samples are enough: 1 to the window's size. Unless set, the smaller of 64 and the window's
        /// size.
        #[must_use]
        pub const fn min_samples(mut self, samples: usize) -> Self {
            self.$($path).+.min_samples = Some($crate::strategy::warmup::saturated(samples));
            self
        }

        /// Sets what to do until there are enough samples.
        #[must_use]
        pub const fn warmup(mut self, warmup: $crate::strategy::Warmup) -> Self {
            self.$($path).+.warmup = warmup;
            self
        }
    };
}

pub(super) use start_options;

/// Options are kept in 32 bits; more than fits is not valid anyway.
pub(super) const fn saturated(samples: usize) -> u32 {
    if samples < u32::MAX as usize {
        samples as u32
    } else {
        u32::MAX
    }
}
