//! A set of replicas for many threads.

use core::num::NonZero;
use core::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::vec::Vec;

use crate::error::ConfigError;
use crate::random::SplitMix;
use crate::sync::{self, AtomicU64, Mutex, MutexGuard};
use crate::time::Instant;

use super::choice::{AttemptEnd, Choice, Chosen};
use super::hold::{Holds, hold};
use super::lease::ReplicaSet;
use super::options::{self, ReplicaOptions};
use super::record::{Load, Record};
use super::set::first;
use super::stats::{ReplicaState, ReplicaStats, ReplicasStats};
use super::table::{Shared, Table, places};
use super::{choose, report};
use crate::replica_id::{NoReplica, NoRoom, ReplicaId, bit};

/// Up to `N` replicas of a service, shared by any number of threads. A clone is another handle to the same set.
///
/// Threads choose replicas and report the ends of attempts without waiting for each other: each replica has two
/// atomics. Only threads that add or remove replicas wait for each other.
///
/// ```
/// use std::time::Duration;
/// use hedge_core::Instant;
/// use hedge_core::replicas::{AttemptEnd, Choice, SharedReplicas};
///
/// let replicas = SharedReplicas::<8>::of(3);
/// let now = Instant::ZERO;
/// let chosen = replicas.choose(Choice::PRIMARY, now)?;
/// replicas.report(&chosen, AttemptEnd::Answered, now + Duration::from_millis(5));
/// println!("{}", replicas.stats(now));
/// # Ok::<(), hedge_core::replicas::NoReplica>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedReplicas<const N: usize = 64>(Arc<Inner<N>>);

#[derive(Debug)]
struct Inner<const N: usize> {
    active: AtomicU64,
    /// A packed [`Shared`].
    shared: AtomicU64,
    /// [`Holds`], packed.
    holds: AtomicU64,
    places: [Place; N],
    /// Locked while replicas are added, removed or changed.
    changes: Mutex<()>,
}

#[derive(Debug)]
struct Place {
    load: AtomicU64,
    record: AtomicU64,
}

impl<const N: usize> SharedReplicas<N> {
    const FITS_A_MASK: () = assert!(N <= 64, "a set has at most 64 replicas");

    /// Creates a set of `count` replicas, at most `N`, with the indices from 0.
    pub fn of(count: usize) -> Self {
        let () = Self::FITS_A_MASK;
        let shared = Shared {
            typical: 0,
            p75: 0,
            since_probe: choose::PROBE_SPACING,
        };
        Self(Arc::new(Inner {
            active: AtomicU64::new(first(count.min(N))),
            shared: AtomicU64::new(pack(shared)),
            holds: AtomicU64::new(0),
            places: core::array::from_fn(|_| Place {
                load: AtomicU64::new(Load::NEW.pack()),
                record: AtomicU64::new(Record::NEW.pack()),
            }),
            changes: Mutex::new(()),
        }))
    }

    /// Creates a set without replicas.
    pub fn empty() -> Self {
        Self::of(0)
    }

    /// Adds a replica at the lowest free index. Nothing is known about it: it is tried at once, with one attempt at
    /// a time.
    ///
    /// # Errors
    ///
    /// Returns an error if all places are taken.
    pub fn add(&self) -> Result<ReplicaId, NoRoom> {
        let _changes = self.changes();
        let free = places(first(N)).find(|index| !self.0.is_present(*index));
        let index = free.ok_or(NoRoom)?;
        (&mut &*self.0).update_load(index, |load| Some(load.next_generation()));
        self.0.active.fetch_or(bit(index), Ordering::Release);
        Ok(self.0.id(index))
    }

    /// Adds replicas with options at their indices, in this order.
    ///
    /// # Errors
    ///
    /// Returns an error if an option is invalid or an index is taken. Nothing is changed in this case.
    pub(crate) fn insert(
        &self,
        replicas: &[(usize, &ReplicaOptions)],
    ) -> Result<Vec<ReplicaId>, ConfigError> {
        let _changes = self.changes();
        for (index, options) in replicas {
            options.validate()?;
            if *index >= N || self.0.is_present(*index) {
                let expected = "an index that no replica added through a handle has";
                return Err(ConfigError::number("replicas", *index as f64, expected));
            }
        }
        let insert = |(index, options): &(usize, &ReplicaOptions)| {
            let apply = options.apply()?;
            let mut inner = &*self.0;
            inner.update_load(*index, |load| Some(load.next_generation()));
            // Before the replica is active, so that no attempt goes to it without its options.
            inner.update_record(*index, |_| Some(apply(Record::NEW)));
            inner.active.fetch_or(bit(*index), Ordering::Release);
            Ok(inner.id(*index))
        };
        replicas.iter().map(insert).collect()
    }

