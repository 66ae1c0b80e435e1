//! Whether a strategy hedges as often as it says.

use hedge_core::strategy::{Fixed, Percentile, Strategy};
use hedge_core::{Budget, Instant};

use super::{Claim, Claims, REQUESTS, mean, worst};
use crate::engine::{self, Ask};
use crate::lab::{self, ms, percentile};
use crate::seeds::Seeds;
use crate::workload::{Model, Source};

/// A percentile hedges as many requests as are above it.
pub(super) fn due(seeds: Seeds) -> Claims {
    let claim = |p: f64, reference, target| -> Result<Claim, String> {
        let mut parts = Vec::new();
        let mut met = true;
        for model in Model::STATIONARY {
            let rates = seeds.each(|seed| {
                let hedged = hedged(Percentile::new(p), Budget::unlimited(), model, seed)?;
                Ok(hedged.iter().filter(|hedged| **hedged).count() as f64 / hedged.len() as f64)
            })?;
            let rate = mean(&rates) * 100.0;
            met &= (rate - (100.0 - p)).abs() <= 0.5;
            parts.push(format!("{} {rate:.2}", model.name()));
        }
        Ok(Claim {
            what: format!("`percentile` at P{p}, no budget: % of requests hedged"),
            reference,
            target,
            measured: parts.join(", "),
            met,
        })
    };
    let elsewhere =
        "tower::hedge 6.7–7.9, hedged 5.9–6.3, rhedge 102, the Elixir library's rule 9.6";
    Ok(vec![
        claim(50.0, "", "50 ± 0.5")?,
        claim(75.0, "", "25 ± 0.5")?,
        claim(90.0, "", "10 ± 0.5")?,
        claim(95.0, elsewhere, "5 ± 0.5")?,
        claim(98.0, "", "2 ± 0.5")?,
        claim(99.0, "", "1 ± 0.5")?,
    ])
}

/// However slow the callee becomes, hedges stay within the budget.
pub(super) fn slowdown(seeds: Seeds) -> Claims {
    let mut sample: Vec<f64> = Source::Model(Model::Lognormal)
        .stream(200_000, 0)
        .map(|[x, _]| x)
        .collect();
    sample.sort_by(f64::total_cmp);
    let p95 = ms(percentile(&sample, 95.0));
    let extra = |budget: fn() -> Budget| {
        seeds.each(|seed| {
            let hedged = hedged(Fixed::new(p95), budget(), Model::Slowdown, seed)?;
            let share = |from: usize, to: usize| {
                let hedges = hedged[from..to].iter().filter(|hedged| **hedged).count();
                hedges as f64 / (to - from) as f64 * 100.0
            };
            let (start, end) = (REQUESTS as usize * 2 / 5, REQUESTS as usize * 3 / 5);
            Ok((share(start, start + 100), share(start, end)))
        })
    };
    let worst_of = |runs: Vec<(f64, f64)>| {
        let (first, all): (Vec<f64>, Vec<f64>) = runs.into_iter().unzip();
        (worst(&first), worst(&all))
    };
    let (first, all) = worst_of(extra(|| Budget::percent(10.0))?);
    let (_, unbounded) = worst_of(extra(Budget::unlimited)?);
    Ok(vec![Claim {
        what: "lognormal turned ×10 slower for 4000 requests, `fixed` at the old P95, budget 10 %: extra load in the \
               first 100 / in all of them, worst seed"
            .into(),
        reference: "other libraries 17–400 % / up to 400 %",
        target: "≤ 20 % / ≤ 10.25 %",
        measured: format!("{first:.1} % / {all:.2} % (without a budget {unbounded:.0} %)"),
        met: first <= 20.0 && all <= 10.25 && unbounded > 50.0,
    }])
}

/// Which of the requests were hedged.
fn hedged(
    strategy: impl Strategy,
    budget: Budget,
    model: Model,
    seed: u64,
) -> Result<Vec<bool>, String> {
    let hedger = lab::hedger(strategy, budget, Some(false), None, seed)?;
    let mut now = Instant::ZERO;
    let source = Source::Model(model);
    let run = source.stream(REQUESTS, seed).map(|pair| {
        let latency = |attempt: usize| ms(pair[attempt.min(1)]);
        let (end, _, outcome) = engine::request(&hedger, &Ask::PLAIN, now, latency);
        now = end;
        outcome.hedged
    });
    Ok(run.collect())
}
