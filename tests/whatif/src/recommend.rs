//! What to use.

use hedge_core::{HedgeConfig, StrategyKind};
use serde_json::{Map, Value, json};

use crate::candidate::Candidate;
use crate::lab::{Row, Terms};
use crate::workload::Source;

/// By what share the target percentile has to fall for hedging to be worth its trouble.
const WORTH: f64 = 0.03;
/// How far from the best a plainer strategy may be: a delay chosen with the whole trace in view is always
/// a little ahead of one that is learned.
const ALIKE: f64 = 0.10;

/// One line: the plainest strategy that is about as good as the best, and its config.
///
/// Requests that failed or timed out count as infinitely slow, and a strategy that loses more of them than the same timeout
/// would without hedging is not recommended.
pub(crate) fn recommend(
    source: &Source,
    terms: &Terms,
    candidates: &[Candidate],
    rows: &[Row],
    unhedged: &Row,
) -> String {
    let target = terms.target;
    let reached = |row: &Row| row.percentile(target);
    let unanswered = |row: &Row| row.failed + row.timed_out;
    let without = reached(unhedged);
    let worth = without * (1.0 - WORTH);
    let tried = candidates.iter().zip(rows);
    // Without hedging, the same timeout would lose these.
    let lost = |candidate: &Candidate| {
        let timeout = candidate.config.timeout_ms;
        let ends = |latency: &f64| {
            candidate.times_out && timeout.is_some_and(|timeout| *latency > timeout)
        };
        let longer = unhedged.latencies.iter().filter(|latency| ends(latency));
        longer.count() as f64 / unhedged.latencies.len().max(1) as f64
    };
    let mut helpful: Vec<_> = tried
        .filter(|(candidate, row)| reached(row) < worth && unanswered(row) <= lost(candidate))
        .collect();
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
            "Do not hedge: nothing tried takes more than {} % off P{target} ({without:.1} ms). {} \
             Config: {{\"strategy\":\"off\"}}",
            WORTH * 100.0,
            rests_on(source, terms),
        );
    };
    format!(
        "Use {}: P{target} falls from {without:.1} to {:.1} ms (−{:.0} %) for {:.1} % more requests. {} Config: {}",
        candidate.config.strategy,
        reached(row),
        (1.0 - reached(row) / without) * 100.0,
        row.extra_load * 100.0,
        rests_on(source, terms),
        Value::Object(config(candidate, row)),
    )
}

/// What the figures were measured on.
fn rests_on(source: &Source, terms: &Terms) -> String {
    let (requests, seed) = (terms.requests, terms.seed);
    format!(
        "That rests on {requests} requests of a {}, seed {seed}.",
        match source {
            Source::Model(_) => format!("model ({}), each independent", source.name()),
            Source::Trace { .. } => source.name(),
        }
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
    let usual = HedgeConfig::default().timeout_ms;
    if !candidate.times_out && usual.is_some_and(|timeout| longest > timeout) {
        options.insert(
            "timeout_ms".into(),
            json!((longest / 500.0).ceil() * 1000.0),
        );
    }
    options
}
