//! The hedger.

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use super::{BoxedSink, BoxedStrategy, Runtime, SharedBudget, Spawn, Spawned};
use crate::attempt::{Attempt, ByResult, Classify};
use crate::config::{HedgeConfig, Settings};
use crate::error::ConfigError;
use crate::hedger::{Budget, Losers, Options};
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::name::Name;
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::replicas::{ReplicaId, ReplicaSet};
use crate::request::{AlwaysReady, OnReplicas};
use crate::runtime::sharded::Sharded;
use crate::strategy::{Learned, Percentile, RestoreError, Strategy};
use crate::telemetry::Sink;
use crate::time::Instant;

/// Hedges the requests to one backend. A clone is another handle to the same hedger.
///
/// Attempts have room for one primary and up to three hedges, `MAX` in all;
/// [`Builder::attempts`] changes that.
#[derive(Clone, Debug)]
pub struct Hedger<R, const MAX: usize = 4> {
    core: Arc<Core<R, MAX>>,
}

/// What the requests of a [`Hedger`] share.
pub type ServerState = Sharded<BoxedStrategy, Metrics>;

/// One request before it is made: options of its own. See [`Call`](crate::Call).
pub type Call<'h, R, C = ByResult, const MAX: usize = 4, G = AlwaysReady> =
    crate::request::Call<'h, R, ServerState, SharedBudget<R>, BoxedSink, C, MAX, G>;

type Core<R, const MAX: usize> =
    crate::hedger::Hedger<R, ServerState, SharedBudget<R>, BoxedSink, MAX>;

impl<R: Runtime> Hedger<R> {
    /// Starts to build a hedger: the 95th percentile of the last 1000 requests, one hedge, a budget of
    /// 10 %, a timeout of 30 s, unless told otherwise.
    pub fn builder() -> Builder<R> {
        Builder {
            core: crate::hedger::Hedger::builder(R::default())
                .strategy(BoxedStrategy::new(Percentile::new(95.0)))
                .sink(BoxedSink::default())
                .attempts(),
            shared: None,
        }
    }

    /// A hedger as `config` says.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right, its value and what would be.
    pub fn from_config(config: &HedgeConfig) -> Result<Self, ConfigError> {
        Builder::from_config(config)?.build()
    }
}

impl<R: Runtime, const MAX: usize> Hedger<R, MAX> {
    /// Makes a request: `launch` is called once per attempt, when it starts, inside the caller's task.
    ///
    /// The first attempt that returns `Ok` gives the value. An `Err` starts the next hedge at once, if
    /// `max_hedges` and the budget allow, and never beats an attempt that is still running. Attempts
    /// that lose are dropped before this resolves; with `enable_cancellation` off when the future is dropped,
    /// which `.await` does at once: for losers to run on they have to be tasks. Dropping the future drops every
    /// attempt.
    ///
    /// Hedge only what is idempotent: more than one attempt may reach the backend, and a dropped one may
    /// have had its effect.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when every attempt failed, [`Error::Timeout`] when the request's time is up.
    pub fn request<V, E, F, Fut>(
        &self,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, R, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>>,
        Max<MAX>: Capacity<Fut>,
    {
        self.core.request(launch)
    }

    /// Makes a request whose attempts go to replicas that `set` chooses: [`Attempt::replica`] says which. A shorthand
    /// of [`call().on(set)`](crate::Call::on).
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request), and [`Error::NoReplica`] if the set has none.
    pub fn request_on<S, V, E, F, Fut>(
        &self,
        set: S,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, R, S, V, E, F, Fut, MAX>
    where
        S: ReplicaSet,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>>,
        Max<MAX>: Capacity<Fut>,
    {
        self.core.request_on(set, launch)
    }

    /// A request with options of its own.
    pub fn call(&self) -> Call<'_, R, ByResult, MAX> {
        self.core.call()
    }

