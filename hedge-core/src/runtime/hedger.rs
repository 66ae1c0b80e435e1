//! The hedger of servers, and its builder.

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use futures_core::Stream;

use super::{BoxedSink, BoxedStrategy, Runtime, SharedBudget, Spawn, Spawned};
use crate::attempt::{Attempt, ByResult, Classify};
use crate::config::{HedgeConfig, Settings};
use crate::error::ConfigError;
use crate::hedger::{Budget, Losers, Options};
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::name::Name;
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::replicas::ReplicaSet;
use crate::request::{AlwaysReady, OnReplicas};
use crate::runtime::sharded::Sharded;
use crate::strategy::{AnyStrategy, Learned, Percentile, RestoreError, Strategy};
use crate::stream::{FirstItem, HedgedStream};
use crate::telemetry::Sink;
use crate::time::Instant;

/// Hedges the requests to one backend. A clone is another handle to the same hedger.
///
/// A request has room for `MAX` attempts: by default, the primary and up to three hedges.
/// [`Builder::attempts`] changes that.
#[derive(Clone, Debug)]
pub struct Hedger<R, const MAX: usize = 4> {
    core: Arc<Core<R, MAX>>,
}

/// The state that the requests of a [`Hedger`] share.
pub type ServerState = Sharded<BoxedStrategy, Metrics>;

/// A builder for one request with custom options. See [`Call`](crate::Call).
pub type Call<'h, R, C = ByResult, const MAX: usize = 4, G = AlwaysReady> =
    crate::request::Call<'h, R, ServerState, SharedBudget<R>, BoxedSink, C, MAX, G>;

type Core<R, const MAX: usize> =
    crate::hedger::Hedger<R, ServerState, SharedBudget<R>, BoxedSink, MAX>;

impl<R: Runtime> Hedger<R> {
    /// Returns a builder for a hedger.
    ///
    /// The defaults are the 95th percentile of the last 1000 requests, one hedge, a budget of 10 %
    /// and no timeout.
    pub fn builder() -> Builder<R> {
        Builder {
            core: crate::hedger::Hedger::builder(R::default())
                .strategy(BoxedStrategy::new(Percentile::new(95.0)))
                .sink(BoxedSink::default())
                .attempts(),
            shared: None,
            supplied: Supplied::default(),
        }
    }

    /// Builds a hedger from `config`, which has a timeout of 30 s unless it sets another one or
    /// `None`.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option, its value and what is valid.
    pub fn from_config(config: &HedgeConfig) -> Result<Self, ConfigError> {
        Builder::from_config(config)?.build()
    }
}

impl<R: Runtime, const MAX: usize> Hedger<R, MAX> {
    /// Makes a request. `launch` is called in the caller's task once per attempt, when the attempt
    /// starts.
    ///
    /// The first attempt that returns `Ok` provides the value. After an `Err`, the next hedge
    /// starts immediately if `max_hedges` and the budget allow it; the attempts that are still
    /// running continue. Losers are dropped before this future resolves. With `enable_cancellation`
    /// off, they are dropped with the future, which `.await` does immediately: only attempts that
    /// are tasks can outlive it. Dropping the future drops all attempts.
    ///
    /// Only hedge idempotent requests: more than one attempt may reach the backend, and an attempt
    /// that is dropped may have taken effect.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] if every attempt failed, and [`Error::Timeout`] if the request ran
    /// out of time.
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

    /// Makes a request whose attempts open streams. Resolves to the stream whose first item comes first: see
    /// [`stream`](crate::stream).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] if no attempt could open a stream or if each stream began with an error, and
    /// [`Error::Timeout`] if no item came in time.
    // An alias would need as many parameters.
    #[allow(clippy::type_complexity)]
    pub fn stream<S, I, E, F, Fut>(
        &self,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<HedgedStream<S, I, R>>, Error<E>>>
    + use<'_, R, S, I, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<S, E>>,
        S: Stream<Item = Result<I, E>> + Unpin,
        Max<MAX>: Capacity<FirstItem<Fut>>,
    {
        self.core.stream(launch)
    }

    /// Returns a builder for a request with custom options.
    pub fn call(&self) -> Call<'_, R, ByResult, MAX> {
        self.core.call()
    }

