use core::f64::consts::SQRT_2;
use std::vec::Vec;

use super::*;
use crate::dist::SplitMix;
use crate::{End, Suppressed};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A distribution of latencies in ms, by the latency that a share of attempts exceeds.
type Quantile = fn(f64) -> f64;

fn exponential(above: f64) -> f64 {
    -100.0 * libm::log(above)
}

fn pareto(above: f64) -> f64 {
    10.0 * libm::pow(above, -1.0 / 1.1)
}

/// 98 % around 10 ms and 2 % around 400 ms.
fn bimodal(above: f64) -> f64 {
    if above < 0.02 {
        400.0 + 10.0 * logit(above / 0.02)
    } else {
        10.0 + logit((above - 0.02) / 0.98)
    }
}

/// A logistic distribution about as wide as the standard normal one.
fn logit(above: f64) -> f64 {
    libm::log((1.0 - above) / above) / 1.7
}

/// A primary and its hedge, whose latencies depend on each other by a Gaussian copula.
fn attempts(rng: &mut SplitMix, quantile: Quantile, correlation: f64) -> [f64; 2] {
    if correlation == 0.0 {
        return [quantile(rng.uniform()), quantile(rng.uniform())];
    }
    let (a, b) = (rng.normal(), rng.normal());
    let b = correlation * a + libm::sqrt(1.0 - correlation * correlation) * b;
    [a, b].map(|z| quantile(0.5 * libm::erfc(z / SQRT_2)))
}

/// Requests one after the other, as a hedger makes them.
struct Requests<const N: usize> {
    strategy: Optimal<N>,
    rng: SplitMix,
    latencies: Vec<f64>,
    hedged: Vec<bool>,
}

impl<const N: usize> Requests<N> {
    fn new(strategy: Optimal<N>, seed: u64) -> Self {
        Self {
            strategy,
            rng: SplitMix(seed),
            latencies: Vec::new(),
            hedged: Vec::new(),
        }
    }

    fn make(
        &mut self,
        requests: u32,
        mut draw: impl FnMut(&mut SplitMix) -> [f64; 2],
    ) -> &mut Self {
        for _ in 0..requests {
            let [primary, hedge] = draw(&mut self.rng).map(|millis| millis.max(0.0) / 1e3);
            let [primary, hedge] = [primary, hedge].map(Duration::from_secs_f64);
            let plan = self.strategy.plan(&Hints::NONE, Instant::ZERO);
            let drawn = self.rng.uniform() < plan.chance().into();
            let delay = plan.delay().unwrap_or(Duration::MAX);
            let report = report(
                primary,
                (drawn && delay < primary).then_some((delay, hedge)),
            );
            self.latencies.push(report.total.as_secs_f64() * 1e3);
            self.hedged.push(report.hedged());
            self.strategy.record(&report, Instant::ZERO);
        }
        self
    }

    fn percentile(&mut self, share: f64) -> f64 {
        percentile(&mut self.latencies, share)
    }

    /// The share of the last requests that were hedged.
    fn rate(&self, last: usize) -> f64 {
        let hedged = self.hedged.iter().rev().take(last);
        hedged.filter(|hedged| **hedged).count() as f64 / last as f64
    }
}

fn percentile(latencies: &mut [f64], share: f64) -> f64 {
    latencies.sort_by(f64::total_cmp);
    latencies[(share * latencies.len() as f64) as usize]
}

/// What a request teaches whose loser is dropped.
fn report(primary: Duration, hedge: Option<(Duration, Duration)>) -> Report {
    let mut report = Report::new(Sample::Finished(primary));
    if let Some((delay, hedge)) = hedge {
        report.attempts = 2;
        report.hedge_cause = Some(Cause::Delay);
        report.hedge_start = Some(delay);
        report.suppressed = None;
        report.due = true;
        if delay + hedge < primary {
            report.total = delay + hedge;
            report.end = End::Won(1);
            report.primary = Sample::Dropped(report.total);
            report.hedge = Some(Sample::Finished(hedge));
        } else {
            report.hedge = Some(Sample::Dropped(primary - delay));
        }
    }
    report
}

