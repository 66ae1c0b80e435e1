use std::vec::Vec;

use proptest::prelude::*;

use super::*;

impl<const N: usize> Window<N> {
    /// Returns the latency that a share `p` of attempts does not exceed.
    fn percentile(&self, p: f64) -> Option<Duration> {
        // NaN becomes 1.
        let below = if p < 1.0 {
            (p * ONE as f64) as u64
        } else {
            ONE
        };
        self.exceeded_by(ONE - below).map(Duration::from_nanos)
    }
}

const N: usize = 40;

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn finished(micros: u64) -> Sample {
    Sample::Finished(us(micros))
}

fn dropped(micros: u64) -> Sample {
    Sample::Dropped(us(micros))
}

fn filled(samples: impl IntoIterator<Item = Sample>) -> Window<N> {
    let mut window = Window::new(N, None);
    for sample in samples {
        window.push(sample, Instant::ZERO);
    }
    window
}

/// Checks the invariants of the window's fields.
fn assert_consistent<const N: usize>(window: &Window<N>) {
    let (len, size) = (window.len(), window.size());
    let place = |k| (usize::from(window.oldest) + k) % size;
    let mut arrived: Vec<Entry> = (0..len).map(|k| window.ring[place(k)]).collect();
    arrived.sort();
    assert_eq!(window.sorted(), arrived);
    let first = arrived.iter().position(|entry| entry.is_censored());
    assert_eq!(usize::from(window.first_censored), first.unwrap_or(len));
}

/// Computes the product-limit estimate as in textbooks: at each time at which an attempt finished, the curve is
/// multiplied by the share of the running attempts that did not.
fn textbook(samples: &[Sample], p: f64) -> Option<Duration> {
    let n = samples.len() as f64;
    let target = (n - p * (n + 1.0)).max(0.0);
    let mut times: Vec<Duration> = samples.iter().map(|sample| sample.elapsed()).collect();
    times.sort();
    times.dedup();
    let count = |f: &dyn Fn(&Sample) -> bool| samples.iter().filter(|s| f(s)).count() as f64;
    let mut surviving = 1.0;
    for &time in &times {
        let events = count(&|&sample| sample == Sample::Finished(time));
        let at_risk = count(&|sample| sample.elapsed() >= time);
        surviving *= 1.0 - events / at_risk;
        if events > 0.0 && surviving * n <= target * (1.0 + 1e-9) {
            return Some(time);
        }
    }
    times.last().copied()
}

fn sample() -> impl Strategy<Value = Sample> {
    // Use few distinct values, so that ties are common.
    prop_oneof![
        3 => (0..60_u64).prop_map(finished),
        1 => (1..60_u64).prop_map(dropped),
        1 => (0..1_000_000_u64).prop_map(finished),
        1 => (1..1_000_000_u64).prop_map(dropped),
    ]
}

