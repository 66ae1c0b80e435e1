//! The rows, by what goes wrong. A new one is a scenario, a rule and its figures.

mod budget;
mod changes;
mod errors;
mod guard;
mod learning;
mod queues;
mod replicas;

use core::ops::Range;

use super::rule::{Done, Run, run};
use super::scenario::Scenario;
use super::verdict::Row;
use crate::engine::Ended;
use crate::seeds::Seeds;
use hedge_core::HedgeConfig;

/// What measures some rows, and what all of their names begin with.
pub(super) type Group = (&'static str, fn(Seeds) -> Result<Vec<Row>, String>);

/// Every row.
pub(super) fn groups() -> Vec<Group> {
    [
        replicas::GROUPS,
        changes::GROUPS,
        guard::GROUPS,
        budget::GROUPS,
        learning::GROUPS,
        errors::GROUPS,
        queues::GROUPS,
    ]
    .concat()
}

/// What `measure` finds in a run of the scenario, for each seed.
fn over<R: Send>(
    seeds: Seeds,
    scenario: &Scenario,
    config: &HedgeConfig,
    measure: impl Fn(&Run, u64) -> R + Sync,
) -> Result<Vec<R>, String> {
    seeds.each(|seed| Ok(measure(&run(scenario, config, seed)?, seed)))
}

/// How long a request may take that was slow and is rescued: by a hedge that comes about when it should, and takes no
/// longer than most.
fn limit(delay: f64, p95: f64) -> f64 {
    3.0 * delay + p95
}

/// Of the requests in `range` whose primary is slow, the share that is answered within `limit` milliseconds.
fn rescued(run: &Run, scenario: &Scenario, seed: u64, range: Range<usize>, limit: f64) -> f64 {
    let slow = |request: usize, _: &Done| {
        scenario.primary(request, seed).after.as_secs_f64() * 1e3 > limit
    };
    run.share_of(range, slow, |done| {
        done.ended == Ended::Answered && done.latency <= limit
    })
}

fn mean_of<R>(runs: &[R], of: impl Fn(&R) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64
}

fn worst_of<R>(runs: &[R], of: impl Fn(&R) -> f64) -> f64 {
    runs.iter().map(of).fold(f64::MIN, f64::max)
}
