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
    /// Whether requests are hedged at all. If not, the hedger's retries and time limits do not apply either. Default:
    /// true.
    pub enabled: bool,
    /// Whether the hedger only observes: it learns and counts, but starts no hedges. Hedges that would have been
    /// started are withdrawn from the budget and reported as
    /// [`Suppressed::ObserveOnly`](crate::Suppressed::ObserveOnly); after a day or so,
    /// [`MetricsSnapshot::dry_run`](crate::MetricsSnapshot::dry_run) says what they would have cost and saved.
    /// Default: false.
    pub observe_only: bool,
    /// The percentage of the requests that are about to be hedged for slowness whose hedge is withheld instead, 0 to
    /// 50. They are a control group: [`MetricsSnapshot::effect`](crate::MetricsSnapshot::effect) compares the others
    /// with them. Such a request pays for no hedge, and may still retry after a failure. Default: 0.
    pub holdback_percent: f64,
    /// The maximum number of hedges per request, 1 to 7. Default: 1.
    pub max_hedges: u8,
    /// The time limit of a request that may be hedged, over all its attempts. Default: none; 30 s in
    /// a config file.
    pub timeout: Option<Duration>,
    /// The time limit of each attempt of a request that may be hedged. An attempt that lasts longer is dropped and
    /// has failed, so that the next one starts. An attempt of `request_detached` has failed as well, and runs on.
    /// Default: none.
    pub attempt_timeout: Option<Duration>,
    /// The longest pushback that a request waits for. After a longer one, no further attempt starts, as after
    /// [`Verdict::Wait`](crate::Verdict::Wait), and the request ends at once if no other attempt runs. With zero, it
    /// waits for none. Default: no limit.
    pub max_pushback: Option<Duration>,
    /// Whether losers are dropped before the result is returned. If not, they stay in the request's future, so that
    /// they can be polled further. Default: true.
    pub enable_cancellation: bool,
    /// The shortest hedge delay that a learned strategy may choose. Default: 0.
    pub min_delay: Duration,
    /// The longest hedge delay that a learned strategy may choose. Default: none.
    pub max_delay: Option<Duration>,
    /// Whether hedges are deferred while they do not help: when none of the last 24 won, all but one in a hundred wait
    /// for twice the hedge delay, and longer while none wins. Fewer retries start while few succeed. The guard sees
    /// only this hedger's requests, not the load that hedges cause elsewhere. Default: true for strategies that learn,
    /// except for `exponential_backoff`, whose delay grows when hedges lose.
    pub guard: Option<bool>,
    /// The hints for requests whose caller does not set them. Default: none.
    pub hints: Hints,
}

impl Options {
    /// The default options.
    pub const DEFAULT: Self = Self {
        enabled: true,
        observe_only: false,
        holdback_percent: 0.0,
        max_hedges: 1,
        timeout: None,
        attempt_timeout: None,
        max_pushback: None,
        enable_cancellation: true,
        min_delay: Duration::ZERO,
        max_delay: None,
        guard: None,
        hints: Hints::NONE,
    };

    /// Sets each option that differs between `before` and `after` to its value in `after`.
    #[cfg(feature = "std")]
    pub(crate) fn take_changes(&mut self, before: &Self, after: &Self) {
        fn take<T: Copy + PartialEq>(place: &mut T, before: T, after: T) {
            if before != after {
                *place = after;
            }
        }
        // Name every option here, so that the compiler finds one that is missing.
        let Self {
            enabled,
            observe_only,
            holdback_percent,
            max_hedges,
            timeout,
            attempt_timeout,
            max_pushback,
            enable_cancellation,
            min_delay,
            max_delay,
            guard,
            hints,
        } = self;
        take(enabled, before.enabled, after.enabled);
        take(observe_only, before.observe_only, after.observe_only);
        take(
            holdback_percent,
            before.holdback_percent,
            after.holdback_percent,
        );
        take(max_hedges, before.max_hedges, after.max_hedges);
        take(timeout, before.timeout, after.timeout);
        take(
            attempt_timeout,
            before.attempt_timeout,
            after.attempt_timeout,
        );
        take(max_pushback, before.max_pushback, after.max_pushback);
        take(
            enable_cancellation,
            before.enable_cancellation,
            after.enable_cancellation,
        );
        take(min_delay, before.min_delay, after.min_delay);
        take(max_delay, before.max_delay, after.max_delay);
        take(guard, before.guard, after.guard);
        let (old, new) = (before.hints, after.hints);
        take(
            &mut hints.prompt_length,
            old.prompt_length,
            new.prompt_length,
        );
        take(
            &mut hints.model_complexity,
            old.model_complexity,
            new.model_complexity,
        );
        take(&mut hints.time_of_day, old.time_of_day, new.time_of_day);
        take(&mut hints.priority, old.priority, new.priority);
    }