/// Generates a sample, or a failure, which the window ignores.
fn any_sample() -> impl Strategy<Value = Sample> {
    let failed = (0..60_u64).prop_map(|micros| Sample::Failed(us(micros)));
    prop_oneof![6 => sample(), 1 => Just(dropped(0)), 1 => failed]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0..=1000_u32).prop_map(|permille| f64::from(permille) / 1000.0),
        prop::sample::select(std::vec![0.5, 0.95, 0.99, 0.999]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_holds_the_last_samples_in_both_orders(
        size in 1..=N,
        samples in prop::collection::vec(sample(), 0..4 * N),
    ) {
        let mut window = Window::<N>::new(size, None);
        for (pushed, &sample) in samples.iter().enumerate() {
            prop_assert!(window.push(sample, Instant::ZERO));
            assert_consistent(&window);
            prop_assert_eq!(window.len(), (pushed + 1).min(size));
        }
        let kept = &samples[samples.len().saturating_sub(size)..];
        let is_censored = |sample: &Sample| matches!(sample, Sample::Dropped(_));
        let mut kept: Vec<_> = kept.iter().map(|s| (s.elapsed(), is_censored(s))).collect();
        kept.sort();
        let held = window.sorted().iter().map(|e| (e.duration(), e.is_censored()));
        let held: Vec<_> = held.collect();
        prop_assert_eq!(held, kept);
    }

    #[test]
    fn a_batch_is_held_as_its_records_would_be_one_by_one(
        size in 1..=N,
        max_age in prop_oneof![Just(None), (1..100_u64).prop_map(|micros| Some(us(micros)))],
        batches in prop::collection::vec(prop::collection::vec((any_sample(), 0..20_u64), 0..N), 0..5),
    ) {
        let mut together = Window::<N>::new(size, max_age);
        let mut one_by_one = together.clone();
        let mut now = Instant::ZERO;
        for batch in batches {
            let batch = batch.into_iter().map(|(sample, later)| {
                now = now + us(later);
                Record::new(sample).at(now)
            });
            let batch: Vec<Record> = batch.collect();
            let added = together.push_batch(&batch);
            let pushed = batch.iter().filter(|record| one_by_one.push(record.primary(), record.ended_at));
            prop_assert_eq!(added, pushed.count());
            assert_consistent(&together);
            prop_assert_eq!(together.sorted(), one_by_one.sorted());
            prop_assert_eq!(together.oldest, one_by_one.oldest);
        }
    }

    #[test]
    fn a_percentile_is_that_of_the_textbook(
        size in 1..=N,
        samples in prop::collection::vec(sample(), 1..3 * N),
        p in share(),
    ) {
        let mut window = Window::<N>::new(size, None);
        for &sample in &samples {
            window.push(sample, Instant::ZERO);
        }
        let kept = &samples[samples.len().saturating_sub(size)..];
        prop_assert_eq!(window.percentile(p), textbook(kept, p));
    }

    #[test]
    fn hedges_win_where_delay_and_latency_are_less_than_what_is_slow(
        samples in prop::collection::vec(sample(), 0..N),
        delay in prop_oneof![0..70_u64, 0..1_000_000_u64],
    ) {
        let window = filled(samples.iter().copied());
        let latencies = || samples.iter().map(|sample| sample.elapsed());
        let slow = || latencies().filter(|&primary| primary > us(delay));
        let wins = slow().map(|primary| latencies().filter(|&hedge| us(delay) + hedge < primary).count());
        let (wins, pairs) = (wins.sum::<usize>(), slow().count() * samples.len());
        let expected = if pairs > 0 { wins as f32 / pairs as f32 } else { 0.0 };
        prop_assert_eq!(window.wins_after(nanos(us(delay))), expected);
    }

    #[test]
    fn samples_leave_between_seven_eighths_of_the_age_and_all_of_it(
        size in 1..=N,
        // Arrival times are in hundredths of the maximum age.
        arrivals in prop::collection::vec((0..40_u64, sample()), 1..4 * N),
        idle in 0..150_u64,
    ) {
        const AGE: Duration = Duration::from_millis(800);
        let mut window = Window::<N>::new(size, Some(AGE));
        let mut now = Instant::from_epoch(Duration::from_secs(7));
        let mut stamps = Vec::new();
        for (wait, sample) in arrivals {
            now = now + AGE / 100 * wait as u32;
            window.push(sample, now);
            stamps.push(now);
            assert_consistent(&window);
        }
        now = now + AGE / 100 * idle as u32;
        let before = window.len();
        prop_assert_eq!(window.expire(now), window.len() < before);
        assert_consistent(&window);
        let younger = |limit| {
            stamps.iter().filter(|&&stamp| now.since(stamp) < limit).count().min(size)
        };
        let possible = younger(AGE / 8 * 7)..=younger(AGE);
        prop_assert!(possible.contains(&window.len()), "{} in {possible:?}", window.len());
        prop_assert!(!window.expire(now));
    }

    #[test]
    fn no_input_is_too_much(
        durations in prop::collection::vec((any::<Duration>(), 0..3_u8), 0..2 * N),
        times in prop::collection::vec(any::<u64>(), 2 * N),
        age in prop::option::of(any::<Duration>()),
        p in any::<f64>(),
    ) {
        let mut window = Window::<N>::new(N, age);
        for ((duration, kind), time) in durations.into_iter().zip(times) {
            let sample = [Sample::Finished, Sample::Failed, Sample::Dropped][usize::from(kind)];
            window.push(sample(duration), Instant::from_epoch(Duration::from_nanos(time)));
            assert_consistent(&window);
            prop_assert_eq!(window.percentile(p).is_some(), window.len() > 0);
        }
        window.expire(Instant::MAX);
        assert_consistent(&window);
    }
}

