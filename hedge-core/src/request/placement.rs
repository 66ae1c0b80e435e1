//! Placement of the attempts of a request.

use crate::attempt::Attempt;
use crate::outcome::Suppressed;
use crate::replicas::{AttemptEnd, Choice, Chosen, NoReplica, ReplicaId, ReplicaSet};
use crate::request::Ready;
use crate::time::{Instant, Timer};

/// Decides for one request where its attempts go, and receives their ends.
///
/// A [`Ready`] leaves the choice to the closure that makes the attempts; [`OnReplicas`] chooses a replica for each.
pub trait Placement {
    /// Whether a request has to be timed.
    const TIMED: bool;

    /// Places the primary; returns `None` if the closure decides. `limit` is the time limit of the request in
    /// nanoseconds, or 0 if no hedge is planned in case that the primary does not answer.
    ///
    /// # Errors
    ///
    /// Returns an error if no replica is allowed.
    fn place_primary(&mut self, limit: u64, now: Instant) -> Result<Option<ReplicaId>, NoReplica>;

    /// Places `hedge`, which would start at `now`.
    ///
    /// # Errors
    ///
    /// Returns why the hedge cannot start.
    fn place_hedge(
        &mut self,
        hedge: Attempt,
        now: Instant,
    ) -> Result<Option<ReplicaId>, Suppressed>;

    /// Takes back the placement of a hedge that does not start after all.
    fn withdraw(&mut self, index: u8, now: Instant);

    /// Returns whether the primary is a probe.
    fn is_probe(&self) -> bool;

    /// Returns after how many nanoseconds the primary is hedged at the latest; `None` if the strategy alone decides.
    fn patience(&self) -> Option<u64>;

    /// Reports that attempt `index` has ended.
    fn ended(&mut self, index: u8, end: AttemptEnd, now: Instant);

    /// Reports that attempt `index` is dropped, as its request is over. If it is a task, it may run on.
    fn dropped(&mut self, index: u8, end: AttemptEnd, now: Instant);

    /// Returns the replica of attempt `index`.
    fn replica(&self, index: u8) -> Option<ReplicaId>;

    /// Returns the mask of the replicas that were used.
    fn used(&self) -> u64;
}

impl<G: Ready> Placement for G {
    const TIMED: bool = false;

    #[cfg_attr(feature = "std", inline(always))]
    fn place_primary(&mut self, _: u64, _: Instant) -> Result<Option<ReplicaId>, NoReplica> {
        Ok(None)
    }

    fn place_hedge(&mut self, hedge: Attempt, _: Instant) -> Result<Option<ReplicaId>, Suppressed> {
        if self.is_ready(hedge) {
            Ok(None)
        } else {
            Err(Suppressed::NotReady)
        }
    }

    fn withdraw(&mut self, _: u8, _: Instant) {}

    #[cfg_attr(feature = "std", inline(always))]
    fn is_probe(&self) -> bool {
        false
    }

    #[cfg_attr(feature = "std", inline(always))]
    fn patience(&self) -> Option<u64> {
        None
    }

    #[cfg_attr(feature = "std", inline(always))]
    fn ended(&mut self, _: u8, _: AttemptEnd, _: Instant) {}

    fn dropped(&mut self, _: u8, _: AttemptEnd, _: Instant) {}

    #[cfg_attr(feature = "std", inline(always))]
    fn replica(&self, _: u8) -> Option<ReplicaId> {
        None
    }

    #[cfg_attr(feature = "std", inline(always))]
    fn used(&self) -> u64 {
        0
    }
}

/// Sends each attempt to a replica of a set: see [`Call::on`](crate::Call::on).
///
/// It reports every attempt once, however it ends. When it is dropped, for example by a panic, the remaining attempts
/// are reported as cancelled.
#[derive(Debug)]
pub struct OnReplicas<S: ReplicaSet, T: Timer, const MAX: usize, W = fn(Attempt) -> bool> {
    set: S,
    timer: T,
    /// The check whether a hedge can be sent to a replica.
    ready: W,
    among: u64,
    is_probe: bool,
    /// The attempts that have not been reported.
    open: [Option<Chosen>; MAX],
    replicas: [Option<ReplicaId>; MAX],
    #[cfg(feature = "std")]
    tasks: Option<crate::replicas::Tasks>,
}

impl<S: ReplicaSet, T: Timer, const MAX: usize> OnReplicas<S, T, MAX> {
    pub(crate) const fn new(set: S, timer: T) -> Self {
        Self::with_ready(set, timer, |_| true)
    }
}

impl<S: ReplicaSet, T: Timer, const MAX: usize, W> OnReplicas<S, T, MAX, W> {
    pub(crate) const fn with_ready(set: S, timer: T, ready: W) -> Self {
        Self {
            set,
            timer,
            ready,
            among: u64::MAX,
            is_probe: false,
            open: [None; MAX],
            replicas: [None; MAX],
            #[cfg(feature = "std")]
            tasks: None,
        }
    }

    pub(crate) fn among(&mut self, mask: u64) {
        self.among &= mask;
    }

    pub(crate) fn start_at(&mut self, chosen: Chosen) {
        self.keep(0, chosen);
    }

