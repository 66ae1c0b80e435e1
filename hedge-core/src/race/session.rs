//! The controller of a race and its clock.

use super::Controller;
use crate::record::RequestEnd;
use crate::time::{Instant, Timer};

/// A controller and the clock that times it. Reports to the controller if the race is dropped
/// before its end.
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

    /// Begins the first poll. Returns the time if the request must be timed from its start.
    #[cfg_attr(feature = "std", inline(always))]
    pub(super) fn open(&mut self) -> Option<Instant> {
        // Set the stage first, so that the end is reported even if the controller panics at the
        // start.
        self.stage = Stage::Running;
        self.controller.timed().then(|| self.start())
    }

    #[cfg_attr(feature = "std", inline(always))]
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
        // Set the stage first, so that a panic in the controller does not also report a dropped
        // race.
        self.stage = Stage::Completed;
        self.controller.completed(end, now)
    }

    // Do not inline this, since most races are complete when they are dropped.
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
