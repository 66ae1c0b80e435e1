//! The metric of a request.

use core::time::Duration;

use super::Value;
use crate::outcome::Outcome;

/// Converts an outcome to a map of its fields. Latencies are in ms; `None` becomes null.
impl From<&Outcome> for Value {
    fn from(outcome: &Outcome) -> Self {
        // Divide once: this gives 10.419 rather than 10.418999999999999.
        let millis = |latency: Duration| latency.as_nanos() as f64 / 1e6;
        let ms = |latency: Option<Duration>| Self::from(latency.map(millis));
        Self::from([
            ("hedged", Self::from(outcome.hedged)),
            ("hedge_won", outcome.hedge_won.into()),
            ("total_latency", ms(Some(outcome.total_latency))),
            ("primary_latency", ms(outcome.primary_latency)),
            ("backup_latency", ms(outcome.backup_latency)),
            ("hedge_delay", ms(outcome.hedge_delay)),
            ("cost", outcome.cost.into()),
            ("strategy", outcome.strategy.as_str().into()),
            ("strategy_name", outcome.strategy_name.as_str().into()),
            ("accepted", outcome.accepted.into()),
            ("attempts", outcome.attempts.into()),
            ("winner", outcome.winner.into()),
            (
                "suppressed",
                outcome.suppressed.map(|reason| reason.as_str()).into(),
            ),
        ])
    }
}
