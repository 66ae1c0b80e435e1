//! Latency against extra load: what each strategy makes of what it may spend.

pub(crate) mod picture;

use std::fs;
use std::path::Path;

use hedge_core::StrategyKind;

use crate::candidate::Candidate;
use crate::lab::{self, Terms};
use crate::optimum::Known;
use crate::workload::Source;

use picture::{Curve, Looks, Picture};

/// Extra load to aim at, in percent.
const AIMS: [f64; 12] = [
    0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0,
];
/// Requests behind each point.
const REQUESTS: u64 = 50_000;

/// Draws the target percentile against the extra load: a curve for each candidate as its aim varies, a point
/// where it has none, what the optimum reaches, and what there is without hedging.
pub(crate) fn draw(
    file: &Path,
    candidates: &[Candidate],
    source: &Source,
    terms: &Terms,
    known: Option<&Known>,
) -> Result<(), String> {
    let terms = Terms {
        requests: terms.requests.min(REQUESTS),
        ..*terms
    };
    let sorted = sorted(source, &terms);
    let mut curves = vec![Curve {
        name: "no hedging".into(),
        looks: Looks::Unhedged,
        points: vec![(0.0, lab::percentile(&sorted, terms.target))],
    }];
    let hedging = candidates
        .iter()
        .filter(|candidate| candidate.config.strategy != StrategyKind::Off);
    for (index, candidate) in hedging.enumerate() {
        let mut points = Vec::new();
        for candidate in aimed(candidate, &sorted) {
            let row = lab::run(&candidate, source, &terms, None, |_| {})?;
            points.push((row.extra_load * 100.0, row.percentile(terms.target)));
        }
        curves.push(Curve {
            name: candidate.name.clone(),
            looks: Looks::Strategy(index),
            points,
        });
    }
    // Last, so that it lies over what comes near it.
    if let Some(known) = known {
        curves.push(Curve {
            name: "optimum".into(),
            looks: Looks::Optimum,
            points: AIMS
                .map(|aim| (aim, known.best(terms.target, aim / 100.0)))
                .to_vec(),
        });
    }
    let loads = curves.iter().flat_map(|curve| &curve.points);
    let right = loads
        .map(|(load, _)| *load)
        .fold(AIMS[AIMS.len() - 1], f64::max);
    let picture = Picture {
        title: format!("P{} against extra load", terms.target),
        subtitle: format!("{}, {} requests a point", source.name(), terms.requests),
        percentile: terms.target,
        right,
        curves,
    };
    let svg = picture.svg()?;
    fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()))
}

fn sorted(source: &Source, terms: &Terms) -> Vec<f64> {
    let mut sorted: Vec<f64> = source
        .stream(terms.requests, terms.seed)
        .map(|[primary, _]| primary)
        .collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The candidate at every aim, or as it is if it has none.
fn aimed(candidate: &Candidate, sorted: &[f64]) -> Vec<Candidate> {
    let at = |aim: f64| {
        let mut candidate = candidate.clone();
        let config = &mut candidate.config;
        let delay = lab::percentile(sorted, 100.0 - aim);
        // The safety net is not what is drawn.
        let net = (2.0 * aim).max(config.budget_percent);
        match config.strategy {
            StrategyKind::Fixed => config.delay_ms = Some(delay),
            StrategyKind::WorkloadAware if config.workload_inner.is_none() => {
                config.base_delay = delay;
            }
            StrategyKind::Percentile => config.percentile = (100.0 - aim).clamp(50.0, 99.9),
            StrategyKind::Optimal => config.optimal_budget_percent = aim,
            _ => return None,
        }
        config.budget_percent = net;
        Some(candidate)
    };
    let curve: Vec<_> = AIMS.into_iter().filter_map(at).collect();
    if curve.is_empty() {
        vec![candidate.clone()]
    } else {
        curve
    }
}