/// The lowest 99th percentile of independent attempts for this share of hedges, with the distribution known.
fn lowest_p99(quantile: Quantile, share: f64) -> f64 {
    let above = |latency: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if quantile(middle) > latency {
                low = middle
            } else {
                high = middle
            }
        }
        low
    };
    let p99 = |due: f64| {
        let (delay, chance) = (quantile(due), (share / due).min(1.0));
        let (mut low, mut high) = (delay, quantile(1e-6));
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            let slower = above(middle) * (1.0 - chance * (1.0 - above(middle - delay)));
            if slower > 0.01 {
                low = middle
            } else {
                high = middle
            }
        }
        high
    };
    let dues = (0..200).map(|n| share * libm::pow(0.5, -f64::from(n) / 50.0));
    dues.take_while(|due| *due < 1.0)
        .map(p99)
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn the_target_is_close_to_what_full_knowledge_would_reach() {
    for (name, quantile) in [
        ("exponential", exponential as Quantile),
        ("pareto", pareto),
        ("bimodal", bimodal),
    ] {
        for budget in [2.0, 5.0] {
            let (mut latencies, mut share) = (Vec::new(), 0.0);
            for seed in 1..=4 {
                let strategy = Optimal::with_window::<2000>(99.0, budget);
                let mut requests = Requests::new(strategy, seed);
                requests.make(10_000, |rng| attempts(rng, quantile, 0.0));
                share += requests.rate(10_000) / 4.0;
                latencies.append(&mut requests.latencies);
            }
            // Four in ten requests teach it what the others profit from.
            let ratio = percentile(&mut latencies, 0.99) / lowest_p99(quantile, share);
            assert!((0.94..1.08).contains(&ratio), "{name}, {budget} %: {ratio}");
            let of_budget = 100.0 * share / budget;
            assert!(
                (0.9..1.02).contains(&of_budget),
                "{name}, {budget} %: {of_budget}"
            );
        }
    }
}

#[test]
fn half_of_a_slow_mode_is_rescued_by_a_budget_as_large() {
    // Every hedge after the 98th percentile would come too late.
    let mut requests = Requests::new(Optimal::new(99.0, 2.0), 1);
    requests.make(10_000, |rng| attempts(rng, bimodal, 0.0));
    assert!(requests.percentile(0.99) < 26.0);
    let stats = requests.strategy.stats();
    assert!(
        stats.predicted < Some(ms(26)) && stats.unhedged > Some(ms(350)),
        "{stats:?}"
    );
    assert!(stats.pairs > 100 && stats.censored > 5, "{stats:?}");
}

#[test]
fn a_small_budget_is_kept_too() {
    for seed in 1..=3 {
        let mut requests = Requests::new(Optimal::new(99.0, 1.0), seed);
        requests.make(12_000, |rng| attempts(rng, pareto, 0.0));
        let rate = requests.rate(12_000);
        assert!((0.0085..0.0108).contains(&rate), "{seed}: {rate}");
    }
}

#[test]
fn hedges_that_cannot_win_fade_out_and_come_back_when_they_can() {
    for seed in 1..=2 {
        let mut requests = Requests::new(Optimal::new(99.0, 5.0), seed);
        requests.make(5_000, |rng| attempts(rng, exponential, 0.9));
        assert!(
            requests.rate(5_000) < 0.025,
            "{seed}: {}",
            requests.rate(5_000)
        );
        requests.make(5_000, |rng| attempts(rng, exponential, 0.9));
        assert!(
            requests.rate(5_000) < 0.006,
            "{seed}: {}",
            requests.rate(5_000)
        );
        let strategy = &requests.strategy;
        assert!(strategy.learned.rate.correction(strategy.budget()) <= 1.0);
        requests.make(8_000, |rng| attempts(rng, exponential, 0.0));
        let rate = requests.rate(2_000);
        assert!((0.04..0.06).contains(&rate), "{seed}: {rate}");
    }
}

#[test]
fn hedges_that_win_less_often_are_still_used_well() {
    let mut requests = Requests::new(Optimal::with_window::<2000>(99.0, 10.0), 1);
    requests.make(20_000, |rng| attempts(rng, exponential, 0.3));
    // The lowest possible is 384 ms, by a Monte Carlo of a million pairs; without hedging, it is 461.
    let p99 = requests.percentile(0.99);
    assert!(p99 < 1.05 * 384.0, "{p99}");
    assert!((0.09..0.102).contains(&requests.rate(20_000)));
}

