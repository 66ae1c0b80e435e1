use core::time::Duration;

use super::*;
use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::random::SplitMix;
use crate::record::{Record, RequestEnd, Sample};
use crate::strategy::{
    Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Hints, Off, Optimal, Percentile,
    WindowedPercentile, WorkloadAware,
};

const NOW: Instant = Instant::from_epoch(Duration::from_secs(7));

fn ms(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1e3)
}

fn all() -> [AnyStrategy; 7] {
    [
        Off.into(),
        Fixed::new(ms(30.0)).into(),
        Percentile::new(95.0).into(),
        Adaptive::new().into(),
        Optimal::new(95.0, 5.0).into(),
        ExponentialBackoff::new().into(),
        WorkloadAware::over(Percentile::new(90.0)).into(),
    ]
}

/// Plays requests with exponential latencies, and hedges those that pass the delay with the plan's chance.
fn use_it(strategy: &mut AnyStrategy, requests: u32, rng: &mut SplitMix) {
    for _ in 0..requests {
        let mut latency = || ms(-20.0 * libm::log(rng.uniform()));
        let (primary, hedge) = (latency(), latency());
        let plan = strategy.plan(&Hints::NONE, NOW);
        let mut report = Record::new(Sample::Finished(primary));
        if let Some(delay) = plan.delay().filter(|&delay| delay < primary)
            && rng.uniform() < plan.chance().into()
        {
            let end = primary.min(delay + hedge);
            report = if end < primary {
                Record::new(Sample::Dropped(end))
                    .with_hedge(Cause::Delay, delay, Sample::Finished(hedge))
                    .ended(RequestEnd::Won(1), end)
            } else {
                report.with_hedge(Cause::Delay, delay, Sample::Dropped(end - delay))
            };
        }
        strategy.record(&report.at(NOW));
    }
}

fn trained() -> [AnyStrategy; 7] {
    let mut rng = SplitMix(1);
    all().map(|mut strategy| {
        use_it(&mut strategy, 3000, &mut rng);
        strategy
    })
}

#[test]
fn a_restart_keeps_what_was_learned() {
    for (mut before, mut after) in trained().into_iter().zip(all()) {
        let kind = before.kind();
        let text = serde_json::to_string(&Learned::of(&before, NOW)).unwrap();
        let learned: Learned = serde_json::from_str(&text).unwrap();
        assert_eq!(learned.strategy(), kind);
        assert_eq!(learned.restore(&mut after, Instant::ZERO), Ok(()), "{kind}");
        assert_eq!(Learned::of(&after, Instant::ZERO), learned, "{kind}");
        // The typical latency is estimated anew from what was exported, so it may differ a little.
        let [was, is] =
            [&before, &after].map(|s| s.typical_latency(&Hints::NONE).unwrap_or_default());
        assert!(was.abs_diff(is) <= was / 20, "{kind}: {was:?} {is:?}");

        if kind != StrategyKind::Adaptive {
            let [was, is] = [&mut before, &mut after].map(|s| s.plan(&Hints::NONE, NOW).delay());
            let [was, is] = [was, is].map(|d| d.unwrap_or_default().as_secs_f64());
            // The delay may lag a few samples behind what the strategy has recorded.
            assert!((is - was).abs() <= 0.1 * was, "{kind}: {was} {is}");
        }
    }
}

#[test]
fn adaptive_believes_what_it_believed() {
    let mut rng = SplitMix(2);
    let mut before = Adaptive::new();
    let mut any: AnyStrategy = before.clone().into();
    use_it(&mut any, 2000, &mut rng);
    let learned = Learned::of(&any, NOW);
    learned.restore(&mut before, NOW).unwrap();
    let AnyStrategy::Adaptive(any) = any else {
        unreachable!()
    };
    assert_eq!(before.stats(), any.stats());

    // What the budget refused has set a price, which a new strategy takes over.
    let refused = Record::new(Sample::Finished(ms(90.0)))
        .planned(ms(5.0))
        .with_due(true);
    let refused = refused.with_suppressed(Some(Suppressed::BudgetRatio));
    (0..2000).for_each(|_| before.record(&refused));
    let price = |strategy: &Adaptive| Learned::of(strategy, NOW).columns["price"][0];
    assert!(price(&before) > 0.5);
    let mut new = Adaptive::new();
    let mut learned_price = Learned::of(&before, NOW);
    learned_price.restore(&mut new, NOW).unwrap();
    assert_eq!(price(&new), price(&before));
    // Exports of earlier versions have none.
    learned_price.columns.remove("price");
    learned_price.restore(&mut new, NOW).unwrap();
    assert_eq!(price(&new), 0.0);

    // A strategy with other candidates restores the latencies, but nothing about its candidates.
    let mut other = Adaptive::new().candidates(&[ms(10.0), ms(20.0)]);
    learned.restore(&mut other, NOW).unwrap();
    assert_eq!(other.stats().samples, 256);
    assert_eq!(other.stats().weight, 0.0);
    assert_eq!(other.stats().arms().len(), 2);
}

