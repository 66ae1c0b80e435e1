//! Every trace of a folder, in its order, under hedge's strategies and under two rules of others.

mod folder;
mod measure;
mod peers;
mod picture;
mod rules;
mod targets;
mod text;

use std::fs;

use crate::options::Traces;
use crate::parallel;
use crate::seeds::Seeds;
use folder::Trace;
use measure::{Measure, TARGETS, measure};
use rules::Rule;

/// What was measured.
struct Results {
    budget: f64,
    seeds: Seeds,
    traces: Vec<Trace>,
    /// The names of the traces that the means are taken over.
    counted: Vec<String>,
    /// For each trace, then for the mean, in the order of the rules.
    measures: Vec<Measure>,
}

/// How many draws there are, unless told otherwise.
const SEEDS: u64 = 5;

pub(crate) fn print(options: &Traces) -> Result<(), String> {
    let budget = options.budget()?;
    let seeds = options.seeds.or(SEEDS);
    let traces = folder::read(&options.folder, &options.format(), options.draw, seeds)?;
    let results = run(traces, budget, seeds)?;
    if let Some(file) = &options.svg {
        let svg = picture::svg(&results)?;
        fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let text = if options.json {
        text::json(&results)?
    } else {
        text::tables(&results)
    };
    hedge_terminal::print(&text)
}

fn run(traces: Vec<Trace>, budget: f64, seeds: Seeds) -> Result<Results, String> {
    let works: Vec<(usize, Rule)> = (0..traces.len())
        .flat_map(|trace| Rule::ALL.map(|rule| (trace, rule)))
        .collect();
    let requests = |trace: usize| traces[trace].latencies.len() as u64;
    let bar = hedge_terminal::progress(works.iter().map(|(trace, _)| requests(*trace)).sum());
    let measured = parallel::map(works.len(), |index| {
        let (trace, rule) = works[index];
        let measures = measure(&traces[trace], rule, budget, seeds);
        bar.inc(requests(trace));
        measures
    });
    bar.finish_and_clear();
    let mut measures = Vec::new();
    for of_one in measured {
        measures.extend(of_one?);
    }
    measure::compare(&mut measures, Rule::Percentile, Rule::PercentileGuardOff);
    let counted: Vec<String> = traces
        .iter()
        .filter(|trace| trace.counts(budget))
        .map(|trace| trace.name.clone())
        .collect();
    let mut means = Vec::new();
    for rule in Rule::ALL {
        for target in TARGETS {
            let of_rule: Vec<&Measure> = measures
                .iter()
                .filter(|measure| measure.rule == rule.name() && measure.target == target)
                .filter(|measure| counted.contains(&measure.trace))
                .collect();
            means.extend(measure::mean(&of_rule));
        }
    }
    measures.extend(means);
    Ok(Results {
        budget,
        seeds,
        traces,
        counted,
        measures,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::trace::Format;

    /// Of the traces that hedges can help, what other programs measured of the rules of others.
    #[test]
    fn rules_of_others_on_real_traces_are_as_measured_elsewhere() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces");
        if !path.is_dir() {
            println!("skipped: there is no folder {}", path.display());
            return;
        }
        let mut traces =
            folder::read(&path, &Format::default(), None, Seeds::DEFAULT.or(SEEDS)).unwrap();
        traces.retain(|trace| trace.counts(5.0));
        for (rule, ratio, extra) in [(Rule::Naive, 1.12, 0.062), (Rule::TowerHedge, 1.13, 0.059)] {
            let measures = parallel::map(traces.len(), |n| {
                measure(&traces[n], rule, 5.0, Seeds::DEFAULT.or(SEEDS))
                    .unwrap()
                    .swap_remove(0)
            });
            let mean = measure::mean(&measures.iter().collect::<Vec<_>>()).unwrap();
            assert!((mean.ratio / ratio - 1.0).abs() < 0.03, "{mean:?}");
            assert!((mean.extra / extra - 1.0).abs() < 0.03, "{mean:?}");
        }
    }
}
