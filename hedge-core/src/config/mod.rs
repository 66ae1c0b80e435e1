//! Every option under its name in a config file.

mod kind;
mod overrides;
#[cfg(feature = "schemars")]
pub(crate) mod schema;
mod settings;
#[cfg(feature = "serde")]
mod text;
mod validate;
#[cfg(all(feature = "alloc", feature = "serde"))]
pub(crate) mod value;

#[cfg(test)]
mod tests;

pub use overrides::Overrides;
pub use settings::Settings;
#[cfg(feature = "serde")]
pub(crate) use text::name;
#[cfg(feature = "serde")]
pub(crate) use validate::optional_time;

use crate::error::ConfigError;
use crate::hedger::Budget;
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::strategy::{DelayCandidates, ModelComplexity, Priority, TimeOfDay, Warmup};

/// Every option, as in a config file; [`validate`](Self::validate) makes of it what a hedger is built
/// from.
///
/// ```
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{HedgeConfig, Hedger, StrategyKind};
///
/// let config = HedgeConfig {
///     strategy: StrategyKind::WorkloadAware,
///     workload_inner: Some(StrategyKind::Percentile),
///     percentile: 99.0,
///     strategy_name: Some("search".parse()?),
///     ..HedgeConfig::default()
/// };
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock).settings(config.validate()?).build_local()?;
/// assert_eq!(hedger.strategy_name().as_str(), "search");
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
///
/// With feature `serde` it is read from any format that names its fields, such as JSON or TOML. What
/// is left out is the default, and an option that does not exist is an error:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use hedge_core::HedgeConfig;
///
/// let config: HedgeConfig = serde_json::from_str(
///     r#"{ "strategy": "fixed", "delay_ms": 50, "budget_percent": 5 }"#,
/// )?;
/// assert!(config.validate().is_ok());
/// assert!(serde_json::from_str::<HedgeConfig>(r#"{ "delay": 50 }"#).is_err());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With feature `schemars` there is a JSON Schema of it, for editors and for checking files:
/// `schemars::schema_for!(HedgeConfig)`.
///
/// Fields may be added; `..HedgeConfig::default()` keeps a program that names some of them compiling.
///
/// # Options
///
/// Times are in milliseconds, 0 to [`MAX_MILLIS`](Self::MAX_MILLIS); fractions count, to the
/// nanosecond. Every option is checked, whichever strategy is to use it.
///
/// | option | default | valid |
/// |---|---|---|
/// | `strategy` | `percentile` | `off`, `on_failure`, `fixed`, `percentile`, `adaptive`, `workload_aware`, `exponential_backoff`, `optimal` |
/// | `strategy_name` | none | 1 to 32 bytes |
/// | `delay_ms` | 100 | a time; a config file that names `fixed` has to give it |
/// | `percentile` | 95 | 50 to 99.9 |
/// | `window_size` | 4000 | 200 to 8000 |
/// | `initial_delay` | none | a time |
/// | `min_delay`, `max_delay` | 0, none | times, `min_delay` < `max_delay` |
/// | `min_samples` | the smaller of 64 and `window_size` | 1 to `window_size` |
/// | `warmup` | `delay` | `delay`, `off`, `prior` |
/// | `max_age_ms` | none | a time > 0 |
/// | `delay_candidates` | 50, 100, 200, 500, 1000 | 2 to 16 distinct times > 0 |
/// | `learning_rate` | 0.1 | 0 to 1 |
/// | `cost_weight` | 0.25 | ≥ 0 |
/// | `optimal_target` | 99 | 50 to 99.9 |
/// | `optimal_budget_percent` | 5 | > 0 |
/// | `base_delay` | 100 | a time |
/// | `workload_inner` | none | any `strategy` but `workload_aware` |
/// | `prompt_length` | none | ≥ 0 |
/// | `model_complexity` | none | `simple`, `medium`, `complex` |
/// | `time_of_day` | none | `peak`, `normal`, `off_peak` |
/// | `priority` | none | `low`, `normal`, `high` |
/// | `exponential_base_delay` | 100 | `exponential_min_delay` to `exponential_max_delay` |
/// | `exponential_min_delay`, `exponential_max_delay` | 10, 5000 | times, min < max |
/// | `exponential_increase_factor` | 1.5 | > 1 |
/// | `exponential_decrease_factor` | 0.9 | > 0 and < 1 |
/// | `exponential_error_factor` | 2 | > 1 |
/// | `max_hedges` | 1 | 1 to 7, and no more than the hedger's type has room for |
/// | `budget_percent` | 10 | 0 to 100 × `max_hedges` |
/// | `budget_min_per_second` | 0 | ≥ 0 |
/// | `budget_burst` | 80 | ≥ 0 |
/// | `max_in_flight` | none | ≥ 1 |
/// | `timeout_ms` | 30000 | a time > 0, or `null` for none |
/// | `attempt_timeout_ms` | none | a time > 0: an attempt that lasts longer has failed |
/// | `max_pushback_ms` | none | a time: after a longer pushback no further attempt starts |
/// | `enable_cancellation` | true | |
/// | `enabled`, `observe_only` | true, false | |
/// | `holdback_percent` | 0 | 0 to 50 |
/// | `guard` | true where the strategy learns, but for `exponential_backoff` | |
/// | `cost_per_attempt` | 1 | ≥ 0 |
/// | `telemetry_prefix` | `hedging` | names of letters, digits and `_`, joined by dots; at most 32 bytes |
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schemars",
    schemars(default, deny_unknown_fields, transform = schema::add_ranges)
)]
pub struct HedgeConfig {
    /// When to hedge; any kind but [`Custom`](StrategyKind::Custom).
    pub strategy: StrategyKind,
    /// What outcomes and events call the hedger. State is kept per name: one hedger per backend.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub strategy_name: Option<Name>,

