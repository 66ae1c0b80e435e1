//! What the parts of a schedule share: chance, faults, the clock, and the journal of what happened.

use core::cell::{Cell, RefCell, RefMut};
use core::fmt;
use std::panic;
use std::thread;

use hedge_conformance::Draws;

use crate::clock::Clock;
use crate::fault::{Counts, Fault};
use crate::invariants::{Broken, Invariant};
use crate::journal::Journal;
use crate::task::Task;

/// How many requests a schedule may make, those within other requests included.
pub(crate) const REQUESTS: usize = 8;

/// One for each thread, used for one schedule after another.
pub(crate) struct World {
    draws: RefCell<Draws>,
    /// A bit for each fault that may happen in this schedule.
    faults: Cell<u64>,
    pub(crate) clock: Clock,
    pub(crate) tasks: [Task; REQUESTS],
    journal: RefCell<Journal>,
    counts: RefCell<Counts>,
    broken: RefCell<Option<Broken>>,
}

/// What code of the caller's panics with.
#[derive(Debug)]
pub(crate) struct Deliberate;

impl World {
    pub(crate) fn new() -> Self {
        Self {
            draws: RefCell::new(Draws::new(0)),
            faults: Cell::new(0),
            clock: Clock::new(),
            tasks: core::array::from_fn(|_| Task::new()),
            journal: RefCell::new(Journal::new()),
            counts: RefCell::new(Counts::default()),
            broken: RefCell::new(None),
        }
    }

    /// Begins the schedule of `seed`.
    pub(crate) fn begin(&self, seed: u64) {
        *self.draws.borrow_mut() = Draws::new(seed);
        // None, half of all kinds, or a quarter.
        let faults = match self.below(8) {
            0 => 0,
            1..4 => self.any(),
            _ => self.any() & self.any(),
        };
        // To unwind takes as long as a schedule otherwise does, so that it must not happen in most.
        let faults = match self.below(6) {
            0 => faults,
            _ => faults & !Fault::PANICS,
        };
        self.faults.set(faults);
        let start = self.pick(&[0, 1, 1_000_000_000, u64::MAX / 2, u64::MAX - 20_000_000]);
        self.clock.begin(start);
        self.tasks.iter().for_each(Task::begin);
        self.journal.borrow_mut().begin();
    }

    /// From now on there are no faults.
    pub(crate) fn be_honest(&self) {
        self.faults.set(0);
    }

    /// In this schedule `fault` does not happen.
    pub(crate) fn forbid(&self, fault: Fault) {
        self.faults.set(self.faults.get() & !(1 << fault as u64));
    }

    pub(crate) fn any(&self) -> u64 {
        self.draws.borrow_mut().any()
    }

    /// In `0..bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.draws.borrow_mut().below(bound)
    }

    pub(crate) fn pick<T: Copy>(&self, choices: &[T]) -> T {
        self.draws.borrow_mut().pick(choices)
    }

    /// Whether `fault` can happen in this schedule.
    pub(crate) fn may(&self, fault: Fault) -> bool {
        self.faults.get() >> fault as u64 & 1 == 1
    }

    /// Whether `fault` happens now, as it does one time in `odds` if it can. It is counted.
    pub(crate) fn strikes(&self, fault: Fault, odds: u64) -> bool {
        let strikes = self.may(fault) && self.below(odds) == 0;
        if strikes {
            self.count(fault);
        }
        strikes
    }

    pub(crate) fn count(&self, fault: Fault) {
        self.counts.borrow_mut().add(fault);
    }

    /// Code of the caller's panics, if it may now: a second panic while the first unwinds would abort.
    pub(crate) fn may_panic(&self, fault: Fault, odds: u64) -> bool {
        self.may(fault) && !thread::panicking() && self.strikes(fault, odds)
    }

    /// Panics without a message in the log.
    pub(crate) fn panic(&self) -> ! {
        panic::resume_unwind(Box::new(Deliberate))
    }

    pub(crate) fn journal(&self) -> RefMut<'_, Journal> {
        self.journal.borrow_mut()
    }

    /// Notes `invariant` as broken, unless `holds`. The first that is counts.
    pub(crate) fn check<D: fmt::Display>(
        &self,
        invariant: Invariant,
        holds: bool,
        seen: impl FnOnce() -> D,
    ) {
        if !holds {
            self.broke(invariant, &seen());
        }
    }

    #[cold]
    pub(crate) fn broke(&self, invariant: Invariant, seen: &dyn fmt::Display) {
        let seen = seen.to_string();
        let mut broken = self.broken.borrow_mut();
        broken.get_or_insert(Broken { invariant, seen });
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.borrow().is_some()
    }

    pub(crate) fn take_broken(&self) -> Option<Broken> {
        self.broken.borrow_mut().take()
    }

    pub(crate) fn take_counts(&self) -> Counts {
        core::mem::take(&mut self.counts.borrow_mut())
    }
}
