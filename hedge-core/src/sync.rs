//! Synchronisation primitives: those of `std`, or those of loom, a model checker that explores the
//! interleavings of threads.
//!
//! Only `tests/loom` sets `hedge_loom`, and compiles this crate separately.

#[cfg(not(hedge_loom))]
pub(crate) use {
    core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence},
    std::sync::{Mutex, MutexGuard},
    std::thread_local,
};

#[cfg(hedge_loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence},
    sync::{Mutex, MutexGuard},
    thread_local,
};

/// Returns how many threads can run at once. Cached, since the operating system reads files to
/// determine it.
#[cfg(not(hedge_loom))]
pub(crate) fn processors() -> usize {
    static PROCESSORS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let count = || std::thread::available_parallelism().map_or(1, usize::from);
    *PROCESSORS.get_or_init(count)
}

/// Returns a number that is unique to the calling thread.
#[cfg(not(hedge_loom))]
pub(crate) fn number_of_thread() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};

    static THREADS: AtomicUsize = AtomicUsize::new(0);
    THREADS.fetch_add(1, Ordering::Relaxed)
}

/// Returns a number that differs between threads and between processes.
#[cfg(not(hedge_loom))]
pub(crate) fn seed() -> u64 {
    use core::hash::{BuildHasher, Hasher};

    std::hash::RandomState::new().build_hasher().finish()
}

/// Returns a constant seed, since a model must be the same in every run.
#[cfg(hedge_loom)]
pub(crate) fn seed() -> u64 {
    0
}

#[cfg(hedge_loom)]
pub(crate) fn processors() -> usize {
    1
}

/// Returns a number that is the same in every run, as the model checker requires.
#[cfg(hedge_loom)]
pub(crate) fn number_of_thread() -> usize {
    use loom::sync::atomic::{AtomicUsize, Ordering};

    loom::lazy_static! {
        static ref THREADS: AtomicUsize = AtomicUsize::new(0);
    }
    THREADS.fetch_add(1, Ordering::Relaxed)
}
