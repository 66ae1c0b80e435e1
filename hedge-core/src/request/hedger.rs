//! The methods of a hedger that make requests.

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
    /// Makes a request. `launch` is called in the caller's task once per attempt, when the attempt
    /// starts.
    ///
    /// The first attempt that returns `Ok` provides the value. After an `Err`, the next hedge
    /// starts immediately if `max_hedges` and the budget allow it; the attempts that are still
    /// running continue. Losers are dropped before this future resolves. Dropping the future drops
    /// all attempts.
    ///
    /// Only hedge idempotent requests: more than one attempt may reach the backend, and an attempt
    /// that is dropped may have taken effect.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] if every attempt failed, and [`Error::Timeout`] if the request ran
    /// out of time.
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
    /// Returns the errors of [`request`](Self::request), and [`Error::NoReplica`] if the set has no replica.
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

    /// Returns a builder for a request with custom options.
    pub fn call(&self) -> Call<'_, T, L, B, K, ByResult, MAX> {
        Call::new(self)
    }
}
