//! Conversion of numbers and words to the types of a hedger.
//!
//! The strategy, the budget and the options check their own ranges. This module checks options without a separate type,
//! and the rules between options.

use core::time::Duration;

use super::kind::Choice;
use super::{HedgeConfig, Settings};
use crate::error::ConfigError;
use crate::hedger::{Budget, Options, check_cost, telemetry_prefix};
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::replicas::ReplicaList;
use crate::strategy::{
    Adaptive, AnyInner, AnyStrategy, DelayCandidates, ExponentialBackoff, Fixed, Hints, Off,
    OnFailure, Optimal, Percentile, Strategy, WorkloadAware,
};
use crate::time::millis;

/// Checks every option, and returns the settings that a hedger is built from.
pub(super) fn settings(config: &HedgeConfig) -> Result<Settings, ConfigError> {
    let options = options(config)?;
    check_cost(config.cost_per_attempt)?;
    Ok(Settings {
        options,
        budget: budget(config, options.max_hedges)?,
        strategy_name: strategy_name(config)?,
        telemetry_prefix: telemetry_prefix(config.telemetry_prefix.as_str())?,
        cost_per_attempt: config.cost_per_attempt,
        max_keys: check_keys(config.max_keys)?,
        replicas: replicas(config)?,
        // Check the strategy last, so that a custom kind is only reported if everything else is valid.
        strategy: strategy(config)?,
    })
}

fn options(config: &HedgeConfig) -> Result<Options, ConfigError> {
    let options = Options {
        enabled: config.enabled,
        observe_only: config.observe_only,
        holdback_percent: config.holdback_percent,
        max_hedges: config.max_hedges,
        timeout: optional_time("timeout_ms", config.timeout_ms)?,
        attempt_timeout: optional_time("attempt_timeout_ms", config.attempt_timeout_ms)?,
        max_pushback: optional_time("max_pushback_ms", config.max_pushback_ms)?,
        enable_cancellation: config.enable_cancellation,
        min_delay: time("min_delay", config.min_delay)?,
        max_delay: optional_time("max_delay", config.max_delay)?,
        guard: config.guard,
        hints: Hints {
            prompt_length: config.prompt_length,
            model_complexity: config.model_complexity,
            time_of_day: config.time_of_day,
            priority: config.priority,
        },
    };
    options.validate()?;
    Ok(options)
}

fn budget(config: &HedgeConfig, max_hedges: u8) -> Result<Budget, ConfigError> {
    let mut budget = Budget::percent(config.budget_percent);
    // Only the default burst has a surge gate.
    if config.budget_burst != Budget::BURST {
        budget = budget.burst(config.budget_burst);
    }
    budget = budget.min_per_second(config.budget_min_per_second);
    if let Some(hedges) = config.max_in_flight {
        budget = budget.max_in_flight(hedges);
    }
    budget.validate(max_hedges)?;
    Ok(budget)
}

/// Checks for how many keys there is to be room.
pub(crate) fn check_keys(keys: u32) -> Result<u32, ConfigError> {
    let most = HedgeConfig::MAX_KEYS;
    ConfigError::check_range("max_keys", keys.into(), 0.0, most.into())?;
    Ok(keys)
}

fn replicas(config: &HedgeConfig) -> Result<ReplicaList, ConfigError> {
    config.replicas.validate()?;
    Ok(config.replicas.clone())
}

fn strategy_name(config: &HedgeConfig) -> Result<Name, ConfigError> {
    let name = config.strategy_name;
    if name.is_some_and(|name| name.is_empty()) {
        return Err(ConfigError::text("strategy_name", "", "1 to 32 bytes"));
    }
    Ok(name.unwrap_or_default())
}

fn strategy(config: &HedgeConfig) -> Result<AnyStrategy, ConfigError> {
    // Check the options of every strategy, also of those that are not used.
    let fixed = optional_time("delay_ms", config.delay_ms)?.map(Fixed::new);
    percentile(config)?;
    adaptive(config)?;
    optimal(config)?;
    backoff(config)?;
    let base_delay = time("base_delay", config.base_delay)?;
    let kind = Choice::STRATEGY.check(config.strategy)?;
    let inner = config
        .workload_inner
        .map(|inner| Choice::INNER.check(inner));
    match (kind, inner.transpose()?) {
        (StrategyKind::WorkloadAware, None) => Ok(WorkloadAware::base_delay(base_delay).into()),
        (StrategyKind::WorkloadAware, Some(inner)) => {
            let inner: AnyInner = pick(config, fixed, Choice::INNER, inner)?;
            Ok(WorkloadAware::over(inner).into())
        }
        (kind, _) => pick(config, fixed, Choice::STRATEGY, kind),
    }
}

/// Returns the strategy that `choice` names.
// This function and those that it calls are not inlined: the optimiser takes minutes for a function that moves several
// strategies with large windows.
#[inline(never)]
fn pick<T>(
    config: &HedgeConfig,
    fixed: Option<Fixed>,
    choice: Choice,
    kind: StrategyKind,
) -> Result<T, ConfigError>
where
    T: From<Off>
        + From<OnFailure>
        + From<Fixed>
        + From<Percentile>
        + From<Adaptive>
        + From<Optimal>,
    T: From<ExponentialBackoff>,
{
    match kind {
        StrategyKind::Off => Ok(Off.into()),
        StrategyKind::OnFailure => Ok(OnFailure.into()),
        StrategyKind::Fixed => {
            let expected = "0 or more ms, which the strategy `fixed` needs";
            let fixed = fixed.map(Into::into);
            fixed.ok_or_else(|| ConfigError::missing("delay_ms", expected))
        }
        StrategyKind::Percentile => percentile(config).map(Into::into),
        StrategyKind::ExponentialBackoff => backoff(config).map(Into::into),
        StrategyKind::Adaptive => {
            let strategy = adaptive(config)?;
            // Validate only if this strategy is used: `min_samples` may be valid for another strategy and too large for
            // this window.
            strategy.validate()?;
            Ok(strategy.into())
        }
        StrategyKind::Optimal => optimal(config).map(Into::into),
        StrategyKind::WorkloadAware | StrategyKind::Custom => Err(choice.error(kind.as_str())),
    }
}

