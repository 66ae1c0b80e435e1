//! Weights, quantiles and estimates.

use super::buckets::{PER_OCTAVE, edge};
use super::*;

const MS: u64 = 1_000_000;

#[test]
fn every_latency_lies_within_its_bucket() {
    let mut nanos = 0_u64;
    while nanos < edge(BUCKETS) {
        let bucket = bucket_of(nanos);
        assert!(edge(bucket) <= nanos && nanos < edge(bucket + 1), "{nanos}");
        nanos += nanos / 100 + 1;
    }
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    // The buckets cover 9.7 hours.
    assert!(edge(BUCKETS) / 1_000_000_000 > 35_000);
    for bucket in 0..BUCKETS {
        assert_eq!(bucket_of(edge(bucket)), bucket);
    }
    for bucket in PER_OCTAVE..BUCKETS {
        let width = edge(bucket + 1) - edge(bucket);
        assert!(width * 16 <= edge(bucket), "{bucket}");
    }
}

#[test]
fn a_quantile_is_the_latency_that_so_many_exceed() {
    for scale in [1, 1_000, MS, 1000 * MS] {
        let mut histogram = ForgettingHistogram::new();
        (0..1000).for_each(|n| histogram.add_finished(scale * 10_000 + n * scale * 10));
        for percent in [50.0, 90.0, 95.0, 99.0] {
            let found = histogram.quantiles().of_all(Share::above(percent)) as f64;
            let expected = scale as f64 * (10_000.0 + 100.0 * percent);
            let off = found / expected - 1.0;
            // The highest bucket is not full.
            assert!(off.abs() < 0.02, "{scale} {percent}: {found} {expected}");
        }
    }
}

/// In a bucket of an exponential tail, most samples are in the lower half.
#[test]
fn interpolation_follows_the_slope() {
    let mut histogram = ForgettingHistogram::new();
    let latency = |n: u32| -100e6 * libm::log((f64::from(n) + 0.5) / 15_000.0);
    (0..15_000).for_each(|n| histogram.add_finished(latency(n) as u64));
    for percent in [90.0, 93.0, 95.0, 97.0, 99.0] {
        let found = histogram.quantiles().of_all(Share::above(percent)) as f64;
        let share = 100.0 * libm::exp(-found / 100e6);
        let off = share / (100.0 - percent) - 1.0;
        assert!(off.abs() < 0.01, "{percent}: {off}");
    }
}

#[test]
fn dropped_attempts_count_but_not_as_finished() {
    let mut histogram = ForgettingHistogram::new();
    (0..90).for_each(|_| histogram.add_finished(10 * MS));
    (0..10).for_each(|_| histogram.add_dropped(400 * MS));
    assert_eq!((histogram.samples(), histogram.dropped()), (100, 10));
    let all = histogram.quantiles().of_all(Share::above(95.0));
    assert!((350 * MS..450 * MS).contains(&all), "{all}");
    let finished = histogram.quantiles().of_finished(Share::above(99.0));
    assert!((10 * MS..11 * MS).contains(&finished), "{finished}");
    let dropped_only = {
        let mut histogram = ForgettingHistogram::new();
        histogram.add_dropped(5);
        histogram.quantiles().of_finished(Share::HALF)
    };
    assert_eq!(dropped_only, u64::MAX);
}

#[test]
fn an_empty_histogram_and_what_is_out_of_range() {
    let mut histogram = ForgettingHistogram::new();
    assert_eq!(histogram.quantiles().of_all(Share::HALF), 0);
    assert_eq!(histogram.wins_after(0), 0.0);
    histogram.add_finished(u64::MAX);
    assert_eq!(histogram.quantiles().of_all(Share::HALF), u64::MAX);
}

/// Sparse buckets fade as fast as full ones.
#[test]
fn halving_keeps_the_shape() {
    let mut histogram = ForgettingHistogram::new();
    (0..6000).for_each(|_| histogram.add_finished(10 * MS));
    // Put one sample into each of 300 buckets.
    for bucket in bucket_of(20 * MS)..bucket_of(20 * MS) + 300 {
        histogram.add_finished(edge(bucket));
    }
    for round in 0..6 {
        let tail = 300.0 / 6300.0;
        let above: u64 = (bucket_of(20 * MS)..BUCKETS)
            .map(|bucket| histogram.weight(bucket))
            .sum();
        let found = above as f64 / f64::from(histogram.total);
        assert!((found / tail - 1.0).abs() < 0.2, "{round}: {found}");
        histogram.halve();
    }
    (0..20).for_each(|_| histogram.halve());
    assert_eq!(histogram.samples(), 0);
}

#[test]
fn counts_saturate() {
    let mut histogram = ForgettingHistogram::new();
    (0..100_000).for_each(|_| histogram.add_finished(10 * MS));
    (0..100_000).for_each(|_| histogram.add_dropped(10 * MS));
    assert!(histogram.samples() > 16_000);
    let sum: u32 = histogram.rows().map(|row| row.weight(Which::All)).sum();
    assert_eq!(sum, histogram.total);
    assert!((8 * MS..11 * MS).contains(&histogram.quantiles().of_all(Share::HALF)));
}

#[test]
fn hedges_win_as_often_as_two_draws_say() {
    let mut histogram = ForgettingHistogram::new();
    (0..970).for_each(|_| histogram.add_finished(10 * MS));
    (0..30).for_each(|_| histogram.add_finished(400 * MS));
    assert_eq!(histogram.wins_after(20 * MS), 0.97);
    // A hedge this late never wins.
    assert_eq!(histogram.wins_after(395 * MS), 0.0);
    // The exponential distribution has no memory, so half of the hedges win.
    let mut histogram = ForgettingHistogram::new();
    let latency = |n: u32| -100e6 * libm::log((f64::from(n) + 0.5) / 4000.0);
    (0..4000).for_each(|n| histogram.add_finished(latency(n) as u64));
    let wins = histogram.wins_after(250 * MS);
    assert!((0.47..0.53).contains(&wins), "{wins}");
}

#[test]
fn it_is_small_and_can_be_a_static() {
    static EMPTY: ForgettingHistogram = ForgettingHistogram::new();
    assert_eq!(EMPTY.samples(), 0);
    assert!(size_of::<ForgettingHistogram>() <= 1400);
}

#[test]
fn shares_are_clamped() {
    let bits = |percent| Share::above(percent).bits();
    assert_eq!(bits(50.0), 1 << 31);
    assert_eq!(bits(0.0), 1 << 31);
    assert_eq!(bits(f64::NAN), bits(99.9));
    assert_eq!(bits(100.0), bits(99.9));
    assert!(bits(99.9).abs_diff(4_294_967) <= 1);
}
