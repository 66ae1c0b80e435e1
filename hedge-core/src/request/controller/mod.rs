//! The decisions of one request: the [`Controller`] over what a hedger's requests share.

use core::mem;
use core::time::Duration;

use crate::attempt::{Attempt, Cause, Classify, Verdict};
use crate::hedger::{
    BudgetHandle, HedgeQuery, HedgerFlags, HedgerParts, Losers, RequestPlan, SharedState,
};
use crate::metrics::Recorder;
use crate::outcome::{Outcome, Suppressed};
use crate::race::{Controller, ResultController, Settled};
use crate::strategy::Hints;
use crate::telemetry::{Emitter, EventKind, Sink};
use crate::time::Instant;

mod completion;
mod events;

/// What a caller says about one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallOptions {
    pub(crate) deadline: Instant,
    /// In nanoseconds.
    pub(crate) timeout: u64,
    pub(crate) hints: Hints,
    pub(crate) max_hedges: u8,
    pub(crate) hedge: bool,
    /// Other than [`Losers::Dropped`], which the hedger's options may overrule.
    pub(crate) losers: Losers,
}

impl CallOptions {
    pub(crate) const NONE: Self = Self {
        deadline: Instant::MAX,
        timeout: u64::MAX,
        hints: Hints::NONE,
        max_hedges: u8::MAX,
        hedge: true,
        losers: Losers::Dropped,
    };
}

/// What applies to one request: its caller's options until it has to wait, then the plan that the hedger
/// made of them.
#[derive(Clone, Copy, Debug)]
enum Basis {
    CallOptions(CallOptions),
    RequestPlan(RequestPlan),
}

/// The decisions of one request, for [`race`](crate::adapter::race) or for a simulation.
///
/// There is one for every request in flight, so it is kept small: times are nanoseconds, flags are bits.
#[derive(Debug)]
pub struct RequestController<'h, L: SharedState, B: BudgetHandle, K: Sink, C, const MAX: usize> {
    parts: &'h HedgerParts<L, B, K>,
    classify: C,
    basis: Basis,
    emitter: Emitter,
    id: u64,

    /// When each attempt started; the first is the request's own start.
    starts: [Instant; MAX],
    primary_end: Instant,
    hedge_end: Instant,
    /// No hedge before this. Counts from the epoch until the start is known.
    not_before: Instant,
    /// By how many nanoseconds pushback has moved the schedule.
    pushback_shift: u64,

    flags: Option<HedgerFlags>,
    started: u8,
    /// A bit per attempt that runs.
    live: u8,
    /// A bit per attempt that finished, and per attempt that gave an acceptable result.
    ended: u8,
    accepted: u8,
    /// The winning hedge, else the first that finished; 0 if none has.
    hedge: u8,
    /// Attempts that failed and have not been answered with a hedge.
    pending_retries: u8,
    refused: Option<Suppressed>,
    hedge_cause: Option<Cause>,
    deposited: bool,
    due: bool,
}