#[inline(never)]
fn percentile(config: &HedgeConfig) -> Result<Percentile, ConfigError> {
    let mut strategy = Percentile::new(config.percentile)
        .window_size(count(config.window_size))
        .warmup(config.warmup);
    if let Some(samples) = config.min_samples {
        strategy = strategy.min_samples(count(samples));
    }
    if let Some(delay) = optional_time("initial_delay", config.initial_delay)? {
        strategy = strategy.initial_delay(delay);
    }
    if let Some(age) = optional_time("max_age_ms", config.max_age_ms)? {
        strategy = strategy.max_age(age);
    }
    strategy.validate()?;
    Ok(strategy)
}

fn backoff(config: &HedgeConfig) -> Result<ExponentialBackoff, ConfigError> {
    let strategy = ExponentialBackoff::new()
        .base_delay(time(
            "exponential_base_delay",
            config.exponential_base_delay,
        )?)
        .min_delay(time("exponential_min_delay", config.exponential_min_delay)?)
        .max_delay(time("exponential_max_delay", config.exponential_max_delay)?)
        .increase_factor(config.exponential_increase_factor)
        .decrease_factor(config.exponential_decrease_factor)
        .error_factor(config.exponential_error_factor);
    strategy.validate()?;
    Ok(strategy)
}

fn adaptive(config: &HedgeConfig) -> Result<Adaptive, ConfigError> {
    let candidates = &config.delay_candidates;
    check_candidates_len(candidates)?;
    let mut delays = heapless::Vec::<Duration, 16>::new();
    let delay = |candidate| time("delay_candidates", candidate);
    for (i, &candidate) in candidates.iter().enumerate() {
        let this = delay(candidate)?;
        ConfigError::check_above("delay_candidates", millis(this), 0.0)?;
        if candidates
            .iter()
            .take(i)
            .any(|&earlier| delay(earlier) == Ok(this))
        {
            let expected = "2 to 16 distinct delays";
            return Err(ConfigError::number("delay_candidates", candidate, expected));
        }
        // The push cannot fail: there are at most 16 candidates.
        let _ = delays.push(this);
    }
    ConfigError::check_range("learning_rate", config.learning_rate, 0.0, 1.0)?;
    ConfigError::check_at_least("cost_weight", config.cost_weight, 0.0)?;
    let mut strategy = Adaptive::new()
        .candidates(&delays)
        .learning_rate(config.learning_rate)
        .cost_weight(config.cost_weight)
        .warmup(config.warmup);
    if let Some(samples) = config.min_samples {
        strategy = strategy.min_samples(count(samples));
    }
    if let Some(delay) = optional_time("initial_delay", config.initial_delay)? {
        strategy = strategy.initial_delay(delay);
    }
    if let Some(age) = optional_time("max_age_ms", config.max_age_ms)? {
        strategy = strategy.max_age(age);
    }
    Ok(strategy)
}

/// Checks how many `delay_candidates` were given.
pub(super) fn check_candidates_len(candidates: &DelayCandidates) -> Result<(), ConfigError> {
    let len = candidates.given();
    if (2..=16).contains(&len) {
        return Ok(());
    }
    Err(ConfigError::number(
        "delay_candidates",
        len as f64,
        "2 to 16 in number",
    ))
}

#[inline(never)]
fn optimal(config: &HedgeConfig) -> Result<Optimal, ConfigError> {
    let (target, budget) = (config.optimal_target, config.optimal_budget_percent);
    let mut strategy = Optimal::new(target, budget)
        .window_size(count(config.window_size))
        .warmup(config.warmup);
    if let Some(samples) = config.min_samples {
        strategy = strategy.min_samples(count(samples));
    }
    if let Some(delay) = optional_time("initial_delay", config.initial_delay)? {
        strategy = strategy.initial_delay(delay);
    }
    if let Some(age) = optional_time("max_age_ms", config.max_age_ms)? {
        strategy = strategy.max_age(age);
    }
    strategy.validate()?;
    Ok(strategy)
}

/// Returns `millis` as the nearest whole number of nanoseconds, and at least one unless it is 0: a time above 0 is valid
/// wherever 0 is not.
fn time(option: &'static str, millis: f64) -> Result<Duration, ConfigError> {
    ConfigError::check_range(option, millis, 0.0, HedgeConfig::MAX_MILLIS)?;
    // The conversion cannot fail within this range.
    let time = Duration::try_from_secs_f64(millis / 1e3).unwrap_or(Duration::MAX);
    let least = Duration::from_nanos((millis > 0.0).into());
    Ok(time.max(least))
}

pub(crate) fn optional_time(
    option: &'static str,
    millis: Option<f64>,
) -> Result<Option<Duration>, ConfigError> {
    millis.map(|millis| time(option, millis)).transpose()
}

/// Converts a number of samples, saturating: no window holds more than can be addressed.
fn count(samples: u32) -> usize {
    usize::try_from(samples).unwrap_or(usize::MAX)
}
