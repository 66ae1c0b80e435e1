//! The hedger of servers.

use core::future::Future;
use std::sync::Arc;

use futures_core::Stream;

use super::sharded::Sharded;
use super::{BoxedSink, BoxedStrategy, Runtime, SharedBudget};
use crate::attempt::{Attempt, ByResult};
use crate::config::HedgeConfig;
use crate::error::ConfigError;
use crate::hedger::{Budget, Options, Policy, SharedState};
use crate::metrics::{HedgerStatus, Metrics, MetricsSnapshot};
use crate::name::Name;
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::replicas::ReplicaSet;
use crate::request::AlwaysReady;
use crate::strategy::{AnyStrategy, Learned, Off, Strategy};
use crate::stream::{FirstItem, HedgedStream};
use crate::telemetry::EventKind;
use crate::time::Instant;

pub use builder::Builder;
pub(super) use builder::Supplied;
pub use keys::Keyed;

mod builder;
mod keys;
mod learned;
mod replicas;
mod tasks;
#[cfg(test)]
mod tests;

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
        Builder::new()
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

    fn state(&self) -> &ServerState {
        &self.core.parts().state
    }

    /// Calls `f` with the policy of each key, and then with that of the requests without a key, whose result is
    /// returned.
    fn edit_all<V>(&self, mut f: impl FnMut(&mut Policy<BoxedStrategy>) -> V) -> V {
        let now = self.core.timer().now();
        self.state().with_all_keys(|| {
            for (.., state) in self.state().keys() {
                state.edit(now, &mut f);
            }
            self.state().edit(now, &mut f)
        })
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
            let mut new = BoxedStrategy::from_any(strategy.clone());
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
