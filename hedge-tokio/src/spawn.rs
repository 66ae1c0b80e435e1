//! Attempts as tasks.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::{Context, Poll, ready};
use std::panic;
use std::sync::Arc;

use hedge_core::Attempt;
use tokio::task::JoinHandle;

use crate::SharedBudget;

/// A task of its own for an attempt, or for a part of one.
///
/// A panic of the task resumes in whoever awaits it. A task that its runtime drops never ends for
/// whoever awaits it, as if the attempt hung.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // Aborted, at its next `.await`, when this is dropped.
/// let task = hedge_tokio::Spawned::new(async { 6 * 7 });
/// assert_eq!(task.await, 42);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the task is aborted when this is dropped"]
pub struct Spawned<T> {
    /// Absent once it has ended, for it must not be polled again.
    task: Option<JoinHandle<T>>,
    runs_on: bool,
    place: Option<Place>,
}

impl<T: Send + 'static> Spawned<T> {
    /// Spawns `future`.
    ///
    /// # Panics
    ///
    /// As [`tokio::spawn`] does outside a runtime.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            task: Some(tokio::spawn(future)),
            runs_on: false,
            place: None,
        }
    }

    /// Spawns an attempt that stays counted in flight as long as its task runs: an aborted task computes
    /// on until its next `.await`.
    pub(crate) fn attempt(
        attempt: Attempt,
        budget: &SharedBudget,
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

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(task) = &mut self.task else {
            return Poll::Pending;
        };
        let result = ready!(Pin::new(task).poll(cx));
        self.task = None;
        match result.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(value) => Poll::Ready(value),
            Err(Ok(payload)) => panic::resume_unwind(payload),
            Err(Err(_)) => Poll::Pending,
        }
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        // Before the task can end: what it gives back has to be its own.
        if let Some(place) = &self.place {
            place.leave_to_task();
        }
        if let Some(task) = &self.task
            && !self.runs_on
        {
            task.abort();
        }
    }
}

/// A hedge's place in flight. Its request gives it back when it ends; if the hedge runs on after that,
/// the hedge holds the place and gives it back itself.
#[derive(Clone, Debug)]
struct Place {
    budget: SharedBudget,
    stage: Arc<AtomicU8>,
}

const HELD_BY_REQUEST: u8 = 0;
const HELD_BY_TASK: u8 = 1;
const ENDED: u8 = 2;

impl Place {
    fn new(budget: SharedBudget) -> Self {
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
#[derive(Debug)]
struct EndOfTask(Place);

impl Drop for EndOfTask {
    fn drop(&mut self) {
        if self.0.stage.swap(ENDED, Ordering::AcqRel) == HELD_BY_TASK {
            self.0.budget.release(1);
        }
    }
}
