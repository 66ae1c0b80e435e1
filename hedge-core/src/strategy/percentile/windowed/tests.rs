use std::vec::Vec;

use super::*;
use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::random::SplitMix;
use crate::record::Sample;
use crate::strategy::Warmup;

const REQUESTS: u32 = 20_000;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn normal(rng: &mut SplitMix, mean: f64, deviation: f64) -> f64 {
    mean + deviation * rng.normal()
}

fn lognormal(rng: &mut SplitMix, median: f64, sigma: f64) -> f64 {
    median * libm::exp(normal(rng, 0.0, sigma))
}

fn lognormal_mix(rng: &mut SplitMix) -> f64 {
    if rng.uniform() < 0.965 {
        lognormal(rng, 117.0, 0.55)
    } else {
        lognormal(rng, 1000.0, 0.30)
    }
}

fn bimodal(rng: &mut SplitMix) -> f64 {
    if rng.uniform() < 0.98 {
        normal(rng, 10.0, 1.0)
    } else {
        normal(rng, 400.0, 10.0)
    }
}

/// Returns the share of requests whose hedge becomes due. Each request is hedged once, the first attempt that finishes
/// wins, and the other one is dropped.
fn share_due(percent: f64, seed: u64, draw: fn(&mut SplitMix) -> f64) -> f64 {
    let mut rng = SplitMix(seed);
    let mut latency = || Duration::from_secs_f64(draw(&mut rng).max(0.0) / 1e3);
    let mut strategy = WindowedPercentile::new(percent);
    let mut due = 0;
    for _ in 0..REQUESTS {
        let delay = strategy
            .plan(&Hints::NONE, Instant::ZERO)
            .delay()
            .unwrap_or(Duration::MAX);
        let (primary, hedge) = (latency(), delay.saturating_add(latency()));
        due += u32::from(primary > delay);
        let sample = if hedge < primary {
            Sample::Dropped(hedge)
        } else {
            Sample::Finished(primary)
        };
        strategy.record(&Record::new(sample));
    }
    f64::from(due) / f64::from(REQUESTS)
}

#[test]
fn the_share_of_hedges_is_what_the_percentile_leaves() {
    for seed in 1..=5 {
        let share = share_due(95.0, seed, lognormal_mix);
        assert!(
            (0.045..=0.055).contains(&share),
            "P95, seed {seed}: {share}"
        );
        let share = share_due(99.0, seed, lognormal_mix);
        assert!(
            (0.005..=0.015).contains(&share),
            "P99, seed {seed}: {share}"
        );
        // Half of the slow mode is above P99. Counting dropped primaries as finished would double the share.
        let share = share_due(99.0, seed, bimodal);
        assert!(
            (0.005..=0.015).contains(&share),
            "bimodal P99, seed {seed}: {share}"
        );
    }
}

fn record<const N: usize>(
    strategy: &mut WindowedPercentile<N>,
    millis: impl IntoIterator<Item = u64>,
) {
    for millis in millis {
        strategy.record(&Record::new(Sample::Finished(ms(millis))));
    }
}

fn delay<const N: usize>(strategy: &mut WindowedPercentile<N>, now: Instant) -> Option<Duration> {
    strategy.plan(&Hints::NONE, now).delay()
}

#[test]
fn until_there_are_enough_samples_the_warm_up_decides() {
    let strategy = WindowedPercentile::with_window::<50>(90.0)
        .initial_delay(ms(7))
        .min_samples(3);
    for (warmup, expected) in [
        (Warmup::Delay, [Some(7), Some(7), Some(7), Some(20)]),
        (Warmup::Off, [None, None, None, Some(20)]),
        // Expect (3 × 7 + n × 20) / (3 + n) ms.
        (
            Warmup::Prior,
            [Some(7_000), Some(10_250), Some(12_200), Some(13_500)],
        ),
    ] {
        let mut strategy = strategy.clone().warmup(warmup);
        let unit = if warmup == Warmup::Prior {
            Duration::from_micros
        } else {
            ms
        };
        for expected in expected {
            let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
            assert_eq!(plan.delay(), expected.map(unit), "{warmup}");
            let off = expected.is_none().then_some(Suppressed::WarmingUp);
            assert_eq!(plan.suppressed(), off);
            record(&mut strategy, [20]);
        }
    }
}

#[test]
fn a_prior_ends_at_ten_times_min_samples_or_with_a_full_window() {
    for (size, last) in [(50, 30), (20, 20)] {
        let strategy = WindowedPercentile::with_window::<50>(90.0)
            .window_size(size)
            .min_samples(3);
        let mut strategy = strategy.initial_delay(ms(100)).warmup(Warmup::Prior);
        record(&mut strategy, (1..last).map(|_| 20));
        assert!(delay(&mut strategy, Instant::ZERO) > Some(ms(20)));
        record(&mut strategy, [20]);
        assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(20)));
    }
}

