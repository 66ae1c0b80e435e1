//! What is events while it happens, to whoever listens.

use super::{RequestController, bit};
use crate::hedger::{BudgetHandle, Labels, SharedState};
use crate::outcome::Outcome;
use crate::race::Settled;
use crate::telemetry::{Event, EventKind, Sink};
use crate::time::Instant;

impl<L: SharedState, B: BudgetHandle, K: Sink, C, const MAX: usize>
    RequestController<'_, L, B, K, C, MAX>
{
    pub(super) fn is_heard(&mut self) -> bool {
        self.emitter.is_heard(&self.parts.sink)
    }

    /// Tells whoever listens. Inlined, so that a large event is made where it is and not moved.
    #[inline(always)]
    pub(super) fn emit(&mut self, at: Instant, kind: impl FnOnce(&Self) -> EventKind) {
        if !self.is_heard() {
            return;
        }
        if self.id == 0 {
            self.id = self.parts.state.next_id();
        }
        let Labels {
            strategy_name,
            ref telemetry_prefix,
        } = self.parts.labels;
        let event = Event {
            request: self.id,
            at,
            strategy_name,
            kind: kind(self),
        };
        self.emitter
            .tell(&self.parts.sink, telemetry_prefix, &event);
    }

    /// The same of what happens seldom, at less cost in code.
    #[cold]
    pub(super) fn emit_rare(&mut self, at: Instant, kind: EventKind) {
        self.emit(at, |_| kind);
    }

    #[inline(always)]
    pub(super) fn emit_end(&mut self, how: Settled, cancelled: u8, now: Instant, outcome: Outcome) {
        if cancelled != 0 || self.started > 1 {
            self.emit_losers(how, cancelled, now);
        }
        self.emit(now, |controller| {
            let (duration, attempts) = (outcome.total_latency, controller.started);
            let strategy = outcome.strategy;
            match how {
                Settled::Won(_) => EventKind::RequestStop { duration, outcome },
                Settled::Dropped => EventKind::RequestDropped {
                    duration,
                    attempts,
                    strategy,
                },
                Settled::Fatal(_) | Settled::Failed(_) | Settled::TimedOut => {
                    EventKind::RequestException {
                        duration,
                        timed_out: how == Settled::TimedOut,
                        attempts,
                        strategy,
                    }
                }
            }
        });
    }

    #[cold]
    fn emit_losers(&mut self, how: Settled, cancelled: u8, now: Instant) {
        if let (Settled::Won(attempt @ 1..), Some(latency)) = (how, self.backup_latency()) {
            self.emit_rare(now, EventKind::HedgeWon { attempt, latency });
        }
        for attempt in (0..self.started).filter(|attempt| cancelled & bit(*attempt) != 0) {
            let elapsed = now.since(self.start_of(attempt));
            self.emit_rare(now, EventKind::RequestCancelled { attempt, elapsed });
        }
    }
}
