//! Attempts as tasks of tokio.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::panic;

use hedge_core::runtime::Spawn;
use tokio::task::{JoinError, JoinHandle};

use crate::TokioTimer;

/// A task of its own for an attempt, or for a part of one.
///
/// A panic of the task resumes in whoever awaits it. A task that its runtime drops never ends for
/// whoever awaits it, as if the attempt hung. It panics outside a runtime, as [`tokio::spawn`] does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // Aborted, at its next `.await`, when this is dropped.
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
