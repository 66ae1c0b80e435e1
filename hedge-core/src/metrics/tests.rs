use core::time::Duration;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::record::Sample;

#[test]
fn empty() {
    assert_eq!(
        Metrics::new().snapshot(Instant::MAX),
        MetricsSnapshot::default(),
        "no rate is NaN, no clock runs before it was started"
    );
    let mut metrics = Metrics::new();
    metrics.reset(at(3));
    let snapshot = metrics.snapshot(at(5));
    assert_eq!(snapshot.uptime, Duration::from_secs(2));
    assert_eq!(snapshot.requests_per_second, 0.0);
    assert_eq!(metrics.snapshot(at(1)).uptime, Duration::ZERO);
}

#[test]
fn small() {
    assert!(size_of::<Metrics>() <= 4710);
    assert_eq!(size_of::<NoMetrics>(), 0);
}

#[test]
fn every_field() {
    let mut metrics = Metrics::new();
    metrics.reset(at(10));
    for ms in 1..=96 {
        metrics.record(&won(ms).at(at(11)));
    }
    metrics.record(&hedged(200, 2, RequestEnd::Won(1)).with_due(true).at(at(11)));
    metrics.record(&hedged(300, 3, RequestEnd::Failed(0)).at(at(11)));
    metrics.record(&hedged(400, 2, RequestEnd::TimedOut).at(at(11)));
    metrics.record(
        &Record {
            flags: 1,
            suppressed: Some(Suppressed::BudgetRatio),
            ..Record::new(Sample::Dropped(Duration::from_millis(500)))
        }
        .at(at(11)),
    );
    let snapshot = metrics.snapshot(at(14));

    assert_eq!(snapshot.total_requests, 100);
    assert_eq!(snapshot.won, 97);
    assert_eq!(snapshot.failed, 1);
    assert_eq!(snapshot.timed_out, 1);
    assert_eq!(snapshot.cancelled, 1);

    assert_eq!(snapshot.hedged_requests, 3);
    assert_eq!(snapshot.hedge_wins, 1);
    assert_eq!(snapshot.hedges, 4);
    assert_eq!(snapshot.hedges_due, 2);
    assert_eq!(snapshot.hedge_rate, 0.03);
    assert_eq!(snapshot.hedge_win_rate, 1.0 / 3.0);
    assert_eq!(snapshot.hedge_effectiveness, 0.01);
    for reason in Suppressed::ALL {
        let expected = match reason {
            Suppressed::NotDue => 96,
            Suppressed::BudgetRatio => 1,
            _ => 0,
        };
        assert_eq!(snapshot.refused(reason), expected, "{reason}");
    }

    // Only won requests count as samples: 1 to 96 ms, and 200 ms.
    assert_eq!(snapshot.sample_count, 97);
    assert_eq!(snapshot.min_latency, Some(Duration::from_millis(1)));
    assert_eq!(snapshot.max_latency, Some(Duration::from_millis(200)));
    assert_eq!(
        snapshot.mean_latency,
        Some(Duration::from_millis(4856) / 97)
    );

    assert_eq!(snapshot.total_cost, 104.0);
    assert_eq!(snapshot.avg_cost, 1.04);
    assert_eq!(snapshot.cost_overhead, 4.0);
    assert_eq!(snapshot.uptime, Duration::from_secs(4));
    assert_eq!(snapshot.requests_per_second, 25.0);
}

#[test]
fn quantiles_are_what_their_names_say() {
    let mut metrics = Metrics::new();
    // Each value is 1 % above the one before, so that no two of these ranks are within the
    // tolerance.
    for rank in 1..1000 {
        let latency = Duration::from_secs_f64(1e-5 * 1.01f64.powi(rank));
        metrics.record(&Record::new(Sample::Finished(latency)).at(at(0)));
    }
    metrics.record(&won(10_000).at(at(0)));
    let s = metrics.snapshot(at(0));
    for (latency, rank) in [
        (s.median_latency, 500),
        (s.p50_latency, 500),
        (s.p75_latency, 750),
        (s.p90_latency, 900),
        (s.p95_latency, 950),
        (s.p99_latency, 990),
        (s.p999_latency, 999),
    ] {
        let relative = latency.unwrap().as_secs_f64() / (1e-5 * 1.01f64.powi(rank));
        assert!((relative - 1.0).abs() < 0.032, "{rank}: {relative}");
    }
}

