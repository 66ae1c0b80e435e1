//! What a replica is called, and why none could be chosen.

use core::fmt;

/// A replica of one set: the place it has there, and a generation that tells it from earlier holders of
/// that place.
///
/// Compare whole ids. The [`index`](Self::index) serves to find the replica's connection in an array.
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

    /// Returns a number that no earlier replica at this index had, unless there were more than 32 000.
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

/// The bit of a mask that stands for the place `index`. Places are below 64.
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
    /// A hedge found that every replica it may use asked to be left alone for now. Primaries are sent all the same.
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
