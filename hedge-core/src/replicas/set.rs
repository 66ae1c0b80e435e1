//! A set of replicas in plain memory.

use core::num::NonZero;

use crate::error::ConfigError;
use crate::random::SplitMix;
use crate::time::Instant;

use super::choice::{AttemptEnd, Choice, Chosen};
use super::hold::{Holds, hold};
use super::options::ReplicaOptions;
use super::record::{Load, Record};
use super::stats::{ReplicaState, ReplicaStats, ReplicasStats};
use super::table::{Shared, Table, places};
use super::{choose, report};
use crate::replica_id::{NoReplica, NoRoom, ReplicaId, bit};

/// Up to `N` replicas of a service, `N` at most 64, and what is known about each.
///
/// It takes 16 bytes per replica and 32 for the set, and needs no allocator and only integer arithmetic. Put it behind
/// a [`Lock`](crate::adapter::Lock) to share it; servers use [`SharedReplicas`](super::SharedReplicas). Keep one set
/// per process and service, with an entry per node, not per connection.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::Instant;
/// use hedge_core::replicas::{AttemptEnd, Choice, Replicas};
///
/// let mut replicas = Replicas::<3>::all();
/// let now = Instant::ZERO;
/// let primary = replicas.choose(Choice::PRIMARY, now)?;
/// // The hedge goes elsewhere.
/// let hedge = replicas.choose(Choice::hedge(primary.id().mask()), now)?;
/// assert_ne!(primary.id(), hedge.id());
///
/// let later = now + Duration::from_millis(5);
/// replicas.report(&hedge, AttemptEnd::Answered, later);
/// replicas.report(&primary, AttemptEnd::Cancelled, later);
/// assert_eq!(replicas.stats(later).in_flight(), 0);
/// # Ok::<(), hedge_core::replicas::NoReplica>(())
/// ```
#[derive(Clone, Debug)]
pub struct Replicas<const N: usize> {
    active: u64,
    random: SplitMix,
    shared: Shared,
    holds: Holds,
    places: [Place; N],
}

#[derive(Clone, Copy, Debug)]
struct Place {
    load: Load,
    record: Record,
}

/// Returns the mask of the first `count` places.
pub(super) const fn first(count: usize) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

impl<const N: usize> Replicas<N> {
    const FITS_A_MASK: () = assert!(N <= 64, "a set has at most 64 replicas");

    /// Creates a set of `N` replicas with the indices 0 to `N` − 1.
    pub const fn all() -> Self {
        Self {
            active: first(N),
            ..Self::empty()
        }
    }

    /// Creates a set without replicas that has room for `N`.
    pub const fn empty() -> Self {
        let () = Self::FITS_A_MASK;
        Self {
            active: 0,
            random: SplitMix(0),
            shared: Shared {
                typical: 0,
                p75: 0,
                since_probe: choose::PROBE_SPACING,
            },
            holds: Holds::NONE,
            places: [Place {
                load: Load::NEW,
                record: Record::NEW,
            }; N],
        }
    }

