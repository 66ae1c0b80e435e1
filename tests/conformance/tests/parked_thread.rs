//! The suite on the runtime of hedge-core's example, in real time: on one thread, and on others than its own.

#[path = "../../../hedge-core/examples/parked_thread/timer.rs"]
mod timer;

use core::time::Duration;
use std::panic::resume_unwind;
use std::thread;

use futures_lite::future::block_on;
use hedge_conformance::{Local, Threads, World, conformance};
use timer::ParkedThread;

fn one_thread<F: Future<Output = ()>>(case: impl FnOnce(ParkedThread) -> F) {
    block_on(case(ParkedThread::default()));
}

fn another_thread<F: Future<Output = ()> + Send + 'static>(case: impl FnOnce(ParkedThread) -> F) {
    let case = case(ParkedThread::default());
    if let Err(panic) = thread::spawn(|| block_on(case)).join() {
        resume_unwind(panic);
    }
}

fn world<H: hedge_conformance::Home>(timer: ParkedThread) -> World<ParkedThread, H> {
    World::real(timer).with_tick(Duration::from_millis(10))
}

conformance!(local, world::<Local>, one_thread);
conformance!(send send, world::<Threads>, another_thread);
