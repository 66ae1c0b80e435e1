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
#[cfg(feature = "std")]
pub(crate) use validate::check_keys;
#[cfg(feature = "serde")]
pub(crate) use validate::optional_time;

use crate::error::ConfigError;
use crate::hedger::Budget;
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::replicas::ReplicaList;
use crate::strategy::{DelayCandidates, ModelComplexity, Priority, TimeOfDay, Warmup};

/// The options of a hedger, as in a config file. [`validate`](Self::validate) checks them.
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
/// With feature `serde`, a config is read from any format that names its fields, such as JSON or TOML. An option that is
/// left out has its default, and an unknown option is an error:
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
/// With feature `schemars`, `schemars::schema_for!(HedgeConfig)` is its JSON Schema, for editors and for checking files.
///
/// New versions may add fields. End a struct literal with `..HedgeConfig::default()`, so that it still compiles then.
///
/// # Options
///
/// Times are in milliseconds, 0 to [`MAX_MILLIS`](Self::MAX_MILLIS), with fractions down to a nanosecond. Every option is
/// checked, also those of strategies that are not used.
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
/// | `max_keys` | 64 | 0 to 16384: how many keys can have separate statistics, on servers |
/// | `replicas` | none | up to 64 tables of `weight` (1 to 65535), `bias` (−128 to 127) and `latency_ms` (0.000001 to 31536000000), as in [`ReplicaOptions`](crate::replicas::ReplicaOptions); on servers |
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
    /// The strategy, which decides when to hedge. Default: `percentile`.
    pub strategy: StrategyKind,
    /// The name of the hedger in outcomes and events, 1 to 32 bytes. Hedgers with different names learn separately:
    /// give each backend its own. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub strategy_name: Option<Name>,

    /// `fixed`: the hedge delay, in ms; 0 starts all attempts at once. A config file that names `fixed` has to set it.
    /// Default: 100 in code, none in a file.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub delay_ms: Option<f64>,

    /// `percentile`: the percentile of recent latencies that is the hedge delay, 50 to 99.9. At 95, about 5 % of the
    /// requests are hedged. Default: 95.
    pub percentile: f64,
    /// About how many recent latencies a learned strategy remembers, 200 to 8000. After so many requests, older
    /// latencies count half. Default: 4000.
    pub window_size: u32,
    /// The hedge delay of a learned strategy until it has `min_samples`, in ms. Without it, no request is hedged until
    /// then. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub initial_delay: Option<f64>,
    /// The shortest hedge delay that a learned strategy may choose, in ms; less than `max_delay`. Default: 0.
    pub min_delay: f64,
    /// The longest hedge delay that a learned strategy may choose, in ms; more than `min_delay`. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_delay: Option<f64>,
    /// How many latencies a learned strategy needs before it uses what it has learned, 1 to `window_size`. Default: 64,
    /// or `window_size` if that is smaller.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub min_samples: Option<u32>,
    /// What a learned strategy does until it has `min_samples`: `delay` hedges at `initial_delay`, `off` does not
    /// hedge, and `prior` moves gradually from `initial_delay` to the learned delay. Default: `delay`.
    pub warmup: Warmup,
    /// The age at which a learned strategy forgets a latency, in ms, more than 0. Default: none, so that latencies do
    /// not expire.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_age_ms: Option<f64>,

    /// `adaptive`: the delays that it chooses from, in ms; 2 to 16 different ones, each more than 0. Default: 50, 100,
    /// 200, 500 and 1000.
    #[cfg_attr(feature = "serde", serde(serialize_with = "text::candidates"))]
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::candidates"))]
    pub delay_candidates: DelayCandidates,
    /// `adaptive`: how fast it forgets, 0 to 1; about the last 100 / `learning_rate` requests count, and 0 never
    /// forgets. Default: 0.1.
    pub learning_rate: f64,
    /// `adaptive`: the cost of a hedge, as a multiple of the cost of waiting for the median latency; 0 or more.
    /// Default: 0.25.
    pub cost_weight: f64,

    /// `optimal`: the percentile of the latency that it minimises, 50 to 99.9. Default: 99.
    pub optimal_target: f64,
    /// `optimal`: the percentage of the requests that it may hedge, more than 0. Default: 5.
    pub optimal_budget_percent: f64,

    /// `workload_aware`: the delay that hints scale, in ms. It has no effect if `workload_inner` is set. Default: 100.
    pub base_delay: f64,
    /// `workload_aware`: the strategy whose delay hints scale, any but `workload_aware`. It uses its options in this
    /// config. Default: none, which scales `base_delay`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::inner"))]
    pub workload_inner: Option<StrategyKind>,
    /// The length of the prompt, in characters, of a request that does not state it. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub prompt_length: Option<u32>,
    /// The complexity of the model, for a request that does not state it. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub model_complexity: Option<ModelComplexity>,
    /// How busy the backend is, for a request that does not state it. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub time_of_day: Option<TimeOfDay>,
    /// The priority of a request that does not state it. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub priority: Option<Priority>,

    /// `exponential_backoff`: the first delay, in ms, from `exponential_min_delay` to `exponential_max_delay`. Default:
    /// 100.
    pub exponential_base_delay: f64,
    /// `exponential_backoff`: the shortest delay, in ms; less than `exponential_max_delay`. Default: 10.
    pub exponential_min_delay: f64,
    /// `exponential_backoff`: the longest delay, in ms; more than `exponential_min_delay`. Default: 5000.
    pub exponential_max_delay: f64,
    /// `exponential_backoff`: the factor that the delay is multiplied by after a hedge that lost, more than 1. Default:
    /// 1.5.
    pub exponential_increase_factor: f64,
    /// `exponential_backoff`: the factor that the delay is multiplied by after a hedge that won or was not needed,
    /// between 0 and 1, both excluded. Default: 0.9.
    pub exponential_decrease_factor: f64,
    /// `exponential_backoff`: the factor that the delay is multiplied by after a request that failed, more than 1.
    /// Default: 2.
    pub exponential_error_factor: f64,

    /// The maximum number of hedges per request, 1 to 7. Building a hedger fails if its type has room for fewer.
    /// Default: 1.
    pub max_hedges: u8,
    /// The budget for hedges, as a percentage of the requests, 0 to 100 × `max_hedges`. Default: 10.
    pub budget_percent: f64,
    /// How many hedges per second may start when the budget is spent, 0 or more. Default: 0.
    pub budget_min_per_second: f64,
    /// How many hedges may start at once, out of budget that earlier requests did not use. The default allows fewer
    /// while most requests are slow; any other value applies at all times. Default: 80.
    pub budget_burst: u32,
    /// The maximum number of hedges that run at the same time, at least 1. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_in_flight: Option<u32>,

    /// The time limit of a request that may be hedged, over all its attempts, in ms, more than 0. `null` in a file, and
    /// `None` in code, mean no limit. Default: 30000.
    pub timeout_ms: Option<f64>,
    /// The time limit of each attempt of a request that may be hedged, in ms, more than 0. An attempt that lasts longer
    /// has failed. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub attempt_timeout_ms: Option<f64>,
    /// The longest pushback that a request waits for, in ms. When a result asks for a longer wait, no further attempt
    /// starts. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_pushback_ms: Option<f64>,
    /// Whether the attempts that lost are dropped before the result is returned. Default: true.
    pub enable_cancellation: bool,
    /// Whether requests are hedged at all. If not, the hedger's retries and time limits do not apply either. Default:
    /// true.
    pub enabled: bool,
    /// Whether the hedger learns and counts the hedges that it would start, but starts none. Default: false.
    pub observe_only: bool,
    /// The percentage of due hedges that are withheld as a control group, 0 to 50, to measure what hedges gain.
    /// Default: 0.
    pub holdback_percent: f64,
    /// Whether hedges are delayed further while they do not help. Default: true for strategies that learn, except for
    /// `exponential_backoff`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub guard: Option<bool>,
    /// How many keys can have separate statistics, 0 to 16384. Only hedgers of servers have keys. Default: 64.
    pub max_keys: u32,
    /// The options of up to 64 replicas, by index. Only hedgers of servers have a set of replicas. Default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_empty"))]
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::replicas"))]
    pub replicas: ReplicaList,
    /// The cost of one attempt, in any unit, 0 or more. Default: 1.
    pub cost_per_attempt: f64,
    /// The prefix of the names of events: parts of letters, digits and `_`, joined by dots, at most 32 bytes. Default:
    /// `hedging`.
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::prefix"))]
    pub telemetry_prefix: Name,
}

