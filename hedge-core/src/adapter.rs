//! What the authors of runtime adapters, simulations and custom recorders need, and other users do not.
//!
//! A runtime adapter provides a [`Timer`](crate::Timer) and names the usual choices for the parts of a
//! [`Hedger`](crate::Hedger): see [Writing an adapter](crate::_guide::writing_an_adapter).

pub use crate::config::Settings;
pub use crate::hedger::{
    BudgetHandle, HedgeQuery, HedgerFlags, HedgerState, Lock, Payment, Policy, Refusal,
    RequestPlan, SharedState, Traffic,
};
pub use crate::race::{
    Capacity, Controller, Earliest, Finish, Max, Nil, Race, Refused, ResultController, Slot, Slots,
    race, race_in,
};
pub use crate::record::RequestEnd;
pub use crate::request::{AlwaysReady, OnReplicas, Placement, Ready, Request, RequestController};
#[cfg(feature = "std")]
pub use crate::runtime::sharded::{Sharded, SharedBudget};