    /// `fixed`: the hedge delay, in ms. 100 in [`HedgeConfig::default`], but absent if a config file
    /// leaves it out, which is an error for `fixed`: there it should not be a guess.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub delay_ms: Option<f64>,

    /// `percentile`: which percentile of the last latencies the hedge delay is.
    pub percentile: f64,
    /// About how many of the last latencies count in a learned strategy: so many halve the weight of those before.
    pub window_size: u32,
    /// The hedge delay of a learned strategy before it has `min_samples`, in ms; no request is hedged before
    /// that if there is none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub initial_delay: Option<f64>,
    /// The least that a learned delay may be, in ms.
    pub min_delay: f64,
    /// The most that a learned delay may be, in ms.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_delay: Option<f64>,
    /// How many samples a learned strategy needs.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub min_samples: Option<u32>,
    /// What a learned strategy does before it has them.
    pub warmup: Warmup,
    /// How old a sample may become, in ms.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_age_ms: Option<f64>,

    /// `adaptive`: the delays it chooses from, in ms.
    #[cfg_attr(feature = "serde", serde(serialize_with = "text::candidates"))]
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::candidates"))]
    pub delay_candidates: DelayCandidates,
    /// `adaptive`: how fast it forgets; 0 never does.
    pub learning_rate: f64,
    /// `adaptive`: the price of a hedge.
    pub cost_weight: f64,

    /// `optimal`: which percentile it makes as small as it can.
    pub optimal_target: f64,
    /// `optimal`: the share of requests it may hedge, in percent.
    pub optimal_budget_percent: f64,

    /// `workload_aware`: the delay that hints scale, in ms, unless there is a `workload_inner`.
    pub base_delay: f64,
    /// `workload_aware`: the strategy whose delay hints scale, with its options from here.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::inner"))]
    pub workload_inner: Option<StrategyKind>,
    /// How long a prompt is, in characters, where the caller of a request does not say.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub prompt_length: Option<u32>,
    /// How hard the model works, where the caller of a request does not say.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub model_complexity: Option<ModelComplexity>,
    /// How busy the backend is, where the caller of a request does not say.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub time_of_day: Option<TimeOfDay>,
    /// How much an answer is waited for, where the caller of a request does not say.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub priority: Option<Priority>,

    /// `exponential_backoff`: the first delay, in ms.
    pub exponential_base_delay: f64,
    /// `exponential_backoff`: the shortest delay, in ms.
    pub exponential_min_delay: f64,
    /// `exponential_backoff`: the longest delay, in ms.
    pub exponential_max_delay: f64,
    /// `exponential_backoff`: what a lost hedge multiplies the delay by.
    pub exponential_increase_factor: f64,
    /// `exponential_backoff`: what a hedge that won or was not needed multiplies the delay by.
    pub exponential_decrease_factor: f64,
    /// `exponential_backoff`: what a failed request multiplies the delay by.
    pub exponential_error_factor: f64,

    /// How many hedges a request may have. The hedger's type has room for some number of attempts, the
    /// primary included; to ask for more is an error when it is built.
    pub max_hedges: u8,
    /// What share of the requests hedges may be, in percent.
    pub budget_percent: f64,
    /// How many hedges a second may start when that is spent.
    pub budget_min_per_second: f64,
    /// How many hedges may start at once on what was saved. The default has a
    /// [surge gate](Budget#the-surge-gate); any other number is kept to at all times.
    pub budget_burst: u32,
    /// How many hedges may run at once.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_in_flight: Option<u32>,