#[test]
fn only_primaries_count_and_failures_do_not() {
    let mut strategy = WindowedPercentile::with_window::<10>(50.0).min_samples(1);
    let mut report = Record::new(Sample::Failed(ms(1)));
    strategy.record(&report);
    assert!(strategy.stats().warming_up);
    report = Record::new(Sample::Dropped(ms(30)));
    report = report.with_hedge(Cause::Delay, ms(28), Sample::Finished(ms(2)));
    strategy.record(&report);
    let stats = strategy.stats();
    assert_eq!(
        (stats.samples, stats.censored, stats.warming_up),
        (1, 1, false)
    );
    assert_eq!(stats.delay, Some(ms(30)));
    assert_eq!(strategy.typical_latency(&Hints::NONE), Some(ms(30)));
    assert_eq!(strategy.min_samples(2).typical_latency(&Hints::NONE), None);
}

#[test]
fn the_delay_is_at_most_a_64th_of_the_window_behind() {
    let mut strategy = WindowedPercentile::with_window::<640>(50.0);
    record(&mut strategy, (0..640).map(|_| 10));
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(10)));
    // No plan is made in between, so all samples are new.
    record(&mut strategy, (0..315).map(|_| 20));
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(10)));
    for changed in 1..=10 {
        record(&mut strategy, [20]);
        let expected = if changed < 10 { 10 } else { 20 };
        assert_eq!(
            delay(&mut strategy, Instant::ZERO),
            Some(ms(expected)),
            "{changed}"
        );
        assert_eq!(strategy.stats().delay, Some(ms(expected)));
    }
}

#[test]
fn a_plan_is_reusable_unless_samples_grow_too_old() {
    let mut strategy = WindowedPercentile::new(95.0);
    assert!(strategy.plan(&Hints::NONE, Instant::ZERO).is_reusable());
    let mut strategy = strategy.max_age(ms(800));
    assert!(!strategy.plan(&Hints::NONE, Instant::ZERO).is_reusable());
}

#[test]
fn old_samples_leave_and_the_warm_up_applies_again() {
    let mut strategy = WindowedPercentile::with_window::<20>(95.0)
        .initial_delay(ms(100))
        .min_samples(5)
        .max_age(ms(800));
    let at = |millis| Instant::from_epoch(ms(millis));
    for (latency, when) in [(40, 0), (20, 600)] {
        let report = Record::new(Sample::Finished(ms(latency)));
        (0..5).for_each(|millis| strategy.record(&report.at(at(when + millis))));
    }
    assert_eq!(delay(&mut strategy, at(799)), Some(ms(40)));
    assert_eq!(delay(&mut strategy, at(800)), Some(ms(20)));
    assert_eq!(delay(&mut strategy, at(1400)), Some(ms(100)));
    assert_eq!(strategy.stats().samples, 0);
}

#[test]
fn it_promises_the_wins_that_its_samples_would_give_its_delay() {
    let mut strategy = WindowedPercentile::with_window::<100>(95.0);
    let millis = || (1..=100).map(|n| if n % 33 == 0 { 1000 } else { 10 });
    record(&mut strategy, millis());
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(10)));
    assert_eq!(strategy.expected_win_rate(), Some(0.97));
    // A delay that no sample exceeds has no expected win rate.
    let mut strategy = WindowedPercentile::with_window::<100>(99.0);
    record(&mut strategy, millis());
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(1000)));
    assert_eq!(strategy.expected_win_rate(), Some(0.0));
}

#[test]
fn a_reset_forgets_samples_and_keeps_options() {
    let mut strategy = WindowedPercentile::with_window::<20>(90.0)
        .max_age(ms(800))
        .window_size(15)
        .min_samples(2)
        .initial_delay(ms(3));
    record(&mut strategy, [50; 20]);
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(50)));
    strategy.reset();
    assert_eq!(strategy.stats().samples, 0);
    assert_eq!(strategy.typical_latency(&Hints::NONE), None);
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(3)));
    record(&mut strategy, [60; 20]);
    assert_eq!(strategy.stats().samples, 15);
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(60)));
    assert_eq!(strategy.recent.window.max_age(), Some(ms(800)));
}

