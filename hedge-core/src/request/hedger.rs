//! How a hedger makes requests.

use core::future::Future;

use crate::attempt::{Attempt, ByResult};
use crate::hedger::{BudgetHandle, Hedger, SharedState};
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::replicas::ReplicaSet;
use crate::request::Call;
use crate::telemetry::Sink;
use crate::time::Timer;

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
{
    /// Makes a request: `launch` is called once per attempt, when it starts, inside the caller's task.
    ///
    /// The first attempt that returns `Ok` gives the value. An `Err` starts the next hedge at once, if
    /// `max_hedges` and the budget allow, and never beats an attempt that is still running. Attempts
    /// that lose are dropped before this resolves. Dropping the future drops every attempt.
    ///
    /// Hedge only what is idempotent: more than one attempt may reach the backend, and a dropped one may
    /// have had its effect.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when every attempt failed, [`Error::Timeout`] when the request's time is up.
    pub fn request<M, F, V, E>(
        &self,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, T, L, B, K, M, F, V, E, MAX>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        Max<MAX>: Capacity<F>,
    {
        self.call().request(launch)
    }

    /// Makes a request whose attempts go to replicas that `set` chooses, as
    /// [`call().on(set)`](crate::Call::on) does: [`Attempt::replica`] says which.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request), and [`Error::NoReplica`] if the set has none.
    pub fn request_on<S, M, F, V, E>(
        &self,
        set: S,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, T, L, B, K, S, M, F, V, E, MAX>
    where
        S: ReplicaSet,
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        Max<MAX>: Capacity<F>,
    {
        self.call().on(set).request(launch)
    }

    /// A request with options of its own.
    pub fn call(&self) -> Call<'_, T, L, B, K, ByResult, MAX> {
        Call::new(self)
    }
}
