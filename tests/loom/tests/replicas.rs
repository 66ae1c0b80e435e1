//! The set of replicas that threads share: whatever comes and goes, every attempt is counted once.

use core::time::Duration;

use hedge_core::Instant;
use hedge_core::replicas::{AttemptEnd, Choice, NoReplica, SharedReplicas};
use loom::thread;

const NOW: Instant = Instant::ZERO;

fn later() -> Instant {
    NOW + Duration::from_millis(10)
}

fn in_flight(replicas: &SharedReplicas<2>) -> u32 {
    replicas.stats(NOW).in_flight()
}

#[test]
fn every_attempt_is_counted_once() {
    loom::model(|| {
        let replicas = SharedReplicas::<2>::of(1);
        let one = |replicas: &SharedReplicas<2>, end| {
            let chosen = replicas.choose(Choice::PRIMARY, NOW).unwrap();
            assert!((1..=2).contains(&in_flight(replicas)));
            assert!(replicas.report(&chosen, end, later()));
        };
        let other = replicas.clone();
        let thread = thread::spawn(move || one(&other, AttemptEnd::Answered));
        one(&replicas, AttemptEnd::Cancelled);
        thread.join().unwrap();
        assert_eq!(in_flight(&replicas), 0);
    });
}

#[test]
fn an_unknown_replica_gets_one_attempt_at_a_time() {
    loom::model(|| {
        let replicas = SharedReplicas::<2>::of(2);
        let other = replicas.clone();
        let choose = |replicas: &SharedReplicas<2>| replicas.choose(Choice::PRIMARY, NOW).unwrap();
        let thread = thread::spawn(move || choose(&other));
        let here = choose(&replicas);
        let there = thread.join().unwrap();
        assert_ne!(here.id(), there.id());
    });
}

#[test]
fn a_replica_that_is_replaced_takes_its_attempts_with_it() {
    loom::model(|| {
        let replicas = SharedReplicas::<2>::of(1);
        let old = replicas.stats(NOW).get(0).unwrap().id;
        let other = replicas.clone();
        let thread = thread::spawn(move || {
            assert!(other.remove(old));
            other.add().unwrap()
        });
        // While it is replaced, there may be none.
        let chosen = replicas.choose(Choice::PRIMARY, NOW);
        let new = thread.join().unwrap();
        assert_ne!(new, old);
        if let Ok(chosen) = chosen {
            let expected = u32::from(chosen.id() == new);
            assert_eq!(in_flight(&replicas), expected);
            assert_eq!(
                replicas.report(&chosen, AttemptEnd::Failed, later()),
                expected == 1
            );
        }
        assert_eq!(in_flight(&replicas), 0);
    });
}

#[test]
fn a_hold_that_begins_while_another_ends_is_kept() {
    loom::model(|| {
        let after = |seconds| NOW + Duration::from_secs(seconds);
        let replicas = SharedReplicas::<2>::of(2);
        let stats = replicas.stats(NOW);
        let [first, second] = [0, 1].map(|index| stats.get(index).unwrap().id);
        assert!(replicas.hold_until(second, after(1), NOW));
        let other = replicas.clone();
        // It finds that the second is not on hold any more.
        let thread = thread::spawn(move || {
            let choice = Choice::PRIMARY.among(0b10);
            other.choose(choice, after(5)).unwrap().id()
        });
        assert!(replicas.hold_until(first, after(20), after(5)));
        assert_eq!(thread.join().unwrap(), second);
        let choice = Choice::hedge(0).among(0b01);
        assert_eq!(replicas.choose(choice, after(10)), Err(NoReplica::OnHold));
        assert!(replicas.choose(choice, after(25)).is_ok());
    });
}

#[test]
fn changes_by_two_threads_are_both_kept() {
    loom::model(|| {
        let replicas = SharedReplicas::<2>::of(1);
        let id = replicas.stats(NOW).get(0).unwrap().id;
        let other = replicas.clone();
        let thread = thread::spawn(move || other.set_bias(id, 3));
        let chosen = replicas.choose(Choice::PRIMARY, NOW).unwrap();
        assert!(replicas.report(&chosen, AttemptEnd::Answered, later()));
        assert!(thread.join().unwrap());
        let stats = *replicas.stats(NOW).get(0).unwrap();
        assert_eq!((stats.bias, stats.latency.is_some()), (3, true));
    });
}
