//! How a hedger is put together.

use core::cell::RefCell;
use core::time::Duration;

use crate::error::ConfigError;
use crate::hedger::{
    Budget, BudgetHandle, Hedger, HedgerState, Labels, LocalHedger, Options, Policy, SharedState,
};
use crate::metrics::{Metrics, NoMetrics, Recorder};
use crate::name::Name;
use crate::strategy::{Percentile, Strategy};
use crate::telemetry::{NoSink, Sink};
use crate::time::Timer;

/// Collects the parts of a [`Hedger`], and refuses what cannot be right.
///
/// Unless told otherwise: the 95th percentile of the last 1000 requests, one hedge, a budget of 10 %, a
/// timeout of 30 s, metrics, no sink.
///
/// ```
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Hedger, Percentile};
///
/// let clock = ManualTimer::<8>::new();
/// let error = Hedger::builder(&clock).strategy(Percentile::new(20.0)).build_local().unwrap_err();
/// assert_eq!(error.option(), "percentile");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<T, S, M, K, const MAX: usize> {
    timer: T,
    strategy: S,
    metrics: M,
    sink: K,
    budget: Budget,
    options: Options,
    labels: Labels,
    cost_per_attempt: f64,
    seed: u64,
    wrong: Option<ConfigError>,
}

impl<T> Builder<T, Percentile, Metrics, NoSink, 2> {
    pub(crate) const fn new(timer: T) -> Self {
        Self {
            timer,
            strategy: Percentile::new(95.0),
            metrics: Metrics::new(),
            sink: NoSink,
            budget: Budget::percent(10.0),
            options: Options::DEFAULT,
            labels: Labels::DEFAULT,
            cost_per_attempt: 1.0,
            seed: 0,
            wrong: None,
        }
    }
}

impl<T, S, M, K, const MAX: usize> Builder<T, S, M, K, MAX> {
    /// When to hedge.
    pub fn strategy<R>(self, strategy: R) -> Builder<T, R, M, K, MAX> {
        self.map(|_, metrics, sink| (strategy, metrics, sink))
    }

    /// The strategy as `f` makes it of the one so far.
    pub fn map_strategy<R>(self, f: impl FnOnce(S) -> R) -> Builder<T, R, M, K, MAX> {
        self.map(|strategy, metrics, sink| (f(strategy), metrics, sink))
    }

    /// Counts nothing: smaller, and a strategy that learns nothing then needs no clock for requests
    /// that are ready at once.
    pub fn without_metrics(self) -> Builder<T, S, NoMetrics, K, MAX> {
        self.map(|strategy, _, sink| (strategy, NoMetrics, sink))
    }

    /// Makes another sink of the one there is, as to put one before it.
    pub fn map_sink<R>(self, f: impl FnOnce(K) -> R) -> Builder<T, S, M, R, MAX> {
        self.map(|strategy, metrics, sink| (strategy, metrics, f(sink)))
    }

    /// Hands events to `sink`.
    pub fn sink<R>(self, sink: R) -> Builder<T, S, M, R, MAX> {
        self.map(|strategy, metrics, _| (strategy, metrics, sink))
    }

    /// Makes room for `N` attempts in every request, 1 to 8; the primary is one of them.
    pub fn attempts<const N: usize>(self) -> Builder<T, S, M, K, N> {
        self.map(|strategy, metrics, sink| (strategy, metrics, sink))
    }

    fn map<R, N, J, const ROOM: usize>(
        self,
        f: impl FnOnce(S, M, K) -> (R, N, J),
    ) -> Builder<T, R, N, J, ROOM> {
        let Self {
            timer,
            budget,
            options,
            labels,
            cost_per_attempt,
            seed,
            wrong,
            ..
        } = self;
        let (strategy, metrics, sink) = f(self.strategy, self.metrics, self.sink);
        Builder {
            timer,
            strategy,
            metrics,
            sink,
            budget,
            options,
            labels,
            cost_per_attempt,
            seed,
            wrong,
        }
    }

