//! What was claimed for hedging at P95, what is possible, and what is reached.

use indicatif::ProgressBar;

use super::REQUESTS;
use crate::lab::{self, Candidate, Terms};
use crate::optimum::Known;
use crate::workload::{Model, Source};

/// The claim: P50 −4 %, P95 −56 %, P99 −79 % for 5 % more requests.
pub(super) fn print(bar: &ProgressBar) -> Result<(), String> {
    let mut lines = vec![
        "| workload, extra load | P99 unhedged | claimed | optimum | `percentile` | `optimal` |"
            .to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
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
            budget: 100.0,
            max_hedges: 1,
            requests: REQUESTS * 10,
            seed: 1,
            target: 99.0,
        };
        let unhedged = known.percentile(99.0);
        let reached = |text: String| -> Result<String, String> {
            let row = lab::run(&Candidate::parse(&text)?, &source, &terms, None, |_| {})?;
            let p99 = row.percentile(99.0);
            let cut = (1.0 - p99 / unhedged) * 100.0;
            Ok(format!(
                "{p99:.0} ms (−{cut:.0} %) for {:.1} %",
                row.extra_load * 100.0
            ))
        };
        let best = known.best(99.0, budget / 100.0);
        let percentile = reached(format!("percentile:percentile={}", 100.0 - budget))?;
        let optimal = reached(format!(
            "optimal:optimal_budget_percent={budget},window_size=4000"
        ))?;
        lines.push(format!(
            "| {}, {budget} % | {unhedged:.0} ms | −79 % | {best:.0} ms (−{:.0} %) | {percentile} | {optimal} |",
            model.name(),
            (1.0 - best / unhedged) * 100.0,
        ));
    }
    bar.suspend(|| println!("{}", lines.join("\n")));
    Ok(())
}
