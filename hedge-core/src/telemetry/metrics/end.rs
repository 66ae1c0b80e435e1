//! What the end of a request adds to the metrics.

use core::time::Duration;

use crate::attempt::Cause;
use crate::outcome::{StrategyKind, Suppressed};
use crate::replicas::ReplicaId;
use crate::telemetry::EventKind;

/// The values that the end of a request adds to the metrics.
pub(super) struct End {
    pub(super) result: Outcome,
    pub(super) strategy: StrategyKind,
    pub(super) attempts: u8,
    pub(super) retries: u8,
    pub(super) winner_cause: Option<Cause>,
    pub(super) suppressed: Option<Suppressed>,
    pub(super) duration: Option<Duration>,
    /// A bit for each replica that was used.
    pub(super) replicas: u64,
    /// The replica that won, and how long its attempt took.
    pub(super) winner: Option<(ReplicaId, Duration)>,
}

/// The values of the label `result`.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Ok,
    Failed,
    Timeout,
    Dropped,
}

impl Outcome {
    pub(super) const NAMES: [&str; 4] = ["ok", "failed", "timeout", "dropped"];
}

impl End {
    pub(super) fn of(kind: &EventKind) -> Option<Self> {
        let failed = |result, strategy, attempts, retries| Self {
            result,
            strategy,
            attempts,
            retries,
            winner_cause: None,
            suppressed: None,
            duration: None,
            replicas: 0,
            winner: None,
        };
        Some(match *kind {
            EventKind::RequestStop { duration, outcome } => Self {
                result: Outcome::Ok,
                strategy: outcome.strategy,
                attempts: outcome.attempts,
                retries: outcome.retries,
                winner_cause: outcome.winner_cause,
                suppressed: outcome.suppressed,
                duration: Some(duration),
                replicas: outcome.replicas_used,
                winner: outcome.replica.zip(match outcome.hedge_won {
                    true => outcome.backup_latency,
                    false => outcome.primary_latency,
                }),
            },
            EventKind::RequestException {
                timed_out: true,
                attempts,
                retries,
                strategy,
                ..
            } => failed(Outcome::Timeout, strategy, attempts, retries),
            EventKind::RequestException {
                attempts,
                retries,
                strategy,
                ..
            } => failed(Outcome::Failed, strategy, attempts, retries),
            EventKind::RequestDropped {
                attempts,
                retries,
                strategy,
                ..
            } => failed(Outcome::Dropped, strategy, attempts, retries),
            _ => return None,
        })
    }
}
