use std::vec::Vec;

use super::*;
use crate::outcome::Suppressed;
use crate::random::SplitMix;
use crate::record::RequestEnd;
use crate::strategy::Warmup;

mod requests;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns the record of a request whose loser is dropped.
fn report(primary: Duration, hedge: Option<(Duration, Duration)>) -> Record {
    let Some((delay, hedge)) = hedge else {
        return Record::new(Sample::Finished(primary));
    };
    let total = delay + hedge;
    let record = if total < primary {
        Record::new(Sample::Dropped(total))
            .with_hedge(Cause::Delay, delay, Sample::Finished(hedge))
            .ended(RequestEnd::Won(1), total)
    } else {
        let dropped = Sample::Dropped(primary - delay);
        Record::new(Sample::Finished(primary)).with_hedge(Cause::Delay, delay, dropped)
    };
    record.with_due(true)
}

fn record(strategy: &mut Optimal, millis: impl IntoIterator<Item = u64>) {
    for millis in millis {
        strategy.record(&report(ms(millis), None));
    }
}

fn plan(strategy: &mut Optimal) -> Plan {
    strategy.plan(&Hints::NONE, Instant::ZERO)
}

#[test]
fn until_there_are_enough_samples_the_warm_up_decides() {
    let strategy = Optimal::new(99.0, 50.0).initial_delay(ms(7)).min_samples(3);
    for (warmup, expected) in [
        (
            Warmup::Delay,
            [Some(7_000), Some(7_000), Some(7_000), Some(20_000)],
        ),
        (Warmup::Off, [None, None, None, Some(20_000)]),
        // Expect (3 × 7 + n × 20) / (3 + n) ms.
        (
            Warmup::Prior,
            [Some(7_000), Some(10_250), Some(12_200), Some(13_500)],
        ),
    ] {
        let mut strategy = strategy.clone().warmup(warmup);
        for expected in expected {
            let plan = plan(&mut strategy);
            // All samples take 20 ms, and their bucket ends at 21 ms.
            let near = |delay: Duration, expected: Duration| {
                expected <= delay && delay <= expected + expected / 20
            };
            let expected = expected.map(Duration::from_micros);
            let is_near = plan.delay().zip(expected).is_none_or(|(d, e)| near(d, e));
            assert!(is_near, "{warmup}: {plan:?}, {expected:?} expected");
            assert_eq!(plan.delay().is_some(), expected.is_some());
            let off = expected.is_none().then_some(Suppressed::WarmingUp);
            assert_eq!(plan.suppressed(), off);
            record(&mut strategy, [20]);
        }
    }
}

#[test]
fn a_request_is_hedged_once() {
    let mut strategy = Optimal::new(99.0, 5.0).initial_delay(ms(100));
    for _ in 0..2 {
        let plan = plan(&mut strategy);
        assert!(plan.delay() < Some(ms(1000)));
        assert_eq!(plan.offset(2), Some(Duration::MAX));
        record(&mut strategy, 0..800);
    }
}

#[test]
fn only_complete_pairs_are_learned_from() {
    let hedged = report(ms(50), Some((ms(10), ms(90))));
    let mut strategy = Optimal::new(99.0, 5.0);
    record(&mut strategy, 1..=20);
    let mut not = [hedged; 4];
    not[0].retries = 0b10;
    not[1].attempts = 3;
    not[2] = hedged.with_primary(Sample::Failed(ms(50)));
    not[3] = hedged.with_hedge(Cause::Delay, ms(10), Sample::Failed(ms(40)));
    for report in not {
        strategy.record(&report);
        assert_eq!(strategy.stats().pairs, 0, "{report:?}");
    }
    strategy.record(&hedged);
    assert_eq!(strategy.stats().pairs, 1);
    let dropped = hedged.with_primary(Sample::Dropped(ms(50)));
    // The strategy does not learn from every pair: the requests before a pair have to pay for it.
    (0..PRICE).for_each(|_| strategy.record(&dropped));
    assert_eq!(strategy.stats().pairs, 2);
}

