//! The decisions of one request: the [`Controller`] that connects it to the hedger's shared state.

use crate::attempt::{Attempt, Cause, Classify, Verdict};
use crate::hedger::{
    BudgetHandle, HedgerFlags, HedgerParts, InFlight, Losers, RequestPlan, SharedState,
};
use crate::metrics::Recorder;
use crate::outcome::{Outcome, Suppressed};
use crate::race::{AttemptSpan, Controller, FAST_PATH, ResultController};
use crate::record::{Group, RequestEnd};
use crate::replicas::AttemptEnd;
use crate::request::{AlwaysReady, Placement};
use crate::strategy::{Hints, HintsClass};
use crate::telemetry::{Emitter, EventKind, Sink};
use crate::time::Instant;

mod admission;
mod completion;
mod events;

/// The options of one request, as set by the caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallOptions {
    pub(crate) deadline: Instant,
    /// In nanoseconds.
    pub(crate) timeout: u64,
    pub(crate) hints: Hints,
    pub(crate) max_hedges: u8,
    pub(crate) hedge: bool,
    /// Whether strategy and guard learn from the request, and whether it deposits; `None` to do so if it may be hedged.
    pub(crate) teaches: Option<bool>,
    pub(crate) deposits: Option<bool>,
    pub(crate) keeps_refused: bool,
    /// How losers end. The hedger's options can replace [`Losers::Dropped`].
    pub(crate) losers: Losers,
}

impl CallOptions {
    pub(crate) const NONE: Self = Self {
        deadline: Instant::MAX,
        timeout: u64::MAX,
        hints: Hints::NONE,
        max_hedges: u8::MAX,
        hedge: true,
        teaches: None,
        deposits: None,
        keeps_refused: true,
        losers: Losers::Dropped,
    };

    fn may_hedge(&self) -> bool {
        self.hedge && self.max_hedges > 0
    }

    /// Returns the plan of a request with these options that starts at `start`.
    pub(crate) fn plan(&self, state: &impl SharedState, start: Instant) -> RequestPlan {
        let plan = state.request_plan(&self.hints, start);
        let plan = if self.may_hedge() {
            plan
        } else {
            plan.without_limits()
        };
        let plan = plan
            .within(self.timeout)
            .until(self.deadline, start)
            .at_most(self.max_hedges);
        let plan = if self.hedge { plan } else { plan.off() };
        match self.losers {
            Losers::Dropped => plan,
            losers => plan.with_losers(losers),
        }
    }
}

/// The source of the request's options: the caller's options until a plan is needed, then the plan
/// that the hedger made from them.
#[derive(Clone, Copy, Debug)]
enum Basis {
    CallOptions(CallOptions),
    RequestPlan(RequestPlan),
}

/// The decisions of one request, for [`race`](crate::adapter::race) or a simulation.
///
/// Each request in flight has one, so it is kept small: instants are nanoseconds, and flags are
/// bits.
#[derive(Debug)]
pub struct RequestController<
    'h,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    C,
    const MAX: usize,
    G = AlwaysReady,
> {
    /// The state of the hedger, or of the request's key.
    state: &'h L,
    classify: C,
    placement: G,
    /// The permits in flight. They hold the reference to the hedger's parts, too.
    in_flight: InFlight<&'h HedgerParts<L, B, K>>,
    basis: Basis,
    /// The caller's hints about the request, with the hedger's defaults once there is a plan.
    hints: HintsClass,
    emitter: Emitter,
    id: u64,

    /// When each attempt started. The first is the start of the request.
    starts: [Instant; MAX],
    primary_end: Instant,
    hedge_end: Instant,
    /// The time before which no hedge starts; relative to the epoch until the start is known.
    not_before: Instant,
    /// The number of nanoseconds by which pushback has moved the schedule.
    pushback_shift: u64,

    flags: Option<HedgerFlags>,
    started: u8,
    /// One bit per running attempt.
    live: u8,
    /// One bit per attempt that finished, and one per attempt that returned an acceptable result.
    ended: u8,
    accepted: u8,
    /// A bit per attempt that was dropped because it ran out of time.
    expired: u8,
    /// A bit per attempt that was started because another had failed.
    retries: u8,
    /// The winning hedge, else the first that finished; 0 if none has.
    hedge: u8,
    /// The number of failed attempts for which no hedge was started yet.
    pending_retries: u8,
    /// How often the wait for the next hedge was doubled because the hedge was refused.
    step: u8,
    refused: Option<Suppressed>,
    /// The group, which is drawn when the first hedge for slowness may start.
    group: Option<Group>,
    deposited: bool,
    due: bool,
    /// Whether the next hedge has been due and was refused.
    asked: bool,
    /// Whether the next hedge was refused because there was no token.
    lacked_token: bool,
    /// Whether no hedge is asked for again.
    exhausted: bool,
    /// Whether no further attempt starts, since a result was classified as [`Verdict::Wait`] or asked for too long a
    /// pushback.
    waits: bool,
    teaches: bool,
    deposits: bool,
    keeps_refused: bool,
}