#[test]
fn a_change_of_pace_is_followed_within_the_budget() {
    let mut requests = Requests::new(Optimal::new(99.0, 5.0), 1);
    requests.make(4_000, |rng| attempts(rng, exponential, 0.0));
    let slow = |rng: &mut SplitMix| attempts(rng, exponential, 0.0).map(|millis| 5.0 * millis);
    requests.make(300, slow);
    assert!(requests.rate(300) < 0.3, "{}", requests.rate(300));
    requests.make(2_700, slow);
    assert!(requests.rate(3_000) < 0.065, "{}", requests.rate(3_000));
    let stats = requests.strategy.stats();
    assert!(
        stats.unhedged > Some(ms(1800)) && stats.delay > Some(ms(1000)),
        "{stats:?}"
    );
    requests.make(3_000, |rng| attempts(rng, exponential, 0.0));
    let stats = requests.strategy.stats();
    assert!(stats.delay < Some(ms(400)) && !stats.probing, "{stats:?}");
}

#[test]
fn when_all_of_a_sudden_every_request_is_slow_hedging_stops_soon() {
    // Long before the policy is chosen again.
    let mut requests = Requests::new(Optimal::with_window::<4_000>(99.0, 5.0), 1);
    requests.make(4_100, |rng| attempts(rng, exponential, 0.0));
    requests.make(200, |_| [10_000.0, 10_000.0]);
    assert!(requests.rate(200) < 0.35, "{}", requests.rate(200));
}

#[test]
fn latencies_of_a_few_lengths_are_no_obstacle() {
    let steps = |above: f64| match above {
        ..0.03 => 100.0,
        ..0.1 => 20.0,
        _ => 10.0,
    };
    // Hedges after 10 ms end with the primaries of 20 ms, which is not to lose.
    let mut requests = Requests::new(Optimal::new(99.0, 10.2), 1);
    requests.make(6_000, |rng| attempts(rng, steps, 0.0));
    assert_eq!(requests.percentile(0.99), 20.0);
    assert!(requests.rate(4_000) > 0.09, "{}", requests.rate(4_000));
}

#[test]
fn equal_latencies_and_the_smallest_window_are_survived() {
    let mut requests = Requests::new(Optimal::with_window::<10>(99.0, 5.0), 1);
    requests.make(500, |_| [50.0, 50.0]);
    assert_eq!(requests.rate(400), 0.0);
    requests.make(2_000, |rng| attempts(rng, bimodal, 0.0));
    assert!(requests.rate(2_000) < 0.07, "{}", requests.rate(2_000));
}

fn record<const N: usize>(strategy: &mut Optimal<N>, millis: impl IntoIterator<Item = u64>) {
    for millis in millis {
        strategy.record(&report(ms(millis), None), Instant::ZERO);
    }
}

fn plan<const N: usize>(strategy: &mut Optimal<N>) -> Plan {
    strategy.plan(&Hints::NONE, Instant::ZERO)
}

#[test]
fn until_there_are_enough_samples_the_warm_up_decides() {
    let strategy = Optimal::with_window::<50>(99.0, 50.0)
        .initial_delay(ms(7))
        .min_samples(3);
    for (warmup, expected) in [
        (
            Warmup::Delay,
            [Some(7_000), Some(7_000), Some(7_000), Some(20_000)],
        ),
        (Warmup::Off, [None, None, None, Some(20_000)]),
        // (3 × 7 + n × 20) / (3 + n)
        (
            Warmup::Prior,
            [Some(7_000), Some(10_250), Some(12_200), Some(13_500)],
        ),
    ] {
        let mut strategy = strategy.clone().warmup(warmup);
        for expected in expected {
            let plan = plan(&mut strategy);
            assert_eq!(
                plan.delay(),
                expected.map(Duration::from_micros),
                "{warmup}"
            );
            let off = expected.is_none().then_some(Suppressed::WarmingUp);
            assert_eq!(plan.suppressed(), off);
            record(&mut strategy, [20]);
        }
    }
}

#[test]
fn a_request_is_hedged_once() {
    let mut strategy = Optimal::new(99.0, 5.0);
    for _ in 0..2 {
        let plan = plan(&mut strategy);
        assert!(plan.delay() < Some(ms(1000)));
        assert_eq!(plan.offset(2), Some(Duration::MAX));
        record(&mut strategy, 0..800);
    }
}

#[test]
fn only_what_tells_of_a_pair_is_learned_from() {
    let hedged = report(ms(50), Some((ms(10), ms(90))));
    let mut strategy = Optimal::with_window::<20>(99.0, 5.0);
    record(&mut strategy, 1..=20);
    let mut not = [hedged; 4];
    not[0].hedge_cause = Some(Cause::Retry);
    not[1].attempts = 3;
    not[2].primary = Sample::Failed(ms(50));
    not[3].hedge = Some(Sample::Failed(ms(40)));
    for report in not {
        strategy.record(&report, Instant::ZERO);
        assert_eq!(strategy.stats().pairs, 0, "{report:?}");
    }
    strategy.record(&hedged, Instant::ZERO);
    assert_eq!(strategy.stats().pairs, 1);
    let mut dropped = hedged;
    dropped.primary = Sample::Dropped(ms(50));
    strategy.record(&dropped, Instant::ZERO);
    assert_eq!(strategy.stats().pairs, 2);
}

