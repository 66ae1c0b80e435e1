//! The decisions of one request: the [`Pacer`] over what a hedger's requests share.

use core::mem;
use core::time::Duration;

use crate::attempt::{Attempt, Cause, Classify, Verdict};
use crate::hedger::{Ask, Charge, Ledger, Losers, Shared, Standing, Terms};
use crate::metrics::Recorder;
use crate::outcome::{Outcome, Suppressed};
use crate::race::{Judge, Pacer, Settled};
use crate::strategy::Hints;
use crate::telemetry::{EventKind, Sink, Voice};
use crate::time::Instant;

mod completion;
mod events;

/// What a caller says about one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    pub(crate) deadline: Instant,
    /// In nanoseconds.
    pub(crate) timeout: u64,
    pub(crate) hints: Hints,
    pub(crate) max_hedges: u8,
    pub(crate) hedge: bool,
    /// Other than [`Losers::Dropped`], which the hedger's options may overrule.
    pub(crate) losers: Losers,
}

impl Wishes {
    pub(crate) const NONE: Self = Self {
        deadline: Instant::MAX,
        timeout: u64::MAX,
        hints: Hints::NONE,
        max_hedges: u8::MAX,
        hedge: true,
        losers: Losers::Dropped,
    };
}

/// What applies to one request: its caller's wishes until it has to wait, then the terms that the hedger
/// made of them.
#[derive(Clone, Copy, Debug)]
enum Basis {
    Wishes(Wishes),
    Terms(Terms),
}

/// The decisions of one request, for [`race`](crate::adapter::race) or for a simulation.
///
/// There is one for every request in flight, so it is kept small: times are nanoseconds, flags are bits.
#[derive(Debug)]
pub struct Pace<'h, L: Ledger, B: Charge, K: Sink, C, const MAX: usize> {
    shared: &'h Shared<L, B, K>,
    classify: C,
    basis: Basis,
    voice: Voice,
    id: u64,

    /// When each attempt started; the first is the request's own start.
    starts: [Instant; MAX],
    primary_end: Instant,
    hedge_end: Instant,
    /// No hedge before this. Counts from the epoch until the start is known.
    hold: Instant,
    /// By how many nanoseconds pushback has moved the schedule.
    shift: u64,

    standing: Option<Standing>,
    started: u8,
    /// A bit per attempt that runs.
    live: u8,
    /// A bit per attempt that finished, and per attempt that gave an acceptable result.
    ended: u8,
    well: u8,
    /// The winning hedge, else the first that finished; 0 if none has.
    hedge: u8,
    /// Attempts that failed and have not been answered with a hedge.
    owed: u8,
    refused: Option<Suppressed>,
    hedge_cause: Option<Cause>,
    deposited: bool,
    due: bool,
}

impl<'h, L: Ledger, B: Charge, K: Sink, C, const MAX: usize> Pace<'h, L, B, K, C, MAX> {
    pub(crate) fn new(shared: &'h Shared<L, B, K>, classify: C, wishes: Wishes) -> Self {
        Self {
            shared,
            classify,
            basis: Basis::Wishes(wishes),
            voice: Voice::new(),
            id: 0,
            starts: [Instant::ZERO; MAX],
            primary_end: Instant::ZERO,
            hedge_end: Instant::ZERO,
            hold: Instant::ZERO,
            shift: 0,
            standing: None,
            started: 1,
            live: 1,
            ended: 0,
            well: 0,
            hedge: 0,
            owed: 0,
            refused: None,
            hedge_cause: None,
            deposited: false,
            due: false,
        }
    }

    fn standing(&mut self) -> Standing {
        *self
            .standing
            .get_or_insert_with(|| self.shared.ledger.standing())
    }

    /// By reference, as all that is large and has just been written: a copy would wait for the writes to be done.
    #[cfg_attr(feature = "std", inline)]
    fn terms(&mut self) -> &Terms {
        if let Basis::Wishes(_) = self.basis {
            self.ask_terms();
        }
        self.terms_asked().unwrap_or(&Terms::OFF)
    }

    #[cfg_attr(feature = "std", inline(never))]
    fn ask_terms(&mut self) {
        let (Basis::Wishes(wishes), start) = (&self.basis, self.start_of(0)) else {
            return;
        };
        let terms = self.shared.ledger.terms(&wishes.hints, start);
        let terms = terms
            .within(wishes.timeout)
            .until(wishes.deadline, start)
            .at_most(wishes.max_hedges);
        let terms = if wishes.hedge { terms } else { terms.off() };
        let terms = match wishes.losers {
            Losers::Dropped => terms,
            losers => terms.with_losers(losers),
        };
        self.basis = Basis::Terms(terms);
    }

    fn terms_asked(&self) -> Option<&Terms> {
        match &self.basis {
            Basis::Terms(terms) => Some(terms),
            Basis::Wishes(_) => None,
        }
    }

