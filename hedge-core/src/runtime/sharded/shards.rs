//! The assignment of threads to shards.

use core::cell::Cell;
use std::sync::{PoisonError, TryLockError};

use crate::sync::{self, Mutex, MutexGuard};

/// A value on separate cache lines (two, because processors fetch them in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// Locks `mutex` and ignores poisoning: the guarded values hold no invariant that a panic could
/// break.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks `mutex` like [`lock`], unless it is locked.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Returns the shard of the thread with this index.
pub(super) fn shard_of<T>(shards: &[T], thread: usize) -> Option<&T> {
    // Compute the remainder without a division: the number of shards is a power of two.
    shards.get(thread & shards.len().wrapping_sub(1))
}

/// Returns the number of shards, a power of two. It is twice the number of processors where those
/// are few, since two running threads may have the same remainder.
pub(super) fn shard_count() -> usize {
    (2 * sync::processors()).next_power_of_two().min(16)
}

/// The number of a thread, and of its last request.
struct Thread {
    index: usize,
    requests: Cell<u64>,
}

impl Thread {
    fn next_request(&self) -> u64 {
        let request = self.requests.get().wrapping_add(1);
        self.requests.set(request);
        (self.index as u64) << 40 | request & ((1 << 40) - 1)
    }
}

sync::thread_local! {
    static THREAD: Thread = Thread { index: sync::number_of_thread(), requests: Cell::new(0) };
}

/// Returns the number of this thread, which no other one has; `None` while it ends.
pub(super) fn thread_number() -> Option<usize> {
    THREAD.try_with(|thread| thread.index).ok()
}

/// Returns the number of this thread, or that of another while it ends.
pub(super) fn thread_index() -> usize {
    thread_number().unwrap_or_default()
}

/// Returns a number that is unique among the requests of all threads.
pub(super) fn next_request() -> u64 {
    THREAD.try_with(Thread::next_request).unwrap_or_default()
}
