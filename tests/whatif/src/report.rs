//! What a person reads, and what a program does.

use core::fmt::{Error, Write};

use hedge_core::StrategyKind;

use crate::candidate::Candidate;
use crate::clustering::Clustering;
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

/// What was understood of the files, and how their slow requests are spread.
pub(crate) fn notes(source: &Source, understood: &[String]) -> String {
    let mut notes = understood.to_vec();
    if let Source::Trace { lines, order } = source {
        let latencies: Vec<f64> = lines.iter().filter_map(|[first, _]| *first).collect();
        if let Some(clustering) = Clustering::of(&latencies) {
            notes.push(clustering.sentence());
            if order.shuffled && clustering.is_strong() {
                notes.push(
                    "Warning: shuffled, this trace promises more than the service will see. Leave out `--shuffle`."
                        .into(),
                );
            }
        } else if !order.shuffled {
            notes.push("Fewer than 1000 requests: they are played again and again, and show little of how slow ones come.".into());
        }
    }
    notes
        .iter()
        .map(|note| format!("{note}\n"))
        .collect::<String>()
        + "\n"
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
        "{:<width$} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6} {:>13} {:>12} {:>8} {:>9}",
        "strategy",
        "P50",
        "P95",
        "P99",
        "P99.9",
        "hedged",
        "extra",
        "cost",
        format!("P{} ÷ best", terms.target),
        "of possible",
        "failed",
        "timed out",
    )?;
    for row in rows {
        let [p50, p95, p99, p999] = [50.0, 95.0, 99.0, 99.9].map(|p| latency(row.percentile(p)));
        let optimum = row
            .optimum
            .map_or("-".to_owned(), |optimum| format!("{:.3}", optimum.target));
        let share = row.optimum.and_then(|optimum| optimum.share);
        let share = share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
        writeln!(
            text,
            "{:<width$} {p50:>9} {p95:>9} {p99:>9} {p999:>9} {:>6.2} % {:>6.2} % {:>6.3} {optimum:>13} {share:>12} \
             {:>6.2} % {:>7.2} %",
            shortened(&row.name, width),
            row.hedge_rate * 100.0,
            row.extra_load * 100.0,
            row.cost,
            row.failed * 100.0,
            row.timed_out * 100.0,
        )?;
    }
    tuned(text, candidates)
}

/// In milliseconds; so many requests were not answered that there is no such percentile, else.
fn latency(ms: f64) -> String {
    if ms.is_finite() {
        format!("{ms:.1}")
    } else {
        "none".into()
    }
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