    /// Sets the seed of the generator that breaks ties. Give each device a different seed, so that they do not all make
    /// the same choices.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.random = SplitMix(seed);
        self
    }

    /// Adds a replica at the lowest free index. Nothing is known about it: it is tried at once, with one attempt at
    /// a time.
    ///
    /// # Errors
    ///
    /// Returns an error if all places are taken.
    pub fn add(&mut self) -> Result<ReplicaId, NoRoom> {
        let free = places(first(N)).find(|index| !self.is_present(*index));
        let index = free.ok_or(NoRoom)?;
        self.update_load(index, |load| Some(load.next_generation()));
        self.active |= bit(index);
        Ok(self.known_id(index))
    }

    /// Returns the replica at `index`, if there is one.
    pub fn id(&self, index: usize) -> Option<ReplicaId> {
        self.is_present(index).then(|| self.known_id(index))
    }

    /// Removes a replica. Attempts that it still works on are no longer counted, and their reports are ignored.
    /// Returns whether it was there.
    pub fn remove(&mut self, id: ReplicaId) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        self.active &= !bit(index);
        if let Some(place) = self.places.get_mut(index) {
            place.load = place.load.next_generation();
            place.record = Record::NEW;
        }
        true
    }

    /// Sends a replica no further attempts until [`resume`](Self::resume). Attempts in flight are still counted.
    /// Returns whether the replica is there.
    pub fn drain(&mut self, id: ReplicaId) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        self.active &= !bit(index);
        self.update_record(index, |record| Some(record.drained(true)))
    }

    /// Ends a [`drain`](Self::drain). Returns whether the replica is there.
    pub fn resume(&mut self, id: ReplicaId) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        self.active |= bit(index);
        self.update_record(index, |record| Some(record.drained(false)))
    }

    /// Sends a replica no attempts before `until`, for example because it asked for that: up to 35 minutes, in steps of
    /// 34 ms. If every allowed replica is on hold, primaries are sent nevertheless. Returns whether the replica is
    /// there.
    pub fn hold_until(&mut self, id: ReplicaId, until: Instant, now: Instant) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        hold(self, index, until, now)
    }

    /// Sets the share of requests that a replica gets relative to others; 1 for a new replica. Stored to within 3 %.
    /// Returns whether the replica is there.
    pub fn set_weight(&mut self, id: ReplicaId, weight: NonZero<u16>) -> bool {
        let found = self.find(id);
        found.is_some_and(|index| {
            self.update_record(index, |record| Some(record.with_weight(weight.get())))
        })
    }

    /// Makes a replica less preferred (or more, if negative), for example because traffic to its zone costs money: with
    /// a bias of 16 it counts as twice as busy as it is, with 32 as four times. Returns whether the replica is there.
    pub fn set_bias(&mut self, id: ReplicaId, bias: i8) -> bool {
        let found = self.find(id);
        found.is_some_and(|index| self.update_record(index, |record| Some(record.with_bias(bias))))
    }

    /// Sets the options of a replica, and its latency if they name one. Returns whether the replica is there.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_options(
        &mut self,
        id: ReplicaId,
        options: &ReplicaOptions,
    ) -> Result<bool, ConfigError> {
        let apply = options.apply()?;
        let found = self.find(id);
        Ok(found.is_some_and(|index| self.update_record(index, |record| Some(apply(record)))))
    }

    /// Chooses a replica for an attempt that starts now, and counts it as in flight there.
    ///
    /// # Errors
    ///
    /// Returns an error if no replica is allowed. Replicas that are slow or failing are chosen if there are no others.
    pub fn choose(&mut self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        choose::choose::<N>(self, choice, now)
    }

    /// Reports the end of an attempt, once. Returns `false`, and ignores the report, if the replica has been removed
    /// since.
    pub fn report(&mut self, chosen: &Chosen, end: AttemptEnd, now: Instant) -> bool {
        report::report(self, chosen, end, now)
    }

    /// Returns statistics of each replica, displayed as a table.
    pub fn stats(&self, now: Instant) -> ReplicasStats<N> {
        ReplicasStats::collect(|index| {
            let state = if self.active & bit(index) != 0 {
                ReplicaState::Active
            } else if self.is_present(index) {
                ReplicaState::Draining
            } else {
                return None;
            };
            let place = self.places.get(index)?;
            Some(ReplicaStats::new(
                self.known_id(index),
                state,
                place.load,
                place.record,
                self.holds.tick,
                now,
            ))
        })
    }

    fn is_present(&self, index: usize) -> bool {
        self.active & bit(index) != 0 || self.record(index).is_drained()
    }

    fn find(&self, id: ReplicaId) -> Option<usize> {
        let index = id.index();
        (self.is_present(index) && self.known_id(index) == id).then_some(index)
    }

    fn known_id(&self, index: usize) -> ReplicaId {
        ReplicaId {
            index: index as u8,
            generation: self.load(index).generation,
        }
    }
}

impl<const N: usize> Default for Replicas<N> {
    fn default() -> Self {
        Self::all()
    }
}

impl<const N: usize> Table for Replicas<N> {
    fn active(&self) -> u64 {
        self.active
    }

    fn load(&self, index: usize) -> Load {
        self.places.get(index).map_or(Load::NEW, |place| place.load)
    }

    fn record(&self, index: usize) -> Record {
        self.places
            .get(index)
            .map_or(Record::NEW, |place| place.record)
    }

    fn update_load(&mut self, index: usize, f: impl Fn(Load) -> Option<Load>) -> bool {
        let Some(place) = self.places.get_mut(index) else {
            return false;
        };
        f(place.load).map(|load| place.load = load).is_some()
    }

    fn update_record(&mut self, index: usize, f: impl Fn(Record) -> Option<Record>) -> bool {
        let Some(place) = self.places.get_mut(index) else {
            return false;
        };
        f(place.record)
            .map(|record| place.record = record)
            .is_some()
    }

    fn shared(&self) -> Shared {
        self.shared
    }

    fn set_shared(&mut self, shared: Shared) {
        self.shared = shared;
    }

    fn holds(&self) -> Holds {
        self.holds
    }

    fn set_holds(&mut self, _: Holds, new: Holds) -> bool {
        self.holds = new;
        true
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }
}
