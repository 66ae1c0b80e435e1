//! Tests of what reports teach.

use super::super::choose::is_hedged_in_time;
use super::super::octaves::{OCTAVE, exp2, exponential, log2};
use super::super::record::{Record, Sample, SampleWeight};
use super::super::table::Shared;
use super::*;

#[test]
fn logarithms_are_close_and_go_back() {
    let mut random = SplitMix(1);
    for _ in 0..10_000 {
        let value = random.next() >> (random.next() % 64);
        let exact = libm::log2(value.max(1) as f64);
        let got = f64::from(log2(value)) / f64::from(OCTAVE);
        assert!((got - exact).abs() < 0.013, "{value}: {got}, not {exact}");
        let back = exp2(log2(value)) as f64 / value.max(1) as f64;
        assert!(
            value < 1000 || (0.98..=1.01).contains(&back),
            "{value}: {back}"
        );
    }
    assert_eq!((log2(0), log2(1), log2(u64::MAX)), (0, 0, 64 * OCTAVE - 1));
}

#[test]
fn random_starts_are_exponential() {
    let mut random = SplitMix(2);
    let draws: Vec<_> = (0..100_000)
        .map(|_| f64::from(exponential(random.next() as u32)) / 4096.0)
        .collect();
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    let above = draws.iter().filter(|draw| **draw > 2.0).count() as f64 / draws.len() as f64;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    assert!((above - 0.135).abs() < 0.01, "{above}");
}

fn after(samples: &[(u16, SampleWeight)]) -> f64 {
    let record = samples
        .iter()
        .fold(Record::NEW, |record, &(latency, weight)| {
            record.learned(Sample { latency, weight }).unwrap_or(record)
        });
    f64::from(record.latency) / f64::from(OCTAVE)
}

#[test]
fn the_first_samples_count_alike_and_later_ones_an_eighth() {
    use SampleWeight::Usual;
    let octaves = |octaves: u16| octaves * OCTAVE;
    assert_eq!(after(&[(octaves(20), Usual)]), 20.0);
    assert_eq!(after(&[(octaves(20), Usual), (octaves(21), Usual)]), 20.5);
    let steady = [(octaves(20), Usual); 20];
    let with = |latency, weight| after(&[&steady[..], &[(latency, weight)]].concat());
    assert_eq!(with(octaves(21), Usual), 20.125);
    assert_eq!(with(octaves(16), Usual), 19.5);
    // A much slower answer counts twice.
    assert_eq!(with(octaves(24), Usual), 21.0);
    assert_eq!(with(octaves(24), SampleWeight::Failure), 21.0);
    assert_eq!(with(octaves(16), SampleWeight::Probe), 18.0);
}

#[test]
fn a_lower_bound_counts_only_if_it_is_news() {
    use SampleWeight::{LowerBound, Usual};
    let bound = |octaves: u16| (octaves * OCTAVE, LowerBound { probe: false });
    let steady = [(20 * OCTAVE, Usual); 20];
    let with = |sample| after(&[&steady[..], &[sample]].concat());
    assert_eq!(after(&[bound(30)]), 0.0);
    assert_eq!(with(bound(19)), 20.0);
    assert_eq!(with(bound(24)), 21.0);
}

/// Its attempts are given up after 25 ms. The others answer in 5 ms.
#[test]
fn a_new_replica_that_never_answers_is_avoided() {
    let mut replicas = Replicas::<16>::all().seed(3);
    let mut now = at(1000);
    let mut primaries = [0; 2];
    for n in 0..4_000 {
        let primary = replicas.choose(Choice::PRIMARY, now).unwrap();
        if primary.id().index() > 0 {
            now = now + ms(5);
            replicas.report(&primary, Answered, now);
            continue;
        }
        primaries[n / 2_000] += 1;
        let hedge = Choice::hedge(primary.id().mask());
        let hedge = replicas.choose(hedge, now + ms(20)).unwrap();
        now = now + ms(25);
        replicas.report(&hedge, Answered, now);
        replicas.report(&primary, Cancelled, now);
    }
    let [first, then] = primaries;
    assert!(first <= 50 && (20..=44).contains(&then), "{primaries:?}");
}

