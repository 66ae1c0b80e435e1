//! What a person reads of the measures, and what a program does.

use core::fmt::{Error, Write};

use super::Results;
use super::folder::Trace;
use super::measure::{MEAN, Measure, TARGETS};
use super::rules::{self, Rule};
use crate::clustering::Clustering;
use crate::incidents::verdict;
use crate::order::NEARBY;

/// An array of objects, a line each.
pub(super) fn json(results: &Results) -> Result<String, String> {
    let lines = results
        .measures
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    Ok(format!("[{}]\n", lines.join(",\n ")))
}

/// Tables as Markdown.
pub(super) fn tables(results: &Results) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _: Result<(), Error> = write(&mut text, results);
    text
}

fn write(text: &mut String, results: &Results) -> Result<(), Error> {
    let budget = results.budget;
    writeln!(
        text,
        "Traces in their order; a hedge takes as long as another line within ±{NEARBY} places, unless a second column \
         says how long.\n{} draws, seeds {} to {}; percentiles of all draws together. *Best* is the one delay, and chance \
         of hedging after it,\nthat lowers the percentile most for the whole trace, known beforehand: at {budget} % extra \
         load, and in brackets at as much as\nwas spent. *Worst* are the most that were hedged of so many requests in a row, \
         *first* of the first 100. *Guard on ÷ off* is P99 and P99.9 over those without the guard.\nhedge: {}.\nOthers: `tower_hedge` as that crate's source, `naive` the P{} of the last \
         1000 answers; neither has a budget.\n",
        results.seeds.count(),
        results.seeds.first(),
        results.seeds.first() + results.seeds.count() - 1,
        rules::described(budget),
        100.0 - budget,
    )?;
    writeln!(
        text,
        "| trace | requests | P95, ms | P(next above P95, after one above) | above P95 of 100 in a row | P99, ms | best P99, ms |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for trace in &results.traces {
        clustering(text, trace, budget)?;
    }
    writeln!(text)?;
    for trace in &results.traces {
        writeln!(text, "{}", trace.understood)?;
    }
    if results.counted.is_empty() {
        writeln!(
            text,
            "\nNo means: no trace has 5000 requests and a P99 that the optimum lowers by 5 %."
        )?;
    } else {
        writeln!(
            text,
            "\nMeans are over the {} traces of at least 5000 requests whose P99 the optimum lowers by at least 5 %: {}.\n\
             Ratios: geometric. Extra load: arithmetic. Worst and first: the largest.",
            results.counted.len(),
            results.counted.join(", ")
        )?;
    }
    let names = results.traces.iter().map(|trace| trace.name.as_str());
    for name in core::iter::once(MEAN).chain(names) {
        let of_trace = |measure: &&Measure| measure.trace == name;
        let measures: Vec<&Measure> = results.measures.iter().filter(of_trace).collect();
        if measures.is_empty() {
            continue;
        }
        writeln!(
            text,
            "\n| {name} | P99 ÷ best (at spent) | P99.9 ÷ best (at spent) | extra load, % | worst 100, % | worst 1000, % | first 100, % | guard on ÷ off |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        for rule in Rule::ALL {
            let at = |target: f64| {
                let wanted = |m: &&&Measure| m.rule == rule.name() && m.target == target;
                measures.iter().find(wanted)
            };
            if let (Some(p99), Some(p999)) = (at(TARGETS[0]), at(TARGETS[1])) {
                line(text, p99, p999)?;
            }
        }
    }
    let targets = super::targets::rows(results);
    if !targets.is_empty() {
        writeln!(text, "\n{}", verdict::table(&targets))?;
    }
    Ok(())
}

fn clustering(text: &mut String, trace: &Trace, budget: f64) -> Result<(), Error> {
    let [follows, of_hundred] = match Clustering::of(&trace.latencies) {
        Some(clustering) => [
            format!("{:.2}", clustering.follows),
            clustering.of_hundred.to_string(),
        ],
        None => ["", ""].map(str::to_owned),
    };
    writeln!(
        text,
        "| {} | {} | {:.2} | {follows} | {of_hundred} | {:.2} | {:.2} |",
        trace.name,
        trace.latencies.len(),
        crate::lab::percentile(&trace.sorted, 95.0),
        trace.known.percentile(99.0),
        trace.known.best(99.0, budget / 100.0),
    )
}

fn line(text: &mut String, p99: &Measure, p999: &Measure) -> Result<(), Error> {
    let percent = |share: f64, digits: usize| format!("{:.digits$}", 100.0 * share);
    let extra = if p99.extra == p999.extra {
        percent(p99.extra, 1)
    } else {
        // Where the rule depends on the target.
        format!("{}, {}", percent(p99.extra, 1), percent(p999.extra, 1))
    };
    let guard = match (p99.over_guard_off, p999.over_guard_off) {
        (Some(p99), Some(p999)) => format!("{p99:.3}, {p999:.3}"),
        _ => String::new(),
    };
    writeln!(
        text,
        "| `{}` | {:.2} ({:.2}) | {:.2} ({:.2}) | {extra} | {} | {} | {} | {guard} |",
        p99.rule,
        p99.ratio,
        p99.ratio_at_spent,
        p999.ratio,
        p999.ratio_at_spent,
        percent(p99.worst_100, 0),
        percent(p99.worst_1000, 0),
        percent(p99.first_100, 0),
    )
}
