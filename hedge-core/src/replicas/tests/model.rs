//! Compares sets in plain memory and in atomics with a model that checks invariants and does not track latencies.

use core::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const N: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Add,
    Remove(usize),
    Drain(usize),
    Resume(usize),
    Hold(usize, u64),
    Weight(usize, u16),
    Bias(usize, i8),
    /// A request starts, which may use the replicas in this mask.
    Request(u64),
    /// A request is hedged.
    Hedge(usize, u64),
    /// An attempt ends.
    End(usize, AttemptEnd),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// The clock leaps, forward or back.
    Leap(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![4 => Just(Answered), 2 => Just(Failed), 2 => Just(Cancelled), 1 => Just(TimedOut)];
    let mask = prop_oneof![4 => Just(u64::MAX), 1 => 0_u64..64];
    let number = 0_usize..64;
    let step = prop_oneof![
        2 => Just(Step::Add),
        1 => number.clone().prop_map(Step::Remove),
        1 => number.clone().prop_map(Step::Drain),
        1 => number.clone().prop_map(Step::Resume),
        1 => (number.clone(), 0_u64..5_000).prop_map(|(id, millis)| Step::Hold(id, millis)),
        1 => (number.clone(), 1_u16..).prop_map(|(id, weight)| Step::Weight(id, weight)),
        1 => (number.clone(), any::<i8>()).prop_map(|(id, bias)| Step::Bias(id, bias)),
        12 => mask.clone().prop_map(Step::Request),
        4 => (number.clone(), mask).prop_map(|(request, mask)| Step::Hedge(request, mask)),
        14 => (number, end).prop_map(|(attempt, end)| Step::End(attempt, end)),
        10 => (0_u64..50).prop_map(Step::Pass),
        1 => (-10_000_000_i64..100_000_000).prop_map(Step::Leap),
    ];
    proptest::collection::vec(step, 0..400)
}

/// The methods of both kinds of sets.
trait Set {
    fn add(&self) -> Result<ReplicaId, NoRoom>;
    fn remove(&self, id: ReplicaId) -> bool;
    fn drain(&self, id: ReplicaId) -> bool;
    fn resume(&self, id: ReplicaId) -> bool;
    fn hold_until(&self, id: ReplicaId, until: Instant, now: Instant) -> bool;
    fn set_weight(&self, id: ReplicaId, weight: u16) -> bool;
    fn set_bias(&self, id: ReplicaId, bias: i8) -> bool;
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica>;
    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) -> bool;
    fn stats(&self, now: Instant) -> ReplicasStats<N>;
}

macro_rules! set {
    ($set:ty, |$self:ident| $inner:expr) => {
        impl Set for $set {
            fn add(&$self) -> Result<ReplicaId, NoRoom> { $inner.add() }
            fn remove(&$self, id: ReplicaId) -> bool { $inner.remove(id) }
            fn drain(&$self, id: ReplicaId) -> bool { $inner.drain(id) }
            fn resume(&$self, id: ReplicaId) -> bool { $inner.resume(id) }
            fn hold_until(&$self, id: ReplicaId, until: Instant, now: Instant) -> bool {
                $inner.hold_until(id, until, now)
            }
            fn set_weight(&$self, id: ReplicaId, weight: u16) -> bool {
                $inner.set_weight(id, weight.try_into().unwrap())
            }
            fn set_bias(&$self, id: ReplicaId, bias: i8) -> bool { $inner.set_bias(id, bias) }
            fn choose(&$self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
                $inner.choose(choice, now)
            }
            fn report(&$self, chosen: &Chosen, end: AttemptEnd, now: Instant) -> bool {
                $inner.report(chosen, end, now)
            }
            fn stats(&$self, now: Instant) -> ReplicasStats<N> { $inner.stats(now) }
        }
    };
}

struct Plain(RefCell<Replicas<N>>);
set!(Plain, |self| self.0.borrow_mut());

#[cfg(feature = "std")]
struct Atomic(SharedReplicas<N>);
#[cfg(feature = "std")]
set!(Atomic, |self| self.0);

