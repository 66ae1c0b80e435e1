mod replays;

use std::vec::Vec;

use proptest::prelude::{prop_assert, proptest};

use super::*;
use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::record::{Record, RequestEnd, Sample};
use crate::strategy::Warmup;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn plan<const N: usize>(strategy: &mut Adaptive<N>) -> Option<Duration> {
    strategy.plan(&Hints::NONE, Instant::ZERO).delay()
}

fn finished(latency: Duration) -> Record {
    Record::new(Sample::Finished(latency))
}

fn record<const N: usize>(strategy: &mut Adaptive<N>, millis: impl IntoIterator<Item = u64>) {
    for latency in millis {
        strategy.record(&finished(ms(latency)));
    }
}

/// Returns the record of a request whose hedge k is due at k × `delay` and takes `hedges[k − 1]`.
fn race(primary: Duration, delay: Duration, hedges: &[Duration]) -> Record {
    let starts = || (1..).map(|k| delay * k).zip(hedges);
    let ends = starts().map(|(start, &latency)| start + latency);
    let total = ends.clone().fold(primary, Duration::min);
    let winner = ends
        .take_while(|_| total < primary)
        .position(|end| end == total);
    let attempts = 1 + starts().filter(|(start, _)| *start < total).count() as u8;
    let mut report = finished(primary);
    if let Some(winner) = winner {
        report = report
            .with_primary(Sample::Dropped(total))
            .ended(RequestEnd::Won(1 + winner as u8), total);
    }
    if attempts > 1 {
        let shown = winner.unwrap_or_default();
        let start = delay * (1 + shown as u32);
        let sample = if winner.is_some() {
            Sample::Finished
        } else {
            Sample::Dropped
        };
        report = report.with_hedge(Cause::Delay, start, sample(total - start));
        report.attempts = attempts;
    }
    report
}

#[test]
fn the_reward_is_as_documented() {
    let new = || {
        Adaptive::new()
            .candidates(&[ms(20), ms(400)])
            .learning_rate(0.0)
    };
    let rewards = |strategy: &Adaptive| {
        let stats = strategy.stats();
        [0, 1].map(|arm| stats.arms()[arm].mean_reward.unwrap())
    };
    let near = |rewards: [f64; 2], expected: [f64; 2]| {
        assert!(
            rewards
                .iter()
                .zip(expected)
                .all(|(r, e)| (r - e).abs() < 1e-6),
            "{rewards:?}"
        );
    };
    let rewards_of = |mut strategy: Adaptive, report: &Record| {
        // The first request sets the median, so there is nothing to compare it with.
        record(&mut strategy, [10]);
        strategy.record(report);
        rewards(&strategy)
    };
    near(rewards_of(new(), &finished(ms(15))), [0.85, 0.85]);
    // The hedge at 20 ms lost; at 400 ms no hedge would have started.
    let lost = race(ms(60), ms(20), &[ms(90)]);
    near(rewards_of(new(), &lost), [1.0 - (6.0 + 0.25) / 10.0, 0.4]);
    near(
        rewards_of(new().cost_weight(2.0), &lost),
        [1.0 - (6.0 + 2.0) / 10.0, 0.4],
    );
    // Latencies of ten medians or more all have the same reward.
    near(
        rewards_of(new(), &race(ms(500), ms(20), &[ms(600)])),
        [0.0, 0.0],
    );
}

#[test]
fn a_dear_hedge_waits_and_a_cheap_one_does_not() {
    let best = |cost_weight| {
        let mut strategy = Adaptive::new().cost_weight(cost_weight);
        // A quarter of the requests takes 80 ms, or mostly 60 ms with a hedge at 50 ms.
        record(
            &mut strategy,
            (0..400).map(|n| if n % 4 == 0 { 80 } else { 10 }),
        );
        strategy.stats().best
    };
    assert_eq!(best(0.0), Some(ms(50)));
    assert!(best(100.0) >= Some(ms(100)));
}

#[test]
fn delays_that_do_equally_well_are_drawn_equally_often() {
    let mut strategy = Adaptive::new().candidates(&[ms(100), ms(200), ms(300), ms(400)]);
    for request in 0..2000 {
        record(&mut strategy, [10 + request % 7]);
        plan(&mut strategy);
    }
    for arm in strategy.stats().arms() {
        assert!((400..600).contains(&arm.picks), "{arm:?}");
    }
}

