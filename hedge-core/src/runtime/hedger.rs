//! The hedger of servers, and its builder.

use core::future::Future;
use core::time::Duration;
use std::collections::BTreeMap;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use futures_core::Stream;

use super::{BoxedSink, BoxedStrategy, Runtime, SharedBudget, Spawn, Spawned};
use crate::attempt::{Attempt, ByResult, Classify};
use crate::config::{HedgeConfig, Settings};
use crate::error::ConfigError;
use crate::hedger::{Budget, Losers, Options, Policy, SharedState};
use crate::metrics::{HedgerStatus, Metrics, MetricsSnapshot};
use crate::name::Name;
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::replicas::ReplicaSet;
use crate::request::{AlwaysReady, OnReplicas};
use crate::runtime::sharded::{Key, Sharded};
use crate::strategy::{AnyStrategy, Learned, Off, Percentile, RestoreError, Strategy};
use crate::stream::{FirstItem, HedgedStream};
use crate::telemetry::{EventKind, Sink};
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
    /// The defaults are the 95th percentile of about the last 4000 requests, slowly forgotten, one hedge, a budget of 10 %
    /// and no timeout.
    pub fn builder() -> Builder<R> {
        Builder {
            core: crate::hedger::Hedger::builder(R::default())
                .strategy(BoxedStrategy::new(Percentile::new(95.0)))
                .sink(BoxedSink::default())
                .attempts(),
            shared: None,
            supplied: Supplied::default(),
            max_keys: MAX_KEYS,
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
    /// Returns the errors of [`request`](Self::request), and [`Error::NoReplica`] if the set has no replica.
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

    /// Returns the key of this name, for [`Call::key`](Call::key): a kind of requests, such as a route, whose latencies
    /// are learned apart from those of others, under one budget.
    ///
    /// The first 64 names, or [`max_keys`](Builder::max_keys), each have a key for as long as the hedger
    /// exists. All further names share [`Key::OTHER`]. A key takes about 40 kB on two processors and 130 kB on eight or
    /// more, once it is used. Finding the key of a name takes no lock.
    ///
    /// A key starts without samples, and with the options of the hedger, which apply to all keys. If the strategy is a
    /// custom one that cannot be [created afresh](Strategy::fresh), all requests share it, and this is [`Key::NONE`].
    ///
    /// ```
    /// # use core::future::{Pending, pending};
    /// # use hedge_core::{Instant, Timer};
    /// # #[derive(Clone, Default)]
    /// # struct MyTimer;
    /// # impl Timer for MyTimer {
    /// #     type Sleep = Pending<()>;
    /// #     fn now(&self) -> Instant { Instant::ZERO }
    /// #     fn sleep_until(&self, _: Instant) -> Pending<()> { pending() }
    /// # }
    /// # impl hedge_core::runtime::Runtime for MyTimer {
    /// #     type Instant = Instant;
    /// #     fn instant(&self, instant: Instant) -> Instant { instant }
    /// # }
    /// # futures_lite::future::block_on(async {
    /// use hedge_core::runtime::Hedger;
    ///
    /// let hedger = Hedger::<MyTimer>::builder().build()?;
    /// let users = hedger.key("GET /users");
    /// let call = hedger.call().key(users);
    /// call.request(|_| async { Ok::<_, ()>("users") }).await.unwrap();
    ///
    /// let metrics = hedger.of(users).metrics();
    /// assert_eq!((metrics.total_requests, hedger.metrics().total_requests), (1, 1));
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn key(&self, name: &str) -> Key {
        self.state().key(name)
    }

    /// Returns what the hedger knows of the requests with this key. For [`Key::NONE`], that is what it knows of the
    /// requests without a key, and the metrics of all requests.
    pub fn of(&self, key: Key) -> Keyed<'_, R, MAX> {
        Keyed {
            hedger: self,
            state: self.state().keyed(key),
        }
    }

    /// Returns every key that was used, with its name; [`Key::OTHER`] last.
    pub fn keys(&self) -> impl Iterator<Item = (Key, &str)> {
        self.state().keys().map(|(key, name, _)| (key, name))
    }

    fn state(&self) -> &ServerState {
        &self.core.parts().state
    }

    /// Changes the policy of the requests without a key, and that of each key. Returns the result of the former.
    fn edit_all<V>(&self, mut f: impl FnMut(&mut Policy<BoxedStrategy>) -> V) -> V {
        let now = self.core.timer().now();
        self.state().with_all_keys(|| {
            for (.., state) in self.state().keys() {
                state.edit(now, &mut f);
            }
            self.state().edit(now, &mut f)
        })
    }

    /// Returns what was learned of each key, by its name, so that it can be restored after a restart. What was learned
    /// of requests without a key is [exported](Self::export) apart.
    pub fn export_keys(&self) -> BTreeMap<String, Learned> {
        let learned = |(key, name)| (String::from(name), self.of(key).export());
        self.keys().map(learned).collect()
    }

    /// Restores what was learned of each key before. Names without room are left out.
    ///
    /// Returns the names whose state was invalid or of another kind of strategy, with the reason. These keys learn from
    /// the start.
    pub fn restore_keys<N: AsRef<str>>(
        &self,
        states: impl IntoIterator<Item = (N, Learned)>,
    ) -> Vec<(N, RestoreError)> {
        let restored = |(name, learned): (N, Learned)| {
            let key = self.key(name.as_ref());
            if key == Key::NONE || key == Key::OTHER && name.as_ref() != Key::OTHER_NAME {
                return None;
            }
            let error = self.of(key).restore(&learned).err()?;
            Some((name, error))
        };
        states.into_iter().filter_map(restored).collect()
    }

    /// Returns the metrics of all requests that have ended, with and without a key.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.core.metrics()
    }

    /// Emits an event that belongs to no request, such as [`EventKind::ReplicaRefused`]: its number is 0.
    pub fn emit(&self, kind: EventKind) {
        self.core.emit(kind);
    }

    /// Returns the state of the guard and of the budget.
    pub fn status(&self) -> HedgerStatus {
        self.core.status()
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

    /// Replaces the strategy of the running hedger, for all keys. What the old strategy had learned is lost.
    ///
    /// If the new one is a custom strategy that cannot be [created afresh](Strategy::fresh), requests with a key that
    /// was used before are no longer hedged.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_strategy<S>(&self, strategy: S) -> Result<(), ConfigError>
    where
        S: Strategy + Send + 'static,
    {
        self.replace_strategy(BoxedStrategy::new(strategy))
    }

    fn replace_strategy(&self, strategy: BoxedStrategy) -> Result<(), ConfigError> {
        strategy.validate()?;
        let now = self.core.timer().now();
        self.state().with_all_keys(|| {
            for (.., state) in self.state().keys() {
                let fresh = strategy.fresh();
                let fresh = fresh.unwrap_or_else(|| BoxedStrategy::new(Off));
                state.edit(now, |policy| policy.set_strategy(fresh));
            }
            self.core.set_strategy(strategy)
        })
    }

    /// Resets what the strategy and the guard have learned, for all keys. Options, metrics and budget stay.
    pub fn reset(&self) {
        self.edit_all(Policy::reset);
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
        strategy.validate()?;
        let now = self.core.timer().now();
        // Hold the lock throughout, so that no record between export and restore is lost.
        self.edit_all(|policy| {
            let mut new = BoxedStrategy::picked(strategy.clone());
            if policy.strategy.kind() != new.kind() {
                policy.set_strategy(new);
                return;
            }
            // What cannot be restored, for example because `workload_inner` changed, is learned
            // again.
            let _ = Learned::of(&policy.strategy, now).restore(&mut new, now);
            policy.strategy = new;
        });
        Ok(())
    }

    /// Returns the current options.
    pub fn options(&self) -> Options {
        self.core.options()
    }

    /// Changes the options of the running hedger, for requests with any key that are made from now on.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_options(&self, options: Options) -> Result<(), ConfigError> {
        self.core.set_options(options)?;
        self.edit_all(|policy| policy.set_options(options))
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
    /// Makes the request like [`Hedger::request_detached`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](crate::Call::request). A panic of an attempt resumes in the caller.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
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

    /// Makes the request like [`Hedger::request_spawned`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](crate::Call::request). A panic of an attempt resumes in the caller.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
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

/// Requests with a key.
impl<'h, R: Runtime, C, const MAX: usize, G> Call<'h, R, C, MAX, G> {
    /// Sets the key of the request, under which it is planned and learned from: see [`Hedger::key`].
    pub fn key(mut self, key: Key) -> Self {
        self.state = Some(self.hedger().parts().state.keyed(key));
        self
    }
}

/// What a hedger knows of the requests with one key. See [`Hedger::of`].
#[derive(Clone, Copy, Debug)]
pub struct Keyed<'h, R, const MAX: usize = 4> {
    hedger: &'h Hedger<R, MAX>,
    state: &'h ServerState,
}

