//! The options that can change while a hedger runs.

use core::time::Duration;

use crate::error::ConfigError;
use crate::name::Name;
use crate::strategy::Hints;
use crate::time;

/// Options that apply to every strategy and can change while a hedger runs.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::Options;
///
/// let mut options = Options::default();
/// options.max_hedges = 2;
/// options.timeout = Some(Duration::from_secs(5));
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Whether requests are hedged at all. Default: true.
    pub enabled: bool,
    /// Whether to only observe: learn and count, but start no hedges. Hedges that would have been
    /// started are withdrawn from the budget and reported as
    /// [`Suppressed::ObserveOnly`](crate::Suppressed::ObserveOnly). Default: false.
    pub observe_only: bool,
    /// The maximum number of hedges per request, 1 to 7. Default: 1.
    pub max_hedges: u8,
    /// The time limit of a request, over all its attempts. Default: 30 s.
    pub timeout: Option<Duration>,
    /// Whether losers are dropped before a success is reported. If not, they stay in the request's
    /// future, so that they can be polled further. Default: true.
    pub enable_cancellation: bool,
    /// The minimum of a learned delay. Default: 0.
    pub min_delay: Duration,
    /// The maximum of a learned delay. Default: none.
    pub max_delay: Option<Duration>,
    /// Whether hedges are put off while they do not help: when none of the last 24 won, all but one in a
    /// hundred wait for twice the hedge delay, and longer while none wins. Fewer retries start while few succeed. The
    /// guard sees this hedger's requests, not the load that hedges cause elsewhere. Default: true where the strategy
    /// learns, but for `exponential_backoff`, whose delay hedges that lose lengthen.
    pub guard: Option<bool>,
    /// The hints for requests whose caller does not set them. Default: none.
    pub hints: Hints,
}

impl Options {
    /// The default options.
    pub const DEFAULT: Self = Self {
        enabled: true,
        observe_only: false,
        max_hedges: 1,
        timeout: Some(Duration::from_secs(30)),
        enable_cancellation: true,
        min_delay: Duration::ZERO,
        max_delay: None,
        guard: None,
        hints: Hints::NONE,
    };

    /// Validates the options.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("max_hedges", self.max_hedges.into(), 1.0, 7.0)?;
        if self.timeout == Some(Duration::ZERO) {
            return Err(ConfigError::number("timeout_ms", 0.0, "greater than 0"));
        }
        if let Some(max) = self.max_delay
            && max <= self.min_delay
        {
            return Err(ConfigError::number(
                "max_delay",
                time::millis(max),
                "greater than `min_delay`",
            ));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The names of a hedger, which cannot change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Labels {
    pub(crate) strategy_name: Name,
    pub(crate) telemetry_prefix: Name,
}

impl Labels {
    pub(crate) const DEFAULT: Self = Self {
        strategy_name: Name::EMPTY,
        telemetry_prefix: Name::truncated("hedging"),
    };
}