/// Teaches the reward of the arm with delay zero, and that of all later arms.
fn learn(arms: &mut Arms, first: f32, others: f32) {
    arms.learn(1.0, |delay| (if delay == 0.0 { first } else { others }, 0));
}

#[test]
fn a_delay_is_drawn_as_often_as_it_may_be_the_best() {
    let mut arms = Arms::new();
    arms.add(0);
    arms.add(1_000_000);
    let rewards = [[0.9, 0.2], [0.3, 0.8], [0.6, 0.1], [0.4, 0.5]];
    for [first, second] in rewards {
        learn(&mut arms, first, second);
    }
    let beliefs: Vec<(f64, f64)> = arms.stats().map(|arm| (arm.alpha, arm.beta)).collect();
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(3);
    let mut draws = Draws::new(&mut rng);
    for _ in 0..4000 {
        arms.pick(0.0, &mut draws);
    }
    let picked = f64::from(arms.stats().next().unwrap().picks) / 4000.0;
    // Compute P(X > Y) = ∫ f(x) G(x) dx with the rectangle rule.
    use statrs::distribution::{Beta, Continuous, ContinuousCDF};
    let [x, y] = [beliefs[0], beliefs[1]].map(|(alpha, beta)| Beta::new(alpha, beta).unwrap());
    let steps = (0..1000).map(|i| (f64::from(i) + 0.5) / 1000.0);
    let expected = steps.map(|p| x.pdf(p) * y.cdf(p) / 1000.0).sum::<f64>();
    assert!((0.6..0.95).contains(&expected), "not telling: {expected}");
    assert!(
        (picked - expected).abs() < 0.03,
        "{picked}, {expected} expected"
    );
}

#[test]
fn beliefs_have_the_mean_of_the_rewards_and_sharpen_with_evidence() {
    let mut strategy = Adaptive::new();
    let mut flips = 0.0;
    for n in [50, 200, 800] {
        record(&mut strategy, (0..n).map(|n| 10 + n % 10));
        for arm in strategy.stats().arms() {
            let (mean, total) = (arm.mean_reward.unwrap(), arm.alpha + arm.beta);
            assert!((arm.alpha / total - mean).abs() < 1e-3);
            assert!(total > flips, "{total}");
        }
        flips = strategy
            .stats()
            .arms()
            .iter()
            .map(|arm| arm.alpha + arm.beta)
            .fold(0.0, f64::max);
    }
}

#[test]
fn no_amount_of_evidence_is_too_much() {
    let mut arms = Arms::new();
    arms.add(0);
    arms.add(1);
    learn(&mut arms, 0.7, 0.701);
    for _ in 0..10 {
        arms.fade(1e6);
        let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
        let mut draws = Draws::new(&mut rng);
        let picks = (0..100).filter(|_| arms.pick(0.0, &mut draws) == arms.best(0.0));
        assert!(picks.count() > 95);
    }
}

#[test]
fn the_learning_rate_is_how_fast_evidence_fades() {
    let weight = |rate| {
        let mut strategy = Adaptive::new().learning_rate(rate);
        record(&mut strategy, (0..5001).map(|_| 10));
        strategy.stats().weight
    };
    assert_eq!(weight(0.0), 5000.0);
    assert!((weight(0.1) - 1000.0).abs() < 10.0);
    assert!((weight(1.0) - 100.0).abs() < 0.01);
    // A value out of range counts as the nearest valid one.
    assert_eq!(weight(-1.0), weight(0.0));
    assert_eq!(weight(f64::NAN), weight(0.0));
    assert_eq!(weight(f64::INFINITY), weight(1.0));
}

#[test]
fn a_median_that_doubles_makes_old_evidence_light() {
    let weights = |rate, then: u64| {
        let mut strategy = Adaptive::with_window::<64>().learning_rate(rate);
        record(&mut strategy, (0..500).map(|_| 100));
        let before = strategy.stats().weight;
        record(&mut strategy, (0..60).map(|_| then));
        (before, strategy.stats().weight)
    };
    let near = |(before, after): (f64, f64)| {
        assert!((300.0..500.0).contains(&before));
        after / before
    };
    assert!(near(weights(0.1, 190)) > 1.0);
    assert!(near(weights(0.1, 210)) < 0.4);
    assert!(near(weights(0.1, 55)) > 1.0);
    assert!(near(weights(0.1, 45)) < 0.4);
    assert_eq!(weights(0.0, 210), (499.0, 559.0));
}