impl<'h, R: Runtime, const MAX: usize> Keyed<'h, R, MAX> {
    /// Returns a builder for a request with this key.
    pub fn call(&self) -> Call<'h, R, ByResult, MAX> {
        let mut call = self.hedger.call();
        call.state = Some(self.state);
        call
    }

    /// Returns the metrics of the requests with this key that have ended.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.state.metrics(self.now())
    }

    /// Calls `f` with the strategy of this key, if it is an `S`. `f` must be short, and must not use the hedger.
    pub fn with_strategy<S: Strategy + 'static, V>(
        &self,
        f: impl FnOnce(&mut S) -> V,
    ) -> Option<V> {
        let edit = |policy: &mut Policy<BoxedStrategy>| policy.strategy.downcast().map(f);
        self.state.edit(self.now(), edit)
    }

    /// Returns what was learned of this key.
    pub fn export(&self) -> Learned {
        let now = self.now();
        self.state
            .edit(now, |policy| Learned::of(&policy.strategy, now))
    }

    /// Restores what was learned of this key before, and replaces what has been learned since.
    ///
    /// # Errors
    ///
    /// Returns an error if `learned` is of another kind of strategy or contains an invalid value.
    /// Nothing is changed in this case.
    pub fn restore(&self, learned: &Learned) -> Result<(), RestoreError> {
        let now = self.now();
        self.state
            .edit(now, |policy| learned.restore(&mut policy.strategy, now))
    }

    fn now(&self) -> Instant {
        self.hedger.core.timer().now()
    }
}

