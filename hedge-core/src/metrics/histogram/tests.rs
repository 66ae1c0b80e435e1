use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Half a bucket is at most 1/32 of its lower bound.
const TOLERANCE: f64 = 0.032;
const QUANTILES: [f64; 8] = [0.5, 0.6, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999];

#[test]
fn buckets_are_seamless_and_narrow() {
    let mut end = 0;
    for i in 0..BUCKETS {
        let (lower, upper) = bounds(i);
        assert_eq!(lower, end, "bucket {i} begins where the one before ends");
        assert_eq!(index(lower + 1), i);
        assert_eq!(index(upper), i);
        for value in [lower + 1, upper] {
            let error = middle(i).abs_diff(value);
            let relative = error as f64 / value as f64;
            assert!(error <= 32 || relative <= TOLERANCE, "{value}: {relative}");
            assert!(
                value < 1_000 || relative <= TOLERANCE,
                "{value}: {relative}"
            );
        }
        end = upper;
    }
    assert!(Duration::from_nanos(end) > Duration::from_secs(2 * 60 * 60));
    assert_eq!(index(0), 0);
    assert_eq!(index(end + 1), LAST);
    assert_eq!(index(u64::MAX), LAST);
}

#[test]
fn empty() {
    let empty = Histogram::new();
    assert_eq!(empty.count(), 0);
    assert_eq!(empty.sum(), Duration::ZERO);
    assert_eq!(empty.min(), None);
    assert_eq!(empty.max(), None);
    assert_eq!(empty.mean(), None);
    assert_eq!(empty.quantile(0.5), None);
    assert_eq!(empty.buckets().count(), 0);
}

#[test]
fn any_duration_is_counted() {
    let mut all = Histogram::new();
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    for value in [Duration::ZERO, hours(3), hours(5), Duration::MAX] {
        all.record(value);
    }
    assert_eq!(all.count(), 4);
    assert_eq!(all.min(), Some(Duration::ZERO));
    let longest = Duration::from_nanos(u64::MAX);
    assert_eq!(all.max(), Some(longest));
    assert_eq!(all.sum(), hours(8) + longest);
    assert_eq!(all.mean(), Some((hours(8) + longest) / 4));
    // Values out of range are only known to be in the last bucket.
    let last = Duration::from_nanos(middle(LAST));
    assert_eq!(all.quantile(0.75), Some(last));
    let buckets: Vec<_> = all.buckets().collect();
    assert_eq!(buckets, [(Duration::from_nanos(64), 1), (Duration::MAX, 3)]);
}

#[test]
fn any_quantile_is_answered() {
    let mut two = Histogram::new();
    let (short, long) = (Duration::from_millis(10), Duration::from_millis(20));
    two.record(long);
    two.record(short);
    for q in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 0.25, 0.5] {
        assert_eq!(two.quantile(q), Some(short), "{q}");
    }
    for q in [0.500_001, 1.0, 2.0, f64::INFINITY] {
        assert_eq!(two.quantile(q), Some(long), "{q}");
    }
    assert_eq!(two.quantiles([0.9, 0.1]), Some([long, short]));
}

#[test]
fn quantiles_stay_between_the_smallest_and_the_largest() {
    let mut same = Histogram::new();
    for _ in 0..3 {
        same.record(Duration::from_nanos(1_025));
    }
    // The result is not the middle of the bucket, which is 1056.
    assert_eq!(same.quantile(0.5), Some(Duration::from_nanos(1_025)));
}

#[test]
fn counters_saturate() {
    let mut full = Histogram::new();
    full.record(Duration::MAX);
    full.count = u64::MAX;
    full.sum = u128::MAX;
    full.buckets = [u64::MAX; BUCKETS];
    let copy = full.clone();
    full.merge(&copy);
    assert_eq!(full, copy);
    full.record(Duration::MAX);
    assert_eq!(full, copy);
    assert_eq!(full.sum(), Duration::MAX);
    assert_eq!(full.mean(), full.max());
    assert!(full.quantile(0.5).is_some());
}

