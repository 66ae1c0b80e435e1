//! A virtual clock, for tests and simulations that run without waiting.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use heapless::Vec;

use crate::time::{Instant, Timer};

/// A virtual clock with room for `N` sleepers.
///
/// `&ManualTimer` implements [`Timer`]. A hedged request takes two or three sleepers. A sleeper
/// that finds no room is woken immediately each time it is polled, so that it is not lost.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
///
/// let clock = ManualTimer::<4>::new();
/// // An hour of virtual time passes without waiting.
/// clock.drive(clock.sleep(Duration::from_secs(3600)));
/// assert_eq!(clock.now().since_epoch(), Duration::from_secs(3600));
/// ```
#[derive(Debug, Default)]
pub struct ManualTimer<const N: usize = 16> {
    now: Cell<Instant>,
    next_id: Cell<u32>,
    sleepers: RefCell<Vec<Sleeper, N>>,
    /// The earliest deadline of the sleepers for which there was no room.
    crowded_out: Cell<Option<Instant>>,
}

#[derive(Debug)]
struct Sleeper {
    id: u32,
    deadline: Instant,
    waker: Waker,
}

impl<const N: usize> ManualTimer<N> {
    /// Creates a clock at [`Instant::ZERO`].
    pub const fn new() -> Self {
        Self::starting_at(Instant::ZERO)
    }

    /// Creates a clock at `now`.
    pub const fn starting_at(now: Instant) -> Self {
        Self {
            now: Cell::new(now),
            next_id: Cell::new(0),
            sleepers: RefCell::new(Vec::new()),
            crowded_out: Cell::new(None),
        }
    }

    /// Returns the current virtual time.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Sleeps for `duration` from now.
    pub fn sleep(&self, duration: Duration) -> Sleep<'_, N> {
        self.sleep_until(self.now.get() + duration)
    }

    /// Advances the clock and wakes every sleeper that is due.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
        // Sleepers without room are polled again, and register again.
        self.crowded_out.set(None);
        // Wakers run user code, which may borrow the list: remove each sleeper before waking it.
        while let Some(sleeper) = self.take_due() {
            sleeper.waker.wake();
        }
    }

    fn take_due(&self) -> Option<Sleeper> {
        let mut sleepers = self.sleepers.borrow_mut();
        let due = sleepers
            .iter()
            .position(|sleeper| sleeper.deadline <= self.now.get())?;
        Some(sleepers.swap_remove(due))
    }

    /// Returns the earliest deadline of all sleepers.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.sleepers
            .borrow()
            .iter()
            .map(|sleeper| sleeper.deadline)
            .chain(self.crowded_out.get())
            .min()
    }

    /// Runs `future` to completion, advancing the clock to each deadline in turn.
    ///
    /// # Panics
    ///
    /// Panics if `future` waits for something other than this clock. [`try_drive`](Self::try_drive)
    /// returns `None` instead.
    pub fn drive<F: Future>(&self, future: F) -> F::Output {
        match self.try_drive(future) {
            Some(output) => output,
            None => panic!("the future waits for nothing on this clock"),
        }
    }

    /// Runs `future` to completion like [`drive`](Self::drive), or returns `None` if it waits for
    /// something other than this clock.
    pub fn try_drive<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            let next = self.next_deadline()?;
            self.advance(next.since(self.now.get()));
        }
    }
}

impl<'a, const N: usize> Timer for &'a ManualTimer<N> {
    type Sleep = Sleep<'a, N>;

    fn now(&self) -> Instant {
        self.now.get()
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        (**self).sleep_until(deadline)
    }
}

impl<const N: usize> ManualTimer<N> {
    fn sleep_until(&self, deadline: Instant) -> Sleep<'_, N> {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        Sleep {
            timer: self,
            deadline,
            id,
        }
    }
}

/// A future that completes when a [`ManualTimer`] reaches a deadline.
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep<'a, const N: usize> {
    timer: &'a ManualTimer<N>,
    deadline: Instant,
    id: u32,
}

impl<const N: usize> Future for Sleep<'_, N> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.now.get() >= self.deadline {
            return Poll::Ready(());
        }
        let mut sleepers = self.timer.sleepers.borrow_mut();
        if let Some(sleeper) = sleepers.iter_mut().find(|sleeper| sleeper.id == self.id) {
            sleeper.waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        let sleeper = Sleeper {
            id: self.id,
            deadline: self.deadline,
            waker: cx.waker().clone(),
        };
        if let Err(refused) = sleepers.push(sleeper) {
            drop(sleepers);
            let earliest = self.timer.crowded_out.get().into_iter();
            let earliest = earliest.chain([self.deadline]).min();
            self.timer.crowded_out.set(earliest);
            // There is no room: wake the task so that it is polled again, or it would sleep forever.
            refused.waker.wake();
        }
        Poll::Pending
    }
}

impl<const N: usize> Drop for Sleep<'_, N> {
    fn drop(&mut self) {
        self.timer
            .sleepers
            .borrow_mut()
            .retain(|sleeper| sleeper.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_without_room_wakes_on_time() {
        let clock = ManualTimer::<2>::new();
        let ms = Duration::from_millis;
        let mut sleeps = [100, 90, 10, 20].map(|millis| Some(clock.sleep(ms(millis))));
        let mut ends = [None; 4];
        clock.drive(core::future::poll_fn(|cx| {
            for (sleep, end) in sleeps.iter_mut().zip(&mut ends) {
                if let Some(pending) = sleep
                    && Pin::new(pending).poll(cx).is_ready()
                {
                    *sleep = None;
                    *end = Some(clock.now().since_epoch());
                }
            }
            if sleeps.iter().all(Option::is_none) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        assert_eq!(ends, [100, 90, 10, 20].map(|millis| Some(ms(millis))));
    }
}