impl<'h, L: SharedState, B: BudgetHandle, K: Sink, C, G: Placement, const MAX: usize>
    RequestController<'h, L, B, K, C, MAX, G>
{
    pub(crate) fn new(
        parts: &'h HedgerParts<L, B, K>,
        state: &'h L,
        classify: C,
        placement: G,
        options: CallOptions,
    ) -> Self {
        let may_hedge = options.may_hedge();
        Self {
            state,
            classify,
            placement,
            in_flight: InFlight::none(parts),
            basis: Basis::CallOptions(options),
            hints: options.hints.class(),
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
            expired: 0,
            retries: 0,
            hedge: 0,
            pending_retries: 0,
            step: 0,
            refused: None,
            group: None,
            deposited: false,
            due: false,
            asked: false,
            lacked_token: false,
            exhausted: false,
            waits: false,
            keeps_refused: options.keeps_refused,
            teaches: options.teaches.unwrap_or(may_hedge),
            deposits: options.deposits.unwrap_or(may_hedge),
        }
    }

    fn parts(&self) -> &'h HedgerParts<L, B, K> {
        self.in_flight.owner()
    }

    fn flags(&mut self) -> HedgerFlags {
        *self.flags.get_or_insert_with(|| self.state.flags())
    }

    /// Returns a reference, since copying a large value that was just written would wait for the
    /// writes to complete.
    #[cfg_attr(feature = "std", inline)]
    fn plan(&mut self) -> &RequestPlan {
        if let Basis::CallOptions(_) = self.basis {
            self.fetch_plan();
        }
        self.known_plan().unwrap_or(&RequestPlan::OFF)
    }

    #[cfg_attr(feature = "std", inline(never))]
    fn fetch_plan(&mut self) {
        if let Basis::CallOptions(options) = &self.basis {
            let plan = options.plan(self.state, self.start_of(0));
            self.hints = plan.hints();
            self.basis = Basis::RequestPlan(plan);
        }
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

    #[cfg_attr(not(feature = "std"), inline(never))]
    fn start_of(&self, attempt: u8) -> Instant {
        self.starts
            .get(usize::from(attempt))
            .copied()
            .unwrap_or_default()
    }

    fn deposit(&mut self) {
        self.deposited = true;
        if self.deposits {
            let traffic = self.flags().traffic();
            self.parts().budget.deposit_in(traffic);
        }
    }

    /// Returns how many nanoseconds the primary may take. The largest number means no limit.
    ///
    /// Does not fetch the plan, which most requests do not need, unless only the plan can tell.
    #[inline]
    fn primary_limit(&mut self) -> u64 {
        let (limit, may_hedge) = match &self.basis {
            Basis::CallOptions(options) => {
                let limit = match options.deadline {
                    Instant::MAX => options.timeout,
                    at => at.nanos_since(self.start_of(0)).min(options.timeout),
                };
                (limit, options.may_hedge())
            }
            Basis::RequestPlan(plan) => return plan.limit(),
        };
        let flags = self.flags();
        if !may_hedge || !flags.is_limited() {
            limit
        } else if flags.may_plan_off() {
            // The hedger's limits do not apply to a request that the strategy does not hedge.
            self.plan().limit()
        } else {
            limit.min(self.state.limit())
        }
    }

    /// Returns the attempt as it was launched.
    #[cfg_attr(feature = "std", inline(always))]
    fn attempt(&mut self, index: u8) -> Attempt {
        let attempt = if index == 0 {
            Attempt::PRIMARY.within(self.primary_limit())
        } else {
            let retry = self.retries & bit(index) != 0;
            self.hedge_at(index, retry, self.start_of(index))
        };
        self.placed(attempt)
    }

    /// Returns the attempt, at the replica where it was placed.
    fn placed(&self, attempt: Attempt) -> Attempt {
        let placed = self.placement.replica(attempt.index() as u8);
        placed.map_or(attempt, |replica| attempt.at(replica))
    }

    /// Returns the hedge `index` that starts at `start`, before it is placed.
    fn hedge_at(&mut self, index: u8, retry: bool, start: Instant) -> Attempt {
        let cause = if retry { Cause::Retry } else { Cause::Delay };
        let deadline = self.deadline();
        let limit = deadline.map_or(u64::MAX, |deadline| deadline.nanos_since(start));
        let limit = limit.min(self.plan().attempt_timeout().unwrap_or(u64::MAX));
        let elapsed = start.nanos_since(self.start_of(0));
        Attempt::after_nanos(index, cause, elapsed).within(limit)
    }

    fn deadline(&mut self) -> Option<Instant> {
        let start = self.start_of(0);
        self.plan().deadline(start)
    }

    /// Marks the attempts whose bits are set as ended, and returns the budget permits of the hedges
    /// among them.
    #[inline]
    fn end_attempts(&mut self, attempts: u8) {
        let hedges = self.live & attempts & !1;
        self.live &= !attempts;
        // Most requests have no hedge, so skip counting.
        if hedges != 0 {
            self.in_flight.give_back(hedges.count_ones());
        }
    }

    fn keeps_losers(&self) -> bool {
        self.known_plan().is_some() && self.losers() == Losers::Kept
    }
}

