//! Locks with the blocking mutex of embassy.

use core::cell::RefCell;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use hedge_core::adapter::Lock;
use hedge_core::replicas;

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

/// A set of up to `N` links or nodes for requests that choose between them. It can be a `static`.
///
/// ```
/// use hedge_embassy::{Budget, Hedger, Replicas, WindowedPercentile, hedger, replicas};
///
/// static HEDGER: Hedger<WindowedPercentile<64>> =
///     hedger(WindowedPercentile::with_window(95.0), Budget::percent(10.0));
/// static LINKS: Replicas<2> = Replicas::new(replicas::Replicas::all());
///
/// async fn poll(links: &[Link; 2]) -> Option<u16> {
///     let hedged = HEDGER.request_on(&LINKS, |attempt| links[attempt.replica().index()].poll());
///     Some(hedged.await.ok()?.value)
/// }
/// # use embassy_executor as _;
/// # struct Link;
/// # struct Damaged;
/// # impl Link { async fn poll(&self) -> Result<u16, Damaged> { Ok(21) } }
/// # futures_lite::future::block_on(async { assert_eq!(poll(&[Link, Link]).await, Some(21)) });
/// ```
pub type Replicas<const N: usize, R = CriticalSectionRawMutex> = Shared<R, replicas::Replicas<N>>;