    /// Returns the replica at `index`, if there is one.
    pub fn id(&self, index: usize) -> Option<ReplicaId> {
        self.0.is_present(index).then(|| self.0.id(index))
    }

    /// Removes a replica. Attempts that it still works on are no longer counted, and their reports are ignored.
    /// Returns whether it was there.
    pub fn remove(&self, id: ReplicaId) -> bool {
        self.change(id, |mut inner, index| {
            inner.active.fetch_and(!bit(index), Ordering::Release);
            inner.update_load(index, |load| Some(load.next_generation()));
            inner.update_record(index, |_| Some(Record::NEW))
        })
    }

    /// Sends a replica no further attempts until [`resume`](Self::resume). Attempts in flight are still counted.
    /// Returns whether the replica is there.
    pub fn drain(&self, id: ReplicaId) -> bool {
        self.change(id, |mut inner, index| {
            inner.active.fetch_and(!bit(index), Ordering::Release);
            inner.update_record(index, |record| Some(record.drained(true)))
        })
    }

    /// Ends a [`drain`](Self::drain). Returns whether the replica is there.
    pub fn resume(&self, id: ReplicaId) -> bool {
        self.change(id, |mut inner, index| {
            inner.active.fetch_or(bit(index), Ordering::Release);
            inner.update_record(index, |record| Some(record.drained(false)))
        })
    }

    /// Sends a replica no attempts before `until`, for example because it asked for that: up to 35 minutes, in steps of
    /// 34 ms. If every allowed replica is on hold, primaries are sent nevertheless. Returns whether the replica is
    /// there.
    pub fn hold_until(&self, id: ReplicaId, until: Instant, now: Instant) -> bool {
        self.change(id, |mut inner, index| hold(&mut inner, index, until, now))
    }

    /// Sets the share of requests that a replica gets relative to others; 1 for a new replica. Stored to within 3 %.
    /// Returns whether the replica is there.
    pub fn set_weight(&self, id: ReplicaId, weight: NonZero<u16>) -> bool {
        self.change(id, |mut inner, index| {
            inner.update_record(index, |record| Some(record.with_weight(weight.get())))
        })
    }

    /// Makes a replica less preferred (or more, if negative), for example because traffic to its zone costs money: with
    /// a bias of 16 it counts as twice as busy as it is, with 32 as four times. Returns whether the replica is there.
    pub fn set_bias(&self, id: ReplicaId, bias: i8) -> bool {
        self.change(id, |mut inner, index| {
            inner.update_record(index, |record| Some(record.with_bias(bias)))
        })
    }

    /// Sets the options of a replica, and its latency if they name one. Returns whether the replica is there.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_options(
        &self,
        id: ReplicaId,
        options: &ReplicaOptions,
    ) -> Result<bool, ConfigError> {
        let apply = options.apply()?;
        Ok(self.change(id, |mut inner, index| {
            inner.update_record(index, |record| Some(apply(record)))
        }))
    }

    /// Sets the latency of a replica, which must be greater than 0.
    pub(crate) fn set_latency_ms(&self, id: ReplicaId, millis: f64) -> bool {
        let latency = options::octaves(millis);
        self.change(id, |mut inner, index| {
            inner.update_record(index, |record| Some(record.with_latency(latency)))
        })
    }

    /// Chooses a replica for an attempt that starts now, and counts it as in flight there.
    ///
    /// # Errors
    ///
    /// Returns an error if no replica is allowed. Replicas that are slow or failing are chosen if there are no others.
    pub fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        choose::choose::<N>(&mut &*self.0, choice, now)
    }

    /// Reports the end of an attempt, once. Returns `false`, and ignores the report, if the replica has been removed
    /// since.
    pub fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) -> bool {
        report::report(&mut &*self.0, chosen, end, now)
    }

    /// Returns statistics of each replica, displayed as a table.
    pub fn stats(&self, now: Instant) -> ReplicasStats<N> {
        let inner = &*self.0;
        ReplicasStats::collect(|index| {
            let state = if inner.active() & bit(index) != 0 {
                ReplicaState::Active
            } else if inner.is_present(index) {
                ReplicaState::Draining
            } else {
                return None;
            };
            let tick = inner.holds().tick;
            let (load, record) = (inner.load(index), inner.record(index));
            Some(ReplicaStats::new(
                inner.id(index),
                state,
                load,
                record,
                tick,
                now,
            ))
        })
    }

    /// Returns the replicas that may be given attempts, which are those that are not drained: bit i stands for index i.
    pub fn active(&self) -> u64 {
        self.0.active()
    }

    /// Returns whether the replica is there. It may be drained.
    pub fn contains(&self, id: ReplicaId) -> bool {
        let index = id.index();
        self.0.is_present(index) && self.0.id(index) == id
    }

    /// Returns whether the replica is there and may be given attempts.
    pub fn is_active(&self, id: ReplicaId) -> bool {
        self.active() & id.mask() != 0 && self.0.id(id.index()) == id
    }

    fn changes(&self) -> MutexGuard<'_, ()> {
        self.0
            .changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: ReplicaId, f: impl FnOnce(&Inner<N>, usize) -> bool) -> bool {
        let _changes = self.changes();
        self.contains(id) && f(&self.0, id.index())
    }
}

