//! One provider in a cascade, and what became of it.

use core::fmt;
use core::time::Duration;

use crate::error::ConfigError;
use crate::name::Name;

/// A provider: when the next one is asked besides, what it costs, and how good its answer has to be.
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
/// With feature `serde` it is read from a config file, for [`Cascade::from_slice`](super::Cascade::from_slice).
/// Its fields there are `name`, `delay_ms`, `cost` and `quality_threshold`; all but the first may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    pub(super) name: Name,
    pub(super) delay: Option<Duration>,
    pub(super) cost: f64,
    pub(super) threshold: Option<f64>,
}

impl Tier {
    /// A tier that costs one unit, whose every answer will do, and that is waited for until it has
    /// answered or failed. A name of more than 32 bytes is cut.
    pub const fn new(name: &str) -> Self {
        Self {
            name: Name::truncated(name),
            delay: None,
            cost: 1.0,
            threshold: None,
        }
    }

    /// How long it is out before the next tier is asked besides; zero asks both at once. The last tier's
    /// makes no difference.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// What asking it costs, in a unit of yours: 0 or more.
    #[must_use]
    pub const fn cost(mut self, cost: f64) -> Self {
        self.cost = cost;
        self
    }

    /// How good its answer has to be, on the scale of the cascade's quality function.
    #[must_use]
    pub const fn quality_threshold(mut self, quality: f64) -> Self {
        self.threshold = Some(quality);
        self
    }

    /// Its name.
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

    /// Whether an answer of this quality will do. None does that is not a number.
    pub(super) fn accepts(&self, quality: f64) -> bool {
        self.threshold.is_none_or(|threshold| quality >= threshold)
    }
}

/// What became of one tier.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TierReport {
    /// Its name.
    pub name: Name,
    /// How it ended.
    pub end: TierEnd,
    /// When it was asked, from the start of the cascade; absent if it never was.
    pub start: Option<Duration>,
    /// How long it took, or had taken when it was dropped, from its own start.
    pub latency: Option<Duration>,
    /// How good its answer was; absent if it gave none.
    pub quality: Option<f64>,
    /// What asking it costs.
    pub cost: f64,
}

/// How a tier ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TierEnd {
    /// It was not asked.
    Unused,
    /// It was dropped before it answered.
    Cancelled,
    /// It answered below its threshold.
    Insufficient,
    /// It failed.
    Failed,
    /// It gave the answer.
    Won,
}

impl TierEnd {
    /// The end as in logs, in snake case.
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
