//! A timer of nothing but std: one thread, which parks until the next deadline.

use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time;

use hedge_core::runtime::Runtime;
use hedge_core::{Instant, Timer};

/// The clock of std. The epoch is when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParkedThread {
    epoch: time::Instant,
}

impl Default for ParkedThread {
    fn default() -> Self {
        let epoch = time::Instant::now();
        Self { epoch }
    }
}

impl Timer for ParkedThread {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.instant(time::Instant::now())
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        // Absent where the clock cannot tell it: the far future.
        let deadline = self.epoch.checked_add(deadline.since_epoch());
        Sleep {
            deadline,
            key: None,
        }
    }
}

impl Runtime for ParkedThread {
    type Instant = time::Instant;

    fn instant(&self, instant: time::Instant) -> Instant {
        Instant::from_epoch(instant.saturating_duration_since(self.epoch))
    }
}

/// A sleep of [`ParkedThread`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub(crate) struct Sleep {
    deadline: Option<time::Instant>,
    /// Absent until it is first polled: most sleeps of a request are dropped before.
    key: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        if time::Instant::now() >= deadline {
            return Poll::Ready(());
        }
        let (alarm, mut sleepers) = Alarm::get();
        let key = *self.key.get_or_insert_with(|| {
            sleepers.made += 1;
            (deadline, sleepers.made)
        });
        // The waker may be another one each time.
        let old = sleepers.wakers.insert(key, cx.waker().clone());
        let is_next = sleepers.wakers.keys().next() == Some(&key);
        drop(sleepers);
        // Only now: to drop a waker may run others' code.
        drop(old);
        if is_next {
            alarm.thread.unpark();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let (_, mut sleepers) = Alarm::get();
            let waker = sleepers.wakers.remove(&key);
            drop(sleepers);
            drop(waker);
        }
    }
}

/// When a sleep is over, and which of those it is.
type Key = (time::Instant, u64);

/// Who sleeps.
#[derive(Default)]
struct Sleepers {
    wakers: BTreeMap<Key, Waker>,
    made: u64,
}

/// The thread that wakes them, from the first sleep on.
struct Alarm {
    thread: Thread,
}

static SLEEPERS: Mutex<Sleepers> = Mutex::new(Sleepers {
    wakers: BTreeMap::new(),
    made: 0,
});

impl Alarm {
    fn get() -> (&'static Self, MutexGuard<'static, Sleepers>) {
        static ALARM: OnceLock<Alarm> = OnceLock::new();
        let alarm = ALARM.get_or_init(|| Self {
            thread: thread::spawn(Self::run).thread().clone(),
        });
        (alarm, sleepers())
    }

    fn run() {
        loop {
            let mut sleepers = sleepers();
            let later = sleepers.wakers.split_off(&(time::Instant::now(), u64::MAX));
            let due = mem::replace(&mut sleepers.wakers, later);
            let next = sleepers.wakers.keys().next().copied();
            drop(sleepers);
            due.into_values().for_each(Waker::wake);
            match next {
                Some((deadline, _)) => {
                    thread::park_timeout(deadline.saturating_duration_since(time::Instant::now()));
                }
                None => thread::park(),
            }
        }
    }
}

fn sleepers() -> MutexGuard<'static, Sleepers> {
    SLEEPERS.lock().unwrap_or_else(PoisonError::into_inner)
}
