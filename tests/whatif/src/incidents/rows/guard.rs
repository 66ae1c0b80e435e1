//! Hedges that do not help, and hedging that has to come back.

use core::time::Duration;

use hedge_core::{HedgeConfig, StrategyKind, Suppressed};
use rand::RngExt;

use super::super::rule::{rule, run};
use super::super::scenario::{self, Scenario, USELESS, lognormal};
use super::super::verdict::{As, Figure, Row};
use super::{Group, mean_of, over, worst_of};
use crate::seeds::Seeds;

pub(super) const GROUPS: &[Group] = &[
    ("never_wins", never_wins),
    ("recovery", recovery),
    ("early_delay", early_delays),
];

fn never_wins(seeds: Seeds) -> Result<Vec<Row>, String> {
    let runs = over(seeds, &scenario::alike(20_000), &rule(|_| {}), |run, _| {
        [10_000.0 * run.extra(0..10_000), run.extra(10_000..20_000)]
    })?;
    let worst = format!("worst seed {:.0}", worst_of(&runs, |run| run[0]));
    Ok(vec![Row::new(
        "never_wins",
        vec![
            Figure::at_most(
                "hedges of 10 000",
                As::Number(0),
                mean_of(&runs, |run| run[0]),
                80.0,
            )
            .beside(&worst),
            Figure::at_most(
                "hedged later",
                As::Percent,
                mean_of(&runs, |run| run[1]),
                0.001,
            ),
        ],
    )])
}

/// How many seconds after a time in which hedges were useless the first one wins, with the guard and without.
fn first_win(seeds: Seeds, per_second: f64, requests: usize) -> Result<Vec<[f64; 2]>, String> {
    let scenario = scenario::useless_for_a_while(per_second, requests);
    let over = scenario.start(USELESS.end);
    let seconds = |config: &HedgeConfig, seed: u64| {
        let run = run(&scenario, config, seed)?;
        let won = run.done[USELESS.end..].iter().find(|done| done.hedge_won);
        let end = won.map_or(scenario.start(requests), |done| done.start + done.latency);
        Ok::<_, String>(Duration::from_secs_f64((end - over) / 1e3).as_secs_f64())
    };
    seeds.each(|seed| {
        let on = seconds(&rule(|_| {}), seed)?;
        let off = seconds(&rule(|config| config.guard = Some(false)), seed)?;
        Ok([on, off])
    })
}

fn recovery(seeds: Seeds) -> Result<Vec<Row>, String> {
    let fast = first_win(seeds, 10.0, 10_000)?;
    let slow = first_win(seeds, 1.0, 8000)?;
    let off = |runs: &[[f64; 2]]| format!("without the guard {:.0}", worst_of(runs, |s| s[1]));
    Ok(vec![
        Row::new(
            "recovery_at_10",
            vec![
                Figure::at_most(
                    "seconds until a hedge wins again, worst seed",
                    As::Number(0),
                    worst_of(&fast, |s| s[0]),
                    60.0,
                )
                .beside(&off(&fast)),
            ],
        ),
        Row::new(
            "recovery_at_1",
            vec![
                // Not seed by seed: who is put off waits for the next that is due, whenever that is.
                Figure::at_most(
                    "seconds until a hedge wins again, worst seed, more than without the guard",
                    As::Number(0),
                    worst_of(&slow, |s| s[0]) - worst_of(&slow, |s| s[1]),
                    60.0,
                )
                .beside(&format!(
                    "{}, means {:.0} and {:.0}",
                    off(&slow),
                    mean_of(&slow, |s| s[0]),
                    mean_of(&slow, |s| s[1])
                )),
            ],
        ),
    ])
}

/// A delay that most requests are meant to pass is no sign of a slow backend.
fn early_delays(seeds: Seeds) -> Result<Vec<Row>, String> {
    let adaptive = rule(|config| config.strategy = StrategyKind::Adaptive);
    let optimal = rule(|config| {
        config.strategy = StrategyKind::Optimal;
        config.optimal_target = 90.0;
        config.optimal_budget_percent = 100.0;
        config.budget_percent = 100.0;
    });
    let capped = rule(|config| config.max_delay = Some(50.0));
    let exponential = |rng: &mut rand::rngs::SmallRng| -100.0 * (1.0 - rng.random::<f64>()).ln();
    let cases: [(&str, Scenario, HedgeConfig); 3] = [
        (
            "early_delay_adaptive",
            scenario::independent(20_000, 100.0, |rng| lognormal(rng, 200.0, 1.0)),
            adaptive,
        ),
        (
            "early_delay_optimal",
            scenario::independent(20_000, 100.0, exponential),
            optimal,
        ),
        (
            "early_delay_max_delay",
            scenario::independent(20_000, 100.0, |rng| lognormal(rng, 100.0, 0.5)),
            capped,
        ),
    ];
    cases
        .into_iter()
        .map(|(name, scenario, config)| {
            let runs = over(seeds, &scenario, &config, |run, _| {
                let guarded =
                    |_: usize, done: &super::Done| done.suppressed == Some(Suppressed::Guard);
                [run.share(0..20_000, guarded), run.extra(0..20_000)]
            })?;
            let hedged = format!("hedged {:.1} %", 100.0 * mean_of(&runs, |run| run[1]));
            let suppressed = mean_of(&runs, |run| run[0]);
            let figure = Figure::at_most("suppressed by the guard", As::Percent, suppressed, 0.01);
            Ok(Row::new(name, vec![figure.beside(&hedged)]))
        })
        .collect()
}