#[test]
fn without_samples_there_is_no_percentile() {
    assert_eq!(filled([]).percentile(0.5), None);
}

#[test]
fn a_percentile_without_censoring_is_the_sample_of_its_rank() {
    for n in 1..=N as u64 {
        let window = filled((1..=n).rev().map(finished));
        for permille in 0..=1000 {
            let rank = (permille * (n + 1)).div_ceil(1000).clamp(1, n);
            let p = permille as f64 / 1000.0;
            assert_eq!(window.percentile(p), Some(us(rank)), "{p} of {n}");
        }
    }
}

#[test]
fn a_rank_beyond_the_samples_is_the_largest_and_none_is_the_smallest() {
    let window = filled([30, 10, 20].map(finished));
    for p in [0.76, 1.0, 7.0, f64::INFINITY, f64::NAN] {
        assert_eq!(window.percentile(p), Some(us(30)), "{p}");
    }
    for p in [0.25, 0.0, -1.0, f64::NEG_INFINITY] {
        assert_eq!(window.percentile(p), Some(us(10)), "{p}");
    }
    // The latency of a dropped attempt is not a possible result.
    let window = filled([dropped(5), finished(10), finished(20)]);
    for p in [0.0, f64::NEG_INFINITY] {
        assert_eq!(window.percentile(p), Some(us(10)), "{p}");
    }
}

#[test]
fn one_sample_is_every_percentile() {
    for sample in [finished(5), dropped(5)] {
        for p in [0.0, 0.5, 1.0] {
            assert_eq!(filled([sample]).percentile(p), Some(us(5)));
        }
    }
}

#[test]
fn the_largest_bound_stands_in_where_nothing_finished() {
    let window = filled([dropped(5), dropped(9), dropped(7)]);
    assert_eq!(window.percentile(0.5), Some(us(9)));
    assert_eq!(window.censored(), 3);
    // The curve may also stop half-way.
    let window = filled([finished(1), finished(2), dropped(8), dropped(9)]);
    assert_eq!(window.percentile(0.4), Some(us(2)));
    assert_eq!(window.percentile(0.5), Some(us(9)));
}

#[test]
fn a_censored_sample_leaves_its_weight_to_those_above() {
    // Of 6 samples, one was dropped at 25, so that 40, 50 and 60 count 4/3 each.
    let samples = [
        finished(10),
        finished(20),
        dropped(25),
        finished(40),
        finished(50),
        finished(60),
    ];
    let window = filled(samples);
    // The curve is at 4 after 20 and at 4 − 4/3 after 40.
    let target = |left: f64| (6.0 - left) / 7.0;
    assert_eq!(window.percentile(target(4.0)), Some(us(20)));
    assert_eq!(window.percentile(target(3.9)), Some(us(40)));
    assert_eq!(window.percentile(target(8.0 / 3.0)), Some(us(40)));
    assert_eq!(window.percentile(target(2.6)), Some(us(50)));
}

