//! What is expected of hedge on real traces, at a nominal load of 5 %.

use super::Results;
use super::measure::{MEAN, Measure, TARGETS};
use super::rules::Rule;
use crate::incidents::verdict::{As, Figure, Row};

/// Hedge's rules with all their defaults.
const OURS: [Rule; 2] = [Rule::Percentile, Rule::Optimal];
const PEERS: [Rule; 2] = [Rule::TowerHedge, Rule::Naive];

/// The nominal load that these are stated for, in percent.
const BUDGET: f64 = 5.0;

/// A row for each target; none at another load, or where no mean can be taken.
pub(super) fn rows(results: &Results) -> Vec<Row> {
    if results.budget != BUDGET || results.counted.is_empty() {
        return Vec::new();
    }
    let mean = |rule: Rule| {
        let wanted = |m: &&Measure| m.trace == MEAN && m.rule == rule.name() && m.target == 99.0;
        results.measures.iter().find(wanted)
    };
    let of_mean = |rule: Rule, of: fn(&Measure) -> f64| mean(rule).map_or(f64::NAN, of);
    let ratios = |rule: Rule, most: f64| {
        Row::new(
            format!("{}_of_best", rule.name()),
            vec![
                Figure::at_most(
                    "P99 ÷ best, mean",
                    As::Number(2),
                    of_mean(rule, |m| m.ratio),
                    most,
                ),
                Figure::at_most("extra load", As::Percent, of_mean(rule, |m| m.extra), 0.05),
            ],
        )
    };
    let at_spent = |rule| of_mean(rule, |measure| measure.ratio_at_spent);
    let peers = PEERS.map(at_spent).into_iter().fold(f64::MAX, f64::min);
    let ahead = OURS.map(|rule| Figure::at_most(rule.name(), As::Number(3), at_spent(rule), peers));
    let worst = |of: &dyn Fn(&Measure) -> f64, is_of: &dyn Fn(&str) -> bool| {
        let ours = |m: &&Measure| OURS.iter().any(|rule| rule.name() == m.rule);
        let measures = results.measures.iter().filter(ours);
        let measures = measures.filter(|m| m.trace != MEAN && is_of(&m.trace));
        measures.map(of).fold(0.0, f64::max)
    };
    let any = |_: &str| true;
    let cannot_help = |name: &str| {
        let mut traces = results.traces.iter().filter(|trace| trace.is_long());
        let is_counted = results.counted.iter().any(|counted| counted == name);
        !is_counted && traces.any(|trace| trace.name == name)
    };
    let bounds = vec![
        Figure::at_most("extra load", As::Percent, worst(&|m| m.extra, &any), 0.10),
        Figure::at_most(
            "where hedging cannot help",
            As::Percent,
            worst(&|m| m.extra, &cannot_help),
            0.02,
        ),
        Figure::at_most(
            "1000 in a row",
            As::Percent,
            worst(&|m| m.worst_1000, &any),
            0.19,
        ),
        Figure::at_most(
            "first 100",
            As::Percent,
            worst(&|m| m.first_100, &any),
            0.10,
        ),
    ];
    let guard = TARGETS.iter().zip([1.01, 1.15]).map(|(target, most)| {
        let measures = results.measures.iter().filter(|m| m.target == *target);
        let costs = measures.filter_map(|m| Some((m.over_guard_off?, &m.trace)));
        let worst = costs.reduce(|worst, cost| if cost.0 > worst.0 { cost } else { worst });
        let (cost, trace) = worst.map_or((f64::NAN, ""), |(cost, trace)| (cost, trace.as_str()));
        let what = format!("P{target} over guard off, worst trace");
        Figure::at_most(&what, As::Number(3), cost, most).beside(trace)
    });
    vec![
        ratios(Rule::Percentile, 1.15),
        ratios(Rule::Optimal, 1.18),
        Row::new("ahead_of_others_at_spent", ahead.into()),
        Row::new("every_trace", bounds),
        Row::new("guard_costs", guard.collect()),
    ]
}
