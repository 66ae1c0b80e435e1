//! Tests of replicas that are added, removed, drained or put on hold.

use super::*;

#[test]
fn a_late_report_says_nothing_about_the_next_replica_at_the_place() {
    let mut replicas = Replicas::<1>::all();
    let late = replicas.choose(Choice::PRIMARY, at(0)).unwrap();
    assert!(replicas.remove(late.id()));
    assert!(!replicas.remove(late.id()), "it was there twice");
    assert!(!replicas.report(&late, Failed, at(1)));
    let id = replicas.add().unwrap();
    assert_eq!(id.index(), late.id().index());
    assert_ne!(id, late.id());
    let chosen = replicas.choose(Choice::PRIMARY, at(2)).unwrap();
    assert_eq!(chosen.id(), id);
    assert!(!replicas.report(&late, Failed, at(3)));
    let stats = replicas.stats(at(3));
    assert_eq!(
        (stats.in_flight(), stats.get(0).unwrap().latency),
        (1, None)
    );
    assert!(replicas.report(&chosen, Answered, at(4)));
    assert_eq!(replicas.stats(at(4)).in_flight(), 0);
}

#[test]
fn places_are_filled_from_the_lowest() {
    let mut replicas = Replicas::<3>::empty();
    let ids: Vec<_> = (0..3).map(|_| replicas.add().unwrap()).collect();
    assert_eq!(
        ids.iter().map(|id| id.index()).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(replicas.add(), Err(NoRoom));
    // A replica that is being drained keeps its place.
    replicas.drain(ids[0]);
    assert_eq!(replicas.add(), Err(NoRoom));
    replicas.remove(ids[1]);
    assert_eq!(replicas.add().unwrap().index(), 1);
}

#[test]
fn what_was_learned_about_a_replica_goes_with_it() {
    let mut replicas = Replicas::<2>::all();
    let now = teach(&mut replicas, 20, |_| ms(10));
    let id = replicas.stats(now).get(1).unwrap().id;
    replicas.set_weight(id, 9.try_into().unwrap());
    replicas.set_bias(id, 5);
    replicas.hold_until(id, now + ms(60_000), now);
    replicas.remove(id);
    let id = replicas.add().unwrap();
    let stats = *replicas.stats(now).get(1).unwrap();
    assert_eq!((stats.id, stats.latency, stats.on_hold), (id, None, false));
    assert_eq!((stats.weight, stats.bias), (1, 0));
}

#[test]
fn a_replica_that_is_drained_gets_nothing_and_finishes_its_work() {
    let mut replicas = Replicas::<2>::all();
    let work = replicas.choose(Choice::PRIMARY.among(1), at(0)).unwrap();
    assert!(replicas.drain(work.id()));
    for _ in 0..10 {
        let chosen = replicas.choose(Choice::PRIMARY, at(1)).unwrap();
        assert_ne!(chosen.id(), work.id());
        replicas.report(&chosen, Answered, at(2));
    }
    assert_eq!(
        replicas.choose(Choice::PRIMARY.among(1), at(2)),
        Err(NoReplica::NotAllowed)
    );
    assert_eq!(replicas.stats(at(2)).get(0).unwrap().in_flight, 1);
    assert!(replicas.report(&work, Answered, at(3)));
    assert_eq!(replicas.stats(at(3)).get(0).unwrap().in_flight, 0);
    assert!(replicas.resume(work.id()));
    let _ = replicas.choose(Choice::PRIMARY.among(1), at(3)).unwrap();
}

#[test]
fn a_hold_lasts_as_long_as_it_was_asked_for() {
    for (first, length) in [(0, 50), (7, 1_000), (3_600_000, 60_000), (1, 2_000_000)] {
        let mut replicas = Replicas::<2>::all();
        let (start, until) = (at(first), at(first + length));
        let id = replicas.stats(start).get(0).unwrap().id;
        assert!(replicas.hold_until(id, until, start));
        let gets = |replicas: &mut Replicas<2>, now| {
            let hedge = replicas.choose(Choice::hedge(0b10), now).unwrap();
            replicas.report(&hedge, Cancelled, now);
            hedge.id() == id
        };
        // The hold is checked often, or only once after it has ended, even days later.
        for late in [false, true] {
            let mut replicas = replicas.clone();
            if !late {
                for step in 0..10 {
                    assert!(
                        !gets(&mut replicas, at(first + length * step / 10)),
                        "{length}, {step}"
                    );
                }
                assert!(gets(&mut replicas, until + ms(40)), "{length}");
            } else {
                for weeks in 0..3 {
                    let now = until + ms(40) + ms(weeks * 7 * 24 * 3_600_000);
                    assert!(gets(&mut replicas, now), "{length}, {weeks} weeks");
                }
            }
        }
    }
}

#[test]
fn a_hold_that_ended_before_it_was_asked_for_is_none() {
    let mut replicas = Replicas::<3>::all();
    let ids: Vec<_> = replicas.stats(at(0)).iter().map(|stats| stats.id).collect();
    assert!(replicas.hold_until(ids[2], at(5_000), at(1_000)));
    let chosen = replicas.choose(Choice::PRIMARY, at(1_200)).unwrap();
    replicas.report(&chosen, Answered, at(1_201));
    // Other threads have read the clock at 1000 ms, when the set has come to 1200.
    assert!(replicas.hold_until(ids[0], at(1_050), at(1_000)));
    assert!(replicas.hold_until(ids[1], at(1_300), at(1_000)));
    let on_hold = |replicas: &Replicas<3>, now| {
        let stats = replicas.stats(now);
        [0, 1, 2].map(|index| stats.get(index).unwrap().on_hold)
    };
    assert_eq!(on_hold(&replicas, at(1_201)), [false, true, true]);
    for now in [at(1_400), at(6_000)] {
        let chosen = replicas.choose(Choice::PRIMARY, now).unwrap();
        replicas.report(&chosen, Answered, now + ms(1));
    }
    assert_eq!(on_hold(&replicas, at(6_000)), [false; 3]);
}

#[cfg(feature = "std")]
#[test]
fn statistics_show_the_end_of_a_hold_without_a_choice() {
    let mut replicas = Replicas::<2>::all();
    let shared = SharedReplicas::<2>::of(2);
    let id = replicas.id(0).unwrap();
    assert!(replicas.hold_until(id, at(10_000), at(1_000)));
    assert!(shared.hold_until(shared.id(0).unwrap(), at(10_000), at(1_000)));
    for (now, expected) in [(9_900, true), (10_100, false), (60_000, false)] {
        let on_hold = [replicas.stats(at(now)), shared.stats(at(now))]
            .map(|stats| stats.get(0).unwrap().on_hold);
        assert_eq!(on_hold, [expected; 2], "{now} ms");
    }
}

#[test]
fn a_hold_can_be_ended_early() {
    let mut replicas = Replicas::<2>::all();
    let id = replicas.stats(at(0)).get(0).unwrap().id;
    replicas.hold_until(id, at(60_000), at(0));
    assert!(replicas.stats(at(1)).get(0).unwrap().on_hold);
    replicas.hold_until(id, at(1), at(1));
    assert!(!replicas.stats(at(1)).get(0).unwrap().on_hold);
    let chosen = replicas.choose(Choice::PRIMARY.among(1), at(1)).unwrap();
    assert_eq!(chosen.id(), id);
}

#[test]
fn if_all_are_on_hold_primaries_are_sent_and_hedges_are_not() {
    let mut replicas = Replicas::<2>::all();
    for replica in replicas.stats(at(0)).iter() {
        replicas.hold_until(replica.id, at(10_000), at(0));
    }
    let primary = replicas.choose(Choice::PRIMARY, at(1)).unwrap();
    let hedge = Choice::hedge(primary.id().mask());
    assert_eq!(replicas.choose(hedge, at(2)), Err(NoReplica::OnHold));
    let hedge = replicas.choose(hedge, at(10_040)).unwrap();
    assert_ne!(hedge.id(), primary.id());
}

#[test]
fn a_replica_takes_no_more_attempts_than_can_be_counted() {
    let mut replicas = Replicas::<1>::all();
    let chosen: Vec<_> = (0..u16::MAX)
        .map(|_| replicas.choose(Choice::PRIMARY, at(0)).unwrap())
        .collect();
    assert_eq!(
        replicas.choose(Choice::PRIMARY, at(0)),
        Err(NoReplica::Full)
    );
    for chosen in &chosen {
        replicas.report(chosen, Answered, at(1));
    }
    assert_eq!(replicas.stats(at(1)).in_flight(), 0);
}

#[test]
fn a_lease_reports_whatever_ends_the_attempt() {
    use core::cell::{Cell, RefCell};

    let replicas = RefCell::new(Replicas::<1>::all());
    let now = Cell::new(at(0));
    let lease = || {
        now.set(now.get() + ms(10));
        Lease::new(&replicas, Choice::PRIMARY, || now.get()).unwrap()
    };
    let stats = || *replicas.borrow().stats(now.get()).get(0).unwrap();
    lease().answered();
    assert_eq!((stats().in_flight, stats().latency.is_some()), (0, true));
    let before = stats().latency;
    lease().failed();
    assert!(stats().latency > before);
    let held = lease();
    assert_eq!(stats().in_flight, 1);
    let panic = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        let _held = held;
        std::panic::resume_unwind(std::boxed::Box::new(()));
    }));
    assert!(panic.is_err());
    assert_eq!(stats().in_flight, 0);
}
