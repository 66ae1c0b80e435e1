//! How near `optimal` comes to the best that could be done.

use super::{Claim, Claims, REQUESTS, mean, worst};
use crate::candidate::{Aims, Candidate};
use crate::lab::{self, Row, Terms, percentile};
use crate::optimum::Known;
use crate::seeds::Seeds;
use crate::workload::{Model, Source};

/// P99 against SingleR with the distribution known, at the same measured extra load.
pub(super) fn optimum(seeds: Seeds) -> Claims {
    let knowns = Model::STATIONARY.map(|model| {
        let stream = Source::Model(model);
        (model, Known::independent(stream.stream(500_000, 0xface)))
    });
    let mut claims = Vec::new();
    for (budget, reference) in [
        (1.0, ""),
        (2.0, "a hedge at P98: up to 1.24"),
        (3.0, ""),
        (5.0, ""),
        (10.0, ""),
        (25.0, ""),
    ] {
        let mut parts = Vec::new();
        let mut met = true;
        for (model, known) in &knowns {
            let rows = runs(seeds, *model, budget)?;
            let extra: Vec<f64> = rows
                .iter()
                .map(|row| row.extra_load * 100.0 / budget)
                .collect();
            let spent = mean(&extra) * budget / 100.0;
            let ratio = pooled(&rows) / known.best(99.0, spent);
            met &= ratio <= 1.05 && mean(&extra) <= 1.02 && worst(&extra) <= 1.08;
            parts.push(format!(
                "{} {ratio:.3} ({:.2} B, {:.2} B)",
                model.name(),
                mean(&extra),
                worst(&extra)
            ));
        }
        claims.push(Claim {
            what: format!(
                "`optimal`, budget B = {budget} %: pooled P99 over the optimum's (extra load, mean and worst seed)"
            ),
            reference,
            target: "≤ 1.05 (≤ 1.02 B, ≤ 1.08 B)",
            measured: parts.join(", "),
            met,
        });
    }
    Ok(claims)
}

/// A slow mode as rare as the budget: a delay has to fall into the gap.
pub(super) fn gap(seeds: Seeds) -> Claims {
    let reached = pooled(&runs(seeds, Model::Bimodal, 2.0)?);
    Ok(vec![Claim {
        what: "`optimal`, bimodal, budget 2 %: P99".into(),
        reference: "unhedged 400 ms",
        target: "≤ 30 ms",
        measured: format!("{reached:.1} ms"),
        met: reached <= 30.0,
    }])
}

/// Attempts that are slow together.
pub(super) fn correlation(seeds: Seeds) -> Claims {
    let mut claims = Vec::new();
    for rho in [0.3, 0.6] {
        let model = Model::Correlated(rho);
        let known = Known::joint(Source::Model(model).stream(100_000, 0xface));
        let rows = runs(seeds, model, 5.0)?;
        let extra: Vec<f64> = rows.iter().map(|row| row.extra_load).collect();
        let ratio = pooled(&rows) / known.best(99.0, mean(&extra));
        claims.push(Claim {
            what: format!(
                "exponential, attempts of a request correlated {rho}, `optimal`, budget 5 %: P99 over the optimum's"
            ),
            reference: "who takes attempts for independent loses to a fixed delay",
            target: "≤ 1.05",
            measured: format!("{ratio:.3} at {:.2} % extra", mean(&extra) * 100.0),
            met: ratio <= 1.05,
        });
    }
    let settled = hedged_in_vain(seeds)?;
    claims.push(Claim {
        what: "the same, correlated 0.9, where hedges cannot win: hedge rate after 5000 requests"
            .into(),
        reference: "5 %, all in vain",
        target: "≤ 0.5 %",
        measured: format!(
            "{:.2} % (worst seed {:.2} %)",
            mean(&settled),
            worst(&settled)
        ),
        met: mean(&settled) <= 0.5,
    });
    Ok(claims)
}

/// The share of the requests that `optimal` hedges where hedges cannot win, after 5000 requests, in percent; for each
/// seed.
pub(crate) fn hedged_in_vain(seeds: Seeds) -> Result<Vec<f64>, String> {
    seeds.each(|seed| {
        let terms = Terms {
            requests: 15_000,
            seed,
            ..TERMS
        };
        let source = Source::Model(Model::Correlated(0.9));
        let row = lab::run(&optimal(5.0)?, &source, &terms, None, |_| {})?;
        // What was hedged after the first 5000.
        let late = &row.hedged[5_000..];
        Ok(late.iter().filter(|hedged| **hedged).count() as f64 / late.len() as f64 * 100.0)
    })
}

const TERMS: Terms = Terms {
    requests: REQUESTS,
    seed: 0,
    target: 99.0,
};

fn optimal(budget: f64) -> Result<Candidate, String> {
    let text =
        format!("optimal:optimal_budget_percent={budget},window_size=4000,budget_percent=100");
    Candidate::parse(&text, &Aims::DEFAULT)
}

fn runs(seeds: Seeds, model: Model, budget: f64) -> Result<Vec<Row>, String> {
    seeds.each(|seed| {
        let terms = Terms { seed, ..TERMS };
        lab::run(
            &optimal(budget)?,
            &Source::Model(model),
            &terms,
            None,
            |_| {},
        )
    })
}

/// P99 of all runs together.
fn pooled(rows: &[Row]) -> f64 {
    let mut all: Vec<f64> = rows
        .iter()
        .flat_map(|row| &row.latencies)
        .copied()
        .collect();
    all.sort_by(f64::total_cmp);
    percentile(&all, 99.0)
}