/// A builder for a [`Hedger`], which validates all options.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<R, const MAX: usize = 4> {
    core: CoreBuilder<R, MAX>,
    shared: Option<SharedBudget<R>>,
    max_keys: usize,
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
    pub(super) holdback_percent: bool,
    pub(super) max_pushback: bool,
}

/// The default of [`Builder::max_keys`].
const MAX_KEYS: usize = 64;

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
            max_keys: MAX_KEYS,
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

    /// Sets the longest pushback that a request waits for. Once a result asks for more, nothing more is started for
    /// its request, which ends at once if no other attempt runs. Zero waits for no pushback. Default: none.
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
    /// share [`Key::OTHER`].
    pub fn max_keys(mut self, keys: usize) -> Self {
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
            ..
        } = self;
        let state = |state| ServerState::new(state).with_keys(max_keys);
        let budget = |own| shared.unwrap_or_else(|| SharedBudget::new(own));
        Ok(Hedger {
            core: Arc::new(core.build_with(state, budget)?),
        })
    }
}

type CoreBuilder<R, const MAX: usize> =
    crate::hedger::Builder<R, BoxedStrategy, Metrics, BoxedSink, MAX>;

#[cfg(test)]
mod tests {
    use core::future::{Pending, pending};
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::sync::OnceLock;

    use super::*;
    use crate::record::Record;
    use crate::strategy::{Hints, Plan};
    use crate::time::Timer;

    /// A timer whose time stands still.
    #[derive(Clone, Debug, Default)]
    struct Still;

    impl Timer for Still {
        type Sleep = Pending<()>;

        fn now(&self) -> Instant {
            Instant::ZERO
        }

        fn sleep_until(&self, _: Instant) -> Pending<()> {
            pending()
        }
    }

    impl Runtime for Still {
        type Instant = Instant;

        fn instant(&self, instant: Instant) -> Instant {
            instant
        }
    }

    /// Counts how often it is made anew, and fails if a key can be made meanwhile.
    struct Watching(Arc<(OnceLock<Hedger<Still>>, AtomicU32)>);

    impl Strategy for Watching {
        fn fresh(&self) -> Option<Self> {
            let (hedger, made) = &*self.0;
            assert!(hedger.get().is_some_and(|h| h.state().keys_are_held()));
            made.fetch_add(1, Ordering::Relaxed);
            Some(Self(self.0.clone()))
        }

        fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
            Plan::after(Duration::from_secs(1))
        }

        fn record(&mut self, _: &Record) {}
    }

    #[test]
    fn no_key_is_made_while_all_are_changed() {
        let hedger = Hedger::<Still>::builder().build().unwrap();
        let _ = hedger.key("a");
        let mut held = Vec::new();
        hedger.edit_all(|_| held.push(hedger.state().keys_are_held()));
        assert_eq!(held, [true, true]);
        let watched = Arc::new((OnceLock::new(), AtomicU32::new(0)));
        let _ = watched.0.set(hedger.clone());
        hedger.set_strategy(Watching(watched.clone())).unwrap();
        assert_eq!(watched.1.load(Ordering::Relaxed), 1);
        let _ = hedger.key("b");
        assert!(!hedger.state().keys_are_held());
    }
}
