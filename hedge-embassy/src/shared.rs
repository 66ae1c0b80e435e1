//! Locks with the blocking mutex of embassy.

use core::cell::RefCell;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use hedge_core::adapter::Lock;

/// A [`Lock`] with any of embassy's raw mutexes. Choose `R` as for embassy's
/// [`Mutex`](embassy_sync::blocking_mutex::Mutex).
///
/// ```
/// use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
/// use hedge_core::adapter::BudgetHandle;
/// use hedge_core::Budget;
/// use hedge_embassy::Shared;
///
/// // One budget for all tasks that poll the sensor hub.
/// static BUDGET: Shared<CriticalSectionRawMutex, Budget> = Shared::new(Budget::percent(10.0));
/// BUDGET.deposit();
/// ```
#[derive(Debug)]
pub struct Shared<R, D>(Mutex<R, RefCell<D>>);

impl<R: RawMutex, D> Shared<R, D> {
    /// Creates a lock around `data`. Can be used in a `static`.
    pub const fn new(data: D) -> Self {
        Self(Mutex::new(RefCell::new(data)))
    }
}

impl<R: RawMutex, D> Lock for Shared<R, D> {
    type Data = D;

    fn with<T>(&self, f: impl FnOnce(&mut D) -> T) -> T {
        self.0.lock(|data| f(&mut data.borrow_mut()))
    }
}
