//! What to use.

use hedge_core::{HedgeConfig, StrategyKind};
use serde_json::{Map, Value, json};

use crate::candidate::Candidate;
use crate::lab::Row;

/// By what share the target percentile has to fall for hedging to be worth its trouble.
const WORTH: f64 = 0.03;
/// How far from the best a plainer strategy may be: a delay chosen with the whole trace in view is always
/// a little ahead of one that is learned.
const ALIKE: f64 = 0.10;

/// One line: the plainest strategy that is about as good as the best, and its config.
pub(crate) fn recommend(
    target: f64,
    candidates: &[Candidate],
    rows: &[Row],
    unhedged: &Row,
) -> String {
    let reached = |row: &Row| row.percentile(target);
    let without = reached(unhedged);
    let worth = without * (1.0 - WORTH);
    let tried = candidates.iter().zip(rows);
    let mut helpful: Vec<_> = tried.filter(|(_, row)| reached(row) < worth).collect();
    let best = helpful
        .iter()
        .map(|(_, row)| reached(row))
        .fold(f64::MAX, f64::min);
    helpful.retain(|(_, row)| reached(row) <= best * (1.0 + ALIKE));
    let plainest = helpful
        .into_iter()
        .min_by_key(|(candidate, _)| rank(candidate.config.strategy));
    let Some((candidate, row)) = plainest else {
        return format!(
            "Do not hedge: nothing tried takes more than {} % off P{target} ({without:.1} ms). \
             Config: {{\"strategy\":\"off\"}}",
            WORTH * 100.0
        );
    };
    format!(
        "Use {}: P{target} falls from {without:.1} to {:.1} ms (−{:.0} %) for {:.1} % more requests. Config: {}",
        candidate.config.strategy,
        reached(row),
        (1.0 - reached(row) / without) * 100.0,
        row.extra_load * 100.0,
        Value::Object(config(candidate, row)),
    )
}

/// The plainest first; a delay that does not follow latencies last, since nobody tells it when they drift.
fn rank(kind: StrategyKind) -> usize {
    const ORDER: [StrategyKind; 6] = [
        StrategyKind::Percentile,
        StrategyKind::Optimal,
        StrategyKind::Adaptive,
        StrategyKind::ExponentialBackoff,
        StrategyKind::Fixed,
        StrategyKind::WorkloadAware,
    ];
    let place = ORDER.iter().position(|known| *known == kind);
    place.unwrap_or(ORDER.len())
}

/// What differs from the default config, and a timeout that lets requests take as long as they did.
fn config(candidate: &Candidate, row: &Row) -> Map<String, Value> {
    let mut options = candidate.options();
    let longest = row.percentile(99.9);
    if !candidate.times_out && longest > HedgeConfig::default().timeout_ms {
        options.insert(
            "timeout_ms".into(),
            json!((longest / 500.0).ceil() * 1000.0),
        );
    }
    options
}