#[test]
fn until_there_are_enough_samples_it_does_as_it_was_told() {
    let warm = |warmup, samples: u64| {
        let mut strategy = Adaptive::new()
            .initial_delay(ms(7))
            .min_samples(4)
            .warmup(warmup);
        record(&mut strategy, 1..=samples);
        let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
        assert_eq!(strategy.stats().warming_up, samples < 4);
        (plan.delay(), plan.suppressed())
    };
    for samples in 0..4 {
        assert_eq!(warm(Warmup::Delay, samples), (Some(ms(7)), None));
        assert_eq!(
            warm(Warmup::Off, samples),
            (None, Some(Suppressed::WarmingUp))
        );
    }
    assert_eq!(warm(Warmup::Prior, 0), (Some(ms(7)), None));
    // The delay is a candidate, blended with 7 ms: 3 samples against 4.
    let (blend, _) = warm(Warmup::Prior, 3);
    let blends = [50, 100, 200, 500, 1000].map(|delay| Some((ms(7) * 4 + ms(delay) * 3) / 7));
    assert!(blends.contains(&blend), "{blend:?}");
    for warmup in [Warmup::Delay, Warmup::Off] {
        assert!(warm(warmup, 4).0 >= Some(ms(50)));
    }
}

#[test]
fn requests_that_failed_teach_nothing() {
    let mut strategy = Adaptive::new();
    record(&mut strategy, (0..20).map(|_| 10));
    let before = strategy.stats();
    let failed = Record::new(Sample::Failed(ms(900)));
    (0..20).for_each(|_| strategy.record(&failed));
    assert_eq!(strategy.stats(), before);
}

#[test]
fn requests_that_were_given_up_teach_a_bound() {
    let mut strategy = Adaptive::new();
    record(&mut strategy, (0..20).map(|_| 10));
    let dropped = Record::new(Sample::Dropped(ms(2000)));
    (0..5).for_each(|_| strategy.record(&dropped));
    let stats = strategy.stats();
    assert_eq!((stats.samples, stats.median), (25, Some(ms(10))));
    // Without a hedge, these requests would have had no reward.
    let [first, .., last] = stats.arms() else {
        panic!()
    };
    assert!(first.mean_reward > last.mean_reward);
    assert_eq!(stats.best, Some(ms(50)));
}

#[test]
fn the_same_seed_and_reports_give_the_same_choices() {
    let choices = |seed| {
        let mut strategy = Adaptive::new().seed(seed).min_samples(10);
        let choices = |strategy: &mut Adaptive| -> Vec<Option<Duration>> {
            (0..50)
                .map(|n| {
                    record(strategy, [n % 9]);
                    plan(strategy)
                })
                .collect()
        };
        let first = choices(&mut strategy);
        strategy.reset();
        assert_eq!(choices(&mut strategy), first);
        first
    };
    assert_eq!(choices(1), choices(1));
    assert_ne!(choices(1), choices(2));
}

#[test]
fn a_reset_forgets_what_was_learned_but_not_the_options() {
    let new = || {
        Adaptive::new()
            .min_samples(3)
            .initial_delay(ms(6))
            .candidates(&[ms(1), ms(2)])
    };
    let mut strategy = new();
    record(&mut strategy, 1..100);
    assert!(
        plan(&mut strategy).is_some() && strategy.typical_latency(&Hints::NONE) == Some(ms(50))
    );
    strategy.reset();
    assert_eq!(strategy.stats(), new().stats());
    assert_eq!(strategy.typical_latency(&Hints::NONE), None);
    assert_eq!(plan(&mut strategy), Some(ms(6)));
    record(&mut strategy, 1..=3);
    assert!([Some(ms(1)), Some(ms(2))].contains(&plan(&mut strategy)));
    assert_eq!(strategy.typical_latency(&Hints::NONE), Some(ms(2)));
}

#[test]
fn after_idle_time_it_warms_up_again() {
    let mut strategy = Adaptive::new()
        .initial_delay(ms(6))
        .min_samples(10)
        .max_age(ms(800));
    record(&mut strategy, (0..50).map(|_| 10));
    assert!(plan(&mut strategy) >= Some(ms(50)));
    let later = strategy.plan(&Hints::NONE, Instant::from_epoch(ms(5000)));
    assert_eq!(later.delay(), Some(ms(6)));
    let stats = strategy.stats();
    assert_eq!((stats.samples, stats.weight, stats.best), (0, 0.0, None));
}

