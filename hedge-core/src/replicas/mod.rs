//! Which replica to ask: the cheapest by latency and load, for primaries and hedges alike.
//!
//! Hedging within a budget cannot make up for one bad replica of three: a third of the requests go there first, and
//! only one in ten may be hedged. A set that learns which replica is slow, silent or failing sends next to nothing
//! there.
//!
//! | type | for |
//! |---|---|
//! | [`Replicas`] | firmware and single threads, behind a [`Lock`](crate::adapter::Lock) |
//! | `SharedReplicas` (feature `std`) | threads, which never wait for one another |
//! | [`ReplicaSet`] | either of them |
//! | [`Choice`] | which replicas an attempt may use |
//! | [`Chosen`], [`AttemptEnd`], [`Lease`] | what is reported about an attempt, and a guard that does |
//!
//! # How a replica is chosen
//!
//! * Each replica has a moving average of the logarithm of its latency. A failure counts as an answer that is at least
//!   16 times slower than usual, so that a replica that fails fast attracts nothing, while failures that all replicas
//!   share change nothing. An attempt that was given up counts only if it had lasted long already.
//! * A replica that is working on something and gives no sign of life is as slow as its silence is long. It is avoided
//!   before the first timeout.
//! * Within a factor of two of the fastest, the least busy is chosen. Slower ones are suspect: they are chosen
//!   only when the others are much busier, and probed with one primary in 64 at most.
//! * A replica about which nothing is known counts as good as the best, and is given one attempt at a time.
//! * A hedge goes to a replica that its request has not used, unless all of these are four times slower.

mod choice;
mod choose;
mod hold;
mod lease;
mod octaves;
mod options;
mod record;
mod report;
mod set;
#[cfg(feature = "std")]
mod shared;
mod stats;
mod table;
#[cfg(feature = "std")]
mod tasks;
#[cfg(test)]
mod tests;

pub use crate::replica_id::{NoReplica, NoRoom, ReplicaId};
pub use choice::{AttemptEnd, Choice, Chosen};
pub use lease::{Lease, ReplicaSet};
pub use options::ReplicaOptions;
pub use set::Replicas;
#[cfg(feature = "std")]
pub use shared::SharedReplicas;
pub use stats::{ReplicaState, ReplicaStats, ReplicasStats};
#[cfg(feature = "std")]
pub(crate) use tasks::Tasks;
