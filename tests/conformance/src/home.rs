//! How the requests of a hedger share its state.

use core::cell::RefCell;

use hedge_core::adapter::{BudgetHandle, HedgerState, Lock, SharedState};
use hedge_core::metrics::Recorder;
use hedge_core::{Budget, Strategy};

/// Makes what the requests of a hedger share.
pub trait Home {
    /// Guards what a case records.
    type Lock<D>: Lock<Data = D>;
    /// Keeps a hedger's strategy and metrics.
    type SharedState<S: Strategy, M: Recorder>: SharedState<Strategy = S, Metrics = M>;
    /// Keeps a hedger's budget.
    type Budget: BudgetHandle;

    /// Guards `data`.
    fn lock<D>(data: D) -> Self::Lock<D>;

    /// Keeps `state`.
    fn ledger<S: Strategy, M: Recorder>(state: HedgerState<S, M>) -> Self::SharedState<S, M>;

    /// Keeps `budget`.
    fn budget(budget: Budget) -> Self::Budget;
}

/// One thread: as in [`LocalHedger`](hedge_core::LocalHedger).
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl Home for Local {
    type Lock<D> = RefCell<D>;
    type SharedState<S: Strategy, M: Recorder> = RefCell<HedgerState<S, M>>;
    type Budget = RefCell<Budget>;

    fn lock<D>(data: D) -> Self::Lock<D> {
        RefCell::new(data)
    }

    fn ledger<S: Strategy, M: Recorder>(state: HedgerState<S, M>) -> Self::SharedState<S, M> {
        RefCell::new(state)
    }

    fn budget(budget: Budget) -> Self::Budget {
        RefCell::new(budget)
    }
}

/// Many threads: [`Sharded`](hedge_core::adapter::Sharded) and [`SharedBudget`](hedge_core::adapter::SharedBudget), as on
/// servers.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub struct Threads;

#[cfg(feature = "std")]
impl Home for Threads {
    type Lock<D> = std::sync::Mutex<D>;
    type SharedState<S: Strategy, M: Recorder> = hedge_core::adapter::Sharded<S, M>;
    type Budget = hedge_core::adapter::SharedBudget;

    fn lock<D>(data: D) -> Self::Lock<D> {
        std::sync::Mutex::new(data)
    }

    fn ledger<S: Strategy, M: Recorder>(state: HedgerState<S, M>) -> Self::SharedState<S, M> {
        hedge_core::adapter::Sharded::new(state)
    }

    fn budget(budget: Budget) -> Self::Budget {
        hedge_core::adapter::SharedBudget::new(budget)
    }
}