impl<L: SharedState, B: BudgetHandle, K: Sink, C, G: Placement, const MAX: usize> Controller
    for RequestController<'_, L, B, K, C, MAX, G>
{
    type Output = Outcome;

    fn timed(&mut self) -> bool {
        let has_deadline = matches!(
            &self.basis,
            Basis::CallOptions(options) if options.deadline != Instant::MAX
        );
        let flags = self.flags();
        // A plan is made for the time of the request's start.
        let is_planned = flags.is_limited() && flags.may_plan_off();
        let is_timed = G::TIMED || L::Metrics::ON || has_deadline || is_planned;
        is_timed || self.is_heard() || flags.learns()
    }

    fn start(&mut self, now: Instant) {
        if let Some(start) = self.starts.first_mut() {
            *start = now;
        }
        if self.not_before > Instant::ZERO {
            self.not_before = now + self.not_before.since_epoch();
        }
        let is_late =
            |options: &CallOptions| options.deadline != Instant::MAX && options.deadline <= now;
        if matches!(&self.basis, Basis::CallOptions(options) if is_late(options)) {
            // Nothing is sent, so there is nothing to learn from or to pay for.
            (self.started, self.live) = (0, 0);
            (self.teaches, self.deposits) = (false, false);
            self.refused = Some(Suppressed::Deadline);
        }
        // Deposit after the placement if there is one: a request for which no replica is allowed sends nothing.
        if !G::TIMED {
            self.deposit();
        }
        self.emit(now, |_| EventKind::RequestStart);
    }

    #[cfg_attr(feature = "std", inline(always))]
    fn primary(&mut self) -> Result<Attempt, RequestEnd> {
        if self.started == 0 {
            return Err(RequestEnd::TimedOut);
        }
        let primary = Attempt::PRIMARY.within(self.primary_limit());
        // Only a set of replicas needs to know.
        let limit = if G::TIMED && MAX > 1 {
            self.plan().rescue_limit()
        } else {
            0
        };
        let start = self.start_of(0);
        match self.placement.place_primary(limit, start) {
            Ok(None) => Ok(primary),
            Ok(Some(replica)) => {
                // Deposit only once, even if the closure panicked and the request is polled again.
                if !self.deposited {
                    self.deposit();
                }
                Ok(primary.at(replica))
            }
            Err(reason) => {
                self.deposits = false;
                self.refused = Some(Suppressed::NoReplica);
                (self.started, self.live) = (0, 0);
                Err(RequestEnd::NoReplica(reason))
            }
        }
    }

    #[cfg_attr(feature = "std", inline(always))]
    fn span(&self, attempt: &Attempt) -> AttemptSpan {
        AttemptSpan::new(attempt, self.placement.replica(attempt.index() as u8))
    }

    fn deadline(&mut self) -> Option<Instant> {
        Self::deadline(self)
    }

    fn due(&mut self) -> Option<Instant> {
        self.next_due()
    }

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        self.admit_next(now)
    }

    fn expiry(&mut self) -> Option<(u8, Instant)> {
        let limit = self.plan().attempt_timeout()?;
        // Attempts start in order, so the first of those that run is the oldest.
        let oldest = self.live.trailing_zeros() as u8;
        (self.live != 0).then(|| (oldest, self.start_of(oldest).later(limit)))
    }

    fn expired(&mut self, index: u8, now: Instant) {
        let bit = bit(index);
        self.end_attempts(bit);
        self.expired |= bit;
        if !self.waits {
            self.pending_retries = self.pending_retries.saturating_add(1);
        }
        // The future has been dropped; if it was a task, the task reports its own end.
        self.placement.dropped(index, AttemptEnd::Failed, now);
        let elapsed = now.since(self.start_of(index));
        let attempt = index;
        let replica = self.placement.replica(index);
        self.emit_rare(
            now,
            EventKind::AttemptTimeout {
                attempt,
                elapsed,
                replica,
            },
        );
    }

    // Inline this, so that the outcome is built in the caller's memory.
    #[cfg_attr(feature = "std", inline(always))]
    fn completed(&mut self, end: RequestEnd, now: Instant) -> Outcome {
        // A single attempt that won is the primary.
        if FAST_PATH && self.started == 1 && matches!(end, RequestEnd::Won(_)) {
            return self.complete_single(now);
        }
        let (record, cancelled) = self.complete(end, now);
        let outcome = self.outcome(&record);
        self.emit_end(end, cancelled, now, &outcome);
        outcome
    }

    fn keeps_refused(&self) -> bool {
        self.keeps_refused
    }

    fn keeps_losers(&mut self) -> bool {
        Self::keeps_losers(self)
    }

    fn loser_finished(&mut self, index: u8, succeeded: bool, now: Instant) {
        self.end_attempts(bit(index));
        let end = if succeeded {
            AttemptEnd::Answered
        } else {
            AttemptEnd::Failed
        };
        self.placement.ended(index, end, now);
    }
}

