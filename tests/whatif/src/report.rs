//! What a person reads, and what a program does.

use hedge_core::{HedgeConfig, StrategyKind};
use serde_json::{Map, Value};

use crate::lab::{Candidate, Row, Terms};
use crate::workload::Source;

pub(crate) fn json(rows: &[Row]) {
    let rows: Vec<_> = rows.iter().map(Row::json).collect();
    println!("{}", Value::Array(rows));
}

pub(crate) fn table(source: &Source, terms: &Terms, candidates: &[Candidate], rows: &[Row]) {
    println!(
        "{}, {} requests, budget {} %, latencies in ms\n",
        source.name(),
        terms.requests,
        terms.budget
    );
    let width = rows
        .iter()
        .map(|row| row.name.len().min(44))
        .max()
        .unwrap_or(8)
        .max(8);
    println!(
        "{:<width$} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6} {:>10}",
        "strategy", "P50", "P95", "P99", "P99.9", "hedged", "extra", "cost", "× optimum"
    );
    for row in rows {
        let [p50, p95, p99, p999] = [50.0, 95.0, 99.0, 99.9].map(|p| row.percentile(p));
        let name: String = row.name.chars().take(width).collect();
        let optimum = row
            .vs_optimum
            .map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        println!(
            "{name:<width$} {p50:>9.1} {p95:>9.1} {p99:>9.1} {p999:>9.1} {:>6.2} % {:>6.2} % {:>6.3} {optimum:>10}",
            row.hedge_rate * 100.0,
            row.extra_load * 100.0,
            row.cost,
        );
    }
    println!("\n{}", recommendation(terms, candidates, rows));
}

/// The plainest strategy that is about as good as the best; a fixed delay only if nothing that learns comes
/// near, since nobody tells it when latencies drift.
fn recommendation(terms: &Terms, candidates: &[Candidate], rows: &[Row]) -> String {
    let reached = |row: &Row| row.percentile(terms.target);
    let target = terms.target;
    let Some(best) = rows.iter().map(reached).min_by(f64::total_cmp) else {
        return "Nothing was tried.".into();
    };
    let mut ranked: Vec<_> = candidates.iter().zip(rows).collect();
    ranked.sort_by_key(|(candidate, _)| rank(candidate.config.strategy));
    let choice = ranked
        .into_iter()
        .find(|(_, row)| reached(row) <= best * 1.03);
    let Some((candidate, row)) = choice else {
        return "Nothing was tried.".into();
    };
    let unhedged = candidates
        .iter()
        .zip(rows)
        .find(|(candidate, _)| candidate.name == "off");
    if candidate.name == "off" {
        return format!("Do not hedge: nothing here lowers P{target} by more than 3 %.");
    }
    let cut = unhedged.map_or(String::new(), |(_, off)| {
        format!(
            ", {:.0} % less than without hedging",
            (1.0 - reached(row) / reached(off)) * 100.0
        )
    });
    let config = shortest(&candidate.config);
    format!(
        "Use `{}`: P{target} {:.1} ms{cut}, for {:.1} % more requests. As a config:\n{config}",
        candidate.name,
        reached(row),
        row.extra_load * 100.0,
    )
}

/// The plainest first.
fn rank(kind: StrategyKind) -> usize {
    const ORDER: [StrategyKind; 6] = [
        StrategyKind::Off,
        StrategyKind::Percentile,
        StrategyKind::Optimal,
        StrategyKind::Adaptive,
        StrategyKind::ExponentialBackoff,
        StrategyKind::Fixed,
    ];
    let place = ORDER.iter().position(|known| *known == kind);
    place.unwrap_or(ORDER.len())
}

/// What of `config` is not the default, as JSON.
fn shortest(config: &HedgeConfig) -> String {
    let fields = |config: &HedgeConfig| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let defaults = fields(&HedgeConfig::default());
    let mut own = fields(config);
    own.retain(|name, value| name == "strategy" || defaults.get(name) != Some(value));
    Value::Object(own).to_string()
}
