//! A provider in a cascade, and how its request ended.

use core::fmt;
use core::time::Duration;

use crate::error::ConfigError;
use crate::name::Name;

/// A provider in a cascade: its delay, its cost, and the quality that its answers must have.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::cascade::Tier;
///
/// let tier = Tier::new("large-model")
///     .delay(Duration::from_millis(500))
///     .cost(0.03)
///     .quality_threshold(0.95);
/// assert_eq!(tier.name(), "large-model");
/// ```
///
/// With the feature `serde`, a tier can be read from a config file, for
/// [`Cascade::from_slice`](super::Cascade::from_slice). The fields are `name`, `delay_ms`, `cost`
/// and `quality_threshold`; all but `name` are optional.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    pub(super) name: Name,
    pub(super) delay: Option<Duration>,
    pub(super) cost: f64,
    pub(super) threshold: Option<f64>,
}

impl Tier {
    /// Creates a tier that costs one unit, accepts every answer, and has no delay limit: the next
    /// tier starts only when this one has failed. A name of more than 32 bytes is truncated.
    pub const fn new(name: &str) -> Self {
        Self {
            name: Name::truncated(name),
            delay: None,
            cost: 1.0,
            threshold: None,
        }
    }

    /// Sets the delay after which the next tier starts too; zero starts both at the same time. The
    /// delay of the last tier has no effect.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Sets the cost of a request to this tier, in any unit, 0 or more.
    #[must_use]
    pub const fn cost(mut self, cost: f64) -> Self {
        self.cost = cost;
        self
    }

    /// Sets the quality that an answer must have, on the scale of the cascade's quality function.
    #[must_use]
    pub const fn quality_threshold(mut self, quality: f64) -> Self {
        self.threshold = Some(quality);
        self
    }

    /// Returns the name of the tier.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_at_least("cost", self.cost, 0.0)?;
        match self.threshold {
            Some(threshold) if !threshold.is_finite() => Err(ConfigError::number(
                "quality_threshold",
                threshold,
                "a finite number",
            )),
            _ => Ok(()),
        }
    }

    /// Returns whether an answer of this quality is accepted. NaN is accepted only without a
    /// threshold.
    pub(super) fn accepts(&self, quality: f64) -> bool {
        self.threshold.is_none_or(|threshold| quality >= threshold)
    }
}

/// The result of one tier.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TierReport {
    /// The name of the tier.
    pub name: Name,
    /// How the tier's request ended.
    pub end: TierEnd,
    /// When the tier started, from the start of the cascade; `None` if it was not started.
    pub start: Option<Duration>,
    /// The time from the tier's own start until it ended or was dropped.
    pub latency: Option<Duration>,
    /// The quality of its answer; `None` if there was none.
    pub quality: Option<f64>,
    /// The cost of a request to this tier.
    pub cost: f64,
}

/// How the request to a tier ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TierEnd {
    /// The tier was not started.
    Unused,
    /// The tier was dropped before it answered.
    Cancelled,
    /// The tier answered below its threshold.
    Insufficient,
    /// The tier failed.
    Failed,
    /// The tier's answer was returned.
    Won,
}

impl TierEnd {
    /// Returns the end in snake case, as in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Cancelled => "cancelled",
            Self::Insufficient => "insufficient",
            Self::Failed => "failed",
            Self::Won => "won",
        }
    }
}

impl fmt::Display for TierEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
