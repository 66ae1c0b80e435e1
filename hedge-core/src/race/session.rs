//! The controller of a race, with the clock that times it.

use super::Controller;
use crate::record::RequestEnd;
use crate::time::{Instant, Timer};

/// A controller and its clock. Reports a race that is dropped before its end.
#[derive(Debug)]
pub(super) struct Session<T: Timer, P: Controller> {
    pub(super) timer: T,
    pub(super) controller: P,
    pub(super) stage: Stage,
    pub(super) timed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    New,
    Running,
    Completed,
}

impl<T: Timer, P: Controller> Session<T, P> {
    pub(super) const fn new(timer: T, controller: P) -> Self {
        Self {
            timer,
            controller,
            stage: Stage::New,
            timed: false,
        }
    }

    /// Begins the first poll. Returns the time, if that is needed from before the primary is polled.
    #[inline(always)]
    pub(super) fn open(&mut self) -> Option<Instant> {
        // First, so that the controller hears of the end even if it panics at the start.
        self.stage = Stage::Running;
        self.controller.timed().then(|| self.start())
    }

    #[inline(always)]
    pub(super) fn start(&mut self) -> Instant {
        let now = self.timer.now();
        self.timed = true;
        self.controller.start(now);
        now
    }

    pub(super) fn read_clock(&self) -> Instant {
        if self.timed {
            self.timer.now()
        } else {
            Instant::ZERO
        }
    }

    pub(super) fn complete(&mut self, end: RequestEnd, now: Instant) -> P::Output {
        // First, so that a panic in the controller is not reported as a dropped race besides.
        self.stage = Stage::Completed;
        self.controller.completed(end, now)
    }

    // Outlined, since most races are complete when they are dropped.
    #[cold]
    fn abandon(&mut self) {
        let now = self.read_clock();
        self.complete(RequestEnd::Dropped, now);
    }
}

impl<T: Timer, P: Controller> Drop for Session<T, P> {
    #[inline]
    fn drop(&mut self) {
        if self.stage == Stage::Running {
            self.abandon();
        }
    }
}
