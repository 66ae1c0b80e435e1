//! Leases, which report the end of an attempt when they are dropped.

use core::ops::Deref;

use crate::lock::Lock;
use crate::time::Instant;

use super::choice::{AttemptEnd, Choice, Chosen};
use super::set::Replicas;
use crate::replica_id::NoReplica;

/// A shared set of replicas: any [`Lock`] around [`Replicas`], `SharedReplicas` on servers, or a reference to one.
///
/// A custom set can choose by another rule: it chooses a replica, and allows only that one when it calls a set of this
/// crate.
///
/// ```
/// use core::cell::{Cell, RefCell};
/// use hedge_core::Instant;
/// use hedge_core::replicas::{AttemptEnd, Choice, Chosen, NoReplica, ReplicaSet, Replicas};
///
/// /// Three replicas take turns.
/// struct RoundRobin(Cell<usize>, RefCell<Replicas<3>>);
///
/// impl ReplicaSet for RoundRobin {
///     fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
///         let turns = (1..=3).map(|turn| 1 << ((self.0.get() + turn) % 3));
///         let unused = choice.allowed() & !choice.used();
///         let next = turns.into_iter().find(|replica| unused & replica != 0);
///         let chosen = self.1.choose(choice.among(next.unwrap_or(unused)), now)?;
///         self.0.set(chosen.id().index());
///         Ok(chosen)
///     }
///
///     fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
///         self.1.report(chosen, end, now);
///     }
/// }
///
/// let set = RoundRobin(Cell::new(0), RefCell::new(Replicas::all()));
/// let first = set.choose(Choice::PRIMARY, Instant::ZERO)?;
/// let second = set.choose(Choice::PRIMARY, Instant::ZERO)?;
/// assert_eq!([first, second].map(|chosen| chosen.id().index()), [1, 2]);
/// # Ok::<(), NoReplica>(())
/// ```
pub trait ReplicaSet {
    /// Chooses a replica for an attempt that starts now, and counts it as in flight there.
    ///
    /// # Errors
    ///
    /// Returns an error if no replica is allowed.
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica>;

    /// Reports the end of an attempt, once. Ignored if the replica has been removed since.
    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant);
}

impl<L, const N: usize> ReplicaSet for L
where
    L: Lock<Data = Replicas<N>>,
{
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        self.with(|replicas| replicas.choose(choice, now))
    }

    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
        self.with(|replicas| replicas.report(chosen, end, now));
    }
}

/// An attempt at a replica that reports its end itself: as cancelled if it is dropped before
/// [`answered`](Self::answered) or [`failed`](Self::failed), even by a panic.
///
/// ```
/// use core::cell::RefCell;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::replicas::{Choice, Lease, Replicas};
///
/// let replicas = RefCell::new(Replicas::<2>::all());
/// let clock = ManualTimer::<1>::new();
/// let lease = Lease::new(&replicas, Choice::PRIMARY, || clock.now())?;
/// assert_eq!(replicas.borrow().stats(clock.now()).in_flight(), 1);
/// drop(lease);
/// assert_eq!(replicas.borrow().stats(clock.now()).in_flight(), 0);
/// # Ok::<(), hedge_core::replicas::NoReplica>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a lease reports the attempt as cancelled"]
pub struct Lease<S, C>
where
    S: ReplicaSet,
    C: Fn() -> Instant,
{
    set: S,
    clock: C,
    chosen: Chosen,
    /// `None` if other code reports the end.
    end: Option<AttemptEnd>,
}

impl<S, C> Lease<S, C>
where
    S: ReplicaSet,
    C: Fn() -> Instant,
{
    /// Chooses a replica of `set` for an attempt that starts now, by `clock`.
    ///
    /// # Errors
    ///
    /// Returns an error if no replica is allowed.
    pub fn new(set: S, choice: Choice, clock: C) -> Result<Self, NoReplica> {
        let chosen = set.choose(choice, clock())?;
        Ok(Self {
            set,
            clock,
            chosen,
            end: Some(AttemptEnd::Cancelled),
        })
    }

    /// Reports an answer.
    pub fn answered(mut self) {
        self.end = Some(AttemptEnd::Answered);
    }

    /// Reports a failure or a timeout.
    pub fn failed(mut self) {
        self.end = Some(AttemptEnd::Failed);
    }

    /// Returns the attempt, whose end must then be reported by other code, such as
    /// [`Call::starting_at`](crate::Call::starting_at).
    pub fn into_chosen(mut self) -> Chosen {
        self.end = None;
        self.chosen
    }
}

impl<S, C> Deref for Lease<S, C>
where
    S: ReplicaSet,
    C: Fn() -> Instant,
{
    type Target = Chosen;

    fn deref(&self) -> &Chosen {
        &self.chosen
    }
}

impl<S, C> Drop for Lease<S, C>
where
    S: ReplicaSet,
    C: Fn() -> Instant,
{
    fn drop(&mut self) {
        if let Some(end) = self.end {
            self.set.report(&self.chosen, end, (self.clock)());
        }
    }
}
