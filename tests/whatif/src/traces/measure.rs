//! How well a rule decides on a trace.

use serde::Serialize;

use super::folder::Trace;
use super::rules::{Rule, Run};
use crate::clustering::most;
use crate::lab::percentile;
use crate::seeds::Seeds;

/// The percentiles that are looked at.
pub(super) const TARGETS: [f64; 2] = [99.0, 99.9];

/// One rule on one trace, or on all that count. Shares are fractions of 1.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measure {
    pub(super) trace: String,
    pub(super) rule: &'static str,
    /// The percentile, 0 to 100.
    pub(super) target: f64,
    pub(super) budget: f64,
    /// Over the best single delay and chance that the budget pays for.
    pub(super) ratio: f64,
    /// Over the best that as much extra load pays for as there was.
    pub(super) ratio_at_spent: f64,
    pub(super) extra: f64,
    /// The most that were hedged of a thousand requests in a row, and of a hundred.
    pub(super) worst_1000: f64,
    #[serde(skip)]
    pub(super) worst_100: f64,
    pub(super) first_100: f64,
    /// Over what is reached without the guard, where that is measured too.
    pub(super) over_guard_off: Option<f64>,
}

/// The trace that stands for all that count.
pub(super) const MEAN: &str = "mean";

/// Runs `rule` on every draw: a measure for each target.
pub(super) fn measure(
    trace: &Trace,
    rule: Rule,
    budget: f64,
    seeds: Seeds,
) -> Result<Vec<Measure>, String> {
    let runs = |target: f64| -> Result<Vec<Run>, String> {
        seeds
            .iter()
            .zip(&trace.draws)
            .map(|(seed, pairs)| rule.run(pairs, &trace.sorted, budget, target, seed))
            .collect()
    };
    if rule.has_a_target() {
        TARGETS
            .map(|target| Ok(of(trace, rule, budget, target, &runs(target)?)))
            .into_iter()
            .collect()
    } else {
        let runs = runs(TARGETS[0])?;
        let measures = TARGETS.map(|target| of(trace, rule, budget, target, &runs));
        Ok(measures.to_vec())
    }
}

fn of(trace: &Trace, rule: Rule, budget: f64, target: f64, runs: &[Run]) -> Measure {
    let mut waited: Vec<f64> = runs.iter().flat_map(|run| &run.waited).copied().collect();
    waited.sort_by(f64::total_cmp);
    let reached = percentile(&waited, target);
    let hedged = || runs.iter().map(|run| run.hedged.as_slice());
    let share = |hedged: &[bool]| {
        let count = hedged.iter().filter(|hedged| **hedged).count();
        count as f64 / hedged.len().max(1) as f64
    };
    let extra = hedged().map(share).sum::<f64>() / runs.len().max(1) as f64;
    let worst = |window: usize| {
        let most =
            |hedged: &[bool]| most(hedged, window) as f64 / window.min(hedged.len().max(1)) as f64;
        hedged().map(most).fold(0.0, f64::max)
    };
    let over = |extra: f64| {
        let best = trace.known.best(target, extra);
        if reached == best { 1.0 } else { reached / best }
    };
    Measure {
        trace: trace.name.clone(),
        rule: rule.name(),
        target,
        budget: budget / 100.0,
        ratio: over(budget / 100.0),
        ratio_at_spent: over(extra),
        extra,
        worst_1000: worst(1000),
        worst_100: worst(100),
        first_100: hedged()
            .map(|hedged| share(&hedged[..hedged.len().min(100)]))
            .fold(0.0, f64::max),
        over_guard_off: None,
    }
}

/// Compares each measure of a rule with that of the same without the guard.
pub(super) fn compare(measures: &mut [Measure], rule: Rule, guard_off: Rule) {
    let free: Vec<Measure> = measures
        .iter()
        .filter(|measure| measure.rule == guard_off.name())
        .cloned()
        .collect();
    for measure in measures.iter_mut().filter(|m| m.rule == rule.name()) {
        let of_same = |m: &&Measure| m.trace == measure.trace && m.target == measure.target;
        let free = free.iter().find(of_same);
        // Both are over the same optimum.
        measure.over_guard_off = free.map(|free| measure.ratio / free.ratio);
    }
}

/// A rule's measures of several traces in one: the geometric mean of the ratios, the mean of the extra load, and the
/// worst of the others.
pub(super) fn mean(measures: &[&Measure]) -> Option<Measure> {
    let first = *measures.first()?;
    let count = measures.len() as f64;
    let geometric = |of: fn(&Measure) -> f64| {
        let sum: f64 = measures.iter().map(|measure| of(measure).ln()).sum();
        (sum / count).exp()
    };
    let worst = |of: fn(&Measure) -> f64| measures.iter().map(|m| of(m)).fold(0.0, f64::max);
    Some(Measure {
        trace: MEAN.into(),
        ratio: geometric(|measure| measure.ratio),
        ratio_at_spent: geometric(|measure| measure.ratio_at_spent),
        extra: measures.iter().map(|measure| measure.extra).sum::<f64>() / count,
        worst_1000: worst(|measure| measure.worst_1000),
        worst_100: worst(|measure| measure.worst_100),
        first_100: worst(|measure| measure.first_100),
        over_guard_off: measures
            .iter()
            .filter_map(|measure| measure.over_guard_off)
            .reduce(f64::max),
        ..first.clone()
    })
}