impl HedgeConfig {
    /// The longest time that an option may be set to, in ms: about 31 years.
    pub const MAX_MILLIS: f64 = 1e12;

    /// The largest number of keys.
    pub const MAX_KEYS: u32 = 16_384;

    /// The number of keys that a hedger has room for unless it is told otherwise.
    pub(crate) const DEFAULT_KEYS: u32 = 64;

    /// Checks every option, and returns the settings that a hedger is built from.
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
    /// Returns the first invalid option, its value and its range.
    pub fn validate(&self) -> Result<Settings, ConfigError> {
        validate::settings(self)
    }

    /// Returns whether `other` has the same strategy with the same options.
    #[cfg(feature = "std")]
    pub(crate) fn has_same_strategy(&self, other: &Self) -> bool {
        // All options are named, so that a new one has to be put with those of strategies or with the rest.
        let with_others_rest = Self {
            strategy: self.strategy,
            delay_ms: self.delay_ms,
            percentile: self.percentile,
            window_size: self.window_size,
            initial_delay: self.initial_delay,
            min_samples: self.min_samples,
            warmup: self.warmup,
            max_age_ms: self.max_age_ms,
            delay_candidates: self.delay_candidates.clone(),
            learning_rate: self.learning_rate,
            cost_weight: self.cost_weight,
            optimal_target: self.optimal_target,
            optimal_budget_percent: self.optimal_budget_percent,
            base_delay: self.base_delay,
            workload_inner: self.workload_inner,
            exponential_base_delay: self.exponential_base_delay,
            exponential_min_delay: self.exponential_min_delay,
            exponential_max_delay: self.exponential_max_delay,
            exponential_increase_factor: self.exponential_increase_factor,
            exponential_decrease_factor: self.exponential_decrease_factor,
            exponential_error_factor: self.exponential_error_factor,
            // What is no option of a strategy.
            strategy_name: other.strategy_name,
            min_delay: other.min_delay,
            max_delay: other.max_delay,
            prompt_length: other.prompt_length,
            model_complexity: other.model_complexity,
            time_of_day: other.time_of_day,
            priority: other.priority,
            max_hedges: other.max_hedges,
            budget_percent: other.budget_percent,
            budget_min_per_second: other.budget_min_per_second,
            budget_burst: other.budget_burst,
            max_in_flight: other.max_in_flight,
            timeout_ms: other.timeout_ms,
            attempt_timeout_ms: other.attempt_timeout_ms,
            max_pushback_ms: other.max_pushback_ms,
            enable_cancellation: other.enable_cancellation,
            enabled: other.enabled,
            observe_only: other.observe_only,
            holdback_percent: other.holdback_percent,
            guard: other.guard,
            max_keys: other.max_keys,
            replicas: other.replicas.clone(),
            cost_per_attempt: other.cost_per_attempt,
            telemetry_prefix: other.telemetry_prefix,
        };
        with_others_rest == *other
    }
}

#[cfg(feature = "serde")]
fn is_empty(replicas: &ReplicaList) -> bool {
    replicas.is_empty()
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
            max_keys: Self::DEFAULT_KEYS,
            replicas: ReplicaList::default(),
            cost_per_attempt: 1.0,
            telemetry_prefix: Name::truncated("hedging"),
        }
    }
}
