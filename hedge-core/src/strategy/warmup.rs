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
        /// It hedges at `initial_delay`.
        #[default]
        Delay = "delay",
        /// It does not hedge.
        Off = "off",
        /// It goes over from `initial_delay` to what it learns: with n samples it hedges at
        ///
        /// (m · `initial_delay` + n · learned delay) / (m + n)
        ///
        /// where m is `min_samples`, as if the first delay had been learned from m samples. With
        /// 10 m samples, or once the window is full, the learned delay stands alone.
        Prior = "prior",
    }
}

/// How a learned strategy starts: three options that all of them have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) initial_delay: Duration,
    pub(super) min_samples: u32,
    pub(super) warmup: Warmup,
}

impl Start {
    pub(super) const DEFAULT: Self = Self {
        initial_delay: Duration::from_millis(100),
        min_samples: 10,
        warmup: Warmup::Delay,
    };

    /// Whether `samples` are enough, of at most `window`.
    pub(super) fn is_over(&self, samples: usize, window: usize) -> bool {
        samples >= self.needed(window)
    }

    /// The plan, given the delay that `samples` of at most `window` suggest.
    pub(super) fn plan(&self, learned: Option<Duration>, samples: usize, window: usize) -> Plan {
        let over = self.is_over(samples, window);
        match (self.warmup, learned) {
            (Warmup::Prior, Some(learned)) => Plan::after(self.shrunk(learned, samples, window)),
            (_, Some(learned)) if over => Plan::after(learned),
            (Warmup::Off, _) => Plan::never(Suppressed::WarmingUp),
            (Warmup::Delay | Warmup::Prior, _) => Plan::after(self.initial_delay),
        }
    }

    /// Checks `min_samples` against the window it has to fit in.
    pub(super) fn validate(&self, window: usize) -> Result<(), ConfigError> {
        ConfigError::check_range("min_samples", self.min_samples.into(), 1.0, window as f64)
    }

    fn shrunk(&self, learned: Duration, samples: usize, window: usize) -> Duration {
        let needed = self.needed(window);
        if samples >= window || samples >= needed.saturating_mul(10) {
            return learned;
        }
        let (needed, samples) = (needed as u32, samples as u32);
        let sum = self.initial_delay.saturating_mul(needed);
        let sum = sum.saturating_add(learned.saturating_mul(samples));
        sum.checked_div(needed.saturating_add(samples))
            .unwrap_or(learned)
    }

    /// `min_samples`, within what is possible.
    fn needed(&self, window: usize) -> usize {
        let needed = usize::try_from(self.min_samples).unwrap_or(usize::MAX);
        needed.min(window).max(1)
    }
}