#[derive(Default)]
struct Model {
    now: u64,
    leapt_back: bool,
    answered: bool,
    present: Vec<ReplicaId>,
    drained: Vec<ReplicaId>,
    all: Vec<ReplicaId>,
    holds: HashMap<ReplicaId, u64>,
    in_flight: HashMap<ReplicaId, u32>,
    /// The running attempts, each with the request that it belongs to.
    attempts: Vec<(Chosen, usize)>,
    /// The replicas that each request has used.
    requests: Vec<Vec<ReplicaId>>,
}

impl Model {
    fn play(mut self, set: &impl Set, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            self.step(set, step)?;
            let stats = set.stats(at(self.now));
            let present: Vec<_> = stats.iter().map(|replica| replica.id).collect();
            let mut expected = self.present.clone();
            expected.sort();
            prop_assert_eq!(present, expected);
            for replica in stats.iter() {
                let expected = self.in_flight.get(&replica.id).copied().unwrap_or(0);
                prop_assert_eq!(u32::from(replica.in_flight), expected, "{:?}", step);
            }
        }
        while !self.attempts.is_empty() {
            self.step(set, &Step::End(0, Cancelled))?;
        }
        prop_assert_eq!(set.stats(at(self.now)).in_flight(), 0);
        Ok(())
    }

    fn step(&mut self, set: &impl Set, step: &Step) -> Result<(), TestCaseError> {
        let now = at(self.now);
        // Ids of removed replicas are tried, too.
        let known = |number: usize| self.all.get(number % self.all.len().max(1)).copied();
        match *step {
            Step::Add => {
                let added = set.add();
                prop_assert_eq!(added.is_ok(), self.present.len() < N);
                if let Ok(id) = added {
                    prop_assert!(!self.all.contains(&id), "{} was there before", id);
                    self.present.push(id);
                    self.all.push(id);
                }
            }
            Step::Remove(number) => {
                if let Some(id) = known(number) {
                    prop_assert_eq!(set.remove(id), self.present.contains(&id));
                    self.present.retain(|other| *other != id);
                    self.drained.retain(|other| *other != id);
                    self.in_flight.remove(&id);
                }
            }
            Step::Drain(number) => {
                if let Some(id) = known(number) {
                    prop_assert_eq!(set.drain(id), self.present.contains(&id));
                    self.drained.push(id);
                }
            }
            Step::Resume(number) => {
                if let Some(id) = known(number) {
                    prop_assert_eq!(set.resume(id), self.present.contains(&id));
                    self.drained.retain(|other| *other != id);
                }
            }
            Step::Hold(number, millis) => {
                if let Some(id) = known(number) {
                    let until = self.now + millis;
                    let there = set.hold_until(id, at(until), now);
                    prop_assert_eq!(there, self.present.contains(&id));
                    self.holds.insert(id, until);
                }
            }
            Step::Weight(number, weight) => {
                if let Some(id) = known(number) {
                    prop_assert_eq!(set.set_weight(id, weight), self.present.contains(&id));
                }
            }
            Step::Bias(number, bias) => {
                if let Some(id) = known(number) {
                    prop_assert_eq!(set.set_bias(id, bias), self.present.contains(&id));
                }
            }
            Step::Request(mask) => {
                self.requests.push(Vec::new());
                self.start(set, self.requests.len() - 1, mask)?;
            }
            Step::Hedge(request, mask) if !self.requests.is_empty() => {
                self.start(set, request % self.requests.len(), mask)?;
            }
            Step::Hedge(..) => {}
            Step::End(number, end) => {
                if !self.attempts.is_empty() {
                    let (chosen, _) = self.attempts.swap_remove(number % self.attempts.len());
                    let there = self.present.contains(&chosen.id());
                    prop_assert_eq!(set.report(&chosen, end, now), there);
                    self.answered |= end == Answered;
                    if there {
                        *self.in_flight.entry(chosen.id()).or_default() -= 1;
                    }
                }
            }
            Step::Pass(millis) => self.now += millis,
            Step::Leap(millis) => {
                self.now = self.now.saturating_add_signed(millis);
                self.leapt_back |= millis < 0;
            }
        }
        Ok(())
    }

    fn start(&mut self, set: &impl Set, request: usize, mask: u64) -> Result<(), TestCaseError> {
        let now = at(self.now);
        let active = self.present.iter().filter(|id| !self.drained.contains(id));
        let active: Vec<ReplicaId> = active.copied().collect();
        let allowed: Vec<_> = active.iter().filter(|id| id.mask() & mask != 0).collect();
        // Within one tick of a hold's end both answers are valid, and if the clock went back a hold may last longer.
        let held = |id: &ReplicaId| self.holds.get(id).is_some_and(|until| *until > self.now);
        let free = |id: &ReplicaId| {
            let until = self.holds.get(id).copied().unwrap_or(0);
            !self.leapt_back && until + 70 < self.now || until == 0
        };
        let used = &self.requests[request];
        let mask_of_used = used.iter().fold(0, |mask, id| mask | id.mask());
        let choice = if used.is_empty() {
            Choice::PRIMARY
        } else {
            Choice::hedge(mask_of_used)
        };
        let stats = set.stats(now);
        let chosen = match set.choose(choice.among(mask), now) {
            Ok(chosen) => chosen,
            Err(error) => {
                let right = match error {
                    NoReplica::Empty => active.is_empty(),
                    NoReplica::NotAllowed => allowed.is_empty() && !active.is_empty(),
                    NoReplica::OnHold => !used.is_empty() && !allowed.iter().any(|id| free(id)),
                    NoReplica::Full => false,
                };
                prop_assert!(right, "{}", error);
                return Ok(());
            }
        };
        let id = chosen.id();
        prop_assert!(allowed.contains(&&id), "{} is not allowed", id);
        if held(&id) && !self.leapt_back {
            // Only a primary may go to a replica on hold, and only if no other is free. If the clock went back, the
            // hold may have ended already.
            let other = allowed.iter().any(|id| free(id));
            prop_assert!(!other, "{} is on hold", id);
        }
        prop_assert!(!chosen.is_probe() || used.is_empty(), "a hedge is a probe");
        if id.mask() & mask_of_used != 0 {
            // In this case every other replica is about four times slower than the fastest.
            let known = allowed.iter().filter(|id| !held(id));
            let known = known.filter_map(|id| stats.get(id.index())?.latency).min();
            if known.is_none() && self.answered {
                // The set's choice depends on the typical latency, which the model does not track.
                return self.started(chosen, request);
            }
            let known = known.unwrap_or_default();
            let expected = |id: &ReplicaId| {
                let stats = stats.get(id.index());
                stats.map_or(known, |stats| {
                    stats.latency.unwrap_or(known).max(stats.silence)
                })
            };
            let fastest = allowed
                .iter()
                .map(|id| expected(id))
                .min()
                .unwrap_or_default();
            let others = allowed
                .iter()
                .filter(|id| id.mask() & mask_of_used == 0 && free(id));
            for other in others {
                let slow = expected(other) > 3 * fastest;
                prop_assert!(
                    slow,
                    "{} is used twice, but {} is fast: {}",
                    id,
                    other,
                    stats
                );
            }
        }
        self.started(chosen, request)
    }

    fn started(&mut self, chosen: Chosen, request: usize) -> Result<(), TestCaseError> {
        *self.in_flight.entry(chosen.id()).or_default() += 1;
        self.requests[request].push(chosen.id());
        self.attempts.push((chosen, request));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_plain_memory(steps in steps(), seed in any::<u64>()) {
        Model::default().play(&Plain(RefCell::new(Replicas::empty().seed(seed))), &steps)?;
    }

    #[cfg(feature = "std")]
    #[test]
    fn in_atomics(steps in steps()) {
        Model::default().play(&Atomic(SharedReplicas::empty()), &steps)?;
    }
}