    /// Returns the metrics of all requests that have ended.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.core.metrics()
    }

    /// Resets all metrics.
    pub fn reset_metrics(&self) {
        self.core.reset_metrics();
    }

    /// Calls `f` with the strategy, if it is an `S`, for example to read its `stats()`. `f` must be
    /// short, and must not use the hedger.
    pub fn with_strategy<S: Strategy + 'static, V>(
        &self,
        f: impl FnOnce(&mut S) -> V,
    ) -> Option<V> {
        self.core
            .with_strategy(|strategy| strategy.downcast().map(f))
    }

    /// Replaces the strategy of the running hedger. What the old strategy had learned is lost.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_strategy<S>(&self, strategy: S) -> Result<(), ConfigError>
    where
        S: Strategy + Send + 'static,
    {
        self.core.set_strategy(BoxedStrategy::new(strategy))
    }

    /// Resets what the strategy and the guard have learned. Options, metrics and budget stay.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// Returns what the hedger has learned, so that it can be restored after a restart.
    ///
    /// The state of the guard, which takes 24 hedges to recover, and the metrics are not included.
    pub fn export(&self) -> Learned {
        self.core.export()
    }

    /// Restores what was learned before, and replaces what has been learned since.
    ///
    /// # Errors
    ///
    /// Returns an error if `learned` is of another kind of strategy or contains an invalid value.
    /// Nothing is changed in this case.
    pub fn restore(&self, learned: &Learned) -> Result<(), RestoreError> {
        self.core.restore(learned)
    }

    /// Replaces the strategy, which must be valid. One of the same kind keeps what the strategy before it has learned,
    /// as far as its options allow, and the guard keeps its state.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub(super) fn exchange_strategy(&self, strategy: AnyStrategy) -> Result<(), ConfigError> {
        let now = self.core.timer().now();
        let mut new = BoxedStrategy::picked(strategy);
        // Hold the lock throughout, so that no record between export and restore is lost.
        let other_kind = self.core.with_strategy(|strategy| {
            if strategy.kind() != new.kind() {
                return Some(new);
            }
            // What cannot be restored, for example because `workload_inner` changed, is learned
            // again.
            let _ = Learned::of(strategy, now).restore(&mut new, now);
            *strategy = new;
            None
        });
        other_kind.map_or(Ok(()), |new| self.core.set_strategy(new))
    }

    /// Returns the current options.
    pub fn options(&self) -> Options {
        self.core.options()
    }

    /// Changes the options of the running hedger, for requests that are made from now on.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_options(&self, options: Options) -> Result<(), ConfigError> {
        self.core.set_options(options)
    }

    /// Returns the budget, to share it.
    pub fn budget(&self) -> &SharedBudget<R> {
        self.core.budget()
    }

    /// Changes the options of the budget for everything that shares it. Hedges in flight stay
    /// counted.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_budget(&self, budget: Budget) -> Result<(), ConfigError> {
        self.core.set_budget(budget)
    }

    /// Returns the number of running hedges, over all hedgers that share the budget.
    pub fn in_flight(&self) -> u32 {
        self.core.budget().edit(|budget| budget.in_flight())
    }

    /// Returns the hedger's `strategy_name`; empty if it has none.
    pub fn strategy_name(&self) -> Name {
        self.core.strategy_name()
    }

    /// Converts the runtime's `instant` to the hedger's clock, for
    /// [`Call::deadline`](crate::Call::deadline).
    pub fn instant(&self, instant: R::Instant) -> Instant {
        self.core.timer().instant(instant)
    }
}

impl<R: Spawn, const MAX: usize> Hedger<R, MAX> {
    /// Makes a request whose losers run to completion.
    ///
    /// No attempt is aborted when another one wins, when the request runs out of time or when this
    /// future is dropped. Use it for a write that should reach every replica. Each attempt is a
    /// task from its start. A hedge stays counted in flight until its task ends, and is not
    /// reported as cancelled.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](Self::request). A panic of an attempt resumes in the
    /// caller.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
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

