//! What a hedger may be told while it works.

use core::time::Duration;

use crate::error::ConfigError;
use crate::name::Name;
use crate::strategy::Hints;
use crate::time;

/// Options that apply to every strategy and may change while a hedger works.
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
    /// Learn and count, but start no hedge. Hedges that would have been started are charged to the
    /// budget and reported as [`Suppressed::ObserveOnly`](crate::Suppressed::ObserveOnly). Default: false.
    pub observe_only: bool,
    /// How many hedges a request may have, 1 to 7. Default: 1.
    pub max_hedges: u8,
    /// How long a request may take, all attempts included. Default: 30 s.
    pub timeout: Option<Duration>,
    /// Whether losers are dropped before a success is reported. If not, they stay in the request's
    /// future, to be polled on. Default: true.
    pub enable_cancellation: bool,
    /// The least that a learned delay may be. Default: 0.
    pub min_delay: Duration,
    /// The most that a learned delay may be. Default: none.
    pub max_delay: Option<Duration>,
    /// Whether hedges are put off while they do not help: when none of the last 24 won, all but one in a
    /// hundred wait for twice the hedge delay, and longer while none wins. Fewer retries start while few succeed. The
    /// guard sees this hedger's requests, not the load that hedges cause elsewhere. Default: true where the strategy
    /// learns, but for `exponential_backoff`, whose delay hedges that lose lengthen.
    pub guard: Option<bool>,
    /// What is assumed about a request whose caller does not say. Default: nothing.
    pub hints: Hints,
}

impl Options {
    /// The defaults.
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

    /// Whether they can be right.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot.
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

/// What a hedger is called, for good.
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