#[test]
fn a_hedge_that_is_only_observed_counts_like_any_other() {
    let told = |edit: fn(&mut Report)| {
        let mut strategy = Optimal::with_window::<50>(99.0, 5.0);
        for n in 0..100 {
            let mut report = report(ms(n), None);
            if n % 10 == 0 {
                report.due = true;
                edit(&mut report);
            }
            strategy.record(&report, Instant::ZERO);
        }
        std::format!("{:?}", strategy.learned.rate)
    };
    let hedged = told(|report| report.hedge_cause = Some(Cause::Delay));
    let observed = told(|report| report.suppressed = Some(Suppressed::ObserveOnly));
    assert_eq!(hedged, observed);
    assert_ne!(hedged, told(|_| ()));
}

#[test]
fn equal_latencies_lie_amid_each_other_but_what_was_dropped_below() {
    let mut strategy = Optimal::with_window::<20>(99.0, 5.0);
    record(&mut strategy, [10, 20, 20, 20, 30]);
    // One more draw is expected above.
    let share = |sample| strategy.share_above(sample);
    assert_eq!(share(Sample::Finished(ms(20))), Some(3.5 / 6.0));
    assert_eq!(share(Sample::Dropped(ms(20))), Some(5.0 / 6.0));
    assert_eq!(share(Sample::Dropped(ms(21))), Some(2.0 / 6.0));
    assert_eq!(share(Sample::Finished(ms(99))), Some(1.0 / 6.0));
    assert_eq!(share(Sample::Failed(ms(20))), None);
}

#[test]
fn a_plan_is_reusable_unless_samples_grow_too_old() {
    let mut strategy = Optimal::new(99.0, 5.0);
    assert!(plan(&mut strategy).is_reusable());
    let mut strategy = strategy.max_age(ms(800)).min_samples(5);
    assert!(!plan(&mut strategy).is_reusable());
    record(&mut strategy, 10..20);
    assert_eq!(plan(&mut strategy).delay(), Some(ms(19)));
    let later = Instant::from_epoch(ms(800));
    assert_eq!(strategy.plan(&Hints::NONE, later).delay(), Some(ms(100)));
    assert_eq!(strategy.stats().predicted, None);
}

#[test]
fn the_policy_is_chosen_again_when_a_tenth_of_the_window_is_new() {
    let mut strategy = Optimal::with_window::<100>(99.0, 50.0);
    record(&mut strategy, [10; 100]);
    let mut until = |millis| {
        (1..20).find(|_| {
            record(&mut strategy, [millis]);
            strategy.stats().unhedged == Some(ms(millis))
        })
    };
    assert!(until(20) <= Some(10));
    assert_eq!(until(30), Some(10));
}

#[test]
fn it_promises_the_wins_that_its_samples_would_give_its_delay() {
    let mut strategy = Optimal::with_window::<100>(99.0, 10.0);
    // Of 100 requests 3 are slow; a hedge that takes as long as one of the others beats them.
    record(
        &mut strategy,
        (1..=100).map(|n| if n % 33 == 0 { 1000 } else { 10 }),
    );
    let delay = plan(&mut strategy).delay().unwrap();
    assert!(ms(10) <= delay && delay < ms(990), "{delay:?}");
    assert_eq!(strategy.promised_wins(), Some(0.97));
}

#[test]
fn a_reset_forgets_what_was_learned_and_keeps_options() {
    let fresh = Optimal::with_window::<20>(90.0, 5.0)
        .window_size(15)
        .min_samples(2);
    let fresh = fresh.initial_delay(ms(3)).max_age(ms(800));
    let mut strategy = fresh.clone();
    for _ in 0..30 {
        strategy.record(&report(ms(50), Some((ms(10), ms(90)))), Instant::ZERO);
    }
    assert_eq!(strategy.typical(), Some(ms(50)));
    assert!(strategy.stats().pairs > 0);
    strategy.reset();
    assert_eq!(strategy.stats(), fresh.stats());
    assert_eq!(strategy.typical(), None);
    assert_eq!(plan(&mut strategy).chance(), 1.0);
    record(&mut strategy, [60; 20]);
    assert_eq!(strategy.stats().samples, 15);
    assert_eq!(strategy.recent.window.max_age(), Some(ms(800)));
}

