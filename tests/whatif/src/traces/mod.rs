//! Every trace of a folder, in its order, under hedge's strategies and under two rules of others.

mod folder;
mod measure;
mod peers;
mod rules;
mod text;

use crate::options::Traces;
use crate::parallel;
use folder::Trace;
use measure::{Measure, TARGETS, measure};
use rules::Rule;

/// What was measured.
struct Results {
    budget: f64,
    traces: Vec<Trace>,
    /// The names of the traces that the means are taken over.
    counted: Vec<String>,
    /// For each trace, then for the mean, in the order of the rules.
    measures: Vec<Measure>,
}

pub(crate) fn print(options: &Traces) -> Result<(), String> {
    let budget = options.budget()?;
    let traces = folder::read(&options.folder, &options.format(), options.draw)?;
    let results = run(traces, budget)?;
    let text = if options.json {
        text::json(&results)?
    } else {
        text::tables(&results)
    };
    hedge_terminal::print(&text)
}

fn run(traces: Vec<Trace>, budget: f64) -> Result<Results, String> {
    let works: Vec<(usize, Rule)> = (0..traces.len())
        .flat_map(|trace| Rule::ALL.map(|rule| (trace, rule)))
        .collect();
    let requests = |trace: usize| traces[trace].latencies.len() as u64;
    let bar = hedge_terminal::progress(works.iter().map(|(trace, _)| requests(*trace)).sum());
    let measured = parallel::map(works.len(), |index| {
        let (trace, rule) = works[index];
        let measures = measure(&traces[trace], rule, budget);
        bar.inc(requests(trace));
        measures
    });
    bar.finish_and_clear();
    let mut measures = Vec::new();
    for of_one in measured {
        measures.extend(of_one?);
    }
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
        traces,
        counted,
        measures,
    })
}
