//! The decisions of one request: the [`Pacer`] over what a hedger's requests share.

use core::time::Duration;

use crate::ledger::Ledger;
use crate::metrics::Recorder;
use crate::options::Labels;
use crate::policy::Ask;
use crate::race::{Judge, Pacer, Settled};
use crate::strategy::Hints;
use crate::terms::{Standing, Terms};
use crate::{
    Attempt, Cause, Charge, Classify, End, Event, EventKind, Instant, Outcome, Report, Sample,
    Sink, Suppressed, Verdict,
};

/// What the requests of one hedger share.
#[derive(Debug)]
pub(crate) struct Shared<L, B, K> {
    pub(crate) ledger: L,
    pub(crate) budget: B,
    pub(crate) sink: K,
    pub(crate) labels: Labels,
    pub(crate) cost_per_attempt: f64,
}

/// What a caller says about one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    pub(crate) hints: Hints,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Instant,
    pub(crate) max_hedges: u8,
    pub(crate) hedge: bool,
}

impl Wishes {
    pub(crate) const NONE: Self = Self {
        hints: Hints::NONE,
        timeout: Duration::MAX,
        deadline: Instant::MAX,
        max_hedges: u8::MAX,
        hedge: true,
    };
}

/// The decisions of one request, for [`race`](crate::race::race) or for a simulation.
#[derive(Debug)]
pub struct Pace<'h, L: Ledger, B: Charge, K: Sink, C, const MAX: usize> {
    shared: &'h Shared<L, B, K>,
    classify: C,
    wishes: Wishes,
    id: u64,
    standing: Option<Standing>,
    /// Asked for when the request first has to wait.
    terms: Option<Terms>,

    /// When each attempt started; the first is the request's own start.
    starts: [Instant; MAX],
    started: u8,
    /// A bit per attempt that runs.
    live: u8,
    deposited: bool,

    /// Attempts that failed and have not been answered with a hedge.
    owed: u8,
    /// No hedge before this. Counts from the epoch until the start is known.
    hold: Instant,
    /// By how much pushback has moved the schedule.
    shift: Duration,
    due: bool,
    refused: Option<Suppressed>,
    hedge_cause: Option<Cause>,
    primary: Option<Finished>,
    /// The winning hedge, else the first that finished.
    hedge: Option<(u8, Finished)>,
}

/// When an attempt ended, and whether well.
#[derive(Clone, Copy, Debug)]
struct Finished {
    at: Instant,
    well: bool,
}

impl Finished {
    fn sample(self, start: Instant) -> Sample {
        let elapsed = self.at.since(start);
        if self.well {
            Sample::Finished(elapsed)
        } else {
            Sample::Failed(elapsed)
        }
    }
}

impl<'h, L: Ledger, B: Charge, K: Sink, C, const MAX: usize> Pace<'h, L, B, K, C, MAX> {
    pub(crate) fn new(shared: &'h Shared<L, B, K>, classify: C, wishes: Wishes) -> Self {
        Self {
            shared,
            classify,
            wishes,
            id: 0,
            standing: None,
            terms: None,
            starts: [Instant::ZERO; MAX],
            started: 1,
            live: 1,
            deposited: false,
            owed: 0,
            hold: Instant::ZERO,
            shift: Duration::ZERO,
            due: false,
            refused: None,
            hedge_cause: None,
            primary: None,
            hedge: None,
        }
    }

    fn standing(&mut self) -> Standing {
        *self
            .standing
            .get_or_insert_with(|| self.shared.ledger.standing())
    }

    fn terms(&mut self) -> Terms {
        if let Some(terms) = self.terms {
            return terms;
        }
        let Wishes {
            hints,
            timeout,
            max_hedges,
            hedge,
            ..
        } = self.wishes;
        let terms = self.shared.ledger.terms(&hints, self.start_of(0));
        let terms = terms.within(timeout).at_most(max_hedges);
        *self.terms.insert(if hedge { terms } else { terms.off() })
    }

    fn start_of(&self, attempt: u8) -> Instant {
        self.starts
            .get(usize::from(attempt))
            .copied()
            .unwrap_or_default()
    }

    /// When the next hedge would be due by the passing of its delay, pushback aside.
    fn scheduled(&mut self) -> Option<Instant> {
        let offset = self.terms().offset(self.started)?;
        Some(self.start_of(0) + offset + self.shift)
    }

