//! Statistics of the replicas of a set.

use core::fmt;
use core::time::Duration;

use crate::time::Instant;
use crate::time::millis;

use super::octaves::{self, OCTAVE, Octaves};
use super::record::{Hold, Load, Record};
use crate::replica_id::ReplicaId;

/// Whether a replica gets attempts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReplicaState {
    /// The replica is given attempts.
    Active,
    /// The replica is given no new attempts, but may still work on earlier ones.
    Draining,
}

/// Statistics of one replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReplicaStats {
    /// The replica.
    pub id: ReplicaId,
    /// Whether the set sends attempts to the replica.
    pub state: ReplicaState,
    /// The number of attempts in flight.
    pub in_flight: u16,
    /// The geometric moving average of the latency, in which failures count as slow answers; `None` before the replica
    /// has answered, or lost after it had time to answer.
    pub latency: Option<Duration>,
    /// The time since the first attempt that started after the replica's last answer; zero if none is in flight.
    pub silence: Duration,
    /// Whether the replica is more than twice as slow as the fastest one, and gets only probes.
    pub is_suspect: bool,
    /// Whether the replica gets no attempts for now, because it asked callers to wait.
    pub on_hold: bool,
    /// The weight of the replica relative to others, to within 3 %.
    pub weight: u16,
    /// How much less the replica is preferred, in 1/16 octaves: with 16 it counts as twice as busy as it is.
    pub bias: i8,
}

impl ReplicaStats {
    /// Returns the statistics at `now` of a replica in a set whose holds were last looked at in `tick`.
    pub(super) fn new(
        id: ReplicaId,
        state: ReplicaState,
        load: Load,
        record: Record,
        tick: u32,
        now: Instant,
    ) -> Self {
        let silence = load.silence(now);
        Self {
            id,
            state,
            in_flight: load.in_flight,
            latency: (record.samples() > 0).then(|| octaves::duration(record.latency)),
            silence: if silence == 0 {
                Duration::ZERO
            } else {
                octaves::duration(silence)
            },
            is_suspect: record.is_suspect(),
            on_hold: record.hold != 0 && !Hold::has_ended(record.hold, tick, Hold::tick(now)),
            weight: rounded(record.weight()),
            bias: record.bias_sixteenths(),
        }
    }
}

fn rounded(octaves: Octaves) -> u16 {
    let weight = (octaves::exp2(octaves + 8 * OCTAVE) + 128) >> 8;
    u16::try_from(weight).unwrap_or(u16::MAX)
}

/// Statistics of each replica of a set, printed as a table by `Display`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplicasStats<const N: usize> {
    replicas: [Option<ReplicaStats>; N],
}

impl<const N: usize> ReplicasStats<N> {
    pub(super) fn collect(get: impl FnMut(usize) -> Option<ReplicaStats>) -> Self {
        Self {
            replicas: core::array::from_fn(get),
        }
    }

    /// Returns the replicas of the set, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &ReplicaStats> {
        self.replicas.iter().flatten()
    }

    /// Returns the replica at `index`.
    pub fn get(&self, index: usize) -> Option<&ReplicaStats> {
        self.replicas.get(index)?.as_ref()
    }

    /// Returns how many attempts are in flight at all replicas together.
    pub fn in_flight(&self) -> u32 {
        self.iter()
            .map(|replica| u32::from(replica.in_flight))
            .sum()
    }
}

impl<const N: usize> fmt::Display for ReplicasStats<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7} {:>9} {:>12} {:>12} {:>6} {:>4}  state",
            "replica", "in flight", "latency ms", "silence ms", "weight", "bias"
        )?;
        for replica in self.iter() {
            // Write the columns one by one: without an allocator, padding needs a buffer that is not there.
            write!(f, "\n{:>7} ", replica.id.index())?;
            write!(f, "{:>9} ", replica.in_flight)?;
            match replica.latency {
                Some(latency) => write!(f, "{:>12.3} ", millis(latency))?,
                None => write!(f, "{:>12} ", "-")?,
            }
            write!(f, "{:>12.3} ", millis(replica.silence))?;
            write!(f, "{:>6} {:>4}  ", replica.weight, replica.bias)?;
            f.write_str(match (replica.state, replica.on_hold, replica.is_suspect) {
                (ReplicaState::Draining, ..) => "draining",
                (_, true, _) => "on hold",
                (_, _, true) => "suspect",
                _ if replica.latency.is_none() => "unknown",
                _ => "active",
            })?;
        }
        Ok(())
    }
}
