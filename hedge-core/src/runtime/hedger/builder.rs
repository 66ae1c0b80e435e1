//! The builder of a hedger for servers.

use core::time::Duration;
use std::sync::Arc;
use std::vec::Vec;

use super::{Hedger, ServerState};
use crate::config::{HedgeConfig, Settings, check_keys};
use crate::error::ConfigError;
use crate::hedger::{Budget, Options};
use crate::metrics::Metrics;
use crate::replicas::ReplicaList;
use crate::runtime::{BoxedSink, BoxedStrategy, Runtime, SharedBudget};
use crate::strategy::{Percentile, Strategy};
use crate::telemetry::Sink;

/// A builder for a [`Hedger`], which validates all options.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<R, const MAX: usize = 4> {
    core: CoreBuilder<R, MAX>,
    shared: Option<SharedBudget<R>>,
    max_keys: u32,
    replicas: ReplicaList,
    pub(in crate::runtime) supplied: Supplied,
}

/// The parts of a builder that were set by its methods. Those that came from a config are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::runtime) struct Supplied {
    pub(in crate::runtime) strategy: bool,
    pub(in crate::runtime) budget: bool,
    pub(in crate::runtime) options: bool,
    pub(in crate::runtime) max_hedges: bool,
    pub(in crate::runtime) timeout: bool,
    pub(in crate::runtime) attempt_timeout: bool,
    pub(in crate::runtime) holdback_percent: bool,
    pub(in crate::runtime) max_pushback: bool,
    pub(in crate::runtime) observe_only: bool,
    pub(in crate::runtime) guard: bool,
}

type CoreBuilder<R, const MAX: usize> =
    crate::hedger::Builder<R, BoxedStrategy, Metrics, BoxedSink, MAX>;

impl<R: Runtime> Builder<R> {
    pub(super) fn new() -> Self {
        Self {
            core: crate::hedger::Hedger::builder(R::default())
                .strategy(BoxedStrategy::new(Percentile::new(95.0)))
                .sink(BoxedSink::default())
                .attempts(),
            shared: None,
            supplied: Supplied::default(),
            max_keys: HedgeConfig::DEFAULT_KEYS,
            replicas: ReplicaList::default(),
        }
    }

    /// Returns a builder with the options of `config`, which can still be changed.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option, its value and what is valid.
    pub fn from_config(config: &HedgeConfig) -> Result<Self, ConfigError> {
        config.validate().map(Self::from_settings)
    }

    pub(in crate::runtime) fn from_settings(settings: Settings) -> Self {
        let (max_keys, replicas) = (settings.max_keys, settings.replicas.clone());
        let core = crate::hedger::Hedger::builder(R::default()).settings(settings);
        let core = core
            .map_strategy(BoxedStrategy::from_any)
            .sink(BoxedSink::default())
            .attempts();
        Self {
            core,
            shared: None,
            supplied: Supplied::default(),
            max_keys,
            replicas,
        }
    }
}

impl<R: Runtime, const MAX: usize> Builder<R, MAX> {
    /// Sets the strategy, which can be built-in or custom.
    pub fn strategy(mut self, strategy: impl Strategy + Send + 'static) -> Self {
        self.supplied.strategy = true;
        self.map(|core| core.strategy(BoxedStrategy::new(strategy)))
    }

    /// Sets the room for attempts in every request to `N`, 1 to 8, including the primary. Default:
    /// 4.
    ///
    /// The future of a request grows by the size of one attempt for each. A tower layer requires
    /// the default.
    pub fn attempts<const N: usize>(self) -> Builder<R, N> {
        Builder {
            core: self.core.attempts(),
            shared: self.shared,
            supplied: self.supplied,
            max_keys: self.max_keys,
            replicas: self.replicas,
        }
    }