#[test]
fn overhead_is_relative_to_what_an_attempt_costs() {
    let mut metrics = Metrics::new();
    for i in 0..100 {
        let attempts = if i % 10 == 0 { 3 } else { 1 };
        let cost = 0.03 * f64::from(attempts);
        metrics.record(&Record {
            cost,
            ..hedged(1, attempts, RequestEnd::Won(0))
        });
    }
    let snapshot = metrics.snapshot(at(0));
    assert!((snapshot.total_cost - 3.6).abs() < 1e-9);
    assert!((snapshot.avg_cost - 0.036).abs() < 1e-9);
    assert!((snapshot.cost_overhead - 20.0).abs() < 1e-9);
}

#[test]
fn a_cost_that_is_no_number_is_left_out() {
    let mut metrics = Metrics::new();
    for cost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0] {
        metrics.record(&Record { cost, ..won(1) });
    }
    assert_eq!(metrics.snapshot(at(0)).total_cost, 2.0);
    // There is no overhead to compute for free attempts, or if the sums overflow.
    for cost in [0.0, f64::MAX] {
        let mut metrics = Metrics::new();
        for _ in 0..3 {
            metrics.record(&Record {
                cost,
                ..hedged(1, 2, RequestEnd::Won(0))
            });
        }
        let snapshot = metrics.snapshot(at(0));
        assert_eq!(snapshot.cost_overhead, 0.0);
        assert!(snapshot.avg_cost.is_finite());
    }
}

#[test]
fn uptime_counts_from_the_first_request_if_nothing_else_said_when() {
    let mut metrics = Metrics::new();
    metrics.record(&won(1).at(at(7)));
    metrics.record(&won(1).at(at(9)));
    assert_eq!(metrics.snapshot(at(9)).uptime, Duration::from_secs(2));
    metrics.reset(at(20));
    assert_eq!(metrics.snapshot(at(21)).uptime, Duration::from_secs(1));
    assert_eq!(metrics.snapshot(at(21)).total_requests, 0);
}

#[test]
fn any_snapshot_prints_in_columns() {
    let mut metrics = Metrics::new();
    metrics.reset(Instant::ZERO);
    for lines in [6, 7] {
        let table = metrics.snapshot(at(1_000_000)).to_string();
        assert_eq!(table.lines().count(), lines, "{table}");
        for pair in table.lines().collect::<Vec<_>>().chunks_exact(2) {
            let widths = [0, 1].map(|i| pair[i].chars().count());
            assert!(widths[0] == widths[1] && widths[0] <= 80, "{table}");
        }
        metrics.record(&won(999).at(at(1)));
    }
    let mut vast = metrics.snapshot(Instant::MAX);
    vast.total_requests = u64::MAX;
    vast.total_cost = f64::INFINITY;
    vast.avg_cost = f64::NAN;
    vast.max_latency = Some(Duration::MAX);
    assert!(vast.to_string().contains("18446744073709551615"));
}