    /// What hedges may cost. Ignored where the hedger is built on a budget that others share.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// How many hedges a request may have. Default: 1.
    pub fn max_hedges(mut self, hedges: u8) -> Self {
        self.options.max_hedges = hedges;
        self
    }

    /// How long a request may take, all attempts included. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// All options that may change while the hedger works, at once.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets both names, which have been checked.
    pub(crate) fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// What outcomes and events call this hedger; at most 32 bytes.
    pub fn strategy_name(mut self, name: &str) -> Self {
        match Name::parse_for("strategy_name", name) {
            Ok(name) => self.labels.strategy_name = name,
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// What the names of its events begin with: parts of letters, digits and `_`, joined by dots, at
    /// most 32 bytes. Default: `hedging`.
    pub fn telemetry_prefix(mut self, prefix: &str) -> Self {
        match telemetry_prefix(prefix) {
            Ok(prefix) => self.labels.telemetry_prefix = prefix,
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// What one attempt costs, in a unit of yours. Default: 1.
    pub fn cost_per_attempt(mut self, cost: f64) -> Self {
        self.cost_per_attempt = cost;
        self
    }

    /// Seeds the draws of strategies that hedge only a share of the slow requests. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds a hedger for one thread.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right.
    pub fn build_local(self) -> Result<LocalHedger<T, S, M, K, MAX>, ConfigError>
    where
        T: Timer,
        S: Strategy,
        M: Recorder,
        K: Sink,
    {
        self.build_with(RefCell::new, RefCell::new)
    }

    /// Builds a hedger that keeps what its requests share in what `state` and `budget` make: any
    /// [`Lock`](crate::adapter::Lock) around each, or a budget that already exists.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::adapter::BudgetHandle;
    /// use hedge_core::{Budget, Hedger};
    ///
    /// # #[cfg(feature = "std")] {
    /// // One budget for two backends and whatever else deposits and charges.
    /// let budget = Arc::new(Mutex::new(Budget::percent(5.0)));
    /// let clock = ManualTimer::<8>::new();
    /// let build = || Hedger::builder(&clock).build_with(Mutex::new, |_| budget.clone());
    /// let (search, ads) = (build()?, build()?);
    /// # let _ = (search, ads);
    /// budget.deposit();
    /// # }
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right.
    pub fn build_with<L, B>(
        self,
        state: impl FnOnce(HedgerState<S, M>) -> L,
        budget: impl FnOnce(Budget) -> B,
    ) -> Result<Hedger<T, L, B, K, MAX>, ConfigError>
    where
        T: Timer,
        S: Strategy,
        L: SharedState,
        B: BudgetHandle,
    {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let policy = Policy::new(self.strategy, self.options).seeded(self.seed);
        let state = state(HedgerState::new(policy, self.metrics));
        // Uptime counts from now on, not from the first request.
        state.reset_metrics(self.timer.now());
        // The budget that counts, which others may have made.
        let budget = budget(self.budget);
        let (labels, cost) = (self.labels, self.cost_per_attempt);
        let hedger = Hedger::assemble(self.timer, state, budget, self.sink, labels, cost);
        hedger.validate()?;
        Ok(hedger)
    }
}

/// `cost_per_attempt`, if it is one.
pub(crate) fn check_cost(cost: f64) -> Result<(), ConfigError> {
    ConfigError::check_at_least("cost_per_attempt", cost, 0.0)
}

/// `prefix` as a dotted name.
pub(crate) fn telemetry_prefix(prefix: &str) -> Result<Name, ConfigError> {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !prefix.split('.').all(part) {
        let expected = "names of letters, digits and `_`, joined by dots";
        return Err(ConfigError::text("telemetry_prefix", prefix, expected));
    }
    Name::parse_for("telemetry_prefix", prefix)
}