    /// Sets the budget for hedges, for this hedger only.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.shared = None;
        self.supplied.budget = true;
        self.map(|core| core.budget(budget))
    }

    /// Sets the budget for hedges, shared with all holders of a clone.
    pub fn shared_budget(mut self, budget: SharedBudget<R>) -> Self {
        self.shared = Some(budget);
        self.supplied.budget = true;
        self
    }

    /// Sets the maximum number of hedges per request. Default: 1.
    pub fn max_hedges(mut self, hedges: u8) -> Self {
        self.supplied.max_hedges = true;
        self.map(|core| core.max_hedges(hedges))
    }

    /// Sets the percentage of the hedges for slowness that are withheld for a control group, 0 to 50. Default: 0.
    /// See [`MetricsSnapshot::effect`](crate::MetricsSnapshot::effect).
    pub fn holdback_percent(mut self, percent: f64) -> Self {
        self.supplied.holdback_percent = true;
        self.map(|core| core.holdback_percent(percent))
    }

    /// Sets whether the hedger only observes: it learns and counts, but starts no hedges. Default: false.
    ///
    /// ```
    /// # use hedge_core::runtime::Runtime;
    /// # fn example<R: Runtime>() -> Result<(), hedge_core::ConfigError> {
    /// let hedger = hedge_core::runtime::Hedger::<R>::builder().observe_only(true).build()?;
    /// // … after a day:
    /// if let Some(report) = hedger.metrics().dry_run() {
    ///     println!("{report}\n{}", report.json());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe_only(mut self, observe_only: bool) -> Self {
        self.supplied.observe_only = true;
        self.map(|core| core.observe_only(observe_only))
    }

    /// Sets whether hedges are deferred while they do not help: see [`Options::guard`]. Default: what suits the strategy.
    pub fn guard(mut self, guard: bool) -> Self {
        self.supplied.guard = true;
        self.map(|core| core.guard(guard))
    }

    /// Sets the time limit of a request that may be hedged, over all its attempts. Default: none, or
    /// what the config says.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.supplied.timeout = true;
        self.map(|core| core.timeout(timeout))
    }

    /// Sets the time limit of each attempt of a request that may be hedged. An attempt that lasts longer is dropped
    /// and has failed, so that the next one starts. An attempt of [`request_detached`](Hedger::request_detached) has
    /// failed as well, and runs on. Default: none.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.supplied.attempt_timeout = true;
        self.map(|core| core.attempt_timeout(timeout))
    }

    /// Sets the longest pushback that a request waits for. After a longer one, no further attempt starts, and the
    /// request ends at once if no other attempt runs. With zero, it waits for none. Default: no limit.
    pub fn max_pushback(mut self, pushback: Duration) -> Self {
        self.supplied.max_pushback = true;
        self.map(|core| core.max_pushback(pushback))
    }

    /// Sets all options that can change while the hedger runs.
    pub fn options(mut self, options: Options) -> Self {
        self.supplied.options = true;
        self.map(|core| core.options(options))
    }

    /// Sets the name of the hedger in outcomes and events, at most 32 bytes.
    pub fn strategy_name(self, name: &str) -> Self {
        self.map(|core| core.strategy_name(name))
    }

    /// Sets the prefix of event names: parts of letters, digits and `_`, joined by dots, at most 32
    /// bytes. Default: `hedging`.
    pub fn telemetry_prefix(self, prefix: &str) -> Self {
        self.map(|core| core.telemetry_prefix(prefix))
    }

    /// Sets the cost of one attempt, in any unit. Default: 1.
    pub fn cost_per_attempt(self, cost: f64) -> Self {
        self.map(|core| core.cost_per_attempt(cost))
    }

    /// Sets the seed for strategies that hedge a random share of the slow requests. Default: 0.
    pub fn seed(self, seed: u64) -> Self {
        self.map(|core| core.seed(seed))
    }

    /// Sets how many [keys](Hedger::key) can have separate statistics, at most 16 384. Default: 64. All further ones
    /// share [`Key::OTHER`](crate::runtime::Key::OTHER).
    pub fn max_keys(mut self, keys: u32) -> Self {
        self.max_keys = keys;
        self
    }

    /// Sets the sink that receives events.
    pub fn sink(self, sink: impl Sink + Send + Sync + 'static) -> Self {
        self.map(|core| core.sink(BoxedSink::new(sink)))
    }

    fn map(self, f: impl FnOnce(CoreBuilder<R, MAX>) -> CoreBuilder<R, MAX>) -> Self {
        Self {
            core: f(self.core),
            shared: self.shared,
            supplied: self.supplied,
            max_keys: self.max_keys,
            replicas: self.replicas,
        }
    }

    /// Builds the hedger.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option, its value and what is valid.
    pub fn build(self) -> Result<Hedger<R, MAX>, ConfigError> {
        let Self {
            core,
            shared,
            max_keys,
            replicas,
            ..
        } = self;
        let max_keys = check_keys(max_keys)? as usize;
        let state = |state| ServerState::new(state).with_keys(max_keys);
        let budget = |own| shared.unwrap_or_else(|| SharedBudget::new(own));
        let hedger = Hedger {
            core: Arc::new(core.build_with(state, budget)?),
        };
        hedger.change_replicas(&mut Vec::new(), &ReplicaList::default(), &replicas)?;
        Ok(hedger)
    }
}
