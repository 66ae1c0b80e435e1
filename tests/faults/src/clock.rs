//! A clock that is not to be trusted, and its sleeps.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use hedge_core::{Instant, Timer};

use crate::fault::Fault;
use crate::invariants::Invariant;
use crate::world::World;

/// Nanoseconds, and who sleeps until when.
pub(crate) struct Clock {
    now: Cell<u64>,
    /// The latest time that anybody may have been told.
    latest: Cell<u64>,
    /// By how much it has gone back, in all.
    back: Cell<u64>,
    sleepers: RefCell<Vec<Sleeper>>,
}

struct Sleeper {
    /// Whether the sleep exists.
    used: bool,
    /// Whether it is a request's alarm, and not an attempt's.
    alarm: bool,
    deadline: u64,
    waker: Option<Waker>,
    over: bool,
}

/// A millisecond.
pub(crate) const TICK: u64 = 1_000_000;

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            now: Cell::new(0),
            latest: Cell::new(0),
            back: Cell::new(0),
            sleepers: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn begin(&self, now: u64) {
        self.now.set(now);
        self.latest.set(now);
        self.back.set(0);
        self.sleepers.borrow_mut().clear();
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn latest(&self) -> u64 {
        self.latest.get()
    }

    /// The most time that can have passed since `then`, for somebody who was told the earliest of all times then
    /// and the latest now.
    pub(crate) fn most_since(&self, then: u64) -> u64 {
        let elapsed = self.latest().saturating_sub(then);
        elapsed.saturating_add(self.back.get())
    }

    pub(crate) fn set(&self, now: u64) {
        let back = self.now().saturating_sub(now);
        self.back.set(self.back.get().saturating_add(back));
        self.now.set(now);
        self.seen(now);
    }

    fn seen(&self, time: u64) {
        self.latest.set(self.latest.get().max(time));
    }

    pub(crate) fn advance(&self, by: u64) {
        self.set(self.now().saturating_add(by));
    }

    /// The next deadline that somebody waits for.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let sleepers = self.sleepers.borrow();
        let waiting = sleepers.iter().filter(|sleeper| sleeper.waker.is_some());
        waiting.map(|sleeper| sleeper.deadline).min()
    }

    /// Until when the alarm of the task with this waker is set.
    pub(crate) fn alarm_of(&self, waker: &Waker) -> Option<u64> {
        let sleepers = self.sleepers.borrow();
        let mine = |own: &Waker| own.will_wake(waker);
        let alarm = sleepers
            .iter()
            .find(|sleeper| sleeper.alarm && sleeper.waker.as_ref().is_some_and(mine));
        alarm.map(|sleeper| sleeper.deadline)
    }

    /// How many sleeps there are.
    pub(crate) fn sleeping(&self) -> usize {
        let sleepers = self.sleepers.borrow();
        sleepers.iter().filter(|sleeper| sleeper.used).count()
    }

    fn add(&self, deadline: u64, alarm: bool) -> usize {
        let mut sleepers = self.sleepers.borrow_mut();
        let sleeper = Sleeper {
            used: true,
            alarm,
            deadline,
            waker: None,
            over: false,
        };
        match sleepers.iter().position(|sleeper| !sleeper.used) {
            Some(free) => {
                sleepers[free] = sleeper;
                free
            }
            None => {
                sleepers.push(sleeper);
                sleepers.len() - 1
            }
        }
    }
}

impl World {
    /// A sleep of an attempt.
    pub(crate) fn sleep(&self, duration: u64) -> Sleep<'_> {
        self.sleep_to(self.clock.now().saturating_add(duration), false)
    }

    fn sleep_to(&self, deadline: u64, alarm: bool) -> Sleep<'_> {
        Sleep {
            world: self,
            place: self.clock.add(deadline, alarm),
        }
    }

    /// Wakes those whose time has come, and others if that is among the faults.
    pub(crate) fn fire(&self) {
        let now = self.clock.now();
        for sleeper in self.clock.sleepers.borrow_mut().iter_mut() {
            if sleeper.waker.is_none() {
                continue;
            }
            let wakes = if sleeper.deadline <= now {
                !self.strikes(Fault::Late, 4)
            } else {
                self.strikes(Fault::Spurious, 16)
            };
            if !wakes {
                continue;
            }
            if self.strikes(Fault::Twice, 4) || sleeper.deadline > now {
                // It stays, to wake again.
                sleeper.waker.as_ref().inspect(|waker| waker.wake_by_ref());
            } else if let Some(waker) = sleeper.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<'w> Timer for &'w World {
    type Sleep = Sleep<'w>;

    fn now(&self) -> Instant {
        instant(self.clock.now())
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep<'w> {
        self.sleep_to(nanos(deadline), true)
    }

    fn rearm(&self, mut sleep: Pin<&mut Sleep<'w>>, deadline: Instant) {
        if self.any() & 1 == 0 {
            sleep.set(self.sleep_until(deadline));
            return;
        }
        if let Some(sleeper) = self.clock.sleepers.borrow_mut().get_mut(sleep.place) {
            sleeper.deadline = nanos(deadline);
        }
    }
}

/// Ends at its deadline, or so.
pub(crate) struct Sleep<'w> {
    world: &'w World,
    place: usize,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let world = self.world;
        let mut sleepers = world.clock.sleepers.borrow_mut();
        let sleeper = &mut sleepers[self.place];
        world.check(
            Invariant::NothingIsPolledAfterItsEnd,
            !sleeper.over,
            || "a sleep is",
        );
        let due = world.clock.now() >= sleeper.deadline;
        if due && world.strikes(Fault::Reluctant, 8) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if due || world.strikes(Fault::Early, 16) {
            world.clock.seen(sleeper.deadline);
            sleeper.over = true;
            sleeper.waker = None;
            return Poll::Ready(());
        }
        match &mut sleeper.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => sleeper.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(sleeper) = self.world.clock.sleepers.borrow_mut().get_mut(self.place) {
            sleeper.used = false;
            sleeper.waker = None;
        }
    }
}

pub(crate) fn instant(nanos: u64) -> Instant {
    Instant::from_epoch(Duration::from_nanos(nanos))
}

fn nanos(instant: Instant) -> u64 {
    instant.since_epoch().as_nanos() as u64
}
