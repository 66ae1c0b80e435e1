//! Replicas that come and go, and a second count of what runs at each.

use core::cell::RefCell;
use core::time::Duration;

use hedge_core::Instant;
use hedge_core::replicas::{
    AttemptEnd, Choice, Chosen, NoReplica, ReplicaId, ReplicaSet, ReplicaState, ReplicaStats,
    Replicas, ReplicasStats,
};

use crate::clock::{self, TICK};
use crate::fault::Fault;
use crate::invariants::Invariant;
use crate::journal::{Account, State, Trial};
use crate::world::World;

/// How many replicas there are at most.
const ROOM: usize = 4;

/// A set of replicas, and the attempts that were sent to them and not reported.
pub(crate) struct Fleet<'w> {
    world: &'w World,
    replicas: RefCell<Replicas<ROOM>>,
    open: RefCell<Vec<Chosen>>,
    /// Replicas in `open` whose end was reported, but did not arrive.
    late: RefCell<Vec<(Chosen, AttemptEnd)>>,
}

impl<'w> Fleet<'w> {
    pub(crate) fn draw(world: &'w World) -> Self {
        let mut replicas = Replicas::empty().seed(world.any());
        for _ in 0..1 + world.below(ROOM as u64) {
            let _ = replicas.add();
        }
        Self {
            world,
            replicas: RefCell::new(replicas),
            open: RefCell::default(),
            late: RefCell::default(),
        }
    }

    fn now(&self) -> Instant {
        clock::instant(self.world.clock.now())
    }

    fn stats(&self) -> ReplicasStats<ROOM> {
        self.replicas.borrow().stats(self.now())
    }

    /// One more thing may happen to the replicas.
    pub(crate) fn befall(&self) {
        let world = self.world;
        if world.below(2) == 0 {
            self.deliver_next();
        }
        if world.strikes(Fault::AddsReplica, 4) {
            let _ = self.replicas.borrow_mut().add();
        }
        let Some(id) = self.any_replica() else {
            return;
        };
        let mut replicas = self.replicas.borrow_mut();
        let known = if world.strikes(Fault::RemovesReplica, 8) {
            replicas.remove(id)
        } else if world.strikes(Fault::DrainsReplica, 6) {
            replicas.drain(id)
        } else if world.strikes(Fault::ResumesReplica, 4) {
            replicas.resume(id)
        } else if world.strikes(Fault::HoldsReplica, 6) {
            let now = self.now();
            let until = match world.below(4) {
                0 => Instant::MAX,
                _ => now + Duration::from_nanos(TICK * world.below(40)),
            };
            replicas.hold_until(id, until, now)
        } else {
            true
        };
        drop(replicas);
        world.check(Invariant::ReplicasAreReleased, known, || {
            format!("{id:?} is unknown")
        });
    }

    fn any_replica(&self) -> Option<ReplicaId> {
        let stats = self.stats();
        let count = stats.iter().count() as u64;
        let nth = self.world.below(count.max(1)) as usize;
        stats.iter().nth(nth).map(|replica| replica.id)
    }

    /// All that was reported arrives.
    pub(crate) fn deliver_all(&self) {
        while self.deliver_next() {}
    }

    fn deliver_next(&self) -> bool {
        let next = self.late.borrow_mut().pop();
        if let Some((chosen, end)) = next {
            self.deliver(&chosen, end, self.now());
        }
        next.is_some()
    }

    fn deliver(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
        let is_present = self.stats().iter().any(|stats| stats.id == chosen.id());
        let taken = self.replicas.borrow_mut().report(chosen, end, now);
        let mut open = self.open.borrow_mut();
        let place = open.iter().position(|open| open == chosen);
        place.map(|place| open.swap_remove(place));
        let right = place.is_some() && taken == is_present;
        self.world.check(Invariant::ReplicasAreReleased, right, || {
            format!("{chosen:?} is reported, taken: {taken}")
        });
    }

    /// Between any two steps.
    pub(crate) fn check(&self) {
        let world = self.world;
        let journal = world.journal();
        let (open, late) = (self.open.borrow(), self.late.borrow());
        let alive = |id| {
            let trials = journal.opened().iter().flat_map(Account::trials);
            let runs = |trial: &&Trial| {
                trial.replica == Some(id) && matches!(trial.state, State::Running | State::Returned)
            };
            trials.filter(runs).count()
        };
        for replica in self.stats().iter() {
            let id = replica.id;
            let counted = usize::from(replica.in_flight);
            let sent = open.iter().filter(|open| open.id() == id).count();
            world.check(Invariant::ReplicasAreReleased, counted == sent, || {
                format!("{counted} in flight at {id:?}, {sent} were sent")
            });
        }
        let trials = journal.opened().iter().flat_map(Account::trials);
        let sent = open.iter().map(Chosen::id);
        for id in trials.filter_map(|trial| trial.replica).chain(sent) {
            let sent = open.iter().filter(|open| open.id() == id).count();
            let late = late.iter().filter(|(late, _)| late.id() == id).count();
            let runs = alive(id) + late;
            let right = sent == runs || sent > runs && journal.is_loose();
            world.check(Invariant::ReplicasAreReleased, right, || {
                format!("{sent} were sent to {id:?}, {runs} run")
            });
        }
    }

    /// A hedge, or a retry, is sent to `chosen`, of what was known `before`.
    fn check_choice(&self, choice: Choice, before: &ReplicasStats<ROOM>, chosen: ReplicaId) {
        let world = self.world;
        let mut journal = world.journal();
        let current = journal.current;
        let account = journal.of(current);
        let used = account.trials().iter().filter_map(|trial| trial.replica);
        if account.panicked || !used.clone().any(|used| used == chosen) {
            return;
        }
        let fastest = before.iter().filter(is_active).map(expected).min();
        // Three times instead of four allows for rounding: latencies are kept as logarithms.
        let fastest = fastest.unwrap_or_default();
        let patience = fastest
            .saturating_sub(Duration::from_nanos(1))
            .saturating_mul(3);
        let better = before.iter().filter(is_active).find(|other| {
            let is_allowed = choice.allowed() & other.id.mask() != 0 && !other.on_hold;
            let is_used = used.clone().any(|used| used.index() == other.id.index());
            is_allowed && !is_used && expected(other) <= patience
        });
        world.check(Invariant::HedgesGoElsewhere, better.is_none(), || {
            format!("to {chosen:?} again, and not to {better:?}")
        });
    }
}

fn is_active(replica: &&ReplicaStats) -> bool {
    replica.state == ReplicaState::Active
}

/// How long it takes, as far as is known.
fn expected(replica: &ReplicaStats) -> Duration {
    replica.latency.unwrap_or_default().max(replica.silence)
}

impl ReplicaSet for &Fleet<'_> {
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        let before = self.replicas.borrow().stats(now);
        let chosen = self.replicas.borrow_mut().choose(choice, now)?;
        if choice.is_hedge() {
            self.check_choice(choice, &before, chosen.id());
        } else {
            let mut journal = self.world.journal();
            let current = journal.current;
            journal.of(current).probes = chosen.is_probe();
        }
        self.open.borrow_mut().push(chosen);
        Ok(chosen)
    }

    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
        if self.world.strikes(Fault::ReportsLate, 3) {
            self.late.borrow_mut().push((*chosen, end));
        } else {
            self.deliver(chosen, end, now);
        }
    }
}