    fn losers(&self) -> Losers {
        match self.basis {
            Basis::Terms(terms) => terms.losers(),
            Basis::Wishes(wishes) => wishes.losers,
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
        let offset = self.terms().offset(started)?;
        Some(self.start_of(0).later(offset).later(self.shift))
    }

    fn permit(
        &mut self,
        retry: bool,
        now: Instant,
        ready: impl FnOnce() -> bool,
    ) -> Result<(), Suppressed> {
        let observe_only = self.terms().observe_only();
        // It may be asked for one that has to be patient yet.
        let ask = self.ask(retry, now.max(self.hold));
        self.shared.ledger.permit(&ask)?;
        if !ready() {
            return Err(Suppressed::NotReady);
        }
        self.shared.budget.charge(now)?;
        if observe_only {
            self.shared.budget.release(1);
            return Err(Suppressed::ObserveOnly);
        }
        Ok(())
    }

    /// What the ledger is asked for a hedge that would start at `at`.
    fn ask(&mut self, retry: bool, at: Instant) -> Ask {
        Ask {
            chance: self.terms().chance(),
            remaining: self.deadline().map(|deadline| deadline.since(at)),
            retry,
        }
    }

    /// Whether the hedge that pushback holds up would be refused at last, as far as is known.
    fn waits_in_vain(&mut self) -> bool {
        let ask = self.ask(true, self.hold);
        // The hold ends after the deadline, and with the request.
        if ask.remaining == Some(Duration::ZERO) {
            return false;
        }
        self.terms().observe_only()
            || self.shared.ledger.permit(&ask).is_err()
            || self.shared.budget.edit(|budget| budget.is_closed())
    }

    /// The next attempt is due: the attempt to start, if there may be one and `ready` says that it could be
    /// started.
    pub(crate) fn admit_if(
        &mut self,
        now: Instant,
        ready: impl FnOnce() -> bool,
    ) -> Option<Attempt> {
        let retry = self.owed > 0;
        if retry {
            self.owed -= 1;
        } else {
            self.due = true;
        }
        if let Err(reason) = self.permit(retry, now, ready) {
            self.owed = 0;
            self.refused = Some(reason);
            let strategy = self.standing().kind();
            self.emit_rare(now, EventKind::HedgeSuppressed { reason, strategy });
            return None;
        }
        // What pushback held up, the rest of the schedule follows at its own pace.
        if let Some(due) = self.scheduled() {
            let held_up = self.hold.nanos_since(due);
            self.shift = self.shift.saturating_add(held_up);
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
        let delay = self.terms().delay();
        // Until the attempt is launched, which is next, its place is in nobody else's hands.
        let is_held = self.losers().hold_places();
        let place = is_held.then(|| Place(&self.shared.budget));
        self.emit_rare(now, EventKind::HedgeFired { attempt, delay });
        mem::forget(place);
        Some(attempt)
    }

    #[inline]
    fn release(&mut self, attempts: u8) {
        let hedges = self.live & attempts & !1;
        self.live &= !attempts;
        // Most requests have none, and need not count them.
        if hedges != 0 && !self.losers().hold_places() {
            self.shared.budget.release(hedges.count_ones());
        }
    }
}

impl<L: Ledger, B: Charge, K: Sink, C, const MAX: usize> Pacer for Pace<'_, L, B, K, C, MAX> {
    type Record = Outcome;

    fn timed(&mut self) -> bool {
        L::Metrics::ON || self.is_heard() || self.standing().learns()
    }

    fn start(&mut self, now: Instant) {
        if let Some(start) = self.starts.first_mut() {
            *start = now;
        }
        if self.hold > Instant::ZERO {
            self.hold = now + self.hold.since_epoch();
        }
        self.deposited = true;
        self.shared.budget.deposit();
        self.emit(now, |_| EventKind::RequestStart);
    }

    fn deadline(&mut self) -> Option<Instant> {
        let start = self.start_of(0);
        self.terms().deadline(start)
    }

    fn due(&mut self) -> Option<Instant> {
        let started = self.started;
        let terms = self.terms();
        if terms.is_off() || started > terms.max_hedges() {
            return None;
        }
        if self.owed > 0 {
            // What would be refused after all that patience is refused now.
            let vain = self.hold > Instant::ZERO && self.waits_in_vain();
            return Some(if vain { Instant::ZERO } else { self.hold });
        }
        self.scheduled().map(|due| due.max(self.hold))
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
        // A hedge that was started and, for a panic, not launched is to be told of.
        if !L::GATHERS || self.started > 1 {
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
        self.terms_asked().is_some() && self.losers() == Losers::Kept
    }

    fn loser_finished(&mut self, index: u8) {
        self.release(bit(index));
    }
}

impl<L, B, K, C, V, E, const MAX: usize> Judge<V, E> for Pace<'_, L, B, K, C, MAX>
where
    L: Ledger,
    B: Charge,
    K: Sink,
    C: Classify<V, E>,
{
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict {
        let verdict = self.classify.classify(result);
        let bit = bit(index);
        let well = verdict == Verdict::Accept;
        self.release(bit);
        self.ended |= bit;
        self.well |= if well { bit } else { 0 };
        if index == 0 {
            self.primary_end = now;
        } else if well || self.hedge == 0 {
            self.hedge = index;
            self.hedge_end = now;
        }
        match verdict {
            Verdict::Accept | Verdict::Fatal => {}
            Verdict::Retry => self.owed = self.owed.saturating_add(1),
            Verdict::RetryAfter(delay) => {
                self.owed = self.owed.saturating_add(1);
                self.hold = self.hold.max(now + delay);
            }
        }
        verdict
    }
}

/// A place in flight, which is given back where a sink panics.
struct Place<'b, B: Charge>(&'b B);

impl<B: Charge> Drop for Place<'_, B> {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

/// The attempt's bit; none for an index that no attempt has.
fn bit(attempt: u8) -> u8 {
    1_u8.checked_shl(attempt.into()).unwrap_or(0)
}

/// Losers that were kept give back their places in flight.
impl<L: Ledger, B: Charge, K: Sink, C, const MAX: usize> Drop for Pace<'_, L, B, K, C, MAX> {
    fn drop(&mut self) {
        self.release(u8::MAX);
    }
}
