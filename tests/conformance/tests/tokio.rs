//! The suite on tokio: with its clock paused, and in real time on one thread and on several.

use hedge_conformance::{Local, Threads, World, conformance};
use hedge_tokio::TokioTimer;
use tokio::runtime::{Builder, Runtime};

fn block_on<F: Future<Output = ()>>(runtime: &Runtime, case: impl FnOnce(TokioTimer) -> F) {
    // The timer is made inside the runtime, whose clock may be paused.
    runtime.block_on(async { case(TokioTimer::new()).await });
}

fn paused<F: Future<Output = ()>>(case: impl FnOnce(TokioTimer) -> F) {
    block_on(
        &Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap(),
        case,
    );
}

fn one_thread<F: Future<Output = ()>>(case: impl FnOnce(TokioTimer) -> F) {
    block_on(
        &Builder::new_current_thread().enable_time().build().unwrap(),
        case,
    );
}

/// As a task, which goes from thread to thread.
fn many_threads<F: Future<Output = ()> + Send + 'static>(case: impl FnOnce(TokioTimer) -> F) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    block_on(&runtime, |timer| {
        let task = tokio::spawn(case(timer));
        async { task.await.unwrap() }
    });
}

conformance!(paused_local, World::<_, Local>::exact, paused);
conformance!(paused_threads, World::<_, Threads>::exact, paused);
conformance!(real_local, World::<_, Local>::real, one_thread);
conformance!(send real_send, World::<_, Threads>::real, many_threads);