    /// Makes a request whose attempts are separate tasks.
    ///
    /// Attempts that compute a lot then run in parallel. Losers are aborted at their next `.await`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](Self::request). A panic of an attempt resumes in the
    /// caller.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
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

/// Requests with custom options whose attempts are tasks.
impl<'h, R: Spawn, C, const MAX: usize> Call<'h, R, C, MAX> {
    /// Makes a request whose losers run to completion, like [`Hedger::request_detached`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](crate::Call::request). A panic of an attempt resumes in
    /// the caller.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
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

    /// Makes a request whose attempts are separate tasks, like [`Hedger::request_spawned`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](crate::Call::request). A panic of an attempt resumes in
    /// the caller.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
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
    W: FnMut(Attempt) -> bool,
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
        self,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, R, C, S, W, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        C: Classify<V, E>,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.request_in_tasks(Losers::Detached, launch)
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
        self,
        launch: F,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, R, C, S, W, V, E, F, Fut, MAX>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + 'static,
        E: Send + 'static,
        C: Classify<V, E>,
        Max<MAX>: Capacity<Spawned<R, Result<V, E>>>,
    {
        self.request_in_tasks(Losers::Aborted, launch)
    }

    /// Makes the request with a task for each attempt, which reports its own end to the replicas.
    fn request_in_tasks<V, E, F, Fut>(
        mut self,
        losers: Losers,
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
        self.options.losers = losers;
        let budget = self.hedger().budget();
        let tasks = self.placement.in_tasks();
        let (set, timer) = (self.placement.set().clone(), self.hedger().timer().clone());
        self.request(move |attempt| {
            let task = Spawned::attempt(attempt, budget, |attempt| {
                tasks.attempt(attempt, set.clone(), timer.clone(), launch(attempt))
            });
            match losers {
                Losers::Detached => task.running_on(),
                _ => task,
            }
        })
    }
}

/// A builder for a [`Hedger`], which validates all options.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<R, const MAX: usize = 4> {
    core: CoreBuilder<R, MAX>,
    shared: Option<SharedBudget<R>>,
    pub(super) supplied: Supplied,
}

/// The parts of a builder that were set by its methods. Those that came from a config are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Supplied {
    pub(super) strategy: bool,
    pub(super) budget: bool,
    pub(super) options: bool,
    pub(super) max_hedges: bool,
    pub(super) timeout: bool,
    pub(super) attempt_timeout: bool,
}

impl<R: Runtime> Builder<R> {
    /// Returns a builder with the options of `config`, which can still be changed.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option, its value and what is valid.
    pub fn from_config(config: &HedgeConfig) -> Result<Self, ConfigError> {
        config.validate().map(Self::from_settings)
    }

    pub(super) fn from_settings(settings: Settings) -> Self {
        let core = crate::hedger::Hedger::builder(R::default()).settings(settings);
        let core = core
            .map_strategy(BoxedStrategy::picked)
            .sink(BoxedSink::default())
            .attempts();
        Self {
            core,
            shared: None,
            supplied: Supplied::default(),
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

    /// Sets the time limit of a request that may be hedged, over all its attempts. Default: none, or
    /// what the config says.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.supplied.timeout = true;
        self.map(|core| core.timeout(timeout))
    }

    /// Sets the time limit of each attempt of a request that may be hedged. An attempt that lasts longer is dropped
    /// and has failed, so that the next one starts. Default: none.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.supplied.attempt_timeout = true;
        self.map(|core| core.attempt_timeout(timeout))
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

    /// Sets the sink that receives events.
    pub fn sink(self, sink: impl Sink + Send + Sync + 'static) -> Self {
        self.map(|core| core.sink(BoxedSink::new(sink)))
    }

    fn map(self, f: impl FnOnce(CoreBuilder<R, MAX>) -> CoreBuilder<R, MAX>) -> Self {
        Self {
            core: f(self.core),
            shared: self.shared,
            supplied: self.supplied,
        }
    }

    /// Builds the hedger.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option, its value and what is valid.
    pub fn build(self) -> Result<Hedger<R, MAX>, ConfigError> {
        let Self { core, shared, .. } = self;
        let budget = |own| shared.unwrap_or_else(|| SharedBudget::new(own));
        Ok(Hedger {
            core: Arc::new(core.build_with(ServerState::new, budget)?),
        })
    }
}

type CoreBuilder<R, const MAX: usize> =
    crate::hedger::Builder<R, BoxedStrategy, Metrics, BoxedSink, MAX>;