#[test]
fn a_hedge_that_is_only_observed_counts_like_any_other() {
    let told = |edit: fn(&mut Record)| {
        let mut strategy = Optimal::new(99.0, 5.0);
        for n in 0..100 {
            let mut report = report(ms(n), None);
            if n % 10 == 0 {
                report = report.with_due(true);
                edit(&mut report);
            }
            strategy.record(&report);
        }
        std::format!("{:?}", strategy.learned.rate)
    };
    let hedged = told(|report| report.attempts = 2);
    let observed = told(|report| report.suppressed = Some(Suppressed::ObserveOnly));
    assert_eq!(hedged, observed);
    // A hedge that was withheld for the control group counts, too.
    assert_eq!(hedged, told(|report| *report = report.drawn()));
    assert_ne!(hedged, told(|_| ()));
}

#[test]
fn equal_latencies_lie_amid_each_other_but_what_was_dropped_below() {
    let mut strategy = Optimal::new(99.0, 5.0);
    record(&mut strategy, [10, 20, 20, 20, 30]);
    // The next draw is expected above the sample.
    let share = |sample| strategy.share_above(sample).unwrap();
    let near = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6, "{found}");
    near(share(Sample::Finished(ms(20))), 3.5 / 6.0);
    near(share(Sample::Dropped(ms(20))), 5.0 / 6.0);
    near(share(Sample::Dropped(ms(22))), 2.0 / 6.0);
    near(share(Sample::Finished(ms(99))), 1.0 / 6.0);
    let share = |sample| strategy.share_above(sample);
    assert_eq!(share(Sample::Failed(ms(20))), None);
}

#[test]
fn a_plan_is_reusable_unless_samples_grow_too_old() {
    let mut strategy = Optimal::new(99.0, 5.0);
    assert!(plan(&mut strategy).is_reusable());
    let mut strategy = strategy.max_age(ms(800)).min_samples(5);
    assert!(!plan(&mut strategy).is_reusable());
    record(&mut strategy, 10..20);
    let delay = plan(&mut strategy).delay().unwrap();
    assert!(ms(18) < delay && delay < ms(21), "{delay:?}");
    let later = Instant::from_epoch(ms(800));
    let plan = strategy.plan(&Hints::NONE, later);
    assert_eq!(plan.suppressed(), Some(Suppressed::WarmingUp));
    assert_eq!(strategy.stats().predicted, None);
}

#[test]
fn the_policy_is_chosen_again_when_a_tenth_of_the_samples_is_new() {
    let mut strategy = Optimal::new(99.0, 50.0);
    record(&mut strategy, [10; 100]);
    let mut until = |millis| {
        (1..20).find(|_| {
            record(&mut strategy, [millis]);
            let unhedged = strategy.stats().unhedged.unwrap();
            unhedged.abs_diff(ms(millis)) < ms(2)
        })
    };
    assert!(until(20) <= Some(10));
    assert!((Some(10)..=Some(13)).contains(&until(30)));
}

#[test]
fn it_promises_the_wins_that_its_samples_would_give_its_delay() {
    let mut strategy = Optimal::new(99.0, 10.0);
    // Of 100 requests 3 are slow; a hedge that takes as long as one of the others beats them.
    record(
        &mut strategy,
        (1..=100).map(|n| if n % 33 == 0 { 1000 } else { 10 }),
    );
    let delay = plan(&mut strategy).delay().unwrap();
    assert!(ms(10) <= delay && delay < ms(990), "{delay:?}");
    assert_eq!(strategy.expected_win_rate(), Some(0.97));
}

