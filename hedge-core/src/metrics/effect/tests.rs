use core::time::Duration;
use std::string::ToString;
use std::vec::Vec;

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use crate::attempt::Cause;
use crate::metrics::{Group, Metrics, Recorder};
use crate::record::{Record, RequestEnd, Sample};
use crate::time::Instant;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn control(millis: u64) -> Record {
    let record = Record::new(Sample::Finished(ms(millis))).with_due(true);
    record.drawn()
}

fn hedged(millis: u64) -> Record {
    let hedge = Sample::Finished(ms(1));
    control(millis)
        .with_hedge(Cause::Delay, ms(1), hedge)
        .ended(RequestEnd::Won(1), ms(millis))
}

fn of(records: impl IntoIterator<Item = Record>) -> Metrics {
    let mut metrics = Metrics::new();
    records
        .into_iter()
        .for_each(|record| metrics.record(&record));
    metrics
}

#[test]
fn a_request_is_in_the_group_of_its_delay_hedge() {
    let retried = control(9).with_hedge(Cause::Retry, ms(1), Sample::Finished(ms(1)));
    assert_eq!(control(9).group(), Some(Group::Control));
    assert_eq!(retried.group(), Some(Group::Control));
    assert_eq!((retried.retries(), retried.is_retry(0)), (1, false));
    assert_eq!(hedged(9).group(), Some(Group::Hedged));
    let both = retried.with_attempts(3);
    assert_eq!(both.group(), Some(Group::Hedged));
    assert_eq!(Record::new(Sample::Finished(ms(9))).group(), None);
}

#[test]
fn too_few_requests_show_nothing() {
    let many = |group: fn(u64) -> Record, count| (0..count).map(move |n| group(10 + n));
    let effect = |controls, hedges| {
        let metrics = of(many(control, controls).chain(many(hedged, hedges)));
        metrics.snapshot(Instant::ZERO).effect().is_some()
    };
    assert!(!effect(29, 100) && !effect(100, 29) && effect(30, 30));
}

#[test]
fn groups_of_shards_are_those_of_one() {
    let records: Vec<_> = (1..200)
        .map(|n| {
            if n % 3 == 0 {
                control(n)
            } else {
                hedged(n * n)
            }
        })
        .collect();
    let mut shards = of(records.iter().copied().step_by(2));
    shards.merge(&of(records.iter().copied().skip(1).step_by(2)));
    assert_eq!(shards, of(records));
}

/// Returns metrics in which the control group takes 1 to 1000 ms, and the hedged group half of that.
fn halved() -> Metrics {
    of((1..=1000).flat_map(|n| [control(n), hedged(n.div_ceil(2))]))
}

#[test]
fn differences_have_the_intervals_of_the_textbook() {
    let snapshot = halved().snapshot(Instant::ZERO);
    let effect = snapshot.effect().unwrap();
    assert_eq!(effect.requests(), (1000, 1000));
    let mean = effect.mean();
    assert!((mean.value - 0.25).abs() < 1e-12, "{mean:?}");
    // The variances of these uniform distributions are (1000² - 1) / 12 and about a quarter of that, in ms².
    let welch = 1.9611 * (1001.0 * 1000.0 / 12.0 / 999.0 * 1000.0_f64 * 1.25 / 1000.0).sqrt() / 1e3;
    assert!(
        ((mean.high - mean.value) / welch - 1.0).abs() < 1e-3,
        "{mean:?} {welch}"
    );
    let (p50, p99) = (effect.p50().unwrap(), effect.p99().unwrap());
    assert!(
        p50.contains(0.250) && p99.contains(0.495),
        "{p50:?} {p99:?}"
    );
    assert!(p50.low > 0.15 && p50.high < 0.35, "{p50:?}");
    // 40 % of one group take up to 400 ms, and 80 % of the other.
    let within = effect.within(ms(400));
    assert!((within.value - 0.4).abs() < 0.02 && within.low > 0.33 && within.high < 0.47);
    assert_eq!(effect.answered().value, 0.0);
}

#[test]
fn what_fails_has_no_quantile_and_is_not_within() {
    let failed = |record: Record| record.ended(RequestEnd::Failed(0), ms(1));
    let controls = (0..100).map(|n| {
        if n < 60 {
            failed(control(1))
        } else {
            control(10)
        }
    });
    let snapshot = of(controls.chain((0..100).map(|_| hedged(10)))).snapshot(Instant::ZERO);
    let effect = snapshot.effect().unwrap();
    assert_eq!(effect.p50(), None);
    assert!(effect.quantile(0.2).unwrap().value.abs() < 1e-3);
    assert!((effect.answered().value - 0.6).abs() < 1e-12);
    assert!((effect.within(ms(20)).value - 0.6).abs() < 1e-12);
}

#[test]
fn the_line_says_what_is_known() {
    let line = |records: Vec<Record>| {
        of(records)
            .snapshot(Instant::ZERO)
            .effect()
            .unwrap()
            .to_string()
    };
    let many = |of: fn(u64) -> Record, millis| (0..100).map(move |n: u64| of(millis + n));
    let faster = line(many(control, 900).chain(many(hedged, 80)).collect());
    assert_eq!(
        faster,
        "hedged 820 ms faster, 812 to 828; P99 of these 986 ms → 178 ms; 50.0 % more requests"
    );
    let slower = line(many(control, 80).chain(many(hedged, 3000)).collect());
    assert_eq!(
        slower,
        "hedged 2.9 s slower, 2.9 to 2.9; P99 of these 178 ms → 3.1 s; 50.0 % more requests"
    );
    let same = line(
        many(control, 80)
            .chain(many(hedged, 81))
            .take(150)
            .collect(),
    );
    assert!(same.starts_with("hedged 24 ms faster"), "{same}");
    let same = line(many(control, 80).chain(many(hedged, 81)).collect());
    assert!(
        same.starts_with("no effect shows: hedged 1.0 ms slower, -7.1 to 9.1;"),
        "{same}"
    );
}

#[test]
fn approximations_are_near() {
    for freedom in [29.0, 58.0, 1000.0] {
        let exact = StudentsT::new(0.0, 1.0, freedom)
            .unwrap()
            .inverse_cdf(0.975);
        assert!((super::on::student(freedom) / exact - 1.0).abs() < 1e-3);
    }
    // With enough values, the interval contains the quantile at least 94 times in 100.
    for (n, q) in [(30_u64, 0.5), (500, 0.5), (500, 0.99), (5000, 0.99)] {
        let below = Binomial::new(q, n).unwrap();
        let spread = 1.959_964 * (n as f64 * q * (1.0 - q)).sqrt();
        let low = (n as f64 * q - spread).floor() as u64;
        let high = (n as f64 * q + spread).ceil() as u64 + 1;
        let covered = below.cdf(high - 1) - below.cdf(low - 1);
        assert!(covered > 0.94, "{n} {q}: {covered}");
    }
}
