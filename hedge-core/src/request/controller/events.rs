//! The events of one request.

use core::time::Duration;

use super::{RequestController, bit};
use crate::hedger::{BudgetHandle, Labels, SharedState};
use crate::outcome::Outcome;
use crate::record::RequestEnd;
use crate::request::Placement;
use crate::telemetry::{Event, EventKind, Sink};
use crate::time::Instant;

impl<L: SharedState, B: BudgetHandle, K: Sink, C, G: Placement, const MAX: usize>
    RequestController<'_, L, B, K, C, MAX, G>
{
    pub(super) fn is_heard(&mut self) -> bool {
        let parts = self.parts();
        self.emitter.is_heard(&parts.sink)
    }

    /// Emits an event if the sink or a subscriber is enabled. Inlined, so that a large event is
    /// built in place and not moved.
    #[cfg_attr(feature = "std", inline(always))]
    pub(super) fn emit(&mut self, at: Instant, kind: impl FnOnce(&Self) -> EventKind) {
        if !self.is_heard() {
            return;
        }
        if self.id == 0 {
            self.id = self.state.next_id();
        }
        let parts = self.parts();
        let Labels {
            strategy_name,
            ref telemetry_prefix,
        } = parts.labels;
        let event = Event {
            request: self.id,
            at,
            strategy_name,
            key: self.state.key(),
            kind: kind(self),
        };
        self.emitter.emit(&parts.sink, telemetry_prefix, &event);
    }

    /// Emits a rare event. Outlined, to generate less code per event.
    #[cold]
    pub(super) fn emit_rare(&mut self, at: Instant, kind: EventKind) {
        self.emit(at, |_| kind);
    }

    #[cold]
    pub(super) fn emit_failed(&mut self, attempt: u8, now: Instant) {
        let elapsed = now.since(self.start_of(attempt));
        let replica = self.placement.replica(attempt);
        self.emit_rare(
            now,
            EventKind::AttemptFailed {
                attempt,
                elapsed,
                replica,
            },
        );
    }

    #[cfg_attr(feature = "std", inline(always))]
    pub(super) fn emit_end(
        &mut self,
        end: RequestEnd,
        cancelled: u8,
        now: Instant,
        outcome: &Outcome,
    ) {
        if cancelled != 0 || self.started > 1 {
            self.emit_losers(end, cancelled, now, outcome.backup_latency);
        }
        self.emit(now, |controller| {
            let (duration, attempts) = (outcome.total_latency, controller.started);
            let retries = outcome.retries;
            let strategy = outcome.strategy;
            match end {
                RequestEnd::Won(_) => EventKind::RequestStop {
                    duration,
                    outcome: *outcome,
                },
                RequestEnd::Dropped => EventKind::RequestDropped {
                    duration,
                    attempts,
                    retries,
                    strategy,
                },
                RequestEnd::Fatal(_)
                | RequestEnd::Failed(_)
                | RequestEnd::TimedOut
                | RequestEnd::NoReplica(_) => EventKind::RequestException {
                    duration,
                    timed_out: end == RequestEnd::TimedOut,
                    attempts,
                    retries,
                    strategy,
                },
            }
        });
    }

    #[cold]
    fn emit_losers(
        &mut self,
        end: RequestEnd,
        cancelled: u8,
        now: Instant,
        backup_latency: Option<Duration>,
    ) {
        if let (RequestEnd::Won(attempt @ 1..), Some(latency)) = (end, backup_latency) {
            let replica = self.placement.replica(attempt);
            self.emit_rare(
                now,
                EventKind::HedgeWon {
                    attempt,
                    latency,
                    replica,
                },
            );
        }
        for attempt in (0..self.started).filter(|attempt| cancelled & bit(*attempt) != 0) {
            let elapsed = now.since(self.start_of(attempt));
            let replica = self.placement.replica(attempt);
            self.emit_rare(
                now,
                EventKind::RequestCancelled {
                    attempt,
                    elapsed,
                    replica,
                },
            );
        }
    }
}