impl<'h, L: SharedState, B: BudgetHandle, K: Sink, C, const MAX: usize>
    RequestController<'h, L, B, K, C, MAX>
{
    pub(crate) fn new(parts: &'h HedgerParts<L, B, K>, classify: C, options: CallOptions) -> Self {
        Self {
            parts,
            classify,
            basis: Basis::CallOptions(options),
            emitter: Emitter::new(),
            id: 0,
            starts: [Instant::ZERO; MAX],
            primary_end: Instant::ZERO,
            hedge_end: Instant::ZERO,
            not_before: Instant::ZERO,
            pushback_shift: 0,
            flags: None,
            started: 1,
            live: 1,
            ended: 0,
            accepted: 0,
            hedge: 0,
            pending_retries: 0,
            refused: None,
            hedge_cause: None,
            deposited: false,
            due: false,
        }
    }

    fn flags(&mut self) -> HedgerFlags {
        *self.flags.get_or_insert_with(|| self.parts.state.flags())
    }

    /// By reference, as all that is large and has just been written: a copy would wait for the writes to be done.
    #[cfg_attr(feature = "std", inline)]
    fn plan(&mut self) -> &RequestPlan {
        if let Basis::CallOptions(_) = self.basis {
            self.fetch_plan();
        }
        self.known_plan().unwrap_or(&RequestPlan::OFF)
    }

    #[cfg_attr(feature = "std", inline(never))]
    fn fetch_plan(&mut self) {
        let (Basis::CallOptions(options), start) = (&self.basis, self.start_of(0)) else {
            return;
        };
        let plan = self.parts.state.request_plan(&options.hints, start);
        let plan = plan
            .within(options.timeout)
            .until(options.deadline, start)
            .at_most(options.max_hedges);
        let plan = if options.hedge { plan } else { plan.off() };
        let plan = match options.losers {
            Losers::Dropped => plan,
            losers => plan.with_losers(losers),
        };
        self.basis = Basis::RequestPlan(plan);
    }

    fn known_plan(&self) -> Option<&RequestPlan> {
        match &self.basis {
            Basis::RequestPlan(plan) => Some(plan),
            Basis::CallOptions(_) => None,
        }
    }

    fn losers(&self) -> Losers {
        match self.basis {
            Basis::RequestPlan(plan) => plan.losers(),
            Basis::CallOptions(options) => options.losers,
        }
    }

    fn start_of(&self, attempt: u8) -> Instant {
        self.starts
            .get(usize::from(attempt))
            .copied()
            .unwrap_or_default()
    }

    /// When the next hedge would be due by the passing of its delay, pushback aside.
    fn scheduled(&mut self) -> Option<Instant> {
        let started = self.started;
        let offset = self.plan().offset(started)?;
        Some(self.start_of(0).later(offset).later(self.pushback_shift))
    }

    fn permit(
        &mut self,
        retry: bool,
        now: Instant,
        ready: impl FnOnce() -> bool,
    ) -> Result<(), Suppressed> {
        let observe_only = self.plan().observe_only();
        // It may be asked for one that has to be patient yet.
        let ask = self.ask(retry, now.max(self.not_before));
        self.parts.state.may_hedge(&ask)?;
        if !ready() {
            return Err(Suppressed::NotReady);
        }
        self.parts.budget.withdraw(now)?;
        if observe_only {
            self.parts.budget.give_back(1);
            return Err(Suppressed::ObserveOnly);
        }
        Ok(())
    }

    /// What the state is asked for a hedge that would start at `at`.
    fn ask(&mut self, retry: bool, at: Instant) -> HedgeQuery {
        HedgeQuery {
            chance: self.plan().chance(),
            remaining: self.deadline().map(|deadline| deadline.since(at)),
            retry,
        }
    }

    /// Whether the hedge that pushback holds up would be refused at last, as far as is known.
    fn waits_in_vain(&mut self) -> bool {
        let ask = self.ask(true, self.not_before);
        // The not_before ends after the deadline, and with the request.
        if ask.remaining == Some(Duration::ZERO) {
            return false;
        }
        self.plan().observe_only()
            || self.parts.state.may_hedge(&ask).is_err()
            || self.parts.budget.edit(|budget| budget.is_closed())
    }

    /// The next attempt is due: the attempt to start, if there may be one and `ready` says that it could be
    /// started.
    pub(crate) fn admit_if(
        &mut self,
        now: Instant,
        ready: impl FnOnce() -> bool,
    ) -> Option<Attempt> {
        let retry = self.pending_retries > 0;
        if retry {
            self.pending_retries -= 1;
        } else {
            self.due = true;
        }
        if let Err(reason) = self.permit(retry, now, ready) {
            self.pending_retries = 0;
            self.refused = Some(reason);
            let strategy = self.flags().kind();
            self.emit_rare(now, EventKind::HedgeSuppressed { reason, strategy });
            return None;
        }
        // What pushback held up, the rest of the schedule follows at its own controller.
        if let Some(due) = self.scheduled() {
            let held_up = self.not_before.nanos_since(due);
            self.pushback_shift = self.pushback_shift.saturating_add(held_up);
        }
        let index = self.started;
        if let Some(start) = self.starts.get_mut(usize::from(index)) {
            *start = now;
        }
        self.started += 1;
        self.live |= bit(index);
        let cause = if retry { Cause::Retry } else { Cause::Delay };
        self.hedge_cause.get_or_insert(cause);
        let attempt = Attempt::new(index, cause, now.since(self.start_of(0)));
        let delay = self.plan().delay();
        // Until the attempt is launched, which is next, its place is in nobody else's hands.
        let is_held = self.losers().hold_places();
        let place = is_held.then(|| Place(&self.parts.budget));
        self.emit_rare(now, EventKind::HedgeFired { attempt, delay });
        mem::forget(place);
        Some(attempt)
    }

    #[inline]
    fn give_back(&mut self, attempts: u8) {
        let hedges = self.live & attempts & !1;
        self.live &= !attempts;
        // Most requests have none, and need not count them.
        if hedges != 0 && !self.losers().hold_places() {
            self.parts.budget.give_back(hedges.count_ones());
        }
    }
}

