//! The checked values of a config, and how a builder takes them.

use crate::hedger::{Budget, Builder, Labels, Options};
use crate::name::Name;
use crate::replicas::ReplicaList;
use crate::strategy::AnyStrategy;

/// The checked options of a [`HedgeConfig`](crate::HedgeConfig), in the types of a [`Builder`](crate::Builder), which
/// takes them with [`settings`](crate::Builder::settings).
///
/// ```
/// use core::time::Duration;
/// use hedge_core::{HedgeConfig, Strategy, StrategyKind};
///
/// let settings = HedgeConfig { timeout_ms: Some(0.5), ..HedgeConfig::default() }.validate()?;
/// assert_eq!(settings.strategy.kind(), StrategyKind::Percentile);
/// assert_eq!(settings.options.timeout, Some(Duration::from_micros(500)));
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// When to hedge.
    pub strategy: AnyStrategy,
    /// The options that can change while the hedger runs.
    pub options: Options,
    /// The budget for hedges.
    pub budget: Budget,
    /// The name of the hedger in outcomes and events; empty if it has none.
    pub strategy_name: Name,
    /// The prefix of the names of events.
    pub telemetry_prefix: Name,
    /// The cost of one attempt.
    pub cost_per_attempt: f64,
    /// How many keys a hedger of servers has room for.
    pub max_keys: u32,
    /// The options of the replicas that a hedger of servers has, by index.
    pub replicas: ReplicaList,
}

// This impl is not beside `Builder`, so that `hedger` does not depend on `config`.
impl<T, S, M, K, const MAX: usize> Builder<T, S, M, K, MAX> {
    /// Sets what a config contains for any hedger: strategy, budget, options, names and cost.
    pub fn settings(self, settings: Settings) -> Builder<T, AnyStrategy, M, K, MAX> {
        let labels = Labels {
            strategy_name: settings.strategy_name,
            telemetry_prefix: settings.telemetry_prefix,
        };
        self.options(settings.options)
            .budget(settings.budget)
            .labels(labels)
            .cost_per_attempt(settings.cost_per_attempt)
            .strategy(settings.strategy)
    }
}