/// The distributions are 96.5 % LN(117 ms, 0.55) + 3.5 % LN(1 s, 0.30), Pareto 10 ms U^(−1/1.1),
/// and one whose tail is so heavy that it ranges from nanoseconds to beyond the histogram's range.
#[test]
fn agrees_with_hdrhistogram_on_heavy_tails() {
    let lognormal = |median: f64, sigma: f64, uniform: &mut Uniform| {
        let radius = libm::sqrt(-2.0 * libm::log(uniform.next()));
        let normal = radius * libm::cos(core::f64::consts::TAU * uniform.next());
        median * libm::exp(sigma * normal)
    };
    type Draw<'a> = &'a dyn Fn(&mut Uniform) -> f64;
    let draws: [Draw<'_>; 3] = [
        &|u| match u.next() < 0.965 {
            true => lognormal(0.117, 0.55, u),
            false => lognormal(1.0, 0.30, u),
        },
        &|u| 0.010 * libm::pow(u.next(), -1.0 / 1.1),
        &|u| 1e-6 * libm::pow(u.next(), -3.0),
    ];
    for (which, draw) in draws.into_iter().enumerate() {
        for seed in 1..=5 {
            let mut uniform = Uniform(seed);
            let values: Vec<_> = (0..20_000)
                .map(|_| Duration::try_from_secs_f64(draw(&mut uniform)).unwrap_or(Duration::MAX))
                .collect();
            assert_agrees_with_hdrhistogram(&values, std::format!("draw {which}, seed {seed}"));
        }
    }
}

proptest! {
    #[test]
    fn a_longer_duration_is_never_in_an_earlier_bucket(a: u64, b: u64) {
        prop_assert!(index(a.min(b)) <= index(a.max(b)));
    }

    #[test]
    fn a_duration_is_within_its_bucket(value in anything().prop_map(nanos)) {
        let (lower, upper) = bounds(index(value));
        prop_assert!(lower < value || value == 0);
        prop_assert!(value <= upper || index(value) == LAST);
    }

    #[test]
    fn agrees_with_hdrhistogram(values in prop::collection::vec(anything(), 1..300)) {
        assert_agrees_with_hdrhistogram(&values, "");
    }

    #[test]
    fn what_is_exact_is_exact(values in prop::collection::vec(anything(), 1..300)) {
        let histogram = of(&values);
        let sum: u128 = values.iter().map(|&value| u128::from(nanos(value))).sum();
        let bounds: Vec<_> = histogram.buckets().map(|(bound, _)| bound).collect();
        prop_assert_eq!(histogram.count(), values.len() as u64);
        prop_assert_eq!(histogram.sum().as_nanos(), sum);
        prop_assert_eq!(histogram.mean().unwrap().as_nanos(), sum / values.len() as u128);
        prop_assert_eq!(histogram.min(), values.iter().min().copied());
        prop_assert_eq!(histogram.max(), values.iter().max().copied());
        prop_assert_eq!(histogram.buckets().map(|(_, count)| count).sum::<u64>(), histogram.count());
        prop_assert!(bounds.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn parts_merge_into_the_whole(values in prop::collection::vec(anything(), 0..300), at: prop::sample::Index) {
        let (left, right) = values.split_at(at.index(values.len() + 1));
        let mut merged = of(left);
        merged.merge(&of(right));
        prop_assert_eq!(&merged, &of(&values));
        merged.reset();
        prop_assert_eq!(merged, Histogram::new());
    }
}

/// Generates durations of every magnitude that the histogram distinguishes, and beyond.
fn anything() -> impl Strategy<Value = Duration> {
    (0..=u64::BITS, any::<u64>())
        .prop_map(|(bits, random)| Duration::from_nanos(random.checked_shr(bits).unwrap_or(0)))
}

fn of(values: &[Duration]) -> Histogram {
    let mut histogram = Histogram::new();
    values.iter().for_each(|&value| histogram.record(value));
    histogram
}

fn assert_agrees_with_hdrhistogram(values: &[Duration], context: impl fmt::Display) {
    let range = 1 << RANGE_BITS;
    let mut reference = hdrhistogram::Histogram::<u64>::new_with_bounds(1, range, 3).unwrap();
    values
        .iter()
        .for_each(|&value| reference.saturating_record(nanos(value)));
    let ours = of(values);
    for (q, value) in QUANTILES
        .into_iter()
        .zip(ours.quantiles(QUANTILES).unwrap())
    {
        assert_eq!(ours.quantile(q), Some(value), "{context}, {q}");
        // The middle of its bucket is within 0.05 %, which fits in the remaining tolerance.
        let reference = reference.median_equivalent(reference.value_at_quantile(q));
        let value = nanos(value);
        let error = value.abs_diff(reference);
        let close = error <= 32 || error as f64 <= TOLERANCE * reference as f64;
        // Out of range, each histogram saturates differently.
        let saturated = index(reference) == LAST && index(value) == LAST;
        assert!(
            close || saturated,
            "{context}, {q}: {value} is not {reference}"
        );
    }
}

/// A uniform distribution on (0, 1] from SplitMix64 (Steele, Lea and Flood, 2014).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11).wrapping_add(1) as f64 / (1u64 << 53) as f64
    }
}
