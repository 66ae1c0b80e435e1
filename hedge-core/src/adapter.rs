//! What the authors of runtime adapters, simulations and custom recorders need, and other users do not.
//!
//! A runtime adapter provides a [`Timer`](crate::Timer) and names the usual choices for the parts of a
//! [`Hedger`](crate::Hedger): see [Writing an adapter](crate::_guide::writing_an_adapter).

pub use crate::config::Settings;
pub use crate::hedger::{Ask, Charge, Ledger, Lock, Policy, Standing, State, Terms};
pub use crate::race::{
    Capacity, Earliest, Finish, Judge, Max, Nil, Pacer, Race, Refused, Settled, Slot, Slots, race,
    race_in,
};
pub use crate::record::Alone;
pub use crate::request::{Pace, Request};
#[cfg(feature = "std")]
pub use crate::runtime::sharded::{Sharded, SharedBudget};
