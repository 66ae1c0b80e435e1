//! What a budget refuses, and when it is there again.

use hedge_core::StrategyKind;

use super::super::rule::{rule, run};
use super::super::scenario::{self, Scenario, healthy_p95, in_burst};
use super::super::verdict::{As, Figure, Row};
use super::{Group, limit, mean_of, over};
use crate::engine::{Answer, Ended};
use crate::seeds::Seeds;

pub(super) const GROUPS: &[Group] = &[("burst", burst), ("max_in_flight", max_in_flight)];

fn burst(seeds: Seeds) -> Result<Vec<Row>, String> {
    let requests = 61_000;
    let timed = rule(|config| config.timeout_ms = Some(5000.0));
    let limit = limit(healthy_p95(), healthy_p95());
    let shares = over(seeds, &scenario::bursts(requests), &timed, |run, _| {
        let hung = |request: usize, _: &super::Done| in_burst(request);
        run.share_of(0..requests, hung, |done| {
            done.ended == Ended::Answered && done.latency <= limit
        })
    })?;
    let rescued = 100.0 * mean_of(&shares, |share| *share);
    let figure = Figure::at_least(
        "rescued of 100 that hang together",
        As::Number(1),
        rescued,
        20.0,
    );
    Ok(vec![Row::new("burst_of_100_hanging", vec![figure])])
}

/// A hedge is refused for want of a place, and one is free soon after.
fn max_in_flight(_: Seeds) -> Result<Vec<Row>, String> {
    let scenario = Scenario::new(2, 200.0, |attempt| {
        match (attempt.request, attempt.index) {
            // Its hedge takes the only place from 10 ms to 23 ms.
            (0, 0) => Answer::ok(23.0),
            (0, _) => Answer::ok(1000.0),
            // Begins at 5 ms and is refused at 15 ms.
            (_, 0) => Answer::NEVER,
            _ => Answer::ok(5.0),
        }
    });
    let config = rule(|config| {
        config.strategy = StrategyKind::Fixed;
        config.delay_ms = Some(10.0);
        config.max_hedges = 3;
        config.max_in_flight = Some(1);
        config.timeout_ms = Some(5000.0);
    });
    let run = run(&scenario, &config, 1)?;
    let waited = run.done.get(1).map_or(f64::NAN, |done| done.latency);
    let figure = Figure::at_most(
        "ms, refused at 10 where a place is free at 18",
        As::Number(0),
        waited,
        45.0,
    );
    Ok(vec![Row::new("max_in_flight_asked_again", vec![figure])])
}
