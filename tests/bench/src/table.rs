//! Tables of tests/bench/README.md, in Markdown.

use core::fmt::Write;

use crate::options::{Contention, Overhead, Table};
use crate::overhead::Row;
use crate::runtime::Flavour;
use crate::script::Kind;
use crate::{contention, overhead};

/// Which cases, and what the README calls them.
const CASES: [(&str, &str); 26] = [
    ("bare", "bare future"),
    ("tokio::time::timeout", "`tokio::time::timeout`"),
    ("hand/select", "by hand: `select!`, fixed delay"),
    ("hand/fixed", "by hand: polls first, fixed delay"),
    (
        "hand/learning",
        "by hand: the same, and learns P95 in a histogram behind a mutex",
    ),
    (
        "hedge/fixed, no metrics",
        "**hedge**: `Fixed`, no metrics, no sink",
    ),
    ("hedge/off", "**hedge**: `Off`"),
    ("hedge/fixed", "**hedge**: `Fixed`"),
    ("hedge/percentile", "**hedge**: `Percentile`"),
    ("hedge/adaptive", "**hedge**: `Adaptive`"),
    (
        "hedge/workload_aware",
        "**hedge**: `WorkloadAware` over `Percentile`",
    ),
    (
        "hedge/exponential_backoff",
        "**hedge**: `ExponentialBackoff`",
    ),
    ("hedge/optimal", "**hedge**: `Optimal`"),
    (
        "hedge/percentile, tower",
        "**hedge**: `Percentile`, as a tower layer",
    ),
    (
        "hedge/percentile, by key",
        "**hedge**: `Percentile`, a key found among 64",
    ),
    (
        "hedge/percentile, on 3 replicas",
        "**hedge**: `Percentile`, on 3 replicas",
    ),
    (
        "hedge/percentile, tower, 3 replicas",
        "**hedge**: `Percentile`, a tower service over 3 replicas",
    ),
    (
        "hedge_tokio::request, fixed",
        "**hedge**: `hedge_tokio::request`, a hedger for each",
    ),
    ("fure", "fure 0.6.0: fixed delay"),
    ("do-over", "do-over 0.1.0: fixed delay"),
    ("seatbelt", "seatbelt 0.11.0: fixed delay"),
    (
        "tower-resilience-hedge",
        "tower-resilience-hedge 0.14.0: fixed delay",
    ),
    ("tower::hedge", "tower::hedge 0.5.3: learns P95"),
    (
        "hedged, every 1000",
        "hedged 0.2.0: learns P95, once in 1000 requests",
    ),
    (
        "hedged, every 10",
        "hedged 0.2.0: learns P95, as often as by default",
    ),
    (
        "tower::balance",
        "tower::balance 0.5.3: P2C of 3 replicas by peak EWMA, does not hedge",
    ),
];

/// # Errors
///
/// As the measurements.
pub(crate) fn measure(options: &Table) -> Result<String, String> {
    let rows = overhead::measure(&Overhead::all(options.rounds))?;
    let contention = contention::measure(&Contention::all(options.rounds))?;
    let mut text = overhead_of(&rows, Flavour::CurrentThread);
    text.push_str("\nSeveral tasks that share a hedger, on two workers:\n\n");
    text.push_str(&contention_of(&contention));
    text.push_str("\n<details>\n<summary>The first table, in a task of a runtime with two workers</summary>\n\n");
    text.push_str(&overhead_of(&rows, Flavour::MultiThread));
    text.push_str("\n</details>\n");
    Ok(text)
}

fn overhead_of(rows: &[Row], flavour: Flavour) -> String {
    let mut text = "| ns (× the learning one by hand) | ready at once | pending once | a hedge wins | a hedge loses \
                    | allocations |\n|---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (case, name) in CASES {
        let find = |kind| {
            let of_case = rows.iter().filter(|row| row.case == case);
            of_case
                .clone()
                .find(|row| (row.kind, row.flavour) == (kind, flavour))
        };
        let found = Kind::ALL.map(find);
        if found.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "| {name}");
        for row in found {
            let cell = row.map(|row| {
                format!(
                    "{} ({:.2})",
                    rounded(row.median_ns),
                    row.ratio_to_hand_learning
                )
            });
            let _ = write!(text, " | {}", cell.unwrap_or_default());
        }
        let _ = writeln!(text, " | {} |", allocations(&found));
    }
    text
}

/// One number if it is the same for every kind, else the least and the most.
fn allocations(rows: &[Option<&Row>]) -> String {
    let counts = || rows.iter().flatten().map(|row| row.allocations);
    let (least, most) = (
        counts().fold(f64::MAX, f64::min),
        counts().fold(0.0, f64::max),
    );
    // Those that allocate now and then have a fraction.
    let (least, most) = ((least * 10.0).round() / 10.0, (most * 10.0).round() / 10.0);
    if least == most {
        format!("{least}")
    } else {
        format!("{least}–{most}")
    }
}

fn contention_of(rows: &[contention::Row]) -> String {
    let mut text = "| requests a second (× one task) | 1 task | 2 tasks | 4 tasks | 8 tasks |\n\
                    |---|---:|---:|---:|---:|\n"
        .to_owned();
    for (case, name) in CASES {
        let cells: Vec<_> = rows.iter().filter(|row| row.case == case).collect();
        if cells.is_empty() {
            continue;
        }
        let _ = write!(text, "| {name}");
        for row in cells {
            let millions = row.requests_per_second / 1e6;
            let _ = write!(text, " | {millions:.2} million ({:.2})", row.ratio_to_one);
        }
        text.push_str(" |\n");
    }
    text
}

/// Without digits that would be noise.
fn rounded(ns: f64) -> String {
    if ns < 10.0 {
        format!("{ns:.1}")
    } else {
        format!("{ns:.0}")
    }
}
