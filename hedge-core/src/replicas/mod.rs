//! Sets of replicas, which choose the best replica for each attempt by latency and load.
//!
//! Hedging within a budget cannot make up for one bad replica of three: a third of the requests would go there first,
//! and only one in ten may be hedged. A set learns which replica is slow, silent or failing, and sends almost nothing
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
//!   16 times slower than usual. So a replica that fails fast does not attract requests, and failures of all replicas
//!   change nothing. An attempt that was dropped counts only if it had already taken long.
//! * A replica that has attempts in flight and does not answer counts as slow as its silence is long, so it is avoided
//!   before the first timeout.
//! * Among the replicas within a factor of two of the fastest, the least busy one is chosen. Slower replicas are
//!   suspect: they are chosen only if the others are much busier, and probed with at most one primary in 64. Requests
//!   that are not hedged probe only if no other request has for 255 primaries.
//! * An unknown replica counts as fast as the fastest one, and gets one attempt at a time, until it answers or loses
//!   after it had time to answer.
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
pub use options::{ReplicaList, ReplicaOptions};
pub use set::Replicas;
#[cfg(feature = "std")]
pub use shared::SharedReplicas;
pub use stats::{ReplicaState, ReplicaStats, ReplicasStats};
#[cfg(feature = "std")]
pub(crate) use tasks::Tasks;