#[test]
fn what_cannot_be_right_is_named() {
    type O = Optimal<20>;
    let good = || Optimal::with_window::<20>(99.0, 5.0);
    let bad: [(&str, O); 12] = [
        (
            "`optimal_target` is 49.9, but must be 50 to 99.9",
            Optimal::with_window(49.9, 5.0),
        ),
        (
            "`optimal_target` is 99.91, but must be 50 to 99.9",
            Optimal::with_window(99.91, 5.0),
        ),
        (
            "`optimal_target` is NaN, but must be 50 to 99.9",
            Optimal::with_window(f64::NAN, 5.0),
        ),
        (
            "`optimal_budget_percent` is 0, but must be greater than 0",
            Optimal::with_window(99.0, 0.0),
        ),
        (
            "`optimal_budget_percent` is NaN, but must be greater than 0",
            Optimal::with_window(99.0, f64::NAN),
        ),
        (
            "`optimal_budget_percent` is inf, but must be greater than 0",
            Optimal::with_window(99.0, f64::INFINITY),
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
            "`min_samples` is 0, but must be 1 to 20",
            good().min_samples(0),
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
    ];
    for (expected, strategy) in bad {
        let error = strategy.validate().map_err(|error| std::format!("{error}"));
        assert_eq!(error, Err(expected.into()));
    }
    for good in [
        good(),
        Optimal::default(),
        Optimal::with_window(50.0, 1e-9),
        Optimal::with_window(99.9, 700.0),
        good()
            .window_size(10)
            .min_samples(10)
            .max_age(Duration::MAX),
    ] {
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(good.kind(), StrategyKind::Optimal);
    }
}

#[test]
fn extreme_options_and_samples_are_survived() {
    let samples: [fn(Duration) -> Sample; 3] = [Sample::Finished, Sample::Failed, Sample::Dropped];
    let extremes = [
        Duration::ZERO,
        Duration::from_nanos(1),
        ms(10),
        Duration::MAX,
    ];
    let numbers = [
        f64::NAN,
        f64::NEG_INFINITY,
        0.0,
        1e-300,
        60.0,
        1e9,
        f64::INFINITY,
    ];
    for (target, budget) in numbers.iter().flat_map(|t| numbers.map(|b| (*t, b))) {
        for (warmup, age) in Warmup::ALL
            .into_iter()
            .zip([None, Some(ms(0)), Some(ms(20))])
        {
            let mut strategy = Optimal::with_window::<10>(target, budget)
                .min_samples(usize::MAX)
                .initial_delay(Duration::MAX)
                .warmup(warmup);
            strategy = age.map_or(strategy.clone(), |age| strategy.max_age(age));
            let mut now = Instant::ZERO;
            for (sample, elapsed) in samples.iter().flat_map(|s| extremes.map(|e| (s, e))) {
                let mut report = Report::new(sample(elapsed));
                for hedge in samples.iter().flat_map(|s| extremes.map(s)) {
                    report.attempts = 2;
                    report.hedge_cause = Some(Cause::Delay);
                    report.hedge = Some(hedge);
                    strategy.record(&report, now);
                    let chance = strategy.plan(&Hints::NONE, now).chance();
                    assert!((0.0..=1.0).contains(&chance), "{strategy:?}");
                    strategy.stats();
                    now = now + ms(7);
                }
            }
            strategy.plan(&Hints::NONE, Instant::MAX);
            strategy.plan(&Hints::NONE, Instant::ZERO);
        }
    }
}

#[test]
fn a_small_window_is_small() {
    assert!(
        size_of::<Optimal<64>>() <= 800,
        "{}",
        size_of::<Optimal<64>>()
    );
    assert!(
        size_of::<Optimal>() <= 8 * 1000 + 288,
        "{}",
        size_of::<Optimal>()
    );
}

#[test]
fn it_can_be_a_static() {
    static STRATEGY: Optimal<100> = Optimal::with_window::<100>(95.0, 5.0)
        .window_size(50)
        .initial_delay(ms(20))
        .min_samples(5)
        .warmup(Warmup::Off)
        .max_age(ms(60_000));
    assert_eq!(STRATEGY.validate(), Ok(()));
    assert_eq!(STRATEGY.stats().window, 50);
    let _: Vec<Optimal> = Vec::from([const { Optimal::new(99.0, 5.0) }]);
}