    /// What was counted, every request that has ended included.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.core.metrics()
    }

    /// Starts counting anew.
    pub fn reset_metrics(&self) {
        self.core.reset_metrics();
    }

    /// Access to the strategy, if it is an `S`; as for its `stats()`. `f` must be short, and
    /// must not use the hedger.
    pub fn with_strategy<S: Strategy + 'static, V>(
        &self,
        f: impl FnOnce(&mut S) -> V,
    ) -> Option<V> {
        self.core
            .with_strategy(|strategy| strategy.downcast().map(f))
    }

    /// Changes the strategy of the working hedger. What the old one had learned is lost.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_strategy<S>(&self, strategy: S) -> Result<(), ConfigError>
    where
        S: Strategy + Send + 'static,
    {
        self.core.set_strategy(BoxedStrategy::new(strategy))
    }

    /// Forgets what was learned. Options, metrics and budget stay.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// What was learned, to be kept over a restart. Neither the guard's opinion, which takes 24 hedges
    /// to come back, nor the metrics are part of it.
    pub fn export(&self) -> Learned {
        self.core.export()
    }

    /// Goes on with what was learned before, in place of what has been learned since.
    ///
    /// # Errors
    ///
    /// If it is of another kind of strategy, or if something in it cannot be right; nothing is changed
    /// then.
    pub fn restore(&self, learned: &Learned) -> Result<(), RestoreError> {
        self.core.restore(learned)
    }

    /// Changes options, budget and strategy to `settings`, which are valid. A strategy of the same kind goes on with what the
    /// one before it had learned, as far as its options allow, and the guard with its opinion.
    ///
    /// # Errors
    ///
    /// If there is no room for so many hedges; nothing is changed then.
    pub(super) fn reconfigure(&self, settings: Settings) -> Result<(), ConfigError> {
        self.core.set_options(settings.options)?;
        self.core.set_budget(settings.budget)?;
        let now = self.core.timer().now();
        let mut new = BoxedStrategy::picked(settings.strategy);
        // In one go, so that no request is learned from in between and lost.
        let other_kind = self.core.with_strategy(|strategy| {
            if strategy.kind() != new.kind() {
                return Some(new);
            }
            // What does not fit any more, as that of another `workload_inner`, is learned anew.
            let _ = Learned::of(strategy, now).restore(&mut new, now);
            *strategy = new;
            None
        });
        other_kind.map_or(Ok(()), |new| self.core.set_strategy(new))
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        self.core.options()
    }

    /// Changes options of the working hedger, for requests that are made from now on.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_options(&self, options: Options) -> Result<(), ConfigError> {
        self.core.set_options(options)
    }

    /// The budget, to share it.
    pub fn budget(&self) -> &SharedBudget<R> {
        self.core.budget()
    }

    /// Changes the budget's options, for all that share it. Hedges in flight stay counted.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_budget(&self, budget: Budget) -> Result<(), ConfigError> {
        self.core.set_budget(budget)
    }

    /// How many hedges are running, in all that share the budget.
    pub fn in_flight(&self) -> u32 {
        self.core.budget().edit(|budget| budget.in_flight())
    }

    /// The hedger's `strategy_name`; empty if it has none.
    pub fn strategy_name(&self) -> Name {
        self.core.strategy_name()
    }

    /// The runtime's `instant` on the hedger's clock, as [`Call::deadline`](crate::Call::deadline) takes it.
    pub fn instant(&self, instant: R::Instant) -> Instant {
        self.core.timer().instant(instant)
    }
}

impl<R: Spawn, const MAX: usize> Hedger<R, MAX> {
    /// A request whose losers run on: nothing is aborted when another attempt wins, when the time is up
    /// or when this future is dropped, as a write wants that should reach every replica. Every attempt
    /// is a task from its start. A hedge that runs on stays counted in flight until it ends, and no event
    /// tells of it as cancelled.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request). A panic of an attempt resumes here.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn request_detached<V, E, F, Fut>(
        &self,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, R, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.call().request_detached(launch)
    }

    /// A request whose attempts are tasks of their own, so that attempts that compute a lot run beside
    /// each other. Tasks that lose are aborted, at their next `.await`.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request). A panic of an attempt resumes here.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn request_spawned<V, E, F, Fut>(
        &self,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, R, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.call().request_spawned(launch)
    }
}

/// Attempts as tasks, with options of the request's own.
impl<'h, R: Spawn, C, const MAX: usize> Call<'h, R, C, MAX> {
    /// As [`Hedger::request_detached`].
    ///
    /// # Errors
    ///
    /// As [`request`](crate::Call::request). A panic of an attempt resumes here.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn request_detached<V, E, F, Fut>(
        mut self,
        mut launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, R, C, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        C: Classify<V, E>,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.options.losers = Losers::Detached;
        let budget = self.hedger().budget();
        self.request(move |attempt| Spawned::attempt(attempt, budget, &mut launch).running_on())
    }

    /// As [`Hedger::request_spawned`].
    ///
    /// # Errors
    ///
    /// As [`request`](crate::Call::request). A panic of an attempt resumes here.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn request_spawned<V, E, F, Fut>(
        mut self,
        mut launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, R, C, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        C: Classify<V, E>,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.options.losers = Losers::Aborted;
        let budget = self.hedger().budget();
        self.request(move |attempt| Spawned::attempt(attempt, budget, &mut launch))
    }
}

