//! Attempts that run as tokio tasks.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::panic;

use hedge_core::runtime::Spawn;
use tokio::task::{JoinError, JoinHandle};

use crate::TokioTimer;

/// A task for an attempt, or for a part of one.
///
/// A panic of the task resumes in the future that awaits it. If the runtime drops the task, this
/// future never completes, as if the attempt hung. Creating a task outside a runtime panics, like
/// [`tokio::spawn`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // The task is aborted at its next `.await` when this is dropped.
/// let task = hedge_tokio::Spawned::new(async { 6 * 7 });
/// assert_eq!(task.await, 42);
/// # }
/// ```
pub type Spawned<T> = hedge_core::runtime::Spawned<TokioTimer, T>;

impl Spawn for TokioTimer {
    type Task<T> = JoinHandle<T>;

    fn spawn<T, F>(future: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        tokio::spawn(future)
    }

    fn join<T>(task: &mut JoinHandle<T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let result = ready!(Pin::new(task).poll(cx));
        match result.map_err(JoinError::try_into_panic) {
            Ok(value) => Poll::Ready(Some(value)),
            Err(Ok(payload)) => panic::resume_unwind(payload),
            Err(Err(_)) => Poll::Ready(None),
        }
    }

    fn abort<T>(task: &JoinHandle<T>) {
        task.abort();
    }
}