    /// How long a request that may be hedged may take, all attempts included, in ms. `None`, or `null` in a file, means
    /// no limit.
    pub timeout_ms: Option<f64>,
    /// How long an attempt of such a request may take, in ms. One that lasts longer has failed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub attempt_timeout_ms: Option<f64>,
    /// The longest pushback that a request waits for, in ms. After a result that asks for more, no further attempt
    /// starts.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_pushback_ms: Option<f64>,
    /// Whether losers are dropped before a success is reported.
    pub enable_cancellation: bool,
    /// Whether requests are hedged at all.
    pub enabled: bool,
    /// Learn and count, but start no hedge.
    pub observe_only: bool,
    /// Which share of the hedges that are about to start is withheld, in percent, so that
    /// [`effect`](crate::MetricsSnapshot::effect) can tell what hedges do.
    pub holdback_percent: f64,
    /// Whether hedges are put off while they do not help; if not given, where the strategy learns.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub guard: Option<bool>,
    /// What one attempt costs, in a unit of yours.
    pub cost_per_attempt: f64,
    /// What the names of events begin with.
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::prefix"))]
    pub telemetry_prefix: Name,
}

impl HedgeConfig {
    /// The longest time an option may be, in ms: over 31 years, and far from where a clock ends.
    pub const MAX_MILLIS: f64 = 1e12;

    /// Checks every option, and returns the settings that a hedger is built from. The window has room for 1000 samples.
    ///
    /// ```
    /// use hedge_core::HedgeConfig;
    ///
    /// let config = HedgeConfig { exponential_error_factor: 0.5, ..HedgeConfig::default() };
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`exponential_error_factor` is 0.5, but must be greater than 1",
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Names the invalid option, its value and its range.
    pub fn validate(&self) -> Result<Settings, ConfigError> {
        validate::settings(self)
    }

    /// Returns whether the strategy that `self` asks for is that of `other`, with the same options.
    #[cfg(feature = "std")]
    pub(crate) fn has_same_strategy(&self, other: &Self) -> bool {
        // Everything that is not an option of a strategy.
        let Self {
            strategy_name,
            min_delay,
            max_delay,
            prompt_length,
            model_complexity,
            time_of_day,
            priority,
            max_hedges,
            budget_percent,
            budget_min_per_second,
            budget_burst,
            max_in_flight,
            timeout_ms,
            attempt_timeout_ms,
            enable_cancellation,
            enabled,
            observe_only,
            holdback_percent,
            guard,
            cost_per_attempt,
            telemetry_prefix,
            ..
        } = *other;
        let with_others_rest = Self {
            strategy_name,
            min_delay,
            max_delay,
            prompt_length,
            model_complexity,
            time_of_day,
            priority,
            max_hedges,
            budget_percent,
            budget_min_per_second,
            budget_burst,
            max_in_flight,
            timeout_ms,
            attempt_timeout_ms,
            enable_cancellation,
            enabled,
            observe_only,
            holdback_percent,
            guard,
            cost_per_attempt,
            telemetry_prefix,
            ..self.clone()
        };
        with_others_rest == *other
    }
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self {
            strategy: StrategyKind::Percentile,
            strategy_name: None,
            delay_ms: Some(100.0),
            percentile: 95.0,
            window_size: 4000,
            initial_delay: None,
            min_delay: 0.0,
            max_delay: None,
            min_samples: None,
            warmup: Warmup::Delay,
            max_age_ms: None,
            delay_candidates: [50.0, 100.0, 200.0, 500.0, 1000.0].into(),
            learning_rate: 0.1,
            cost_weight: 0.25,
            optimal_target: 99.0,
            optimal_budget_percent: 5.0,
            base_delay: 100.0,
            workload_inner: None,
            prompt_length: None,
            model_complexity: None,
            time_of_day: None,
            priority: None,
            exponential_base_delay: 100.0,
            exponential_min_delay: 10.0,
            exponential_max_delay: 5000.0,
            exponential_increase_factor: 1.5,
            exponential_decrease_factor: 0.9,
            exponential_error_factor: 2.0,
            max_hedges: 1,
            budget_percent: 10.0,
            budget_min_per_second: 0.0,
            budget_burst: Budget::BURST,
            max_in_flight: None,
            timeout_ms: Some(30_000.0),
            attempt_timeout_ms: None,
            max_pushback_ms: None,
            enable_cancellation: true,
            enabled: true,
            observe_only: false,
            holdback_percent: 0.0,
            guard: None,
            cost_per_attempt: 1.0,
            telemetry_prefix: Name::truncated("hedging"),
        }
    }
}
