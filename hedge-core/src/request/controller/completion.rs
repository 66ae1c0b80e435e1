//! The end of a request: its record, and who receives it.

use super::{Basis, CallOptions, RequestController, bit};
use crate::hedger::{BudgetHandle, Losers, RequestPlan, SharedState};
use crate::metrics::Recorder;
use crate::outcome::{Outcome, Suppressed};
use crate::panics::catch_nested_panic;
use crate::race::Controller;
use crate::record::{AttemptEnd, NONE, Record, RequestEnd};
use crate::replicas;
use crate::request::Placement;
use crate::telemetry::{EventKind, Sink};
use crate::time::Instant;

impl<L: SharedState, B: BudgetHandle, K: Sink, C, G: Placement, const MAX: usize>
    RequestController<'_, L, B, K, C, MAX, G>
{
    /// Completes a request whose only attempt was accepted, as most requests do.
    ///
    /// Fast path of [`complete`](Self::complete): most fields of the record are known.
    #[cfg_attr(feature = "std", inline(always))]
    pub(super) fn complete_single(&mut self, now: Instant) -> Outcome {
        if !self.deposited {
            self.deposit();
        }
        let flags = self.flags();
        let total = now.nanos_since(self.start_of(0));
        let record = Record {
            ended_at: now,
            total,
            primary: total,
            hedge: NONE,
            hedge_start: NONE,
            hedge_delay: self.known_plan().map_or(NONE, RequestPlan::delay_nanos),
            cost: self.parts().cost_per_attempt,
            end: RequestEnd::Won(0),
            primary_end: AttemptEnd::Finished,
            hedge_end: None,
            suppressed: self.suppressed(),
            attempts: 1,
            retries: self.drawn(),
            flags: u8::from(self.due) | self.hints.0 << 1,
        };
        if L::Metrics::ON || flags.learns() {
            self.report(&record);
        }
        let outcome = self.outcome(&record);
        self.emit(now, |_| EventKind::RequestStop {
            duration: outcome.total_latency,
            outcome,
        });
        outcome
    }

    #[cfg_attr(feature = "std", inline(always))]
    pub(super) fn outcome(&mut self, record: &Record) -> Outcome {
        let strategy_name = self.parts().labels.strategy_name;
        let mut outcome = Outcome::new(record, self.flags().kind(), strategy_name);
        #[cfg(feature = "std")]
        {
            outcome.key = self.state.key();
        }
        if G::TIMED {
            let winner = record.end.attempt();
            outcome.replica = winner.and_then(|winner| self.placement.replica(winner));
            outcome.replicas_used = self.placement.used();
        }
        outcome
    }

    /// Completes a request in the general case. Returns its record, and a bit for each attempt that
    /// is cancelled.
    #[inline(never)]
    pub(super) fn complete(&mut self, end: RequestEnd, now: Instant) -> (Record, u8) {
        if !self.deposited {
            self.deposit();
        }
        self.refund_reserved();
        let keep = self.live == 0 || matches!(end, RequestEnd::Won(_)) && self.keeps_losers();
        let losers = if keep { 0 } else { self.live };
        self.end_attempts(losers);
        if G::TIMED {
            self.report_dropped(losers, end, now);
        }
        let record = self.record(end, now);
        if self.is_recorded() {
            catch_nested_panic(|| self.report(&record));
        }
        let cancelled = match self.losers() {
            Losers::Detached => 0,
            _ => losers,
        };
        (record, cancelled)
    }

    #[cfg_attr(feature = "std", inline(always))]
    fn report(&self, record: &Record) {
        if self.teaches && !self.is_untypical(record.end) {
            self.state.record(record);
        } else if L::Metrics::ON {
            self.state.count(record);
        }
    }

    /// Reports to the placement that the attempts whose bits are set are dropped.
    fn report_dropped(&mut self, losers: u8, end: RequestEnd, now: Instant) {
        let end = match end {
            RequestEnd::TimedOut => replicas::AttemptEnd::TimedOut,
            _ => replicas::AttemptEnd::Cancelled,
        };
        for attempt in (0..self.started).filter(|attempt| losers & bit(*attempt) != 0) {
            self.placement.dropped(attempt, end, now);
        }
    }

    fn is_untypical(&self, end: RequestEnd) -> bool {
        G::TIMED && (matches!(end, RequestEnd::NoReplica(_)) || self.placement.is_probe())
    }

    fn record(&mut self, end: RequestEnd, now: Instant) -> Record {
        let suppressed = self.suppressed();
        let (primary_end, primary) = self.sample(0, self.primary_end, now);
        let mut record = Record {
            ended_at: now,
            total: now.nanos_since(self.start_of(0)),
            primary,
            hedge: NONE,
            hedge_start: NONE,
            hedge_delay: self.known_plan().map_or(NONE, RequestPlan::delay_nanos),
            cost: cost_of(self.parts().cost_per_attempt, self.started),
            end,
            primary_end,
            hedge_end: None,
            suppressed,
            attempts: self.started,
            retries: self.retries | self.drawn(),
            flags: u8::from(self.due) | self.hints.0 << 1,
        };
        if self.started > 1 {
            self.record_hedge(&mut record, now);
        }
        record
    }

    fn drawn(&self) -> u8 {
        if self.group.is_some() {
            Record::DRAWN
        } else {
            0
        }
    }

    #[cold]
    fn record_hedge(&self, record: &mut Record, now: Instant) {
        let shown = self.hedge.max(1);
        let (end, nanos) = self.sample(shown, self.hedge_end, now);
        record.hedge = nanos;
        record.hedge_end = Some(end);
        record.hedge_start = self.start_of(shown).nanos_since(self.start_of(0));
    }

    /// Returns how `attempt` ended and how many nanoseconds it took. `finished_at` is used if it
    /// finished.
    fn sample(&self, attempt: u8, finished_at: Instant, now: Instant) -> (AttemptEnd, u64) {
        let bit = bit(attempt);
        let (end, at) = if self.accepted & bit != 0 {
            (AttemptEnd::Finished, finished_at)
        } else if self.ended & bit != 0 {
            (AttemptEnd::Failed, finished_at)
        } else if self.expired & bit != 0 {
            // The attempt's latency is unknown, so it is recorded as a lower bound, like that of a dropped attempt.
            let limit = self.known_plan().and_then(RequestPlan::attempt_timeout);
            let at = self.start_of(attempt).later(limit.unwrap_or(0));
            (AttemptEnd::Dropped, at)
        } else {
            (AttemptEnd::Dropped, now)
        };
        (end, at.nanos_since(self.start_of(attempt)))
    }

    /// Returns why no hedge was started; `None` if one was.
    fn suppressed(&mut self) -> Option<Suppressed> {
        if self.started > 1 {
            return None;
        }
        if self.refused.is_some() {
            return self.refused;
        }
        // Without a plan, use the options that the request was made with.
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
        } else if self.waits || self.not_before > Instant::ZERO {
            Suppressed::Pushback
        } else {
            reason
        })
    }
}