#[test]
fn a_curve_that_gets_exactly_there_but_for_rounding_counts() {
    // Of 15 samples the 7th and the 12th were dropped. The last three count 9/8 · 4/3 = 3/2 each,
    // so that the curve is at 3 above the 13th, and 3 = 15 − 12/16 · 16. But 3 · 8/9 is not exact
    // in binary.
    let samples = |n| {
        if n == 7 || n == 12 {
            dropped(n)
        } else {
            finished(n)
        }
    };
    let window = filled((1..=15).map(samples));
    assert_eq!(window.percentile(12.0 / 16.0), Some(us(13)));
    assert_eq!(window.percentile(12.1 / 16.0), Some(us(14)));
}

#[test]
fn of_equal_latencies_what_finished_comes_first() {
    let window = filled([dropped(10), finished(10), finished(20)]);
    assert_eq!(window.percentile(0.25), Some(us(10)));
    // The dropped attempt would have taken longer than 10, so it counts towards 20.
    assert_eq!(window.percentile(0.3), Some(us(20)));
}

#[test]
fn latencies_are_rounded_up_bounds_down_and_both_saturate() {
    let nanos = Duration::from_nanos;
    assert_eq!(Entry::finished(nanos(1)).duration(), us(1));
    assert_eq!(Entry::finished(nanos(2000)).duration(), us(2));
    assert_eq!(Entry::censored(nanos(2999)).duration(), us(2));
    let longest = us(Entry::MAX_MICROS);
    assert_eq!(Entry::finished(longest + us(1)).duration(), longest);
    assert_eq!(Entry::finished(Duration::MAX).duration(), longest);
    assert_eq!(Entry::censored(Duration::MAX), Entry(u32::MAX));
}

#[test]
fn failures_and_attempts_dropped_at_once_say_nothing() {
    let mut window = filled([finished(10)]);
    for sample in [
        Sample::Failed(us(1)),
        dropped(0),
        Sample::Dropped(Duration::from_nanos(999)),
    ] {
        assert!(!window.push(sample, Instant::ZERO));
    }
    assert_eq!(window.len(), 1);
}

#[test]
fn a_cleared_window_is_as_new() {
    let mut window = filled((1..100).map(finished));
    window.clear();
    assert_eq!(
        (window.len(), window.censored(), window.percentile(0.5)),
        (0, 0, None)
    );
    window.push(finished(3), Instant::ZERO);
    assert_consistent(&window);
    assert_eq!(window.percentile(0.5), Some(us(3)));
}

#[test]
fn samples_leave_on_time() {
    let at = |millis| Instant::from_epoch(Duration::from_millis(millis));
    let mut window = Window::<N>::new(N, Some(Duration::from_millis(800)));
    assert_eq!(window.max_age(), Some(Duration::from_millis(800)));
    window.push(finished(1), at(1000));
    window.push(finished(2), at(1099));
    window.push(finished(3), at(1100));
    assert!(!window.expire(at(1799)));
    assert!(window.expire(at(1800)));
    assert_eq!((window.len(), window.percentile(0.5)), (1, Some(us(3))));
    assert!(!window.expire(at(1899)));
    assert!(window.expire(at(1900)));
    assert_eq!(window.len(), 0);
}

#[test]
fn what_was_cleared_does_not_leave_again() {
    let at = |millis| Instant::from_epoch(Duration::from_millis(millis));
    let mut window = Window::<N>::new(N, Some(Duration::from_millis(800)));
    (0..5).for_each(|_| assert!(window.push(finished(1), at(1000))));
    window.clear();
    (0..3).for_each(|_| assert!(window.push(finished(1), at(1700))));
    assert!(!window.expire(at(1850)));
    assert_eq!(window.len(), 3);
}

#[test]
fn a_size_out_of_range_becomes_the_nearest_possible() {
    assert_eq!(Window::<N>::new(0, None).size(), 1);
    assert_eq!(Window::<N>::new(usize::MAX, None).size(), N);
}

#[test]
fn it_is_printed_without_its_samples() {
    let window = filled((1..=7).map(finished));
    assert_eq!(
        std::format!("{window:?}"),
        "Window { size: 40, len: 7, .. }"
    );
}