impl<L: SharedState, B: BudgetHandle, K: Sink, C, const MAX: usize> Controller
    for RequestController<'_, L, B, K, C, MAX>
{
    type Record = Outcome;

    fn timed(&mut self) -> bool {
        L::Metrics::ON || self.is_heard() || self.flags().learns()
    }

    fn start(&mut self, now: Instant) {
        if let Some(start) = self.starts.first_mut() {
            *start = now;
        }
        if self.not_before > Instant::ZERO {
            self.not_before = now + self.not_before.since_epoch();
        }
        self.deposited = true;
        self.parts.budget.deposit();
        self.emit(now, |_| EventKind::RequestStart);
    }

    fn deadline(&mut self) -> Option<Instant> {
        let start = self.start_of(0);
        self.plan().deadline(start)
    }

    fn due(&mut self) -> Option<Instant> {
        let started = self.started;
        let plan = self.plan();
        if plan.is_off() || started > plan.max_hedges() {
            return None;
        }
        if self.pending_retries > 0 {
            // What would be refused after all that patience is refused now.
            let vain = self.not_before > Instant::ZERO && self.waits_in_vain();
            return Some(if vain { Instant::ZERO } else { self.not_before });
        }
        self.scheduled().map(|due| due.max(self.not_before))
    }

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        self.admit_if(now, || true)
    }

    // Inlined, so that the outcome is made where the request's caller gets it.
    #[inline(always)]
    fn settled(&mut self, how: Settled, now: Instant) -> Outcome {
        let cancelled = self.close(how, now);
        let outcome = self.outcome(how, now);
        self.emit_end(how, cancelled, now, outcome);
        outcome
    }

    #[inline(always)]
    fn settled_alone(&mut self, now: Instant) -> Option<Outcome> {
        // A hedge that was started and, for a panic, not launched is to be events of.
        if !L::BATCHES || self.started > 1 {
            return None;
        }
        let outcome = self.close_alone(now);
        self.emit(now, |_| EventKind::RequestStop {
            duration: outcome.total_latency,
            outcome,
        });
        Some(outcome)
    }

    fn keeps_losers(&mut self) -> bool {
        self.known_plan().is_some() && self.losers() == Losers::Kept
    }

    fn loser_finished(&mut self, index: u8) {
        self.give_back(bit(index));
    }
}

impl<L, B, K, C, V, E, const MAX: usize> ResultController<V, E>
    for RequestController<'_, L, B, K, C, MAX>
where
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    C: Classify<V, E>,
{
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict {
        let verdict = self.classify.classify(result);
        let bit = bit(index);
        let accepted = verdict == Verdict::Accept;
        self.give_back(bit);
        self.ended |= bit;
        self.accepted |= if accepted { bit } else { 0 };
        if index == 0 {
            self.primary_end = now;
        } else if accepted || self.hedge == 0 {
            self.hedge = index;
            self.hedge_end = now;
        }
        match verdict {
            Verdict::Accept | Verdict::Fatal => {}
            Verdict::Retry => self.pending_retries = self.pending_retries.saturating_add(1),
            Verdict::RetryAfter(delay) => {
                self.pending_retries = self.pending_retries.saturating_add(1);
                self.not_before = self.not_before.max(now + delay);
            }
        }
        verdict
    }
}

/// A place in flight, which is given back where a sink panics.
struct Place<'b, B: BudgetHandle>(&'b B);

impl<B: BudgetHandle> Drop for Place<'_, B> {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

/// The attempt's bit; none for an index that no attempt has.
fn bit(attempt: u8) -> u8 {
    1_u8.checked_shl(attempt.into()).unwrap_or(0)
}

/// Losers that were kept give back their places in flight.
impl<L: SharedState, B: BudgetHandle, K: Sink, C, const MAX: usize> Drop
    for RequestController<'_, L, B, K, C, MAX>
{
    fn drop(&mut self) {
        self.give_back(u8::MAX);
    }
}