    fn permit(&mut self, retry: bool, now: Instant) -> Result<(), Suppressed> {
        let terms = self.terms();
        let remaining = self.deadline().map(|deadline| deadline.since(now));
        self.shared.ledger.permit(&Ask {
            chance: terms.chance(),
            remaining,
            retry,
        })?;
        self.shared.budget.charge(now)?;
        if terms.observe_only() {
            self.shared.budget.release(1);
            return Err(Suppressed::ObserveOnly);
        }
        Ok(())
    }

    /// Why no hedge was started, if none was.
    fn suppressed(&mut self) -> Option<Suppressed> {
        if self.started > 1 {
            return None;
        }
        if self.refused.is_some() {
            return self.refused;
        }
        let off = !self.wishes.hedge || self.standing().off;
        Some(match self.terms {
            _ if off => Suppressed::Off,
            _ if MAX == 1 || self.wishes.max_hedges == 0 => Suppressed::MaxHedges,
            _ if self.hold > Instant::ZERO => Suppressed::Pushback,
            Some(terms) => terms.reason(),
            None => Suppressed::NotDue,
        })
    }

    fn report(&mut self, how: Settled, now: Instant) -> Report {
        let start = self.start_of(0);
        let total = now.since(start);
        let primary = self
            .primary
            .map_or(Sample::Dropped(total), |done| done.sample(start));
        let mut report = Report::new(primary);
        report.end = match how {
            Settled::Won(winner) => End::Won(winner),
            Settled::Fatal(_) | Settled::Failed(_) => End::Failed,
            Settled::TimedOut => End::TimedOut,
            Settled::Dropped => End::Cancelled,
        };
        report.total = total;
        report.hedge_delay = self.terms.and_then(|terms| terms.delay());
        report.due = self.due;
        report.suppressed = self.suppressed();
        report.attempts = self.started;
        report.cost = self.shared.cost_per_attempt * f64::from(self.started);
        if self.started > 1 {
            self.report_hedge(&mut report, now);
        }
        report
    }

    #[cold]
    fn report_hedge(&self, report: &mut Report, now: Instant) {
        let (index, sample) = match self.hedge {
            Some((index, done)) => (index, done.sample(self.start_of(index))),
            None => (1, Sample::Dropped(now.since(self.start_of(1)))),
        };
        report.hedge = Some(sample);
        report.hedge_start = Some(self.start_of(index).since(self.start_of(0)));
        report.hedge_cause = self.hedge_cause;
    }

    fn outcome(&mut self, how: Settled, report: &Report) -> Outcome {
        let backup = report
            .hedge
            .filter(|sample| !matches!(sample, Sample::Dropped(_)));
        Outcome {
            accepted: matches!(how, Settled::Won(_)),
            hedged: report.hedged(),
            hedge_won: report.hedge_won(),
            winner: match how {
                Settled::Won(index) | Settled::Fatal(index) | Settled::Failed(index) => index,
                Settled::TimedOut | Settled::Dropped => 0,
            },
            attempts: report.attempts,
            total_latency: report.total,
            primary_latency: self.primary.map(|_| report.primary.elapsed()),
            backup_latency: backup.map(Sample::elapsed),
            hedge_delay: report.hedge_delay,
            suppressed: report.suppressed,
            cost: report.cost,
            strategy: self.standing().kind,
            strategy_name: self.shared.labels.strategy_name,
        }
    }

    fn emit(&self, at: Instant, kind: EventKind) {
        if self.shared.sink.enabled() {
            let strategy_name = self.shared.labels.strategy_name;
            self.shared.sink.emit(&Event {
                request: self.id,
                at,
                strategy_name,
                kind,
            });
        }
    }

