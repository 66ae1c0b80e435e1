//! Failures of other balancers, as tests.

use super::*;

/// tower#134: a new endpoint started with a default latency of one second, and never got a request.
#[test]
fn a_new_replica_is_tried_at_once_and_soon_has_its_share() {
    let mut replicas = Replicas::<4>::empty();
    for _ in 0..3 {
        replicas.add().unwrap();
    }
    let mut service = Service::warm(replicas);
    service.replicas.add().unwrap();
    service.requests(8, ms(20), |_| (ms(10), Answered));
    assert!(service.given[3] > 0, "{:?}", service.given);
    service.requests(200, ms(2), |_| (ms(10), Answered));
    service.forget_counts();
    service.requests(2_000, ms(2), |_| (ms(10), Answered));
    let share = 4.0 * service.share(3);
    assert!((0.85..=1.15).contains(&share), "{share}");
}

/// tower and Finagle: the load of an endpoint decayed whenever it was read.
#[test]
fn neither_looks_nor_idleness_change_what_is_known() {
    let mut replicas = Replicas::<2>::all();
    let now = teach(&mut replicas, 20, |index| ms(10 + 90 * index as u64));
    let before = replicas.stats(now);
    for _ in 0..1_000 {
        let _ = replicas.stats(now + ms(5_000));
        let chosen = replicas.choose(Choice::hedge(0b10), now).unwrap();
        replicas.report(&chosen, Cancelled, now);
    }
    let day = ms(24 * 3_600_000);
    let chosen = replicas.choose(Choice::PRIMARY, now + day).unwrap();
    assert_eq!(chosen.id().index(), 0);
    replicas.report(&chosen, Cancelled, now + day);
    let after = replicas.stats(now + day);
    for index in 0..2 {
        assert_eq!(
            after.get(index).unwrap().latency,
            before.get(index).unwrap().latency
        );
    }
}

/// linkerd2-proxy#4537, ingress-nginx#5540, mosn#2323: a replica that fails at once looks fast and idle.
#[test]
fn a_replica_that_fails_fast_is_no_black_hole() {
    let mut service = Service::<3>::warm(Replicas::all());
    service.requests(10_000, ms(1), |index| {
        if index == 1 {
            (Duration::from_micros(300), Failed)
        } else {
            (ms(10), Answered)
        }
    });
    let share = service.share(1);
    assert!((0.005..=0.022).contains(&share), "{share}");
}

/// A request that fails on every replica makes none worse than the others.
#[test]
fn failures_that_all_share_change_nothing() {
    let mut service = Service::<4>::warm(Replicas::all());
    let mut random = SplitMix(5);
    service.requests(20_000, ms(2), |_| {
        (
            ms(10),
            if random.uniform() < 0.3 {
                Failed
            } else {
                Answered
            },
        )
    });
    for index in 0..4 {
        let share = 4.0 * service.share(index);
        assert!((0.85..=1.15).contains(&share), "{index}: {share}");
    }
}

/// elasticsearch#147579: a node that had just joined got all requests.
#[test]
fn a_new_replica_is_not_flooded() {
    let mut replicas = Replicas::<3>::empty();
    for _ in 0..2 {
        replicas.add().unwrap();
    }
    let mut service = Service::warm(replicas);
    // Both replicas are busy, and the new one is slow.
    service.requests(200, ms(1), |_| (ms(200), Answered));
    service.replicas.add().unwrap();
    service.forget_counts();
    service.requests(300, ms(1), |index| {
        (ms(if index == 2 { 2_000 } else { 200 }), Answered)
    });
    assert_eq!(service.most[2], 1, "{:?}", service.given);
}

/// scylladb#5715, scylla-rust-driver#967: the speculative attempt went to the host of the first.
#[test]
fn a_hedge_never_meets_its_primary_while_another_is_about_as_fast() {
    let mut service = Service::<3>::warm(Replicas::all());
    let mut used = 0;
    for round in 0..3_000 {
        service.requests(1, ms(2), |_| (ms(10), Answered));
        let primary = service.attempts.last().unwrap().0.id();
        used = if round % 3 == 0 { 0 } else { used };
        let mask = used | primary.mask();
        let hedge = service
            .replicas
            .choose(Choice::hedge(mask), service.now)
            .unwrap();
        assert!(mask == 0b111 || mask & hedge.id().mask() == 0, "{mask:b}");
        used = mask | hedge.id().mask();
        service
            .replicas
            .report(&hedge, Cancelled, service.now + ms(1));
    }
}

/// scylladb#3156: hedges made healthy replicas look slow, which caused more hedges.
#[test]
fn losers_that_were_given_up_soon_do_not_look_slow() {
    let mut service = Service::<3>::warm(Replicas::all());
    let before = service.replicas.stats(service.now);
    // Every request is hedged after 1 ms, and every attempt here loses.
    service.requests(3_000, ms(2), |_| (ms(1), Cancelled));
    let after = service.replicas.stats(service.now);
    for index in 0..3 {
        assert_eq!(
            after.get(index).unwrap().latency,
            before.get(index).unwrap().latency
        );
        let share = 3.0 * service.share(index);
        assert!((0.9..=1.1).contains(&share), "{index}: {share}");
    }
}

/// A slow replica is noticed even if all its attempts lose. With naive accounting, hedging would attract traffic to it.
#[test]
fn a_slow_replica_whose_attempts_all_lose_is_noticed() {
    let mut service = Service::<3>::warm(Replicas::all());
    service.requests(5_000, ms(2), |index| {
        if index == 1 {
            (ms(40), Cancelled)
        } else {
            (ms(10), Answered)
        }
    });
    let share = service.share(1);
    assert!(share < 0.03, "{share}");
}

/// envoy#26758: ejections did not grow, or did not end.
#[test]
fn suspicion_grows_and_ends() {
    let mut service = Service::<2>::warm(Replicas::all());
    let slow = |index| (ms(if index == 1 { 200 } else { 10 }), Answered);
    service.requests(60, ms(20), slow);
    // The first probe comes after 32 requests or so, later ones after 64.
    let probes = |service: &Service<2>| service.probes.len();
    assert!(probes(&service) <= 1, "{:?}", service.probes);
    service.forget_counts();
    service.requests(2_000, ms(20), slow);
    assert!(
        (15..=32).contains(&probes(&service)),
        "{:?}",
        service.probes
    );
    service.requests(300, ms(20), |_| (ms(10), Answered));
    let stats = service.replicas.stats(service.now);
    assert!(stats.iter().all(|replica| !replica.is_suspect), "{stats}");
}
