//! Attempts as tasks.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use super::{Runtime, SharedBudget};
use crate::{Attempt, trace};

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
    place: Option<Place<R>>,
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
            place: None,
        }
    }

    /// Spawns an attempt that stays counted in flight as long as its task runs: an aborted task computes
    /// on until its next `.await`.
    pub(crate) fn attempt(
        attempt: Attempt,
        budget: &SharedBudget<R>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let place = attempt.is_hedge().then(|| Place::new(budget.clone()));
        let held = place.clone().map(EndOfTask);
        let mut spawned = Self::new(async move {
            let _held = held;
            future.await
        });
        spawned.place = place;
        spawned
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
        // Before the task can end: what it gives back has to be its own.
        if let Some(place) = &self.place {
            place.leave_to_task();
        }
        if let Some(task) = &self.task
            && !self.runs_on
        {
            R::abort(task);
        }
    }
}

/// A hedge's place in flight. Its request gives it back when it ends; if the hedge runs on after that,
/// the hedge holds the place and gives it back itself.
#[derive(Clone)]
struct Place<R> {
    budget: SharedBudget<R>,
    stage: Arc<AtomicU8>,
}

const HELD_BY_REQUEST: u8 = 0;
const HELD_BY_TASK: u8 = 1;
const ENDED: u8 = 2;

impl<R: Runtime> Place<R> {
    fn new(budget: SharedBudget<R>) -> Self {
        Self {
            budget,
            stage: Arc::new(AtomicU8::new(HELD_BY_REQUEST)),
        }
    }

    /// The request is about to give the place back, so the task takes another.
    fn leave_to_task(&self) {
        // Before the task can see that it holds one and gives it back.
        self.budget.edit(|budget| budget.hold(1));
        if self.stage.swap(HELD_BY_TASK, Ordering::AcqRel) == ENDED {
            self.budget.release(1);
        }
    }
}

/// Dropped when the task ends, however it does.
struct EndOfTask<R: Runtime>(Place<R>);

impl<R: Runtime> Drop for EndOfTask<R> {
    fn drop(&mut self) {
        if self.0.stage.swap(ENDED, Ordering::AcqRel) == HELD_BY_TASK {
            self.0.budget.release(1);
        }
    }
}
