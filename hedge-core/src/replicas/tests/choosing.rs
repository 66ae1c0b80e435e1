//! Tests of which replica is chosen.

use super::*;

#[test]
fn equal_replicas_share_evenly() {
    let mut service = Service::<8>::warm(Replicas::all());
    service.requests(40_000, ms(2), |_| (ms(10), Answered));
    for index in 0..8 {
        let share = 8.0 * service.share(index);
        assert!((0.95..=1.05).contains(&share), "{index}: {share}");
    }
}

#[test]
fn a_slow_replica_is_avoided_and_probed() {
    let mut service = Service::<3>::warm(Replicas::all());
    service.requests(10_000, ms(2), |index| {
        (ms(if index == 1 { 100 } else { 10 }), Answered)
    });
    let share = service.share(1);
    assert!((0.005..=0.022).contains(&share), "{share}");
    assert!(service.probes.len() > 50);
    let closest = service
        .probes
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .min();
    assert!(closest >= Some(64), "{closest:?}");
}

#[test]
fn a_replica_that_is_well_again_soon_gets_its_share() {
    let mut service = Service::<3>::warm(Replicas::all());
    service.requests(5_000, ms(2), |index| {
        (ms(if index == 1 { 100 } else { 10 }), Answered)
    });
    service.forget_counts();
    service.requests(500, ms(2), |_| (ms(10), Answered));
    service.forget_counts();
    service.requests(2_000, ms(2), |_| (ms(10), Answered));
    let share = service.share(1);
    assert!(share > 0.30, "{share}");
}

#[test]
fn a_replica_that_hangs_is_avoided() {
    let mut service = Service::<3>::warm(Replicas::all());
    service.requests(5_000, ms(2), |index| {
        if index == 1 {
            (ms(4_000), Failed)
        } else {
            (ms(10), Answered)
        }
    });
    let share = service.share(1);
    assert!(share < 0.01, "{share}");
    assert!(service.most[1] < 20, "{:?}", service.most);
}

#[test]
fn weights_share_an_idle_service_and_a_busy_one() {
    for gap in [ms(50), Duration::from_micros(200)] {
        let mut replicas = Replicas::<3>::all();
        let ids = replicas.stats(at(0));
        for (index, weight) in [(0, 1), (1, 2), (2, 5)] {
            let id = ids.get(index).unwrap().id;
            assert!(replicas.set_weight(id, weight.try_into().unwrap()));
        }
        let mut service = Service::warm(replicas);
        service.requests(30_000, gap, |_| (ms(10), Answered));
        for (index, fair) in [1.0 / 8.0, 2.0 / 8.0, 5.0 / 8.0].into_iter().enumerate() {
            let share = service.share(index) / fair;
            assert!((0.9..=1.1).contains(&share), "{gap:?}, {index}: {share}");
        }
    }
}

#[test]
fn a_bias_keeps_traffic_near_until_there_is_much() {
    let mut replicas = Replicas::<2>::all();
    let far = replicas.stats(at(0)).get(1).unwrap().id;
    assert!(replicas.set_bias(far, 24));
    let mut service = Service::warm(replicas);
    service.requests(2_000, ms(50), |_| (ms(10), Answered));
    assert!(service.share(1) < 0.05, "{}", service.share(1));
    service.forget_counts();
    service.requests(10_000, Duration::from_micros(200), |_| (ms(10), Answered));
    let share = service.share(1);
    assert!((0.2..=0.33).contains(&share), "{share}");
}

#[test]
fn a_mask_is_kept_to() {
    let mut replicas = Replicas::<5>::all();
    for mask in 1_u64..32 {
        for _ in 0..20 {
            let primary = replicas.choose(Choice::PRIMARY.among(mask), at(0)).unwrap();
            assert_ne!(primary.id().mask() & mask, 0);
            let hedge = Choice::hedge(primary.id().mask()).among(mask);
            let hedge = replicas.choose(hedge, at(0)).unwrap();
            assert_ne!(hedge.id().mask() & mask, 0);
            assert_eq!(hedge.id() == primary.id(), mask.count_ones() == 1);
            replicas.report(&primary, Answered, at(0));
            replicas.report(&hedge, Cancelled, at(0));
        }
    }
    assert_eq!(
        replicas.choose(Choice::PRIMARY.among(0b10_0000), at(0)),
        Err(NoReplica::NotAllowed)
    );
    assert_eq!(
        Replicas::<5>::empty().choose(Choice::PRIMARY, at(0)),
        Err(NoReplica::Empty)
    );
}

#[test]
fn a_hedge_goes_elsewhere_unless_all_others_are_far_slower() {
    for (others, elsewhere) in [(10, true), (30, true), (100, false)] {
        let mut replicas = Replicas::<3>::all();
        let now = teach(&mut replicas, 20, |index| {
            ms(if index == 0 { 10 } else { others })
        });
        let primary = replicas.choose(Choice::PRIMARY.among(1), now).unwrap();
        let hedge = replicas
            .choose(Choice::hedge(primary.id().mask()), now)
            .unwrap();
        assert_eq!(hedge.id() != primary.id(), elsewhere, "{others}");
        // A replica that gives no sign of life is not asked again.
        let later = now + ms(300);
        let hedge = replicas
            .choose(Choice::hedge(primary.id().mask()), later)
            .unwrap();
        assert_ne!(hedge.id(), primary.id());
    }
}

#[test]
fn hedges_are_never_probes() {
    let mut service = Service::<3>::warm(Replicas::all());
    service.requests(1_000, ms(2), |index| {
        (ms(if index == 1 { 100 } else { 10 }), Answered)
    });
    for _ in 0..1_000 {
        let hedge = service
            .replicas
            .choose(Choice::hedge(0b001), service.now)
            .unwrap();
        assert!(!hedge.is_probe());
        assert_eq!(hedge.id().index(), 2);
        service
            .replicas
            .report(&hedge, Answered, service.now + ms(10));
    }
}

#[test]
fn if_all_are_suspect_one_is_chosen_all_the_same() {
    let mut service = Service::<3>::warm(Replicas::all());
    for end in [Failed, Cancelled] {
        service.requests(1_000, ms(2), |_| (ms(3_000), end));
    }
    // If no replica had been chosen, `requests` would have panicked.
    let least = service.given.iter().min().unwrap();
    assert!(*least > 200, "{:?}", service.given);
}
