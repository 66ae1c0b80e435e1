//! Replays of a request with another delay.

use rand_core::Rng;

use super::history::History;
use crate::random::Draws;
use crate::record::{Record, RequestEnd, Sample};

const MAX_HEDGES: usize = 7;

/// How long the attempts of one request took, or would have taken, in seconds.
///
/// Unknown latencies are drawn once, in agreement with what was observed. So a delay whose outcome is known gets that
/// outcome, and all delays are judged by the same draws.
#[derive(Debug)]
pub(super) struct Replay {
    /// The latency of the primary; infinite if it failed.
    primary: f32,
    /// When the primary failed, so that the next hedge starts without a delay; infinite if it did not fail.
    failed: f32,
    hedges: [f32; MAX_HEDGES],
    max_hedges: u8,
}

impl Replay {
    pub(super) fn complete<R: Rng, const N: usize>(
        record: &Record,
        max_hedges: u8,
        history: &History<N>,
        draws: &mut Draws<'_, R>,
    ) -> Self {
        let (primary, failed) = match record.primary() {
            Sample::Finished(latency) => (latency.as_secs_f32(), f32::INFINITY),
            Sample::Failed(elapsed) => (f32::INFINITY, elapsed.as_secs_f32()),
            Sample::Dropped(bound) => (history.primary(bound, draws), f32::INFINITY),
        };
        let mut hedges = [0.0; MAX_HEDGES];
        for (k, latency) in (1..=max_hedges).zip(&mut hedges) {
            *latency = match hedge(record, k) {
                Some(Sample::Finished(latency)) => latency.as_secs_f32(),
                Some(Sample::Dropped(bound)) => history.hedge(Some(bound), draws),
                Some(Sample::Failed(_)) | None => history.hedge(None, draws),
            };
        }
        Self {
            primary,
            failed,
            hedges,
            max_hedges,
        }
    }

    /// Returns when the request would have ended, and with how many hedges, if hedge k had been due at k × `delay`.
    pub(super) fn after(&self, delay: f32) -> (f32, u8) {
        let mut end = self.primary;
        let mut started = 0;
        for (k, latency) in (1..=self.max_hedges).zip(&self.hedges) {
            let due = f32::from(k) * delay;
            // When the primary fails, the next hedge starts immediately.
            let next = f32::from(started) * delay < self.failed;
            let start = if next { due.min(self.failed) } else { due };
            if start >= end {
                break;
            }
            started = k;
            end = end.min(start + latency);
        }
        (end, started)
    }
}

/// Returns the sample of hedge `k`, if it was started. A record describes one hedge only; the others were
/// dropped, one delay apart.
fn hedge(record: &Record, k: u8) -> Option<Sample> {
    if k >= record.attempts {
        return None;
    }
    let shown = match record.end {
        RequestEnd::Won(winner @ 1..) => winner,
        _ => 1,
    };
    if k == shown {
        return record.hedge();
    }
    let start = record.hedge_start()?.saturating_mul(k.into()) / shown.into();
    Some(Sample::Dropped(record.total().saturating_sub(start)))
}