#[test]
fn a_reset_forgets_what_was_learned_and_keeps_options() {
    let fresh = Optimal::new(90.0, 5.0).window_size(200).min_samples(2);
    let fresh = fresh.initial_delay(ms(3)).max_age(ms(800));
    let mut strategy = fresh.clone();
    for _ in 0..30 {
        strategy.record(&report(ms(50), Some((ms(10), ms(90)))));
    }
    let typical = strategy.typical_latency(&Hints::NONE).unwrap();
    assert!(typical.abs_diff(ms(50)) < ms(3), "{typical:?}");
    assert!(strategy.stats().pairs > 0);
    strategy.reset();
    assert_eq!(strategy.stats(), fresh.stats());
    assert_eq!(strategy.typical_latency(&Hints::NONE), None);
    assert_eq!(plan(&mut strategy).chance(), 1.0);
    record(&mut strategy, [60; 20]);
    assert_eq!(strategy.stats().samples, 20);
    assert_eq!(strategy.memory.max_age(), Some(ms(800)));
}

#[test]
fn invalid_values_are_named() {
    type O = Optimal;
    let good = || Optimal::new(99.0, 5.0);
    let bad: [(&str, O); 12] = [
        (
            "`optimal_target` is 49.9, but must be 50 to 99.9",
            Optimal::new(49.9, 5.0),
        ),
        (
            "`optimal_target` is 99.91, but must be 50 to 99.9",
            Optimal::new(99.91, 5.0),
        ),
        (
            "`optimal_target` is NaN, but must be 50 to 99.9",
            Optimal::new(f64::NAN, 5.0),
        ),
        (
            "`optimal_budget_percent` is 0, but must be greater than 0",
            Optimal::new(99.0, 0.0),
        ),
        (
            "`optimal_budget_percent` is NaN, but must be greater than 0",
            Optimal::new(99.0, f64::NAN),
        ),
        (
            "`optimal_budget_percent` is inf, but must be greater than 0",
            Optimal::new(99.0, f64::INFINITY),
        ),
        (
            "`window_size` is 199, but must be 200 to 8000",
            good().window_size(199),
        ),
        (
            "`window_size` is 8001, but must be 200 to 8000",
            good().window_size(8001),
        ),
        (
            "`min_samples` is 0, but must be 1 to 4000",
            good().min_samples(0),
        ),
        (
            "`min_samples` is 301, but must be 1 to 300",
            good().min_samples(301).window_size(300),
        ),
        (
            "`max_age_ms` is 0, but must be greater than 0",
            good().max_age(Duration::ZERO),
        ),
        (
            "`window_size` is 9, but must be 200 to 8000",
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
        Optimal::new(50.0, 1e-9),
        Optimal::new(99.9, 700.0),
        good()
            .window_size(200)
            .min_samples(200)
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
            let mut strategy = Optimal::new(target, budget)
                .min_samples(usize::MAX)
                .initial_delay(Duration::MAX)
                .warmup(warmup);
            strategy = age.map_or(strategy.clone(), |age| strategy.max_age(age));
            let mut now = Instant::ZERO;
            for (sample, elapsed) in samples.iter().flat_map(|s| extremes.map(|e| (s, e))) {
                let report = Record::new(sample(elapsed));
                for hedge in samples.iter().flat_map(|s| extremes.map(s)) {
                    let report = report.with_hedge(Cause::Delay, Duration::ZERO, hedge);
                    strategy.record(&report.at(now));
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
fn it_is_small() {
    assert!(size_of::<Optimal>() <= 3400, "{}", size_of::<Optimal>());
}

#[test]
fn it_can_be_a_static() {
    static STRATEGY: Optimal = Optimal::new(95.0, 5.0)
        .window_size(500)
        .initial_delay(ms(20))
        .min_samples(5)
        .warmup(Warmup::Off)
        .max_age(ms(60_000));
    assert_eq!(STRATEGY.validate(), Ok(()));
    assert_eq!(STRATEGY.stats().window, 500);
    let _: Vec<Optimal> = Vec::from([const { Optimal::new(99.0, 5.0) }]);
}
