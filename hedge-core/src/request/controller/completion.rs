//! What is said of a request once it is over: to its caller, and to the state.

use core::time::Duration;

use super::{Basis, CallOptions, RequestController, bit};
use crate::hedger::{BudgetHandle, Losers, RequestPlan, SharedState};
use crate::metrics::Recorder;
use crate::outcome::{Outcome, Suppressed};
use crate::panics::catch_nested_panic;
use crate::race::{Controller, Settled};
use crate::record::{Alone, End, Report, Sample};
use crate::telemetry::Sink;
use crate::time::Instant;

impl<L: SharedState, B: BudgetHandle, K: Sink, C, const MAX: usize>
    RequestController<'_, L, B, K, C, MAX>
{
    /// Why no hedge was started, if none was.
    fn suppressed(&mut self) -> Option<Suppressed> {
        if self.started > 1 {
            return None;
        }
        if self.refused.is_some() {
            return self.refused;
        }
        // A request keeps the options that it was made with.
        let (off, max_hedges, reason) = match self.basis {
            Basis::CallOptions(CallOptions {
                hedge, max_hedges, ..
            }) => (!hedge || self.flags().off(), max_hedges, Suppressed::NotDue),
            Basis::RequestPlan(plan) => (plan.is_off(), plan.max_hedges(), plan.reason()),
        };
        Some(if off {
            Suppressed::Off
        } else if MAX == 1 || max_hedges == 0 {
            Suppressed::MaxHedges
        } else if self.not_before > Instant::ZERO {
            Suppressed::Pushback
        } else {
            reason
        })
    }

    /// How long `attempt` took, or has taken so far.
    fn sample(&self, attempt: u8, now: Instant) -> Sample {
        let start = self.start_of(attempt);
        let end = if attempt == 0 {
            self.primary_end
        } else {
            self.hedge_end
        };
        match bit(attempt) {
            bit if self.accepted & bit != 0 => Sample::Finished(end.since(start)),
            bit if self.ended & bit != 0 => Sample::Failed(end.since(start)),
            _ => Sample::Dropped(now.since(start)),
        }
    }

    fn report(&mut self, how: Settled, now: Instant) -> Report {
        let mut report = Report::new(self.sample(0, now));
        report.end = End::of(how);
        report.total = now.since(self.start_of(0));
        report.hedge_delay = self.known_plan().and_then(RequestPlan::delay);
        report.due = self.due;
        report.suppressed = self.refused;
        report.attempts = self.started;
        report.cost = self.cost();
        if self.started > 1 {
            self.report_hedge(&mut report, now);
        }
        report
    }

    #[cold]
    fn report_hedge(&self, report: &mut Report, now: Instant) {
        let shown = self.hedge.max(1);
        report.hedge = Some(self.sample(shown, now));
        report.hedge_start = Some(self.start_of(shown).since(self.start_of(0)));
        report.hedge_cause = self.hedge_cause;
    }

    #[inline(always)]
    pub(super) fn outcome(&mut self, how: Settled, now: Instant) -> Outcome {
        let start = self.start_of(0);
        let total = now.since(start);
        Outcome {
            accepted: matches!(how, Settled::Won(_)),
            hedged: self.started > 1,
            hedge_won: matches!(how, Settled::Won(1..)),
            winner: match how {
                Settled::Won(index) | Settled::Fatal(index) | Settled::Failed(index) => index,
                Settled::TimedOut | Settled::Dropped => 0,
            },
            attempts: self.started,
            total_latency: total,
            primary_latency: match self.ended & 1 {
                0 => None,
                _ if self.primary_end == now => Some(total),
                _ => Some(self.primary_end.since(start)),
            },
            backup_latency: self.backup_latency(),
            hedge_delay: self.known_plan().and_then(RequestPlan::delay),
            suppressed: self.refused,
            cost: self.cost(),
            strategy: self.flags().kind(),
            strategy_name: self.parts.labels.strategy_name,
        }
    }

    fn cost(&self) -> f64 {
        // Any finite number may be a cost; a multiple of it has to stay one.
        let cost = self.parts.cost_per_attempt * f64::from(self.started);
        cost.min(f64::MAX)
    }

    /// How long the hedge took that won, else the first that finished.
    pub(super) fn backup_latency(&self) -> Option<Duration> {
        (self.hedge > 0).then(|| self.hedge_end.since(self.start_of(self.hedge)))
    }

    /// Counts what has ended. Returns which attempts are cancelled.
    #[inline(always)]
    pub(super) fn close(&mut self, how: Settled, now: Instant) -> u8 {
        if !self.deposited {
            self.parts.budget.deposit();
        }
        let keep = self.live == 0 || matches!(how, Settled::Won(_)) && self.keeps_losers();
        let losers = if keep { 0 } else { self.live };
        self.give_back(losers);
        let suppressed = self.suppressed();
        // For good, and for all who ask.
        self.refused = suppressed;
        if L::Metrics::ON || self.flags().learns() {
            if L::BATCHES && self.is_alone(how, now) {
                self.settle_alone(how, suppressed, now);
            } else {
                self.settle(how, now);
            }
        }
        match self.losers() {
            Losers::Detached => 0,
            _ => losers,
        }
    }

    /// Counts a request whose primary was accepted, and that started nothing else.
    #[inline(always)]
    pub(super) fn close_alone(&mut self, now: Instant) -> Outcome {
        if !self.deposited {
            self.parts.budget.deposit();
        }
        let flags = self.flags();
        let suppressed = self.suppressed();
        let alone = self.alone(End::Won(0), suppressed, now);
        if L::Metrics::ON || flags.learns() {
            self.parts.state.settle_alone(&alone);
        }
        let total = Duration::from_nanos(alone.total);
        Outcome {
            accepted: true,
            hedged: false,
            hedge_won: false,
            winner: 0,
            attempts: 1,
            total_latency: total,
            primary_latency: Some(total),
            backup_latency: None,
            hedge_delay: self.known_plan().and_then(RequestPlan::delay),
            suppressed,
            cost: alone.cost,
            strategy: flags.kind(),
            strategy_name: self.parts.labels.strategy_name,
        }
    }

    // `suppressed` is handed on: to read bytes beside one that was written just now is to wait for that.
    #[inline(always)]
    fn alone(&self, end: End, suppressed: Option<Suppressed>, now: Instant) -> Alone {
        Alone {
            end,
            total: now.nanos_since(self.start_of(0)),
            delay: self.known_plan().map_or(u64::MAX, RequestPlan::delay_nanos),
            due: self.due,
            suppressed,
            cost: self.parts.cost_per_attempt,
            now,
        }
    }

    /// Whether the primary was the only attempt, and what became of it is what became of the request.
    fn is_alone(&self, how: Settled, now: Instant) -> bool {
        let primary_told = match how {
            Settled::Won(_) | Settled::Fatal(_) | Settled::Failed(_) => self.primary_end == now,
            Settled::TimedOut | Settled::Dropped => self.ended == 0,
        };
        self.started == 1 && primary_told
    }

    #[inline(never)]
    fn settle_alone(&self, how: Settled, suppressed: Option<Suppressed>, now: Instant) {
        let alone = self.alone(End::of(how), suppressed, now);
        catch_nested_panic(|| self.parts.state.settle_alone(&alone));
    }

    // Rare where requests gather, whose path is kept short.
    #[inline(never)]
    fn settle(&mut self, how: Settled, now: Instant) {
        let report = self.report(how, now);
        catch_nested_panic(|| self.parts.state.settle(&report, now));
    }
}
