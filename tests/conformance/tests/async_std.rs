//! The suite on async-std, in real time: on one thread, and as tasks of its executor.

use async_std::task;
use hedge_async_std::AsyncStdTimer;
use hedge_conformance::{Local, Threads, World, conformance};

fn one_thread<F: Future<Output = ()>>(case: impl FnOnce(AsyncStdTimer) -> F) {
    task::block_on(case(AsyncStdTimer::new()));
}

/// As a task, which goes from thread to thread.
fn many_threads<F: Future<Output = ()> + Send + 'static>(case: impl FnOnce(AsyncStdTimer) -> F) {
    task::block_on(task::spawn(case(AsyncStdTimer::new())));
}

conformance!(local, World::<_, Local>::real, one_thread);
conformance!(send send, World::<_, Threads>::real, many_threads);
