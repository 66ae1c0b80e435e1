//! What a person reads, and what a program does.

use core::fmt::{Error, Write};

use hedge_core::StrategyKind;

use crate::candidate::Candidate;
use crate::lab::{Row, Terms};
use crate::workload::Source;

/// An array of objects, a line each.
pub(crate) fn json(rows: &[Row]) -> Result<String, String> {
    let lines = rows
        .iter()
        .map(|row| serde_json::to_string(&row.figures()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    Ok(format!("[{}]\n", lines.join(",\n ")))
}

/// A line for each strategy.
pub(crate) fn table(
    source: &Source,
    terms: &Terms,
    candidates: &[Candidate],
    rows: &[Row],
) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _: Result<(), Error> = write(&mut text, source, terms, candidates, rows);
    text
}

const WIDEST: usize = 48;

fn write(
    text: &mut String,
    source: &Source,
    terms: &Terms,
    candidates: &[Candidate],
    rows: &[Row],
) -> Result<(), Error> {
    writeln!(
        text,
        "{}, {} requests, latencies in ms\n",
        source.name(),
        terms.requests
    )?;
    let widths = rows.iter().map(|row| row.name.chars().count());
    let width = widths.max().unwrap_or(0).clamp(8, WIDEST);
    writeln!(
        text,
        "{:<width$} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6} {:>13}",
        "strategy",
        "P50",
        "P95",
        "P99",
        "P99.9",
        "hedged",
        "extra",
        "cost",
        format!("P{} ÷ best", terms.target)
    )?;
    for row in rows {
        let [p50, p95, p99, p999] = [50.0, 95.0, 99.0, 99.9].map(|p| row.percentile(p));
        let optimum = row
            .optimum
            .map_or("-".to_owned(), |optimum| format!("{:.3}", optimum.target));
        writeln!(
            text,
            "{:<width$} {p50:>9.1} {p95:>9.1} {p99:>9.1} {p999:>9.1} {:>6.2} % {:>6.2} % {:>6.3} {optimum:>13}",
            shortened(&row.name, width),
            row.hedge_rate * 100.0,
            row.extra_load * 100.0,
            row.cost,
        )?;
    }
    tuned(text, candidates)
}

/// The options that were chosen to suit the latencies.
fn tuned(text: &mut String, candidates: &[Candidate]) -> Result<(), Error> {
    let mut first = true;
    for candidate in candidates {
        let kind = candidate.config.strategy;
        // As it was given, options and all, or nothing to choose.
        if candidate.name != kind.as_str() || kind == StrategyKind::Off {
            continue;
        }
        let mut options = candidate.options();
        options.remove("strategy");
        if options.is_empty() {
            continue;
        }
        if core::mem::take(&mut first) {
            writeln!(text)?;
        }
        let options: Vec<_> = options
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        writeln!(text, "{kind}: {}", options.join(", "))?;
    }
    Ok(())
}

fn shortened(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let start: String = name.chars().take(width - 1).collect();
    start + "…"
}
