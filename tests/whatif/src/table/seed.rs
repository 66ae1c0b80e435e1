//! What was claimed for hedging at P95, what is possible, and what is reached.

use super::REQUESTS;
use crate::candidate::{Aims, Candidate};
use crate::lab::{self, Terms};
use crate::optimum::Known;
use crate::seeds::Seeds;
use crate::workload::{Model, Source};

const HEAD: &str = "
The library that hedge began from claims that a hedge at P95 takes 79 % off P99 for 5 % more requests. With one hedge
and attempts that know nothing of each other, that is possible on some latencies only:

| latencies, budget | P99 unhedged | claimed | optimum | `percentile` | `optimal` |
|---|---|---|---|---|---|
";

/// Claim, optimum and ours side by side.
pub(super) fn table(seeds: Seeds) -> Result<String, String> {
    let mut text = HEAD.to_owned();
    for (model, budget) in [
        (Model::Lognormal, 5.0),
        (Model::Exponential, 5.0),
        (Model::Bimodal, 5.0),
        (Model::Pareto, 5.0),
        (Model::Pareto, 10.0),
    ] {
        let source = Source::Model(model);
        let known = Known::independent(source.stream(500_000, 0xface));
        let terms = Terms {
            requests: REQUESTS * 10,
            seed: seeds.first(),
            target: 99.0,
        };
        let unhedged = known.percentile(99.0);
        let reached = |text: String| -> Result<String, String> {
            let candidate = Candidate::parse(&text, &Aims::DEFAULT)?;
            let row = lab::run(&candidate, &source, &terms, None, |_| {})?;
            let p99 = row.percentile(99.0);
            let cut = (1.0 - p99 / unhedged) * 100.0;
            Ok(format!(
                "{p99:.0} ms (−{cut:.0} %), extra load {:.1} %",
                row.extra_load * 100.0
            ))
        };
        let best = known.best(99.0, budget / 100.0);
        let percentile = reached(format!(
            "percentile:percentile={},budget_percent=100",
            100.0 - budget
        ))?;
        let optimal = reached(format!(
            "optimal:optimal_budget_percent={budget},window_size=4000,budget_percent=100"
        ))?;
        text += &format!(
            "| {}, {budget} % | {unhedged:.0} ms | {:.0} ms (−79 %) | {best:.0} ms (−{:.0} %) | {percentile} | {optimal} |\n",
            model.name(),
            unhedged * 0.21,
            (1.0 - best / unhedged) * 100.0,
        );
    }
    Ok(text)
}
