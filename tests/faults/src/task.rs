//! Who is woken.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A task with two wakers. Only the one that it was last polled with counts.
pub(crate) struct Task {
    flags: [Arc<Flag>; 2],
    wakers: [Waker; 2],
    current: Cell<usize>,
}

impl Task {
    pub(crate) fn new() -> Self {
        let flags = [false; 2].map(|woken| Arc::new(Flag(AtomicBool::new(woken))));
        let wakers = flags.each_ref().map(|flag| Waker::from(flag.clone()));
        Self {
            flags,
            wakers,
            current: Cell::new(0),
        }
    }

    pub(crate) fn begin(&self) {
        self.current.set(0);
        self.sleep();
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.wakers[self.current.get()]
    }

    /// From now on it has to be the other waker.
    pub(crate) fn change_waker(&self) {
        self.current.set(1 - self.current.get());
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flags[self.current.get()].0.load(Ordering::Relaxed)
    }

    /// As executors do before they poll.
    pub(crate) fn sleep(&self) {
        for flag in &self.flags {
            flag.0.store(false, Ordering::Relaxed);
        }
    }
}