/// Returns what so many attempts cost, 0 to 8; the largest finite number if it is more. `each` is finite and not negative.
///
/// The product of floating-point numbers by means of integers: firmware has no `f64`, and would link a kilobyte for it.
fn cost_of(each: f64, attempts: u8) -> f64 {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    let (exponent, fraction) = (
        each.to_bits() >> MANTISSA,
        each.to_bits() & ((1 << MANTISSA) - 1),
    );
    // Numbers with an exponent of 0 have that of 1, and no leading digit.
    let digit = u64::from(exponent > 0) << MANTISSA;
    let product = (fraction | digit) * u64::from(attempts);
    if product == 0 {
        return 0.0;
    }
    // Round to the nearest number, and to the even one of two.
    let excess = (63 - MANTISSA).saturating_sub(product.leading_zeros());
    let half = (1_u64 << excess) >> 1;
    let is_odd = product >> excess & u64::from(excess > 0);
    let rounded = (product + half.saturating_sub(1) + is_odd) >> excess;
    // The leading digit adds 1 to the exponent.
    let exponent = exponent.saturating_sub(1) + u64::from(excess);
    let bits = (exponent << MANTISSA) + rounded;
    f64::from_bits(bits.min(f64::MAX.to_bits()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::cost_of;

    proptest! {
        #[test]
        fn a_cost_is_a_product(each in 0.0..f64::MAX, bits in any::<u64>(), attempts in 0_u8..=8) {
            let any = f64::from_bits(bits & (u64::MAX >> 1));
            for each in [each, any, 0.0, 1.0, 0.1, 0.03, f64::MIN_POSITIVE, f64::MIN_POSITIVE / 3.0, 5e-324, f64::MAX] {
                if each.is_finite() {
                    let product = each * f64::from(attempts);
                    prop_assert_eq!(cost_of(each, attempts), product.min(f64::MAX));
                }
            }
        }
    }
}