proptest! {
    #[test]
    fn shards_merge_into_the_whole(
        requests in prop::collection::vec((report(), 0..4usize), 0..200),
        reset: bool,
    ) {
        let mut whole = Metrics::new();
        let mut shards = [const { Metrics::new() }; 4];
        if reset {
            whole.reset(at(1));
            shards.iter_mut().for_each(|shard| shard.reset(at(1)));
        }
        for (second, (report, shard)) in (2..).zip(requests) {
            whole.record(&report.at(at(second)));
            shards[shard].record(&report.at(at(second)));
        }
        let mut merged = Metrics::new();
        shards.iter().for_each(|shard| merged.merge(shard));
        prop_assert_eq!(merged.snapshot(at(300)), whole.snapshot(at(300)));
        prop_assert_eq!(merged, whole);
    }

    #[test]
    fn a_batch_counts_as_its_records_would_one_by_one(
        batches in prop::collection::vec(prop::collection::vec(prop_oneof![4 => single(), 1 => report()], 0..40), 0..5),
    ) {
        let mut together = Metrics::new();
        let mut one_by_one = Metrics::new();
        for batch in batches {
            together.record_batch(&batch);
            for record in batch {
                one_by_one.record(&record);
            }
        }
        prop_assert_eq!(together, one_by_one);
    }

    #[test]
    fn every_request_is_counted_once(reports in prop::collection::vec(report(), 0..200)) {
        let mut metrics = Metrics::new();
        reports.iter().for_each(|report| metrics.record(report));
        let s = metrics.snapshot(at(0));
        let refused: u64 = Suppressed::ALL.map(|reason| s.refused(reason)).iter().sum();
        let attempts: u64 = reports.iter().map(|report| u64::from(report.attempts)).sum();
        prop_assert_eq!(s.total_requests, reports.len() as u64);
        prop_assert_eq!(s.won + s.failed + s.timed_out + s.cancelled, s.total_requests);
        prop_assert_eq!(s.sample_count, s.won);
        prop_assert_eq!(s.hedged_requests + refused, s.total_requests);
        prop_assert_eq!(s.hedges + s.total_requests, attempts);
        prop_assert!(s.hedge_wins <= s.hedged_requests && s.hedged_requests <= s.hedges);
        let rates = [s.hedge_rate, s.hedge_win_rate, s.hedge_effectiveness];
        prop_assert!(rates.iter().all(|rate| (0.0..=1.0).contains(rate)));
    }
}

fn at(secs: u64) -> Instant {
    Instant::from_epoch(Duration::from_secs(secs))
}

fn won(ms: u64) -> Record {
    Record::new(Sample::Finished(Duration::from_millis(ms)))
}

/// Returns the record of a request with `attempts` attempts, 1 or more, that cost one unit each.
fn hedged(ms: u64, attempts: u8, end: RequestEnd) -> Record {
    Record {
        end,
        attempts,
        suppressed: (attempts == 1).then_some(Suppressed::NotDue),
        cost: attempts.into(),
        ..won(ms)
    }
}

/// Generates records of requests with one attempt. Some costs are not finite, and some latencies
/// overflow the sums.
fn single() -> impl Strategy<Value = Record> {
    let ends = vec![
        RequestEnd::Won(0),
        RequestEnd::Failed(0),
        RequestEnd::TimedOut,
        RequestEnd::Dropped,
    ];
    let total = prop_oneof![4 => 0..10_000_000_000_u64, 1 => Just(u64::MAX)];
    let suppressed = prop_oneof![
        4 => Just(Suppressed::NotDue),
        1 => prop::sample::select(Suppressed::ALL.to_vec()),
    ];
    let cost = prop_oneof![4 => 0.0..1e9, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    let end = prop_oneof![2 => Just(RequestEnd::Won(0)), 1 => prop::sample::select(ends)];
    let now = (0..1000_u64).prop_map(at);
    (end, total, any::<bool>(), suppressed, cost, now).prop_map(
        |(end, total, due, suppressed, cost, now)| Record {
            end,
            total,
            flags: due.into(),
            suppressed: Some(suppressed),
            cost,
            ..won(1).at(now)
        },
    )
}

/// Generates records of all kinds. The costs have sums that are exact in any order.
fn report() -> impl Strategy<Value = Record> {
    (
        0..100_000u64,
        1..=4u8,
        0..7u8,
        any::<bool>(),
        0..Suppressed::ALL.len(),
    )
        .prop_map(|(ms, attempts, end, due, reason)| {
            let end = match end {
                0 => RequestEnd::Failed(0),
                1 => RequestEnd::TimedOut,
                2 => RequestEnd::Dropped,
                winner => RequestEnd::Won((winner - 3) % attempts),
            };
            let report = hedged(ms, attempts, end);
            let suppressed = report.suppressed.map(|_| Suppressed::ALL[reason]);
            // These costs are divisible by every possible number of attempts.
            Record {
                flags: due.into(),
                suppressed,
                cost: 12.0 * f64::from(attempts),
                ..report
            }
        })
}