    #[cfg(feature = "std")]
    pub(crate) const fn set(&self) -> &S {
        &self.set
    }

    /// Prepares for attempts that are tasks, which report their own ends once the request is over.
    #[cfg(feature = "std")]
    pub(crate) fn in_tasks(&mut self) -> crate::replicas::Tasks {
        self.tasks
            .get_or_insert_with(crate::replicas::Tasks::new)
            .clone()
    }

    fn place(&mut self, index: u8, choice: Choice, now: Instant) -> Result<ReplicaId, NoReplica> {
        let chosen = self.set.choose(choice, now)?;
        self.keep(index, chosen);
        Ok(chosen.id())
    }

    /// Keeps the choice for attempt `index`, to report its end.
    fn keep(&mut self, index: u8, chosen: Chosen) {
        let (index, id) = (usize::from(index), chosen.id());
        if index == 0 {
            self.is_probe = chosen.is_probe();
        }
        let room = (self.open.get_mut(index), self.replicas.get_mut(index));
        // What is not kept is an attempt that was chosen before and never started, as when `ready` panicked; or an
        // attempt more than any request has.
        let not_kept = if let (Some(open), Some(replica)) = room {
            *replica = Some(id);
            open.replace(chosen)
        } else {
            Some(chosen)
        };
        if let Some(chosen) = not_kept {
            self.set
                .report(&chosen, AttemptEnd::Cancelled, chosen.started());
        }
    }

    /// Returns the mask of the replicas that were used.
    fn mask(&self) -> u64 {
        let used = self.replicas.iter().flatten();
        used.fold(0, |used, replica| used | replica.mask())
    }

    fn take(&mut self, index: u8) -> Option<Chosen> {
        self.open.get_mut(usize::from(index))?.take()
    }
}

impl<S, T, const MAX: usize, W> Placement for OnReplicas<S, T, MAX, W>
where
    S: ReplicaSet,
    T: Timer,
    W: FnMut(Attempt) -> bool,
{
    const TIMED: bool = true;

    fn place_primary(&mut self, limit: u64, now: Instant) -> Result<Option<ReplicaId>, NoReplica> {
        // The place is taken again if the closure panicked and the request is polled again.
        if let Some(placed) = self.replica(0) {
            return Ok(Some(placed));
        }
        let choice = Choice::primary(limit).among(self.among);
        self.place(0, choice, now).map(Some)
    }

    fn place_hedge(
        &mut self,
        hedge: Attempt,
        now: Instant,
    ) -> Result<Option<ReplicaId>, Suppressed> {
        let index = hedge.index() as u8;
        // That of the request stays as it is even if `ready` panics.
        let mut among = self.among;
        loop {
            let choice = Choice::hedge(self.mask()).among(among);
            let Ok(id) = self.place(index, choice, now) else {
                return Err(if among == self.among {
                    Suppressed::NoReplica
                } else {
                    Suppressed::NotReady
                });
            };
            if (self.ready)(hedge.at(id)) {
                return Ok(Some(id));
            }
            // Choose the next best replica.
            self.withdraw(index, now);
            among &= !id.mask();
        }
    }

    fn withdraw(&mut self, index: u8, now: Instant) {
        self.ended(index, AttemptEnd::Cancelled, now);
        if let Some(replica) = self.replicas.get_mut(usize::from(index)) {
            *replica = None;
        }
    }

    fn is_probe(&self) -> bool {
        self.is_probe
    }

    fn patience(&self) -> Option<u64> {
        let primary = self.open.first()?.as_ref()?;
        primary.patience().map(crate::time::nanos)
    }

    fn ended(&mut self, index: u8, end: AttemptEnd, now: Instant) {
        self.report(index, end, now);
    }

    fn dropped(&mut self, index: u8, end: AttemptEnd, now: Instant) {
        self.release(index, end, now);
    }

    fn replica(&self, index: u8) -> Option<ReplicaId> {
        *self.replicas.get(usize::from(index))?
    }

    fn used(&self) -> u64 {
        self.mask()
    }
}

impl<S: ReplicaSet, T: Timer, const MAX: usize, W> OnReplicas<S, T, MAX, W> {
    fn report(&mut self, index: u8, end: AttemptEnd, now: Instant) {
        if let Some(chosen) = self.take(index) {
            self.set.report(&chosen, end, now);
        }
    }

    fn release(&mut self, index: u8, end: AttemptEnd, now: Instant) {
        #[cfg(feature = "std")]
        if let Some(tasks) = &self.tasks
            && let Some(chosen) = self.open.get(usize::from(index)).copied().flatten()
            && tasks.release(index, chosen, end)
        {
            // The task reports its own end.
            let _ = self.take(index);
            return;
        }
        self.report(index, end, now);
    }
}

impl<S: ReplicaSet, T: Timer, const MAX: usize, W> Drop for OnReplicas<S, T, MAX, W> {
    fn drop(&mut self) {
        // Open attempts remain if losers were kept, if an attempt could not be launched, or if the request was never
        // polled.
        if self.open.iter().any(Option::is_some) {
            let now = self.timer.now();
            for index in 0..MAX {
                self.release(index as u8, AttemptEnd::Cancelled, now);
            }
        }
    }
}