    /// Validates the options.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("max_hedges", self.max_hedges.into(), 1.0, 7.0)?;
        ConfigError::check_range("holdback_percent", self.holdback_percent, 0.0, 50.0)?;
        if self.timeout == Some(Duration::ZERO) {
            return Err(ConfigError::number("timeout_ms", 0.0, "greater than 0"));
        }
        if self.attempt_timeout == Some(Duration::ZERO) {
            return Err(ConfigError::number(
                "attempt_timeout_ms",
                0.0,
                "greater than 0",
            ));
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

/// The options in the form of a policy: durations in nanoseconds, with [`NEVER`](Self::NEVER) for `None`.
///
/// They take less memory than [`Options`], and the code that reads them is smaller, which matters in firmware.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PolicyOptions {
    pub(crate) timeout: u64,
    pub(crate) attempt_timeout: u64,
    pub(crate) max_pushback: u64,
    pub(crate) min_delay: u64,
    pub(crate) max_delay: u64,
    holdback_percent: f64,
    /// `holdback_percent` as a share of 1.
    pub(crate) holdback: f32,
    pub(crate) hints: Hints,
    pub(crate) enabled: bool,
    pub(crate) observe_only: bool,
    pub(crate) enable_cancellation: bool,
    pub(crate) max_hedges: u8,
    pub(crate) guard: Option<bool>,
}

impl PolicyOptions {
    pub(crate) const NEVER: u64 = u64::MAX;

    pub(crate) const fn new(options: Options) -> Self {
        Self {
            timeout: nanos_of(options.timeout),
            attempt_timeout: nanos_of(options.attempt_timeout),
            max_pushback: nanos_of(options.max_pushback),
            min_delay: time::nanos(options.min_delay),
            max_delay: nanos_of(options.max_delay),
            holdback_percent: options.holdback_percent,
            holdback: (options.holdback_percent / 100.0) as f32,
            hints: options.hints,
            enabled: options.enabled,
            observe_only: options.observe_only,
            enable_cancellation: options.enable_cancellation,
            max_hedges: options.max_hedges,
            guard: options.guard,
        }
    }

    /// Returns the options that these were made from. Limits of 584 years and more are none.
    pub(crate) fn options(&self) -> Options {
        let limit = |nanos: u64| (nanos != Self::NEVER).then(|| Duration::from_nanos(nanos));
        Options {
            enabled: self.enabled,
            observe_only: self.observe_only,
            holdback_percent: self.holdback_percent,
            max_hedges: self.max_hedges,
            timeout: limit(self.timeout),
            attempt_timeout: limit(self.attempt_timeout),
            max_pushback: limit(self.max_pushback),
            enable_cancellation: self.enable_cancellation,
            min_delay: Duration::from_nanos(self.min_delay),
            max_delay: limit(self.max_delay),
            guard: self.guard,
            hints: self.hints,
        }
    }

    /// Returns how many nanoseconds the first attempt of a request may take.
    pub(crate) fn limit(&self) -> u64 {
        self.timeout.min(self.attempt_timeout)
    }
}

const fn nanos_of(limit: Option<Duration>) -> u64 {
    match limit {
        Some(limit) => time::nanos(limit),
        None => PolicyOptions::NEVER,
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
