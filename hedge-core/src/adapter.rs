//! Items for the authors of runtime adapters, simulations and custom recorders.
//!
//! Other users do not need this module. A runtime adapter provides a [`Timer`](crate::Timer) and
//! chooses the type parameters of a [`Hedger`](crate::Hedger): see [Writing an
//! adapter](crate::_guide::writing_an_adapter).

pub use crate::config::Settings;
pub use crate::hedger::{
    Admitted, BudgetHandle, Claim, HedgeQuery, HedgerFlags, HedgerState, Payment, Policy, Refusal,
    RequestPlan, SharedState, Traffic,
};
pub use crate::lock::Lock;
pub use crate::race::{
    AttemptSpan, Capacity, Controller, Earliest, Finish, InSpan, Max, Nil, Race, Refused,
    ResultController, Slot, Slots, race, race_in,
};
pub use crate::record::{Group, RequestEnd};
pub use crate::request::{AlwaysReady, OnReplicas, Placement, Ready, Request, RequestController};
#[cfg(feature = "std")]
pub use crate::runtime::sharded::{Sharded, SharedBudget};
