//! The conformance suite as a module of JavaScript: every case on JavaScript's own clock, and on the
//! virtual one.
//!
//! Left out are the cases in `panics`: here a panic cannot be caught, and ends the program.

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::panic;
use std::sync::Arc;
use std::task::Wake;

use hedge_async_std::{AsyncStdTimer, Timer};
use hedge_conformance::{Local, Threads, World, for_each_case};
use hedge_core::manual::ManualTimer;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// A case panicked. Nothing comes of what [`run`] returned.
    #[wasm_bindgen(js_name = hedgeCasePanicked)]
    fn panicked(case: usize, message: &str);
}

thread_local! {
    static RUNNING: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The names of all cases.
#[wasm_bindgen]
pub fn names() -> Vec<String> {
    panic::set_hook(Box::new(|panic| {
        panicked(RUNNING.get(), &panic.to_string())
    }));
    cases().iter().map(|case| case.name.to_owned()).collect()
}

/// Runs a case.
#[wasm_bindgen]
pub async fn run(case: usize) {
    let mut body = (cases()[case].body)();
    poll_fn(|cx| {
        RUNNING.set(case);
        body.as_mut().poll(cx)
    })
    .await;
}

struct Case {
    name: &'static str,
    body: fn() -> Body,
}

type Body = Pin<Box<dyn Future<Output = ()>>>;

macro_rules! add_all {
    ({ $setting:tt } $($file:ident $cases:tt)*) => { $(add_all! { @file $setting $file $cases })* };
    (@file $setting:tt panics $cases:tt) => {};
    (@file ($all:ident $setting:literal $world:tt $run:ident) $file:ident { $($case:ident,)* }) => {
        $($all.push(Case {
            name: concat!($setting, ": ", stringify!($file), "::", stringify!($case)),
            body: || Box::pin($run(|timer| async move {
                hedge_conformance::cases::$file::$case(&$world(timer)).await;
            })),
        });)*
    };
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for_each_case!([add_all] (all "real, local" (World::<_, Local>::real) real));
    for_each_case!([add_all] (all "real, threads" (World::<_, Threads>::real) real));
    for_each_case!([add_all] (all "virtual, local" (World::<_, Local>::exact) exact));
    for_each_case!([add_all] (all "virtual, threads" (World::<_, Threads>::exact) exact));
    all
}

async fn real<F: Future<Output = ()>>(case: impl FnOnce(AsyncStdTimer) -> F) {
    case(AsyncStdTimer::new()).await;
}

/// Polls only what is woken, and moves the clock on when nothing is.
async fn exact<F: Future<Output = ()>>(case: impl FnOnce(&'static ManualTimer) -> F) {
    let clock: &ManualTimer = Box::leak(Box::new(ManualTimer::new()));
    let mut case = pin!(case(clock));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if !woken.0.swap(false, Ordering::Relaxed) {
            let next = clock.next_deadline().expect("it waits for nothing");
            clock.advance(next.since(clock.now()));
        } else if let Poll::Ready(()) = case.as_mut().poll(&mut cx) {
            return;
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
