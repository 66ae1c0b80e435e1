//! Attempts as tasks.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::{Context, Poll, ready};
use std::panic;
use std::sync::Arc;

use hedge_core::{Attempt, Charge, SharedBudget};
use tokio::task::JoinHandle;

/// A task that is aborted when this is dropped.
///
/// An attempt may hold several, to compute in parallel. A panic of the task resumes in whoever awaits it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let task = hedge_tokio::Spawned::spawn(async { 6 * 7 });
/// assert_eq!(task.await, 42);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the task is aborted when this is dropped"]
pub struct Spawned<T>(JoinHandle<T>);

impl<T: Send + 'static> Spawned<T> {
    /// Spawns `future`.
    ///
    /// # Panics
    ///
    /// As [`tokio::spawn`] does outside a runtime.
    pub fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        join(&mut self.0, cx)
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task's result. A task that its runtime dropped never has one.
fn join<T>(task: &mut JoinHandle<T>, cx: &mut Context<'_>) -> Poll<T> {
    match ready!(Pin::new(task).poll(cx)) {
        Ok(value) => Poll::Ready(value),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => panic::resume_unwind(payload),
            Err(_) => Poll::Pending,
        },
    }
}

/// An attempt that runs on when it loses.
#[derive(Debug)]
pub struct Detached<V, E> {
    task: JoinHandle<Result<V, E>>,
    place: Option<Place>,
}

impl<V: Send + 'static, E: Send + 'static> Detached<V, E> {
    pub(crate) fn spawn(
        attempt: Attempt,
        budget: &SharedBudget,
        future: impl Future<Output = Result<V, E>> + Send + 'static,
    ) -> Self {
        let place = attempt.is_hedge().then(|| Place::new(budget.clone()));
        let task_place = place.clone().map(EndOfTask);
        let task = tokio::spawn(async move {
            let _place = task_place;
            future.await
        });
        Self { task, place }
    }
}

impl<V, E> Future for Detached<V, E> {
    type Output = Result<V, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<V, E>> {
        join(&mut self.task, cx)
    }
}

/// Dropped by its request: it lost, or it ended.
impl<V, E> Drop for Detached<V, E> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.leave_to_task();
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
