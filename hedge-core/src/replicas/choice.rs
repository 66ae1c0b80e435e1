//! What a replica is chosen for, which one was chosen, and how its attempt ended.

use core::time::Duration;

use crate::replica_id::ReplicaId;
use crate::time::Instant;

use super::octaves::{self, Octaves};

/// What a replica is chosen for: a primary or a hedge, and among which replicas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    pub(super) among: u64,
    pub(super) used: u64,
    pub(super) hedge: bool,
    /// The time limit of the request in nanoseconds; 0 if nothing is hedged, the largest number if there is no limit.
    pub(super) limit: u64,
}

impl Choice {
    /// The choice of a replica for the primary of a request.
    pub const PRIMARY: Self = Self {
        among: u64::MAX,
        used: 0,
        hedge: false,
        limit: u64::MAX,
    };

    /// Creates the choice for a hedge, or a retry, of a request whose earlier attempts went to the replicas in the mask
    /// `used`.
    pub const fn hedge(used: u64) -> Self {
        Self {
            used,
            hedge: true,
            ..Self::PRIMARY
        }
    }

    /// Creates the choice for the primary of a request that is hedged and has `limit` nanoseconds. 0 means that it is
    /// not hedged.
    pub(crate) const fn primary(limit: u64) -> Self {
        Self {
            limit,
            ..Self::PRIMARY
        }
    }

    /// Says that the request will not be hedged. Nothing would help it if it probed a suspect, so that it does only if
    /// no other request has done so for a long time.
    #[must_use]
    pub const fn unhedged(self) -> Self {
        Self { limit: 0, ..self }
    }

    /// Allows only replicas whose bit in `mask` is set: bit i stands for index i.
    #[must_use]
    pub const fn among(self, mask: u64) -> Self {
        Self {
            among: self.among & mask,
            ..self
        }
    }

    /// Returns the mask of the replicas that are allowed.
    pub const fn allowed(&self) -> u64 {
        self.among
    }

    /// Returns the mask of the replicas that earlier attempts of the request went to.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Returns whether the choice is for a hedge or a retry.
    pub const fn is_hedge(&self) -> bool {
        self.hedge
    }
}

/// An attempt that was given to a replica, to be reported once when it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "the replica counts an attempt in flight until its end is reported"]
pub struct Chosen {
    pub(super) id: ReplicaId,
    pub(super) is_probe: bool,
    /// How long a probe may take before it is hedged.
    pub(super) patience: Octaves,
    pub(super) started: Instant,
}

impl Chosen {
    /// Returns the replica.
    pub const fn id(&self) -> ReplicaId {
        self.id
    }

    /// Returns whether the attempt is a probe of a suspect replica. Such an attempt should be hedged early, and its
    /// latency says nothing about the other replicas.
    pub const fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Returns the time after which a probe should be hedged at the latest: the 75th percentile of the latency over all
    /// replicas, and down to a quarter of it if the request's time limit leaves less than twice the typical latency for
    /// the hedge. `None` if the attempt is no probe, or if none has been answered yet.
    pub const fn patience(&self) -> Option<Duration> {
        if self.is_probe && self.patience > 0 {
            Some(octaves::duration(self.patience))
        } else {
            None
        }
    }

    /// Returns when the attempt started.
    pub const fn started(&self) -> Instant {
        self.started
    }
}

/// How an attempt ended, for the statistics of its replica.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AttemptEnd {
    /// The attempt was answered. An error that is the request's own fault, such as HTTP 404, is an answer.
    Answered,
    /// The attempt failed, or exceeded the time limit of an attempt.
    Failed,
    /// The attempt was dropped because its request ran out of time. It counts as failed if it had run for at least
    /// twice the typical latency, or if that is unknown. Otherwise it counts as cancelled, since an attempt that starts
    /// just before the timeout says nothing about its replica.
    TimedOut,
    /// The attempt was dropped before it ended: another attempt won, or nobody waits any more.
    Cancelled,
}
