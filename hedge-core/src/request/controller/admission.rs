//! Admission of attempts: when the next one may start, and whether the budget pays for it.

use core::time::Duration;

use super::{RequestController, bit};
use crate::attempt::{Attempt, Cause};
use crate::hedger::{BudgetHandle, Claim, HedgeQuery, Payment, Refusal, SharedState, Traffic};
use crate::metrics::Recorder;
use crate::outcome::Suppressed;
use crate::record::Group;
use crate::request::Placement;
use crate::telemetry::{EventKind, Sink};
use crate::time::{Instant, nanos};

impl<L: SharedState, B: BudgetHandle, K: Sink, C, G: Placement, const MAX: usize>
    RequestController<'_, L, B, K, C, MAX, G>
{
    /// Returns when the next attempt is to be asked for; `None` if none is planned at present.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        if self.pending_retries > 0 {
            // A retry that would start after the deadline is given up now, and its payment is refunded.
            let end = self.deadline().unwrap_or(Instant::MAX);
            if self.not_before >= end {
                self.start_no_more();
            }
        }
        let (started, waits) = (self.started, self.waits);
        let plan = self.plan();
        if waits || plan.is_off() || started > plan.max_hedges() {
            return None;
        }
        let not_before = self.not_before;
        if self.pending_retries > 0 {
            // A retry that waits for a pushback is paid for before the wait.
            let is_paid = self.in_flight.has_reserved();
            return Some(if is_paid { not_before } else { Instant::ZERO });
        }
        // Without running attempts, do not wait for a hedge.
        if self.exhausted || self.live == 0 {
            return None;
        }
        self.scheduled().map(|due| due.max(not_before))
    }

    /// Returns whether the pushback is longer than the hedger's options allow.
    pub(super) fn is_too_long(&mut self, pushback: Duration) -> bool {
        self.flags().is_limited() && nanos(pushback) > self.state.max_pushback()
    }

    /// Starts no further attempt. The request waits for those that run.
    pub(super) fn start_no_more(&mut self) {
        self.waits = true;
        self.pending_retries = 0;
        self.refund_reserved();
    }

    /// Gives back what was paid for a retry that is not to start.
    pub(super) fn refund_reserved(&mut self) {
        if self.in_flight.has_reserved() {
            self.in_flight.refund_reserved();
            self.state.give_back_probe(true);
        }
    }

    /// Starts the next attempt, pays for one that starts later, or refuses it.
    pub(super) fn admit_next(&mut self, now: Instant) -> Option<Attempt> {
        let retry = self.pending_retries > 0;
        let is_reserved = retry && self.in_flight.has_reserved();
        let hedge = self.hedge_at(self.started, retry, now);
        let permitted = if !is_reserved {
            self.permit(hedge, now).map(Some)
        } else {
            match self.placement.place_hedge(hedge, now) {
                Ok(_) => {
                    self.in_flight.use_reserved();
                    Ok(None)
                }
                Err(reason) => {
                    self.refund_reserved();
                    Err(Refusal::temporary(reason))
                }
            }
        };
        self.due |= !retry;
        match permitted {
            // Ask the budget before the wait, so that no request waits in vain.
            Ok(Some(payment)) if retry && self.not_before > now => {
                self.in_flight.reserve(payment);
                self.placement.withdraw(self.started, now);
                return None;
            }
            Ok(_) => {}
            Err(refusal) => {
                self.refuse(refusal, retry, now);
                return None;
            }
        }
        self.pending_retries -= u8::from(retry);
        // The rest of the schedule moves by as much as pushback delayed this hedge.
        if let Some(due) = self.scheduled() {
            let delayed_by = self.not_before.nanos_since(due);
            self.pushback_shift = self.pushback_shift.saturating_add(delayed_by);
        }
        let index = self.started;
        if let Some(start) = self.starts.get_mut(usize::from(index)) {
            *start = now;
        }
        self.started += 1;
        self.live |= bit(index);
        self.retries |= if retry { bit(index) } else { 0 };
        self.step = 0;
        self.asked = false;
        self.lacked_token = false;
        self.exhausted = false;
        let attempt = self.placed(hedge);
        let delay = self.plan().delay();
        self.emit_rare(now, EventKind::HedgeFired { attempt, delay });
        if self.losers().hold_places() {
            // The attempt is launched next, and returns the permit itself.
            self.in_flight.hand_over();
        }
        Some(attempt)
    }

    /// Returns when the next hedge is due, in nanoseconds from the start of the request.
    fn offset(&mut self) -> Option<u64> {
        let started = self.started;
        let offset = self.plan().offset(started)?;
        if G::TIMED
            && started == 1
            && let Some(patience) = self.placement.patience()
        {
            return Some(offset.min(patience));
        }
        Some(offset)
    }

    /// Returns when the next hedge is due or asked for again, without regard to pushback.
    fn scheduled(&mut self) -> Option<Instant> {
        let step = self.step;
        let offset = self.offset()?;
        let waited = doubled(offset, step);
        Some(self.start_of(0).later(waited).later(self.pushback_shift))
    }

    /// Returns the last step of the next hedge that has passed by `now`, and at least the present step.
    fn step_at(&mut self, now: Instant) -> u8 {
        let mut step = self.step;
        let waited = now.nanos_since(self.start_of(0).later(self.pushback_shift));
        match self.offset() {
            None | Some(0) => step,
            Some(offset) => {
                let mut next = doubled(offset, step + 1);
                while step < 63 && next <= waited {
                    step += 1;
                    next = doubled(next, 1);
                }
                step
            }
        }
    }

    /// Asks whether an attempt may start now or after a pushback, and pays for it.
    fn permit(&mut self, hedge: Attempt, now: Instant) -> Result<Payment, Refusal> {
        let retry = hedge.cause() == Cause::Retry;
        if !retry && self.group == Some(Group::Control) {
            return Err(Refusal::Final(Suppressed::Holdback));
        }
        let observe_only = self.plan().observe_only();
        let query = self.query(retry, now);
        let admitted = self.state.may_hedge(&query)?;
        let paid = self.place_and_pay(hedge, admitted.traffic, observe_only, now);
        // Treat a hedge that is only observed like one that starts.
        let stands = Refusal::Final(Suppressed::ObserveOnly);
        if admitted.is_probe && paid.is_err_and(|refusal| refusal != stands) {
            self.state.give_back_probe(retry);
        }
        paid
    }

    /// Finds a place for an attempt that the strategy and the guard allow, and pays for it.
    fn place_and_pay(
        &mut self,
        hedge: Attempt,
        mut traffic: Traffic,
        observe_only: bool,
        now: Instant,
    ) -> Result<Payment, Refusal> {
        let retry = hedge.cause() == Cause::Retry;
        // Requests that are not recorded cannot show a surge, so treat them as surging: only the small bucket pays for
        // them.
        traffic.surging |= !self.is_recorded();
        let placed = self.placement.place_hedge(hedge, now);
        placed.map_err(Refusal::temporary)?;
        let claim = Claim {
            cause: hedge.cause(),
            again: !retry && self.lacked_token,
            traffic,
        };
        let withdrawn = self.in_flight.withdraw(claim, now);
        let payment = match withdrawn {
            Ok(_) if observe_only => {
                self.in_flight.give_back(1);
                Err(Refusal::Final(Suppressed::ObserveOnly))
            }
            Ok(payment) if !retry && self.is_withheld() => {
                self.in_flight.refund(payment);
                Err(Refusal::Final(Suppressed::Holdback))
            }
            withdrawn => withdrawn.map_err(Refusal::temporary),
        };
        if payment.is_err() {
            self.placement.withdraw(self.started, now);
        }
        payment
    }

    /// Draws once per request whether a hedge that everything else allowed is withheld.
    fn is_withheld(&mut self) -> bool {
        // A request that was hedged before there was a control group is in neither group. Nor is a probe, which is slow
        // by intention and must not wait.
        let is_hedged = u32::from(self.started) > 1 + self.retries.count_ones();
        let in_neither = is_hedged || self.placement.is_probe();
        if self.group.is_none() && !in_neither {
            self.group = self.state.draw_group();
        }
        self.group == Some(Group::Control)
    }

    /// Returns whether requests are recorded in the shared state.
    pub(super) fn is_recorded(&mut self) -> bool {
        L::Metrics::ON || self.flags().learns()
    }

    /// Returns the query for an attempt that starts at `now`, or after the pushback.
    fn query(&mut self, retry: bool, now: Instant) -> HedgeQuery {
        let at = now.max(self.not_before);
        let rescues_probe = self.started == 1 && self.placement.is_probe();
        let remaining = self.deadline().map(|deadline| deadline.since(at));
        let is_recorded = self.is_recorded();
        HedgeQuery {
            chance: self.plan().chance(),
            // Without the hedge of a probe, the request ends late for certain.
            remaining: remaining.filter(|left| !rescues_probe || left.is_zero()),
            hints: self.plan().hints(),
            retry,
            // Due hedges are counted for the same requests as those without one, which are counted when they end.
            first_due: !retry
                && !self.due
                && self.teaches
                && is_recorded
                && !self.placement.is_probe(),
            drawn: self.asked,
            rescues_probe,
            step: if retry { 0 } else { self.step_at(now) },
            now,
        }
    }

    /// Handles a refusal at `now`: decides when the attempt is asked for again, and reports the refusal once per hedge.
    fn refuse(&mut self, refusal: Refusal, retry: bool, now: Instant) {
        let (started, passed) = (self.started, self.step_at(now));
        let reason = match refusal {
            Refusal::Final(reason) => {
                self.exhausted = true;
                reason
            }
            Refusal::Deferred { reason, step } => {
                let offset = self.plan().offset(started);
                // Doubling a delay of 0 gives no later time.
                self.exhausted |= matches!(offset, None | Some(0));
                let is_due = self.scheduled().is_some_and(|due| due <= now);
                self.step = step.max(if is_due { passed + 1 } else { self.step });
                reason
            }
        };
        self.pending_retries = 0;
        // If a hedge that was refused before would now start, except that the hedger only observes or withholds it,
        // report this reason.
        let would_start = matches!(reason, Suppressed::ObserveOnly | Suppressed::Holdback);
        if retry || !self.asked || would_start {
            self.refused = Some(reason);
            let strategy = self.flags().kind();
            self.emit_rare(now, EventKind::HedgeSuppressed { reason, strategy });
        }
        self.asked |= !retry;
        let is_for_tokens = matches!(reason, Suppressed::BudgetRatio | Suppressed::BudgetRate);
        self.lacked_token |= !retry && is_for_tokens;
    }
}

/// Returns `nanos` × 2^`times`, saturating.
fn doubled(nanos: u64, times: u8) -> u64 {
    (0..times).fold(nanos, |nanos, _| nanos.saturating_add(nanos))
}