#[test]
fn what_a_new_replica_had_no_time_for_teaches_nothing() {
    let mut replicas = Replicas::<3>::all();
    let given_up_after = |replicas: &mut Replicas<3>, time: u64| {
        let choice = Choice::PRIMARY.among(0b100);
        let chosen = replicas.choose(choice, at(1000)).unwrap();
        replicas.report(&chosen, Cancelled, at(1000 + time));
        replicas.stats(at(2000)).get(2).unwrap().latency
    };
    // If no other replica has answered, there is nothing to compare with.
    assert_eq!(given_up_after(&mut replicas, 900), None);
    for _ in 0..5 {
        let chosen = replicas
            .choose(Choice::PRIMARY.among(0b011), at(10))
            .unwrap();
        replicas.report(&chosen, Answered, at(20));
    }
    assert_eq!(given_up_after(&mut replicas, 0), None);
    assert_eq!(given_up_after(&mut replicas, 4), None);
    // Four times 40 ms, half-way from 10.
    let latency = given_up_after(&mut replicas, 40).unwrap();
    assert!((ms(38)..ms(42)).contains(&latency), "{latency:?}");
}

#[test]
fn failures_count_relative_to_what_is_typical() {
    let mut replicas = Replicas::<2>::all();
    let mut now = teach(&mut replicas, 20, |_| ms(10));
    for _ in 0..30 {
        let chosen = replicas.choose(Choice::PRIMARY.among(0b01), now).unwrap();
        now = now + ms(1);
        replicas.report(&chosen, Failed, now);
    }
    let latency = replicas.stats(now).get(0).unwrap().latency.unwrap();
    let ratio = latency.as_secs_f64() / 0.010;
    assert!((14.0..17.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_timeout_is_a_failure_of_who_had_time_to_answer() {
    // The latency after an attempt that lasted `time` ms.
    let after = |time: u64, end| {
        let mut replicas = Replicas::<2>::all();
        let now = teach(&mut replicas, 20, |_| ms(10));
        let chosen = replicas.choose(Choice::PRIMARY.among(0b01), now).unwrap();
        replicas.report(&chosen, end, now + ms(time));
        replicas.stats(now).get(0).unwrap().latency.unwrap()
    };
    let before = after(0, Cancelled);
    assert_eq!(after(1, TimedOut), before);
    assert_eq!(after(18, TimedOut), after(18, Cancelled));
    assert_eq!(after(22, TimedOut), after(22, Failed));
    assert_ne!(after(22, Failed), after(22, Cancelled));
}

#[test]
fn before_any_answer_every_timeout_is_a_failure() {
    let mut replicas = Replicas::<2>::all();
    let chosen = replicas.choose(Choice::PRIMARY, at(5)).unwrap();
    replicas.report(&chosen, TimedOut, at(8));
    let stats = replicas.stats(at(8));
    let latency = stats.get(chosen.id().index()).unwrap().latency.unwrap();
    assert!(latency > ms(30), "{stats}");
}

#[test]
fn silence_counts_before_any_answer() {
    let mut replicas = Replicas::<2>::all();
    let now = teach(&mut replicas, 20, |_| ms(10));
    let stuck = replicas.choose(Choice::PRIMARY.among(0b01), now).unwrap();
    // Both replicas are equally fast, so the idle one is chosen.
    let later = now + ms(100);
    let stats = replicas.stats(later);
    let silence = stats.get(0).unwrap().silence;
    assert!((ms(97)..=ms(102)).contains(&silence), "{silence:?}");
    let mut chosen = Vec::new();
    for _ in 0..3 {
        let one = replicas.choose(Choice::PRIMARY, later).unwrap();
        assert_eq!(one.id().index(), 1);
        chosen.push(one);
    }
    // An answer ends the suspicion; a cancelled attempt does not.
    let other = replicas.choose(Choice::PRIMARY.among(0b01), later).unwrap();
    replicas.report(&other, Cancelled, later);
    assert!(replicas.stats(later).get(0).unwrap().silence > ms(95));
    let other = replicas.choose(Choice::PRIMARY.among(0b01), later).unwrap();
    replicas.report(&stuck, Answered, later);
    assert_eq!(
        replicas.stats(later).get(0).unwrap().silence,
        Duration::ZERO
    );
    replicas.report(&other, Answered, later);
}

#[test]
fn one_attempt_that_hangs_says_nothing_once_others_are_answered() {
    let mut replicas = Replicas::<2>::all();
    let mut now = teach(&mut replicas, 20, |_| ms(10));
    let hangs = replicas.choose(Choice::PRIMARY.among(0b01), now).unwrap();
    // A request a second, each answered in 10 ms, and the other replica refuses them from the middle on.
    let (mut share, mut refused) = ([0; 2], 0);
    for n in 0..2_000 {
        now = now + ms(990);
        let chosen = replicas.choose(Choice::PRIMARY, now).unwrap();
        let index = chosen.id().index();
        let refuses = n >= 1_000 && index == 1;
        share[index] += 1;
        refused += u32::from(refuses);
        now = now + ms(10);
        replicas.report(&chosen, if refuses { Failed } else { Answered }, now);
    }
    // As long as it is silent it is probed, and then it is as good as the other, but for what it has to do.
    assert!(share[0] > 950, "{share:?}");
    assert!(refused <= 40, "{refused}");
    let stats = replicas.stats(now);
    let stats = stats.get(0).unwrap();
    assert!(!stats.is_suspect && stats.silence.is_zero(), "{stats:?}");
    replicas.report(&hangs, Cancelled, now);
}

#[test]
fn a_replica_that_is_stuck_is_probed_though_it_is_busy() {
    let mut replicas = Replicas::<2>::all();
    let mut now = teach(&mut replicas, 20, |_| ms(10));
    let _hangs = replicas.choose(Choice::PRIMARY.among(0b01), now).unwrap();
    let mut probes = 0;
    for _ in 0..2_000 {
        now = now + ms(100);
        let chosen = replicas.choose(Choice::PRIMARY, now).unwrap();
        let is_first = chosen.id().index() == 0;
        assert_eq!(chosen.is_probe(), is_first);
        probes += u32::from(is_first);
        // A probe is given up when its hedge has answered.
        let end = if is_first { Cancelled } else { Answered };
        replicas.report(&chosen, end, now + ms(10));
    }
    assert!((20..=30).contains(&probes), "{probes}");
}

#[test]
fn before_any_answer_a_probe_has_no_patience() {
    let mut replicas = Replicas::<2>::all();
    let ids: Vec<_> = replicas.stats(at(0)).iter().map(|stats| stats.id).collect();
    for (id, latency) in ids.into_iter().zip([5.0, 80.0]) {
        let options = ReplicaOptions {
            latency_ms: Some(latency),
            ..ReplicaOptions::default()
        };
        assert_eq!(replicas.set_options(id, &options), Ok(true));
    }
    let mut choose = || replicas.choose(Choice::PRIMARY, at(0)).unwrap();
    let probe = (0..200).map(|_| choose()).find(Chosen::is_probe).unwrap();
    assert_eq!((probe.id().index(), probe.patience()), (1, None));
}

#[test]
fn a_clock_that_disagrees_between_threads_makes_nothing_suspect() {
    let mut replicas = Replicas::<2>::all();
    let now = teach(&mut replicas, 20, |_| Duration::from_micros(50));
    let chosen = replicas.choose(Choice::PRIMARY, now).unwrap();
    let earlier = Instant::ZERO + (now.since_epoch() - ms(1));
    let other = replicas.choose(Choice::PRIMARY, earlier).unwrap();
    assert!(
        replicas
            .stats(earlier)
            .iter()
            .all(|replica| replica.silence.is_zero())
    );
    assert!(
        replicas
            .stats(earlier)
            .iter()
            .all(|replica| !replica.is_suspect)
    );
    replicas.report(&chosen, Answered, now);
    replicas.report(&other, Answered, earlier);
}

#[test]
fn a_time_limit_beside_latencies_of_centuries() {
    let shared = Shared {
        typical: u16::MAX,
        p75: u16::MAX,
        since_probe: 0,
    };
    for limit in [0, 1, u64::MAX] {
        assert!(!is_hedged_in_time(shared, limit));
    }
}
