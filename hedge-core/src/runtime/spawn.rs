//! Attempts that run as tasks.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::{Runtime, SharedBudget};
use crate::attempt::Attempt;
use crate::hedger::InFlight;
use crate::telemetry::trace;

/// A runtime that can spawn tasks.
pub trait Spawn: Runtime + Send + Sync + Unpin + 'static {
    /// The handle of a task. The task keeps running if the handle is dropped.
    type Task<T>: Unpin;

    /// Spawns a task.
    fn spawn<T, F>(future: F) -> Self::Task<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static;

    /// Waits for the output of the task; `None` if it was aborted. A panic of the task resumes in
    /// the caller. Not called again once it was ready.
    fn join<T>(task: &mut Self::Task<T>, cx: &mut Context<'_>) -> Poll<Option<T>>;

    /// Aborts the task at its next `.await`.
    fn abort<T>(task: &Self::Task<T>);
}

/// A task for an attempt, or for a part of one.
///
/// A panic of the task resumes in the future that awaits it. If the runtime drops the task, this
/// future never completes, as if the attempt hung.
#[must_use = "the task is aborted when this is dropped"]
pub struct Spawned<R: Spawn, T> {
    /// `None` once the task has ended, since it must not be polled again.
    task: Option<R::Task<T>>,
    runs_on: bool,
}

impl<R: Spawn, T: Send + 'static> Spawned<R, T> {
    /// Spawns `future`.
    ///
    /// # Panics
    ///
    /// Panics where the runtime panics if it cannot spawn.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            task: Some(R::spawn(trace::in_request_span(future))),
            runs_on: false,
        }
    }

    /// Spawns the future that `launch` returns for an attempt. A hedge stays counted in flight
    /// until its task ends: an aborted task keeps computing until its next `.await`.
    pub(crate) fn attempt<F>(
        attempt: Attempt,
        budget: &SharedBudget<R>,
        launch: impl FnOnce(Attempt) -> F,
    ) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Create the permit before anything can panic, so that it is always returned.
        let place = attempt.is_hedge().then(|| InFlight::one(budget.clone()));
        let future = launch(attempt);
        Self::new(async move {
            let _place = place;
            future.await
        })
    }

    /// Sets the task to keep running when this is dropped.
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
