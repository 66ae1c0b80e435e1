//! How threads keep apart: a shard for each, and numbers of their own.

use core::cell::Cell;
use std::sync::PoisonError;

use crate::runtime::sync::{self, Mutex, MutexGuard};

/// Alone on its cache lines (two, which processors fetch together).
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// Poisoning is ignored: what is guarded holds no invariant that a panic could break half-way.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shard of the thread with this index.
pub(super) fn own_of<T>(shards: &[T], thread: usize) -> Option<&T> {
    // A remainder, but without a division: their number is a power of two.
    shards.get(thread & shards.len().wrapping_sub(1))
}

/// A power of two. Twice the processors where they are few, for two threads that run may have the same
/// remainder.
pub(super) fn shard_count() -> usize {
    (2 * sync::processors()).next_power_of_two().min(16)
}

/// A number for every thread, and for every request that it makes.
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

pub(super) fn thread_index() -> usize {
    THREAD.try_with(|thread| thread.index).unwrap_or_default()
}

/// A number that no other request has, whichever thread makes it.
pub(super) fn next_request() -> u64 {
    THREAD.try_with(Thread::next_request).unwrap_or_default()
}
