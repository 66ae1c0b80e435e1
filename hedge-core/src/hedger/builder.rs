//! The builder of hedgers.

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

/// A builder for a [`Hedger`], which validates all options.
///
/// The defaults are the 95th percentile of about the last 4000 requests, slowly forgotten, one hedge, a budget of 10 %,
/// metrics, no timeout, and no sink.
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
    /// Sets the strategy.
    pub fn strategy<R>(self, strategy: R) -> Builder<T, R, M, K, MAX> {
        self.map(|_, metrics, sink| (strategy, metrics, sink))
    }

    /// Replaces the strategy by the result of `f`.
    pub fn map_strategy<R>(self, f: impl FnOnce(S) -> R) -> Builder<T, R, M, K, MAX> {
        self.map(|strategy, metrics, sink| (f(strategy), metrics, sink))
    }

    /// Disables metrics. The hedger is smaller, and with a strategy that does not learn it needs no
    /// clock for requests that are ready immediately.
    pub fn without_metrics(self) -> Builder<T, S, NoMetrics, K, MAX> {
        self.map(|strategy, _, sink| (strategy, NoMetrics, sink))
    }

    /// Replaces the sink by the result of `f`, for example to add another sink.
    pub fn map_sink<R>(self, f: impl FnOnce(K) -> R) -> Builder<T, S, M, R, MAX> {
        self.map(|strategy, metrics, sink| (strategy, metrics, f(sink)))
    }

    /// Sets the sink that receives events.
    pub fn sink<R>(self, sink: R) -> Builder<T, S, M, R, MAX> {
        self.map(|strategy, metrics, _| (strategy, metrics, sink))
    }

    /// Sets the room for attempts in every request to `N`, 1 to 8, including the primary.
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

    /// Sets the budget for hedges. Ignored if the hedger is built with a budget that already
    /// exists.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Sets the maximum number of hedges per request. Default: 1.
    pub fn max_hedges(mut self, hedges: u8) -> Self {
        self.options.max_hedges = hedges;
        self
    }

    /// Sets the percentage of the hedges for slowness that are withheld for a control group, 0 to 50. Default: 0.
    /// See [`MetricsSnapshot::effect`](crate::MetricsSnapshot::effect).
    pub fn holdback_percent(mut self, percent: f64) -> Self {
        self.options.holdback_percent = percent;
        self
    }

    /// Sets whether the hedger only observes: it learns and counts, but starts no hedges. Default: false.
    pub fn observe_only(mut self, observe_only: bool) -> Self {
        self.options.observe_only = observe_only;
        self
    }

    /// Sets whether hedges are deferred while they do not help: see [`Options::guard`]. Default: what suits the strategy.
    pub fn guard(mut self, guard: bool) -> Self {
        self.options.guard = Some(guard);
        self
    }

    /// Sets the time limit of a request that may be hedged, over all its attempts. Default: none.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Sets the time limit of each attempt of a request that may be hedged. An attempt that lasts longer is dropped
    /// and has failed, so that the next one starts. An attempt of `request_detached` has failed as well, and runs on.
    /// Default: none.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.options.attempt_timeout = Some(timeout);
        self
    }

    /// Sets the longest pushback that a request waits for. After a longer one, no further attempt starts, and the
    /// request ends at once if no other attempt runs. With zero, it waits for none. Default: no limit.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::{Hedger, Timer, Verdict};
    ///
    /// let clock = ManualTimer::<8>::new();
    /// let hedger = Hedger::builder(&clock).max_pushback(Duration::from_secs(1)).build_local()?;
    /// let call = hedger.call().classify(|result: &Result<(), u64>| match result {
    ///     Ok(()) => Verdict::Accept,
    ///     Err(seconds) => Verdict::RetryAfter(Duration::from_secs(*seconds)),
    /// });
    /// let start = clock.now();
    /// let error = clock.drive(call.request(|_| async { Err(60) })).unwrap_err();
    /// assert_eq!((error.attempts(), clock.now()), (1, start));
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn max_pushback(mut self, pushback: Duration) -> Self {
        self.options.max_pushback = Some(pushback);
        self
    }

    /// Sets all options that can change while the hedger runs.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets both names, which have been checked.
    pub(crate) fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Sets the name of the hedger in outcomes and events, at most 32 bytes.
    pub fn strategy_name(mut self, name: &str) -> Self {
        match Name::parse_for("strategy_name", name) {
            Ok(name) => self.labels.strategy_name = name,
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Sets the prefix of event names: parts of letters, digits and `_`, joined by dots, at most 32
    /// bytes. Default: `hedging`.
    pub fn telemetry_prefix(mut self, prefix: &str) -> Self {
        match telemetry_prefix(prefix) {
            Ok(prefix) => self.labels.telemetry_prefix = prefix,
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Sets the cost of one attempt, in any unit. Default: 1.
    pub fn cost_per_attempt(mut self, cost: f64) -> Self {
        self.cost_per_attempt = cost;
        self
    }

    /// Sets the seed for strategies that hedge a random share of the slow requests. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds a hedger for one thread.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option.
    pub fn build_local(self) -> Result<LocalHedger<T, S, M, K, MAX>, ConfigError>
    where
        T: Timer,
        S: Strategy,
        M: Recorder,
        K: Sink,
    {
        self.build_with(RefCell::new, RefCell::new)
    }

    /// Builds a hedger with custom storage for its shared state: `state` and `budget` create a
    /// [`Lock`](crate::adapter::Lock) around each, or return a budget that already exists.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::adapter::BudgetHandle;
    /// use hedge_core::{Budget, Hedger};
    ///
    /// # #[cfg(feature = "std")] {
    /// // Two backends and a retry layer can share this budget.
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
    /// Returns the first invalid option.
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
        // Measure uptime from now rather than from the first request.
        state.reset_metrics(self.timer.now());
        // Validate the budget that is used, which may already have existed.
        let budget = budget(self.budget);
        let (labels, cost) = (self.labels, self.cost_per_attempt);
        let hedger = Hedger::assemble(self.timer, state, budget, self.sink, labels, cost);
        hedger.validate()?;
        Ok(hedger)
    }
}

/// Checks that `cost_per_attempt` is valid.
pub(crate) fn check_cost(cost: f64) -> Result<(), ConfigError> {
    ConfigError::check_at_least("cost_per_attempt", cost, 0.0)
}

/// Parses `prefix` as a dotted name.
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
