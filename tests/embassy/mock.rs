//! The suite on embassy's mock clock, and with that in exact times.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use embassy_time::{Duration as Ticks, MockDriver};
use hedge_conformance::{Local, World, conformance};
use hedge_core::{Instant, Timer};
use hedge_embassy::EmbassyTimer;

/// Polls only when woken, so that a waker that was lost shows.
fn run<F: Future<Output = ()>>(case: impl FnOnce(EmbassyTimer) -> F) {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let (clock, _alone) = clock();
    let mut case = pin!(case(EmbassyTimer));
    let woken = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    while embassy_time::Instant::now().as_secs() < 60 {
        if !woken.0.swap(false, Ordering::Relaxed) {
            clock.advance(Ticks::from_micros(500));
        } else if case.as_mut().poll(&mut cx) == Poll::Ready(()) {
            return;
        }
    }
    panic!("it waits for nothing");
}

/// The clock, of which there is one, for one test at a time.
fn clock() -> (&'static MockDriver, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let clock = MockDriver::get();
    clock.reset();
    (clock, alone)
}

conformance!(local, World::<_, Local>::exact, run);

/// The clock ticks every microsecond.
#[test]
fn a_sleep_ends_with_the_first_tick_that_is_not_early() {
    let (clock, _alone) = clock();
    let mut cx = Context::from_waker(Waker::noop());
    for (nanos, tick) in [(1, 1), (1_000, 1), (1_001, 2), (2_000, 2), (2_001, 3)] {
        clock.reset();
        let deadline = Instant::from_epoch(Duration::from_nanos(nanos));
        let mut sleep = pin!(EmbassyTimer.sleep_until(deadline));
        for _ in 0..tick {
            assert!(sleep.as_mut().poll(&mut cx).is_pending(), "{nanos} ns");
            clock.advance(Ticks::from_micros(1));
        }
        assert!(sleep.as_mut().poll(&mut cx).is_ready(), "{nanos} ns");
        assert!(EmbassyTimer.now() >= deadline);
    }
}