#[test]
fn a_smaller_window_takes_the_last_samples() {
    let mut before = WindowedPercentile::with_window::<100>(50.0);
    for millis in 0..100 {
        before.record(&Record::new(Sample::Finished(ms(millis.into()))).at(NOW));
    }
    let mut after = WindowedPercentile::with_window::<20>(50.0);
    Learned::of(&before, NOW).restore(&mut after, NOW).unwrap();
    assert_eq!(after.stats().samples, 20);
    assert_eq!(after.stats().delay, Some(ms(90.0)));
}

#[test]
fn what_another_strategy_learned_is_refused() {
    let learned = Learned::of(&Percentile::new(95.0), NOW);
    let error = learned.restore(&mut Adaptive::new(), NOW).unwrap_err();
    let text = "learned by `percentile`, but the strategy is `adaptive`";
    assert_eq!(std::format!("{error}"), text);
}

/// Checks that any table is either restored or refused as a whole, and that the strategy still works then.
#[test]
fn hostile_tables_do_no_harm() {
    const VALUES: [f64; 10] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1e300,
        1e300,
        -1.0,
        0.0,
        0.5,
        1e12,
        f64::MIN_POSITIVE,
    ];
    let mut refused = 0;
    for strategy in trained() {
        let learned = Learned::of(&strategy, NOW);
        let mut hostile = Vec::new();
        for name in learned.columns.keys() {
            let edit = |edit: &dyn Fn(&mut Vec<f64>)| {
                let mut copy = learned.clone();
                copy.columns.get_mut(name).map(edit);
                copy
            };
            hostile.push(edit(&|column| column.clear()));
            hostile.push(edit(&|column| column.push(1.0)));
            hostile.push(edit(&|column| *column = std::vec![0.0; 100_000]));
            for value in VALUES {
                hostile.push(edit(&|column| column.fill(value)));
                hostile.push(edit(&|column| {
                    column.iter_mut().take(1).for_each(|v| *v = value)
                }));
            }
            let mut without = learned.clone();
            without.columns.remove(name);
            hostile.push(without);
        }
        for table in hostile {
            let mut victim = strategy.clone();
            if table.restore(&mut victim, NOW).is_err() {
                assert_eq!(Learned::of(&victim, NOW), learned);
                refused += 1;
            }
            use_it(&mut victim, 300, &mut SplitMix(3));
            let plan = victim.plan(&Hints::NONE, NOW);
            assert!((0.0..=1.0).contains(&plan.chance()), "{table:?}");
            victim.validate().unwrap();
        }
    }
    assert!(refused > 100);
}

#[test]
fn hostile_text_is_refused() {
    for text in [
        "",
        "{}",
        r#"{"strategy":"percentile"}"#,
        r#"{"strategy":"percentil","columns":{}}"#,
        r#"{"strategy":"percentile","columns":{},"more":1}"#,
        r#"{"strategy":"percentile","columns":{"latencies_us":["12"]}}"#,
        r#"{"strategy":"percentile","columns":{"latencies_us":12}}"#,
        r#"{"strategy":"percentile","columns":{"latencies_us":[1e999]}}"#,
    ] {
        assert!(serde_json::from_str::<Learned>(text).is_err(), "{text}");
    }
    let custom: Learned = serde_json::from_str(r#"{"strategy":"custom","columns":{}}"#).unwrap();
    assert_eq!(custom.strategy(), StrategyKind::Custom);
}
