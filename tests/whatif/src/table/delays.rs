//! Whether a strategy hedges as often as it says.

use hedge_core::strategy::{Fixed, Percentile, Strategy};
use hedge_core::{Budget, Instant};

use super::{Claim, Claims, REQUESTS, each_seed, mean, worst};
use crate::engine;
use crate::lab::{self, ms, percentile};
use crate::workload::{Model, Source};

/// P95 on stationary traffic hedges 5 %.
pub(super) fn hedge_rates() -> Claims {
    Model::STATIONARY
        .map(|model| {
            let rates = each_seed(|seed| {
                let hedged = hedged(Percentile::new(95.0), Budget::unlimited(), model, seed)?;
                Ok(hedged.iter().filter(|hedged| **hedged).count() as f64 / hedged.len() as f64)
            })?;
            let rate = mean(&rates) * 100.0;
            Ok(Claim {
                what: format!("hedge rate at P95, {}", model.name()),
                reference: "tower 6.7–7.9 %, hedged 5.9–6.3, rhedge 102, the seed's rule 9.6",
                target: "5.0 ± 0.5 %".into(),
                measured: format!("{rate:.2} %"),
                met: (4.5..=5.5).contains(&rate),
                reason: "",
            })
        })
        .into_iter()
        .collect()
}

/// However slow the callee becomes, hedges stay within the budget.
pub(super) fn slowdown() -> Claims {
    let mut sample: Vec<f64> = Source::Model(Model::Lognormal)
        .stream(200_000, 0)
        .map(|[x, _]| x)
        .collect();
    sample.sort_by(f64::total_cmp);
    let p95 = ms(percentile(&sample, 95.0));
    let extra = |budget: fn() -> Budget| {
        each_seed(|seed| {
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
        what: "×10 slowdown, `fixed` at the old P95, budget 10 %: extra requests, first 100 / all 4000".into(),
        reference: "peers 17–400 % / up to 400 %",
        target: "≤ 20 % / ≤ 10.25 %".into(),
        measured: format!("{first:.1} % / {all:.2} % (without a budget {unbounded:.0} %)"),
        met: first <= 20.0 && all <= 10.25 && unbounded > 50.0,
        reason: "",
    }])
}

/// Which of the requests were hedged.
fn hedged(
    strategy: impl Strategy,
    budget: Budget,
    model: Model,
    seed: u64,
) -> Result<Vec<bool>, String> {
    let hedger = lab::hedger(strategy, budget, Some(false), seed)?;
    let mut now = Instant::ZERO;
    let source = Source::Model(model);
    let run = source.stream(REQUESTS, seed).map(|pair| {
        let (end, outcome) = engine::request(&hedger, now, |attempt| ms(pair[attempt.min(1)]));
        now = end;
        outcome.hedged
    });
    Ok(run.collect())
}