impl<const N: usize> Default for SharedReplicas<N> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<const N: usize> ReplicaSet for SharedReplicas<N> {
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        Self::choose(self, choice, now)
    }

    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
        Self::report(self, chosen, end, now);
    }
}

impl<const N: usize> ReplicaSet for &SharedReplicas<N> {
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        SharedReplicas::choose(self, choice, now)
    }

    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
        SharedReplicas::report(self, chosen, end, now);
    }
}

impl<const N: usize> Inner<N> {
    fn active(&self) -> u64 {
        self.active.load(Ordering::Acquire)
    }

    fn load(&self, index: usize) -> Load {
        let place = self.places.get(index);
        place.map_or(Load::NEW, |place| {
            Load::unpack(place.load.load(Ordering::Relaxed))
        })
    }

    fn record(&self, index: usize) -> Record {
        let place = self.places.get(index);
        place.map_or(Record::NEW, |place| {
            Record::unpack(place.record.load(Ordering::Relaxed))
        })
    }

    fn is_present(&self, index: usize) -> bool {
        self.active() & bit(index) != 0 || self.record(index).is_drained()
    }

    fn id(&self, index: usize) -> ReplicaId {
        ReplicaId {
            index: index as u8,
            generation: self.load(index).generation,
        }
    }
}

fn pack(shared: Shared) -> u64 {
    u64::from(shared.typical) | u64::from(shared.p75) << 16 | u64::from(shared.since_probe) << 32
}

/// Replaces the value in `word` by what `f` returns. Never waits: a thread tries again only if another succeeded.
fn update(word: Option<&AtomicU64>, f: impl Fn(u64) -> Option<u64>) -> bool {
    word.is_some_and(|word| {
        word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, f)
            .is_ok()
    })
}

impl<const N: usize> Table for &Inner<N> {
    fn active(&self) -> u64 {
        Inner::active(self)
    }

    fn load(&self, index: usize) -> Load {
        Inner::load(self, index)
    }

    fn record(&self, index: usize) -> Record {
        Inner::record(self, index)
    }

    fn update_load(&mut self, index: usize, f: impl Fn(Load) -> Option<Load>) -> bool {
        let word = self.places.get(index).map(|place| &place.load);
        update(word, |word| f(Load::unpack(word)).map(Load::pack))
    }

    fn update_record(&mut self, index: usize, f: impl Fn(Record) -> Option<Record>) -> bool {
        let word = self.places.get(index).map(|place| &place.record);
        update(word, |word| f(Record::unpack(word)).map(Record::pack))
    }

    fn shared(&self) -> Shared {
        let word = self.shared.load(Ordering::Relaxed);
        Shared {
            typical: word as u16,
            p75: (word >> 16) as u16,
            since_probe: (word >> 32) as u8,
        }
    }

    fn set_shared(&mut self, shared: Shared) {
        self.shared.store(pack(shared), Ordering::Relaxed);
    }

    fn holds(&self) -> Holds {
        let word = self.holds.load(Ordering::Acquire);
        Holds {
            tick: word as u32,
            begun: (word >> 32) as u32,
        }
    }

    fn set_holds(&mut self, seen: Holds, new: Holds) -> bool {
        let pack = |holds: Holds| u64::from(holds.tick) | u64::from(holds.begun) << 32;
        update(Some(&self.holds), |word| {
            (word == pack(seen)).then_some(pack(new))
        })
    }

    fn random(&mut self) -> u64 {
        RANDOM
            .try_with(|random| {
                let mut next = SplitMix(random.get());
                let drawn = next.next();
                random.set(next.0);
                drawn
            })
            .unwrap_or_default()
    }
}

sync::thread_local! {
    /// The generator of this thread: a shared one would make threads wait.
    static RANDOM: core::cell::Cell<u64> = core::cell::Cell::new(sync::seed());
}
