//! Exclusive access to what requests share.

use core::cell::RefCell;

/// Short, non-reentrant, exclusive access to a value.
///
/// It is held for a few dozen instructions and never across a `poll`, so a spin lock, a critical
/// section or a blocking mutex all do.
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
    /// What is guarded.
    type Data;

    /// Runs `f` with exclusive access. `f` must not call back into the same lock.
    fn with<R>(&self, f: impl FnOnce(&mut Self::Data) -> R) -> R;
}

/// For one thread (or one single-threaded executor): no cost, not `Sync`.
impl<D> Lock for RefCell<D> {
    type Data = D;

    fn with<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self.borrow_mut())
    }
}

/// For threads. Ignores poisoning: the data holds no invariant a panic could break half-way.
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
