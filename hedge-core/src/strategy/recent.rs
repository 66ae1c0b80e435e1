//! The last latencies of primaries, and their options, which learned strategies share.

use core::time::Duration;

use super::Plan;
use super::memory::Share;
use super::warmup::{Start, saturated};
use crate::error::ConfigError;
use crate::time::{duration, millis};
use crate::window::Window;

/// A window of samples, and the options for the time until it has enough of them.
#[derive(Clone, Debug)]
pub(super) struct Recent<const N: usize> {
    pub(super) window: Window<N>,
    pub(super) start: Start,
    /// The size as it was set; that of the window is clamped.
    size: u32,
}

impl<const N: usize> Recent<N> {
    pub(super) const fn new() -> Self {
        const { assert!(N >= 10, "a window holds 10 or more samples") };
        Self {
            window: Window::new(N, None),
            start: Start::DEFAULT,
            size: N as u32,
        }
    }

    /// Returns an empty window of this many samples.
    pub(super) const fn sized(mut self, samples: usize) -> Self {
        self.size = saturated(samples);
        self.window = Window::new(samples, self.window.max_age());
        self
    }

    /// Returns an empty window or history whose samples expire at this age.
    pub(super) const fn aging(mut self, max_age: Duration) -> Self {
        self.window = Window::new(self.size as usize, Some(max_age));
        self
    }

    /// Returns whether there are enough samples.
    pub(super) fn is_warm(&self) -> bool {
        self.start.is_over(self.window.len(), self.window.size())
    }

    /// Returns the plan, given the delay in nanoseconds that the samples suggest.
    pub(super) fn plan(&self, learned: Option<u64>) -> Plan {
        self.start
            .plan(learned, self.window.len(), self.window.size())
    }

    /// Returns `plan`, marked as reusable unless samples may expire before the next record.
    pub(super) fn lasting(&self, plan: Plan) -> Plan {
        if self.window.max_age().is_some() {
            plan
        } else {
            plan.reusable()
        }
    }

    /// Returns the median latency of primaries; `None` if it is not known.
    pub(super) fn median(&self) -> Option<Duration> {
        let median = self.window.exceeded_by(Share::HALF.bits().into());
        median.map(duration)
    }

    /// Returns the median, once there are enough samples.
    pub(super) fn typical_latency(&self) -> Option<Duration> {
        if self.is_warm() { self.median() } else { None }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let (size, capacity) = (f64::from(self.size), N as f64);
        ConfigError::check_at_least("window_size", size, 10.0)?;
        let why = "which is what the type holds";
        ConfigError::check_at_most("window_size", size, capacity, why)?;
        self.start.validate(self.window.size())?;
        match self.window.max_age() {
            Some(age) => ConfigError::check_above("max_age_ms", millis(age), 0.0),
            None => Ok(()),
        }
    }
}