/// Drawing for every request of a server took longer than the rest of the request, and another draw from the same
/// beliefs is no better.
#[test]
fn a_draw_is_reusable_unless_samples_grow_too_old() {
    let mut strategy = Adaptive::new().max_age(Duration::from_secs(60));
    record(&mut strategy, 1..100);
    assert!(!strategy.plan(&Hints::NONE, Instant::ZERO).is_reusable());
    let mut strategy = Adaptive::new();
    record(&mut strategy, 1..100);
    assert!(strategy.plan(&Hints::NONE, Instant::ZERO).is_reusable());
    assert!(strategy.learns());
    assert_eq!(strategy.kind(), StrategyKind::Adaptive);
}

#[test]
fn invalid_values_are_named() {
    let new = || Adaptive::with_window::<20>();
    let many: Vec<Duration> = (1..=17).map(ms).collect();
    let bad = [
        (
            "`delay_candidates` is 0, but must be 2 to 16 delays",
            new().candidates(&[]),
        ),
        (
            "`delay_candidates` is 1, but must be 2 to 16 delays",
            new().candidates(&[ms(5)]),
        ),
        (
            "`delay_candidates` is 17, but must be 2 to 16 delays",
            new().candidates(&many),
        ),
        (
            "`delay_candidates` is 5, but must be listed only once",
            new().candidates(&[ms(5), ms(6), ms(5)]),
        ),
        (
            "`learning_rate` is -0.1, but must be 0 to 1",
            new().learning_rate(-0.1),
        ),
        (
            "`learning_rate` is 1.1, but must be 0 to 1",
            new().learning_rate(1.1),
        ),
        (
            "`learning_rate` is NaN, but must be 0 to 1",
            new().learning_rate(f64::NAN),
        ),
        (
            "`cost_weight` is -1, but must be at least 0",
            new().cost_weight(-1.0),
        ),
        (
            "`cost_weight` is inf, but must be at least 0",
            new().cost_weight(f64::INFINITY),
        ),
        (
            "`min_samples` is 21, but must be 1 to 20",
            new().min_samples(21),
        ),
        (
            "`max_age_ms` is 0, but must be greater than 0",
            new().max_age(Duration::ZERO),
        ),
    ];
    for (expected, strategy) in bad {
        let error = strategy.validate().map_err(|error| std::format!("{error}"));
        assert_eq!(error, Err(expected.into()));
    }
    for good in [
        new(),
        new().candidates(&many[..16]),
        new().candidates(&[Duration::ZERO, Duration::from_nanos(1)]),
        new().learning_rate(0.0).cost_weight(0.0),
        new()
            .learning_rate(1.0)
            .min_samples(20)
            .max_age(Duration::MAX),
    ] {
        assert_eq!(good.validate(), Ok(()));
    }
    assert_eq!(Adaptive::default().validate(), Ok(()));
}

#[test]
fn extreme_options_and_samples_are_survived() {
    let many: Vec<Duration> = (1..=40).map(ms).collect();
    let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    let samples: [fn(Duration) -> Sample; 3] = [Sample::Finished, Sample::Failed, Sample::Dropped];
    let sample = |n: usize| samples[n % 3](extremes[n / 3 % 3]);
    for candidates in [&[], &extremes[..1], &extremes, &many] {
        for weight in [
            f64::NAN,
            f64::NEG_INFINITY,
            -1.0,
            0.0,
            f64::MAX,
            f64::INFINITY,
        ] {
            let mut strategy = Adaptive::with_window::<10>()
                .candidates(candidates)
                .cost_weight(weight)
                .learning_rate(weight)
                .min_samples(0)
                .max_age(Duration::from_nanos(1));
            for n in 0..300 {
                let end = [
                    RequestEnd::Won(0),
                    RequestEnd::Won(u8::MAX),
                    RequestEnd::TimedOut,
                    RequestEnd::Dropped,
                ][n % 4];
                let mut report = Record::new(sample(n))
                    .with_hedge(Cause::Delay, extremes[n % 3], sample(n / 9))
                    .ended(end, extremes[n / 2 % 3]);
                report.attempts = [0, 1, 2, 8, u8::MAX][n % 5];
                let now = if n % 100 == 99 {
                    Instant::MAX
                } else {
                    Instant::ZERO
                };
                strategy.record(&report.at(now));
                let delay = strategy.plan(&Hints::NONE, Instant::ZERO).delay();
                let known = |delay| candidates.contains(&delay) || delay == ms(100);
                assert!(
                    delay.is_none_or(|delay| known(delay) || delay > Duration::from_secs(1 << 33))
                );
                for arm in strategy.stats().arms() {
                    assert!(arm.alpha >= 1.0 && arm.beta >= 1.0 && arm.alpha + arm.beta < 1e9);
                }
            }
        }
    }
}

