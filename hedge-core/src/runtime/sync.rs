//! What threads share: atomics and locks of std, or those of loom, a model checker that tries how they may interleave.
//!
//! `hedge_loom` is set by `tests/loom` alone, which builds this crate once more.

#[cfg(not(hedge_loom))]
pub(crate) use {
    core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence},
    std::sync::{Mutex, MutexGuard},
    std::thread_local,
};

#[cfg(hedge_loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence},
    sync::{Mutex, MutexGuard},
    thread_local,
};

/// How many threads can run at once. Asked of the system once: it reads files to know.
#[cfg(not(hedge_loom))]
pub(crate) fn processors() -> usize {
    static PROCESSORS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let count = || std::thread::available_parallelism().map_or(1, usize::from);
    *PROCESSORS.get_or_init(count)
}

/// A number that no other thread has.
#[cfg(not(hedge_loom))]
pub(crate) fn number_of_thread() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};

    static THREADS: AtomicUsize = AtomicUsize::new(0);
    THREADS.fetch_add(1, Ordering::Relaxed)
}

/// A number that differs from thread to thread and from process to process.
#[cfg(not(hedge_loom))]
pub(crate) fn seed() -> u64 {
    use core::hash::{BuildHasher, Hasher};

    std::hash::RandomState::new().build_hasher().finish()
}

/// The same in every run, as a model has to be.
#[cfg(hedge_loom)]
pub(crate) fn seed() -> u64 {
    0
}

#[cfg(hedge_loom)]
pub(crate) fn processors() -> usize {
    1
}

/// The same in every run, as a model has to be.
#[cfg(hedge_loom)]
pub(crate) fn number_of_thread() -> usize {
    use loom::sync::atomic::{AtomicUsize, Ordering};

    loom::lazy_static! {
        static ref THREADS: AtomicUsize = AtomicUsize::new(0);
    }
    THREADS.fetch_add(1, Ordering::Relaxed)
}
