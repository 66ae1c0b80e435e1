//! Requests whose attempts are tasks.

use core::future::Future;

use super::{Call, Hedger};
use crate::attempt::{Attempt, Classify};
use crate::hedger::Losers;
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::replicas::ReplicaSet;
use crate::request::OnReplicas;
use crate::runtime::{Spawn, Spawned};

impl<R: Spawn, const MAX: usize> Hedger<R, MAX> {
    /// Makes a request whose losers run to completion.
    ///
    /// No attempt is aborted when another one wins, when the request runs out of time or when this
    /// future is dropped. Use it for a write that should reach every replica. Each attempt is a
    /// task from its start. A hedge stays counted in flight until its task ends, and is not
    /// reported as cancelled.
    ///
    /// An attempt that exceeds [`attempt_timeout`](crate::Options::attempt_timeout) has failed, so that the next one starts,
    /// and is not aborted either. [`Attempt::remaining`] says how long it has: where an attempt may hang for ever, put a
    /// timeout into it, so that its task ends.
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
