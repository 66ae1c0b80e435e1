//! Attempts as tasks.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::{Runtime, SharedBudget};
use crate::attempt::Attempt;
use crate::hedger::InFlight;
use crate::telemetry::trace;

/// A runtime that runs tasks.
pub trait Spawn: Runtime + Send + Sync + Unpin + 'static {
    /// A task, which runs on when this is dropped.
    type Task<T>: Unpin;

    /// Starts a task.
    fn spawn<T, F>(future: F) -> Self::Task<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static;

    /// What the task returned; `None` if it was aborted. A panic of the task resumes here. Not called
    /// again once it was ready.
    fn join<T>(task: &mut Self::Task<T>, cx: &mut Context<'_>) -> Poll<Option<T>>;

    /// Ends the task, at its next `.await`.
    fn abort<T>(task: &Self::Task<T>);
}

/// A task of its own for an attempt, or for a part of one.
///
/// A panic of the task resumes in whoever awaits it. A task that its runtime drops never ends for
/// whoever awaits it, as if the attempt hung.
#[must_use = "the task is aborted when this is dropped"]
pub struct Spawned<R: Spawn, T> {
    /// Absent once it has ended, for it must not be polled again.
    task: Option<R::Task<T>>,
    runs_on: bool,
}

impl<R: Spawn, T: Send + 'static> Spawned<R, T> {
    /// Spawns `future`.
    ///
    /// # Panics
    ///
    /// As the runtime does where it cannot spawn.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            task: Some(R::spawn(trace::carried(future))),
            runs_on: false,
        }
    }

    /// Spawns what `launch` makes of an attempt, which stays counted in flight as long as its task runs: an
    /// aborted task computes on until its next `.await`.
    pub(crate) fn attempt<F>(
        attempt: Attempt,
        budget: &SharedBudget<R>,
        launch: impl FnOnce(Attempt) -> F,
    ) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Before anything can panic.
        let place = attempt
            .is_hedge()
            .then(|| InFlight::<_, SharedBudget<R>>::one(budget.clone()));
        let future = launch(attempt);
        Self::new(async move {
            let _place = place;
            future.await
        })
    }

    /// The same, but not aborted when this is dropped.
    pub(crate) fn running_on(mut self) -> Self {
        self.runs_on = true;
        self
    }
}

impl<R: Spawn, T> Future for Spawned<R, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(task) = &mut self.task else {
            return Poll::Pending;
        };
        let value = ready!(R::join(task, cx));
        self.task = None;
        value.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<R: Spawn, T> fmt::Debug for Spawned<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned")
            .field("ended", &self.task.is_none())
            .field("runs_on", &self.runs_on)
            .finish_non_exhaustive()
    }
}

impl<R: Spawn, T> Drop for Spawned<R, T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task
            && !self.runs_on
        {
            R::abort(task);
        }
    }
}