    fn emit_end(&self, how: Settled, losers: u8, now: Instant, report: &Report, outcome: Outcome) {
        if !self.shared.sink.enabled() {
            return;
        }
        if let (Settled::Won(attempt @ 1..), Some(sample)) = (how, report.hedge) {
            self.emit(
                now,
                EventKind::HedgeWon {
                    attempt,
                    latency: sample.elapsed(),
                },
            );
        }
        for attempt in (0..self.started).filter(|attempt| losers & 1 << attempt != 0) {
            let elapsed = now.since(self.start_of(attempt));
            self.emit(now, EventKind::RequestCancelled { attempt, elapsed });
        }
        let (duration, attempts) = (report.total, report.attempts);
        let strategy = outcome.strategy;
        self.emit(
            now,
            match how {
                Settled::Won(_) => EventKind::RequestStop { duration, outcome },
                Settled::Dropped => EventKind::RequestDropped { duration, attempts },
                Settled::Fatal(_) | Settled::Failed(_) | Settled::TimedOut => {
                    let timed_out = how == Settled::TimedOut;
                    EventKind::RequestException {
                        duration,
                        timed_out,
                        attempts,
                        strategy,
                    }
                }
            },
        );
    }

    fn release(&mut self, attempts: u8) {
        let hedges = (self.live & attempts & !1).count_ones();
        self.live &= !attempts;
        if hedges > 0 {
            self.shared.budget.release(hedges);
        }
    }
}

impl<L: Ledger, B: Charge, K: Sink, C, const MAX: usize> Pacer for Pace<'_, L, B, K, C, MAX> {
    type Record = Outcome;

    fn timed(&mut self) -> bool {
        L::Metrics::ON || self.shared.sink.enabled() || self.standing().learns
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
        if self.shared.sink.enabled() {
            self.id = self.shared.ledger.next_id();
            self.emit(now, EventKind::RequestStart);
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        let start = self.start_of(0);
        let of_call = Some(self.wishes.deadline).filter(|deadline| *deadline != Instant::MAX);
        self.terms()
            .deadline(start)
            .into_iter()
            .chain(of_call)
            .min()
    }

    fn due(&mut self) -> Option<Instant> {
        let terms = self.terms();
        if terms.is_off() || self.started > terms.max_hedges() {
            return None;
        }
        if self.owed > 0 {
            return Some(self.hold);
        }
        self.scheduled().map(|due| due.max(self.hold))
    }

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        let retry = self.owed > 0;
        if retry {
            self.owed -= 1;
        } else {
            self.due = true;
        }
        if let Err(reason) = self.permit(retry, now) {
            self.owed = 0;
            self.refused = Some(reason);
            self.emit(now, EventKind::HedgeSuppressed { reason });
            return None;
        }
        // What pushback held up, the rest of the schedule follows at its own pace.
        if let Some(due) = self.scheduled() {
            self.shift = self.shift.saturating_add(self.hold.since(due));
        }
        let index = self.started;
        if let Some(start) = self.starts.get_mut(usize::from(index)) {
            *start = now;
        }
        self.started += 1;
        self.live |= 1 << index;
        let cause = if retry { Cause::Retry } else { Cause::Delay };
        self.hedge_cause.get_or_insert(cause);
        let attempt = Attempt::new(index, cause, now.since(self.start_of(0)));
        let delay = self.terms().delay();
        self.emit(now, EventKind::HedgeFired { attempt, delay });
        Some(attempt)
    }

    fn settled(&mut self, how: Settled, now: Instant) -> Outcome {
        if !self.deposited {
            self.shared.budget.deposit();
        }
        let losers = if matches!(how, Settled::Won(_)) && self.keeps_losers() {
            0
        } else {
            self.live
        };
        self.release(losers);
        let report = self.report(how, now);
        if L::Metrics::ON || self.standing().learns {
            self.shared.ledger.settle(&report, now);
        }
        let outcome = self.outcome(how, &report);
        self.emit_end(how, losers, now, &report, outcome);
        outcome
    }

    fn keeps_losers(&mut self) -> bool {
        self.terms.is_some_and(|terms| terms.keep_losers())
    }

    fn loser_finished(&mut self, index: u8) {
        self.release(1 << index);
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
        let done = Finished {
            at: now,
            well: verdict == Verdict::Accept,
        };
        self.release(1 << index);
        if index == 0 {
            self.primary = Some(done);
        } else if done.well || self.hedge.is_none() {
            self.hedge = Some((index, done));
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

/// Losers that were kept give back their places in flight.
impl<L: Ledger, B: Charge, K: Sink, C, const MAX: usize> Drop for Pace<'_, L, B, K, C, MAX> {
    fn drop(&mut self) {
        self.release(u8::MAX);
    }
}