#[test]
fn invalid_values_are_named() {
    type P = WindowedPercentile<20>;
    let good = || WindowedPercentile::with_window::<20>(95.0);
    let bad: [(&str, P); 12] = [
        (
            "`percentile` is 49.9, but must be 50 to 99.9",
            WindowedPercentile::with_window(49.9),
        ),
        (
            "`percentile` is 99.91, but must be 50 to 99.9",
            WindowedPercentile::with_window(99.91),
        ),
        (
            "`percentile` is NaN, but must be 50 to 99.9",
            WindowedPercentile::with_window(f64::NAN),
        ),
        (
            "`window_size` is 9, but must be at least 10",
            good().window_size(9),
        ),
        (
            "`window_size` is 21, but must be at most 20, which is what the type holds",
            good().window_size(21),
        ),
        (
            "`window_size` is 4294967295, but must be at most 20, which is what the type holds",
            good().window_size(usize::MAX),
        ),
        (
            "`min_samples` is 0, but must be 1 to 20",
            good().min_samples(0),
        ),
        (
            "`min_samples` is 21, but must be 1 to 20",
            good().min_samples(21),
        ),
        (
            "`min_samples` is 13, but must be 1 to 12",
            good().min_samples(13).window_size(12),
        ),
        (
            "`max_age_ms` is 0, but must be greater than 0",
            good().max_age(Duration::ZERO),
        ),
        (
            "`window_size` is 9, but must be at least 10",
            good().window_size(9).max_age(Duration::from_secs(1)),
        ),
        (
            "`window_size` is 20, but must be large enough that one sample lies above the `percentile`: \
             20 at 95, 100 at 99, 1000 at 99.9",
            WindowedPercentile::with_window(99.9),
        ),
    ];
    for (expected, strategy) in bad {
        let error = strategy.validate().map_err(|error| std::format!("{error}"));
        assert_eq!(error, Err(expected.into()));
    }
    for good in [
        good(),
        WindowedPercentile::default(),
        WindowedPercentile::with_window(50.0),
        WindowedPercentile::with_window(90.0)
            .window_size(10)
            .min_samples(10)
            .max_age(Duration::MAX),
        good()
            .window_size(20)
            .min_samples(1)
            .max_age(Duration::from_nanos(1)),
    ] {
        assert_eq!(good.validate(), Ok(()));
    }
}

#[test]
fn invalid_options_are_clamped() {
    let delays = |mut strategy: WindowedPercentile<30>| {
        record(&mut strategy, 1..=29);
        (
            delay(&mut strategy, Instant::ZERO),
            strategy.stats().samples,
        )
    };
    let with = |percent| WindowedPercentile::with_window::<30>(percent).min_samples(10);
    assert_eq!(delays(with(-1.0)), (Some(ms(15)), 29));
    for percent in [100.0, f64::INFINITY, f64::NAN] {
        assert_eq!(delays(with(percent)), (Some(ms(29)), 29));
    }
    assert_eq!(delays(with(95.0).window_size(0)), (Some(ms(29)), 1));
    assert_eq!(delays(with(50.0).window_size(99)), (Some(ms(15)), 29));
    assert_eq!(delays(with(50.0).min_samples(0)), (Some(ms(15)), 29));
    assert!(with(50.0).min_samples(0).stats().warming_up);
    let mut strategy = with(50.0).min_samples(1000);
    record(&mut strategy, (0..30).map(|_| 5));
    assert_eq!(delay(&mut strategy, Instant::ZERO), Some(ms(5)));
}

#[test]
fn extreme_options_and_samples_are_survived() {
    let samples: [fn(Duration) -> Sample; 3] = [Sample::Finished, Sample::Failed, Sample::Dropped];
    let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for age in [
        None,
        Some(Duration::ZERO),
        Some(Duration::from_nanos(1)),
        Some(Duration::MAX),
    ] {
        for initial in extremes {
            for warmup in Warmup::ALL {
                let mut strategy = WindowedPercentile::with_window::<10>(95.0);
                strategy = strategy
                    .initial_delay(initial)
                    .min_samples(usize::MAX)
                    .warmup(warmup);
                strategy = age.map_or(strategy.clone(), |age| strategy.max_age(age));
                let mut now = Instant::ZERO;
                for (sample, elapsed) in samples.iter().flat_map(|s| extremes.map(|e| (s, e))) {
                    strategy.record(&Record::new(sample(elapsed)).at(now));
                    strategy.plan(&Hints::NONE, now);
                    strategy.stats();
                    now = Instant::MAX;
                }
                strategy.plan(&Hints::NONE, Instant::ZERO);
            }
        }
    }
}

#[test]
fn a_small_window_is_small() {
    assert!(size_of::<WindowedPercentile<64>>() <= 640);
    assert!(size_of::<WindowedPercentile>() <= 8 * 1000 + 120);
}

#[test]
fn it_can_be_a_static() {
    static STRATEGY: WindowedPercentile<100> = WindowedPercentile::with_window::<100>(95.0)
        .window_size(50)
        .initial_delay(ms(20))
        .min_samples(5)
        .warmup(Warmup::Off)
        .max_age(ms(60_000));
    assert_eq!(STRATEGY.validate(), Ok(()));
    assert_eq!(STRATEGY.stats().window, 50);
    let _: Vec<WindowedPercentile> = Vec::from([const { WindowedPercentile::new(95.0) }]);
}
