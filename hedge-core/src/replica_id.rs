//! The id of a replica, and the error if none could be chosen.

use core::fmt;

/// The id of a replica in one set: its index, and a generation that distinguishes it from earlier replicas with this
/// index.
///
/// Compare whole ids, and use the [`index`](Self::index) to find the replica's connection in an array.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReplicaId {
    pub(crate) index: u8,
    pub(crate) generation: u16,
}

impl ReplicaId {
    pub(crate) const FIRST: Self = Self {
        index: 0,
        generation: 0,
    };

    /// Returns the index of the replica in its set, from 0. After the replica is removed, another one may get it.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// Returns a number that distinguishes the replica from the last 32 000 replicas at this index.
    pub const fn generation(self) -> u16 {
        self.generation
    }

    /// Returns the mask that allows this replica alone.
    pub const fn mask(self) -> u64 {
        bit(self.index as usize)
    }
}

/// Prints the index, followed by the generation unless that is 0.
impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.index)?;
        if self.generation > 0 {
            write!(f, "#{}", self.generation)?;
        }
        Ok(())
    }
}

/// Returns the bit of a mask for `index`, which must be below 64.
pub(crate) const fn bit(index: usize) -> u64 {
    1 << (index as u32 & 63)
}

/// No replica could be chosen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NoReplica {
    /// The set has no active replica: it is empty, or every replica is being drained.
    Empty,
    /// The mask allows none of the active replicas.
    NotAllowed,
    /// Every replica that the hedge may use is on hold. Primaries are sent nevertheless.
    OnHold,
    /// Every allowed replica has 65 535 attempts in flight.
    Full,
}

impl fmt::Display for NoReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no replica is active",
            Self::NotAllowed => "the mask allows no active replica",
            Self::OnHold => "every allowed replica is on hold",
            Self::Full => "every allowed replica has 65535 attempts in flight",
        })
    }
}

impl core::error::Error for NoReplica {}

/// A set has no room for another replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the set has no room for another replica")
    }
}

impl core::error::Error for NoRoom {}
