//! Exclusive access to what requests share.

use core::cell::RefCell;

/// Short, non-reentrant, exclusive access to a value.
///
/// The lock is held for a few dozen instructions and never across a `poll`. A spin lock, a critical
/// section and a blocking mutex are all suitable.
///
/// ```
/// use core::cell::RefCell;
/// use hedge_core::adapter::Lock;
///
/// let count = RefCell::new(1);
/// count.with(|count| *count += 1);
/// assert_eq!(count.with(|count| *count), 2);
/// ```
pub trait Lock {
    /// The type of the guarded value.
    type Data;

    /// Calls `f` with exclusive access. `f` must not use the same lock.
    fn with<R>(&self, f: impl FnOnce(&mut Self::Data) -> R) -> R;
}

/// A lock for one thread or one single-threaded executor. It costs nothing and is not `Sync`.
impl<D> Lock for RefCell<D> {
    type Data = D;

    fn with<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self.borrow_mut())
    }
}

/// A lock for threads. Ignores poisoning: the data has no invariant that a panic could break.
#[cfg(feature = "std")]
impl<D> Lock for std::sync::Mutex<D> {
    type Data = D;

    fn with<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl<L: Lock> Lock for &L {
    type Data = L::Data;

    fn with<R>(&self, f: impl FnOnce(&mut L::Data) -> R) -> R {
        (**self).with(f)
    }
}

#[cfg(feature = "std")]
impl<L: Lock> Lock for std::sync::Arc<L> {
    type Data = L::Data;

    fn with<R>(&self, f: impl FnOnce(&mut L::Data) -> R) -> R {
        (**self).with(f)
    }
}
