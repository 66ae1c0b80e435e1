//! Between a race and its controller.

use super::{Controller, Settled};
use crate::time::{Instant, Timer};

/// The controller and the clock it is told; makes sure that the controller hears of a race that is dropped.
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
    Settled,
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

    /// The same, in code of its own, for few requests start late.
    #[inline(never)]
    pub(super) fn start_late(&mut self) -> Instant {
        self.start()
    }

    pub(super) fn read_clock(&self) -> Instant {
        if self.timed {
            self.timer.now()
        } else {
            Instant::ZERO
        }
    }

    pub(super) fn settle(&mut self, how: Settled, now: Instant) -> P::Record {
        // First, so that a panic in the controller is not reported as a dropped race besides.
        self.stage = Stage::Settled;
        self.controller.settled(how, now)
    }

    /// Nothing if the controller would rather be told as of any race.
    #[inline(always)]
    pub(super) fn settle_alone(&mut self, now: Instant) -> Option<P::Record> {
        self.stage = Stage::Settled;
        let record = self.controller.settled_alone(now);
        if record.is_none() {
            self.stage = Stage::Running;
        }
        record
    }

    // Apart from the drop of every other race.
    #[cold]
    fn abandon(&mut self) {
        let now = self.read_clock();
        self.settle(Settled::Dropped, now);
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
