//! What teaches the delay, and what may not.

use hedge_core::strategy::Hints;
use hedge_core::{HedgeConfig, StrategyKind};
use rand::RngExt;

use super::super::rule::{rule, run};
use super::super::scenario::{self, Scenario, lognormal};
use super::super::verdict::{As, Figure, Row};
use super::{Group, mean_of, over, worst_of};
use crate::engine::{Answer, Ask};
use crate::seeds::Seeds;

pub(super) const GROUPS: &[Group] = &[
    ("unhedged_kind", unhedged_kind),
    ("hints", hints),
    ("p999_window_100", extreme_percentile),
    ("max_age", max_age),
    ("hours", hours),
    ("first_100", first_hundred),
];

/// GETs of 8 to 12 ms, 2 % of which take 800, and one POST in ten of 1.5 to 2 s that may not be hedged.
fn mixed(posts: bool) -> Scenario {
    let scenario = Scenario::new(30_000, 500.0, move |attempt| {
        let mut own = attempt.own();
        Answer::ok(if posts && is_post(attempt.request) {
            own.random_range(1500.0..2000.0)
        } else if own.random_bool(0.02) {
            800.0
        } else {
            own.random_range(8.0..12.0)
        })
    });
    if posts {
        scenario.asking(|request| Ask {
            hedge: !is_post(request),
            ..Ask::PLAIN
        })
    } else {
        scenario
    }
}

fn is_post(request: usize) -> bool {
    request % 10 == 3
}

fn unhedged_kind(seeds: Seeds) -> Result<Vec<Row>, String> {
    let p99 = |posts: bool| {
        let figure = |run: &super::Run, _| run.percentile(2000..30_000, 99.0, |n| !is_post(n));
        Ok::<_, String>(mean_of(
            &over(seeds, &mixed(posts), &rule(|_| {}), figure)?,
            |p| *p,
        ))
    };
    let (with, alone) = (p99(true)?, p99(false)?);
    let beside = format!("{with:.0} ms, alone {alone:.0} ms");
    let figure = Figure::at_most(
        "P99 of GETs ÷ GETs alone",
        As::Number(2),
        with / alone,
        1.10,
    );
    Ok(vec![Row::new(
        "unhedged_kind",
        vec![figure.beside(&beside)],
    )])
}

/// Latency in proportion to a hint.
fn hints(seeds: Seeds) -> Result<Vec<Row>, String> {
    const LENGTHS: [u32; 4] = [500, 1500, 3000, 5000];
    fn hints(request: usize) -> Hints {
        Hints::NONE.prompt_length(LENGTHS[request % LENGTHS.len()])
    }
    let scenario = Scenario::new(30_000, 100.0, |attempt| {
        let latency = lognormal(&mut attempt.own(), 100.0, 0.6);
        Answer::ok(latency * hints(attempt.request).factor())
    });
    let scenario = scenario.asking(|request| Ask {
        hints: hints(request),
        ..Ask::PLAIN
    });
    let config = rule(|config| {
        config.strategy = StrategyKind::WorkloadAware;
        config.workload_inner = Some(StrategyKind::Percentile);
    });
    let extra = over(seeds, &scenario, &config, |run, _| run.extra(2000..30_000))?;
    let hedged = mean_of(&extra, |extra| *extra);
    let figure = Figure::within("hedged", As::Percent, hedged, 0.045, 0.055);
    Ok(vec![Row::new("hints_percentile", vec![figure])])
}

fn extreme_percentile(seeds: Seeds) -> Result<Vec<Row>, String> {
    let config = rule(|config| {
        config.percentile = 99.9;
        config.window_size = 100;
    });
    let scenario = scenario::independent(50_000, 500.0, |rng| lognormal(rng, 10.0, 0.7));
    let figure = match over(seeds, &scenario, &config, |run, _| run.extra(5000..50_000)) {
        Ok(extra) => {
            let hedged = mean_of(&extra, |extra| *extra);
            Figure::within("hedged, or refused", As::Percent, hedged, 0.0005, 0.0015)
        }
        Err(refused) => Figure::said("hedged, or refused", "0.05 % to 0.15 %", refused, true),
    };
    Ok(vec![Row::new("p999_window_100", vec![figure])])
}

/// After an hour without requests, samples that may be a second old count no more.
fn max_age(_: Seeds) -> Result<Vec<Row>, String> {
    let config = rule(|config| config.max_age_ms = Some(1000.0));
    let last = 25;
    let answer = move |request: usize| Answer::ok(if request == last { 5000.0 } else { 10.0 });
    let used = Scenario::new(last + 1, 100.0, move |attempt| answer(attempt.request)).starting(
        move |request| {
            if request == last {
                3.6e6
            } else {
                10.0 * request as f64
            }
        },
    );
    let fresh = Scenario::new(1, 100.0, move |_| answer(last));
    let delay = |scenario: &Scenario| {
        let run = run(scenario, &config, 1)?;
        Ok::<_, String>(run.done.last().and_then(|done| done.hedge_delay))
    };
    let (used, fresh) = (delay(&used)?, delay(&fresh)?);
    let text = |delay: Option<f64>| delay.map_or("none".to_owned(), |ms| format!("{ms:.0} ms"));
    let figure = Figure::said(
        "delay after an hour idle, as a new hedger's:",
        &text(fresh),
        text(used),
        used == fresh,
    );
    Ok(vec![Row::new("max_age_idle", vec![figure])])
}

/// Services of one to two hours.
fn hours(seeds: Seeds) -> Result<Vec<Row>, String> {
    let scenario = scenario::independent(4000, 1.0 / 60.0, |rng| rng.random_range(3.6e6..7.2e6));
    let figure = match over(seeds, &scenario, &rule(|_| {}), |run, _| {
        run.extra(1000..4000)
    }) {
        Ok(extra) => {
            let hedged = mean_of(&extra, |extra| *extra);
            Figure::within("hedged, or refused", As::Percent, hedged, 0.03, 0.07)
        }
        Err(refused) => Figure::said("hedged, or refused", "3 % to 7 %", refused, true),
    };
    Ok(vec![Row::new("hours", vec![figure])])
}

/// The first hundred requests of a new hedger, whatever the service takes.
fn first_hundred(seeds: Seeds) -> Result<Vec<Row>, String> {
    [200.0, 1000.0, 5000.0, 30_000.0]
        .into_iter()
        .map(|median: f64| {
            let draw = move |rng: &mut rand::rngs::SmallRng| lognormal(rng, median, 0.5);
            let scenario = scenario::independent(100, 5e3 / median, draw);
            let default: HedgeConfig = rule(|_| {});
            let extra = seeds.each(|seed| Ok(run(&scenario, &default, seed)?.extra(0..100)))?;
            let worst = worst_of(&extra, |extra| *extra);
            let figure = Figure::at_most("hedged, worst seed", As::Percent, worst, 0.10);
            Ok(Row::new(format!("first_100_of_{median}ms"), vec![figure]))
        })
        .collect()
}