impl<L, B, K, C, G, V, E, const MAX: usize> ResultController<V, E>
    for RequestController<'_, L, B, K, C, MAX, G>
where
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    C: Classify<V, E>,
    G: Placement,
{
    // Inline this, so that no attempt is built for a classifier that ignores it.
    #[cfg_attr(feature = "std", inline(always))]
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict {
        let attempt = self.attempt(index);
        let verdict = self.classify.classify(&attempt, result);
        let blames = self.classify.blames_replica(&attempt, result, verdict);
        // The request was sent to a suspect replica to probe it, and should not pay for that.
        let verdict = if blames && index == 0 && self.placement.is_probe() {
            Verdict::Retry
        } else {
            verdict
        };
        let bit = bit(index);
        let accepted = verdict == Verdict::Accept;
        self.end_attempts(bit);
        self.ended |= bit;
        self.accepted |= if accepted { bit } else { 0 };
        let end = if blames {
            AttemptEnd::Failed
        } else {
            AttemptEnd::Answered
        };
        self.placement.ended(index, end, now);
        if end == AttemptEnd::Failed {
            self.emit_failed(index, now);
        }
        if index == 0 {
            self.primary_end = now;
        } else if accepted || self.hedge == 0 {
            self.hedge = index;
            self.hedge_end = now;
        }
        match verdict {
            Verdict::Accept | Verdict::Fatal => {}
            Verdict::Wait => self.start_no_more(),
            Verdict::Retry => self.pending_retries = self.pending_retries.saturating_add(1),
            Verdict::RetryAfter(delay) if self.is_too_long(delay) => self.start_no_more(),
            Verdict::RetryAfter(delay) => {
                self.pending_retries = self.pending_retries.saturating_add(1);
                self.not_before = self.not_before.max(now + delay);
            }
        }
        verdict
    }
}

/// Returns the bit of an attempt; 0 for an index that no attempt has.
fn bit(attempt: u8) -> u8 {
    1_u8.checked_shl(attempt.into()).unwrap_or(0)
}