#[test]
fn it_promises_the_wins_that_its_samples_would_give_its_best_delay() {
    let mut strategy = Adaptive::with_window::<100>().candidates(&[ms(50)]);
    assert_eq!(strategy.expected_win_rate(), None);
    // Of 100 requests 3 are slow, and a hedge that takes as long as one of the others beats them.
    record(
        &mut strategy,
        (1..=100).map(|n| if n % 33 == 0 { 1000 } else { 10 }),
    );
    assert_eq!(strategy.expected_win_rate(), Some(0.97));
}

#[test]
fn it_is_small() {
    assert!(size_of::<Adaptive>() <= 3310);
    assert!(size_of::<Adaptive<64>>() <= 1800);
}

#[test]
fn it_can_be_a_static() {
    static STRATEGY: Adaptive<100> = Adaptive::with_window::<100>()
        .candidates(&[ms(5), ms(10)])
        .learning_rate(0.5)
        .cost_weight(1.0)
        .seed(7)
        .initial_delay(ms(20))
        .min_samples(5)
        .warmup(Warmup::Off)
        .max_age(ms(60_000));
    assert_eq!(STRATEGY.validate(), Ok(()));
    assert_eq!(STRATEGY.stats().arms().len(), 2);
}

/// Plays 10 000 requests with lognormal latencies of median 200 ms and σ = 1, hedged with the default candidates, where the
/// budget pays for `percent`. Returns how many hedges per request were started, and how many refused, among the last 5000,
/// and the strategy.
fn with_budget(percent: f32) -> (f32, f32, Adaptive) {
    const CAPACITY: f32 = 80.0;

    let mut strategy = Adaptive::new().seed(1);
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(7);
    let mut draws = Draws::new(&mut rng);
    let mut latency = || Duration::from_secs_f32(0.2 * libm::expf(draws.normal()));
    let mut tokens = 10.0;
    let (mut started, mut refused) = (0.0, 0.0);
    for request in 0..10_000 {
        let counted = if request < 5000 { 0.0 } else { 1.0 / 5000.0 };
        tokens = CAPACITY.min(tokens + percent / 100.0);
        let (primary, hedge) = (latency(), latency());
        let record = match plan(&mut strategy).filter(|&delay| delay < primary) {
            Some(delay) if tokens >= 1.0 => {
                tokens -= 1.0;
                started += counted;
                race(primary, delay, &[hedge]).with_due(true)
            }
            Some(_) => {
                refused += counted;
                finished(primary)
                    .with_due(true)
                    .with_suppressed(Some(Suppressed::BudgetRatio))
            }
            None => finished(primary),
        };
        strategy.record(&record);
    }
    (started, refused, strategy)
}

#[test]
fn a_delay_that_asks_for_more_than_the_budget_gains_no_more_than_that() {
    let (started, refused, _) = with_budget(10.0);
    assert!(started >= 0.05, "{started}");
    assert!(
        refused <= 0.2 * (started + refused),
        "{refused} beside {started}"
    );
}

#[test]
fn a_budget_that_pays_for_no_delay_is_left_to_the_latest() {
    let (started, refused, strategy) = with_budget(2.0);
    assert_eq!(strategy.stats().best, Some(ms(1000)));
    assert!(started >= 0.019, "{started}");
    assert!(refused <= 0.1, "{refused}");
}

#[test]
fn a_budget_that_pays_for_every_hedge_changes_nothing() {
    let (started, refused, strategy) = with_budget(100.0);
    assert!(
        started >= 0.8 && refused == 0.0,
        "{refused} beside {started}"
    );
    assert_eq!(strategy.stats().best, Some(ms(50)));
}

#[test]
fn without_a_budget_no_delay_gains() {
    let (started, _, strategy) = with_budget(0.0);
    assert_eq!(strategy.stats().best, Some(ms(1000)));
    assert!(started == 0.0 && strategy.price.value() > 0.9);
}

#[test]
fn rare_clusters_of_refusals_set_no_price() {
    let refused = finished(ms(100))
        .with_due(true)
        .with_suppressed(Some(Suppressed::BudgetRatio));
    let mut price = Price::new();
    for request in 0..10_000 {
        price.learn(&if request % 1000 < 50 {
            refused
        } else {
            finished(ms(1))
        });
    }
    assert!(price.value() < 0.01, "{}", price.value());
}