/// Attempts as tasks, at replicas. An attempt that runs on when its request is over is counted by its replica until
/// its task ends.
impl<'h, R, C, const MAX: usize, S, W> Call<'h, R, C, MAX, OnReplicas<S, R, MAX, W>>
where
    R: Spawn,
    S: ReplicaSet + Clone + Send + 'static,
    W: FnMut(ReplicaId) -> bool,
{
    /// As [`Hedger::request_detached`].
    ///
    /// # Errors
    ///
    /// As [`request`](crate::Call::request). A panic of an attempt resumes here.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn request_detached<V, E, F, Fut>(
        mut self,
        mut launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, R, C, S, W, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        C: Classify<V, E>,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.options.losers = Losers::Detached;
        let budget = self.hedger().budget();
        let tasks = self.placement.in_tasks();
        let (set, timer) = (self.placement.set().clone(), self.hedger().timer().clone());
        self.request(move |attempt| {
            Spawned::attempt(attempt, budget, |attempt| {
                tasks.attempt(attempt, set.clone(), timer.clone(), launch(attempt))
            })
            .running_on()
        })
    }

    /// As [`Hedger::request_spawned`].
    ///
    /// # Errors
    ///
    /// As [`request`](crate::Call::request). A panic of an attempt resumes here.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn request_spawned<V, E, F, Fut>(
        mut self,
        mut launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, R, C, S, W, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        C: Classify<V, E>,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.options.losers = Losers::Aborted;
        let budget = self.hedger().budget();
        let tasks = self.placement.in_tasks();
        let (set, timer) = (self.placement.set().clone(), self.hedger().timer().clone());
        self.request(move |attempt| {
            Spawned::attempt(attempt, budget, |attempt| {
                tasks.attempt(attempt, set.clone(), timer.clone(), launch(attempt))
            })
        })
    }
}

/// Collects the parts of a [`Hedger`], and refuses what cannot be right.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<R, const MAX: usize = 4> {
    core: CoreBuilder<R, MAX>,
    shared: Option<SharedBudget<R>>,
}

impl<R: Runtime> Builder<R> {
    /// As `config` says; parts may still be changed.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right, its value and what would be.
    pub fn from_config(config: &HedgeConfig) -> Result<Self, ConfigError> {
        config.validate().map(Self::from_settings)
    }

    pub(super) fn from_settings(settings: Settings) -> Self {
        let core = crate::hedger::Hedger::builder(R::default()).settings(settings);
        let core = core
            .map_strategy(BoxedStrategy::picked)
            .sink(BoxedSink::default())
            .attempts();
        Self { core, shared: None }
    }
}

impl<R: Runtime, const MAX: usize> Builder<R, MAX> {
    /// When to hedge: a built-in strategy or one of your own.
    pub fn strategy(self, strategy: impl Strategy + Send + 'static) -> Self {
        self.map(|core| core.strategy(BoxedStrategy::new(strategy)))
    }

    /// Makes room for `N` attempts in every request, 1 to 8; the primary is one of them. A request's
    /// future grows by the size of an attempt for each. Default: 4, which a tower layer takes for granted.
    pub fn attempts<const N: usize>(self) -> Builder<R, N> {
        Builder {
            core: self.core.attempts(),
            shared: self.shared,
        }
    }

    /// What hedges may cost, for this hedger alone.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.shared = None;
        self.map(|core| core.budget(budget))
    }

    /// What hedges may cost, together with all others that hold a clone.
    pub fn shared_budget(mut self, budget: SharedBudget<R>) -> Self {
        self.shared = Some(budget);
        self
    }

    /// How many hedges a request may have. Default: 1.
    pub fn max_hedges(self, hedges: u8) -> Self {
        self.map(|core| core.max_hedges(hedges))
    }

    /// How long a request may take, all attempts included. Default: 30 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|core| core.timeout(timeout))
    }

    /// All options that may change while the hedger works, at once.
    pub fn options(self, options: Options) -> Self {
        self.map(|core| core.options(options))
    }

    /// What outcomes and events call this hedger; at most 32 bytes.
    pub fn strategy_name(self, name: &str) -> Self {
        self.map(|core| core.strategy_name(name))
    }

    /// What the names of its events begin with: parts of letters, digits and `_`, joined by dots, at
    /// most 32 bytes. Default: `hedging`.
    pub fn telemetry_prefix(self, prefix: &str) -> Self {
        self.map(|core| core.telemetry_prefix(prefix))
    }

    /// What one attempt costs, in a unit of yours. Default: 1.
    pub fn cost_per_attempt(self, cost: f64) -> Self {
        self.map(|core| core.cost_per_attempt(cost))
    }

    /// Seeds the draws of strategies that hedge only a share of the slow requests. Default: 0.
    pub fn seed(self, seed: u64) -> Self {
        self.map(|core| core.seed(seed))
    }

    /// Hands events to `sink`.
    pub fn sink(self, sink: impl Sink + Send + Sync + 'static) -> Self {
        self.map(|core| core.sink(BoxedSink::new(sink)))
    }

    fn map(self, f: impl FnOnce(CoreBuilder<R, MAX>) -> CoreBuilder<R, MAX>) -> Self {
        Self {
            core: f(self.core),
            shared: self.shared,
        }
    }

    /// Builds the hedger.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right, its value and what would be.
    pub fn build(self) -> Result<Hedger<R, MAX>, ConfigError> {
        let Self { core, shared } = self;
        let budget = |own| shared.unwrap_or_else(|| SharedBudget::new(own));
        Ok(Hedger {
            core: Arc::new(core.build_with(ServerState::new, budget)?),
        })
    }
}

type CoreBuilder<R, const MAX: usize> =
    crate::hedger::Builder<R, BoxedStrategy, Metrics, BoxedSink, MAX>;
