//! What holds of the events of every request, whatever the case is about.

use heapless::Vec;
use hedge_core::adapter::Lock;
use hedge_core::telemetry::EventKind;
use hedge_core::{Event, Instant, Sink, Suppressed};

use crate::Home;

/// A sink that follows every request of a hedger from its start to its end, and panics when it is dropped
/// if the events of one of them are wrong.
pub(crate) struct Audit<H: Home> {
    books: H::Lock<(Books, Option<Fault>)>,
    on: bool,
    journal: fn(&Event),
}

/// The first event that should not have been, and why.
type Fault = (Event, &'static str);

/// Follows up to 16 requests at a time by their events, and says which event should not have been.
#[derive(Debug)]
pub struct Books {
    open: Vec<Account, 16>,
    /// Whether the clock can be trusted.
    timed: bool,
}

/// What is known of a request that has started and not ended.
#[derive(Debug)]
struct Account {
    timed: bool,
    request: u64,
    start: Instant,
    last: Instant,
    started: u8,
    /// A bit per attempt.
    cancelled: u8,
    /// A bit per attempt that took too long.
    expired: u8,
    /// A bit per attempt that failed.
    failed: u8,
    winner: Option<u8>,
    /// Why a hedge was refused, of the last that was.
    refused: Option<Suppressed>,
}

impl<H: Home> Audit<H> {
    pub(crate) fn new(on: bool, journal: fn(&Event)) -> Self {
        Self {
            books: H::lock((Books::new(), None)),
            on,
            journal,
        }
    }
}

impl<H: Home> Sink for Audit<H> {
    fn emit(&self, event: &Event) {
        (self.journal)(event);
        self.books.with(|(books, fault)| {
            if let Err(why) = books.enter(event) {
                fault.get_or_insert((*event, why));
            }
        });
    }

    fn enabled(&self) -> bool {
        self.on
    }
}

impl Default for Books {
    fn default() -> Self {
        Self::new()
    }
}

impl Books {
    /// Nothing has happened.
    pub const fn new() -> Self {
        Self {
            open: Vec::new(),
            timed: true,
        }
    }

    /// Leaves times unchecked, for a clock that may go back or whose sleeps may end early.
    #[must_use]
    pub const fn untimed(mut self) -> Self {
        self.timed = false;
        self
    }

    /// How many requests have started and not ended.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Something happened.
    ///
    /// # Errors
    ///
    /// Says why it should not have.
    pub fn enter(&mut self, event: &Event) -> Result<(), &'static str> {
        let known = self
            .open
            .iter()
            .position(|open| open.request == event.request);
        if event.kind == EventKind::RequestStart {
            let account = Account {
                timed: self.timed,
                request: event.request,
                start: event.at,
                last: event.at,
                started: 1,
                cancelled: 0,
                expired: 0,
                failed: 0,
                winner: None,
                refused: None,
            };
            check(known.is_none(), "it starts twice")?;
            return self.open.push(account).map_err(|_| "too many requests");
        }
        let place = known.ok_or("no such request is open")?;
        let ended = self.open[place].enter(event)?;
        if ended {
            self.open.swap_remove(place);
        }
        Ok(())
    }
}

impl Account {
    /// Whether that was the last event.
    fn enter(&mut self, event: &Event) -> Result<bool, &'static str> {
        let told = event.at.since(self.start);
        self.check_time(event.at >= self.last, "it is before the last")?;
        self.last = event.at;
        match event.kind {
            EventKind::HedgeFired { attempt, .. } => {
                check(attempt.index() == usize::from(self.started), "not the next")?;
                self.check_time(attempt.elapsed() == told, "not when it started")?;
                check(self.is_racing(), "the race is over")?;
                self.started += 1;
            }
            EventKind::HedgeSuppressed { reason, .. } => {
                check(self.is_racing(), "the race is over")?;
                check(is_refusal(reason), "no hedge was due")?;
                self.refused = Some(reason);
            }
            EventKind::HedgeWon { attempt, .. } => {
                check((1..self.started).contains(&attempt), "it is not a hedge")?;
                check(self.is_racing(), "the race is over")?;
                self.winner = Some(attempt);
            }
            EventKind::RequestCancelled {
                attempt, elapsed, ..
            } => {
                check(attempt < self.started, "it was not started")?;
                check(self.winner != Some(attempt), "it has won")?;
                self.check_time(elapsed <= told, "it is longer than the request")?;
                check(self.cancelled >> attempt == 0, "not in order")?;
                check(self.expired >> attempt & 1 == 0, "it was dropped before")?;
                check(self.failed >> attempt & 1 == 0, "it has failed before")?;
                self.cancelled |= 1 << attempt;
            }
            EventKind::AttemptFailed {
                attempt, elapsed, ..
            } => {
                check(attempt < self.started, "it was not started")?;
                check(self.is_racing(), "the race is over")?;
                self.check_time(elapsed <= told, "it is longer than the request")?;
                check(self.failed >> attempt & 1 == 0, "it has failed before")?;
                check(self.expired >> attempt & 1 == 0, "it was dropped before")?;
                self.failed |= 1 << attempt;
            }
            EventKind::AttemptTimeout {
                attempt, elapsed, ..
            } => {
                check(attempt < self.started, "it was not started")?;
                check(self.is_racing(), "the race is over")?;
                self.check_time(elapsed <= told, "it is longer than the request")?;
                check(self.failed >> attempt & 1 == 0, "it has failed before")?;
                check(self.expired >> attempt & 1 == 0, "it was dropped before")?;
                self.expired |= 1 << attempt;
            }
            EventKind::RequestStop { duration, outcome } => {
                self.check_time(duration == told, "it took another time")?;
                self.check_time(outcome.total_latency == told, "it took another time")?;
                check(outcome.attempts == self.started, "other attempts")?;
                check(outcome.hedged == (self.started > 1), "hedged or not")?;
                check(outcome.hedged == outcome.suppressed.is_none(), "no reason")?;
                let refused = outcome.suppressed.filter(|reason| is_refusal(*reason));
                let told = self.refused.filter(|_| !outcome.hedged);
                check(refused == told, "another reason was told")?;
                let is_kept = self.cancelled == 0 && self.expired & 1 == 0;
                let gone = is_kept || outcome.primary_latency.is_some();
                let dropped = (self.cancelled | self.expired) & 1 == 1;
                check(gone != dropped, "the primary's end")?;
                let won = outcome.hedge_won.then_some(outcome.winner);
                check(won == self.winner, "another hedge won")?;
                check(self.cancelled & 1 << outcome.winner == 0, "it was dropped")?;
                return Ok(true);
            }
            EventKind::RequestException {
                duration, attempts, ..
            }
            | EventKind::RequestDropped {
                duration, attempts, ..
            } => {
                self.check_time(duration == told, "it took another time")?;
                // Nothing is sent where no replica is allowed, or once the deadline has passed.
                let unsent = attempts == 0 && self.started == 1;
                check(unsent || attempts == self.started, "other attempts")?;
                check(self.winner.is_none(), "a hedge had won")?;
                return Ok(true);
            }
            _ => return Err("a hedger has no such event"),
        }
        Ok(false)
    }

    fn check_time(&self, holds: bool, why: &'static str) -> Result<(), &'static str> {
        check(!self.timed || holds, why)
    }

    /// Whether no event has reported its end.
    fn is_racing(&self) -> bool {
        self.winner.is_none() && self.cancelled == 0
    }
}

/// Whether this is why a hedge that was due was refused, of which there is an event.
fn is_refusal(reason: Suppressed) -> bool {
    use Suppressed::{
        BudgetRate, BudgetRatio, Deadline, Guard, Holdback, InFlight, NoReplica, NotDrawn,
        NotReady, ObserveOnly,
    };
    matches!(
        reason,
        BudgetRatio
            | BudgetRate
            | InFlight
            | Deadline
            | Guard
            | NotDrawn
            | ObserveOnly
            | Holdback
            | NotReady
            | NoReplica
    )
}

fn check(holds: bool, why: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(why) }
}

impl<H: Home> Drop for Audit<H> {
    fn drop(&mut self) {
        #[cfg(feature = "std")]
        if std::thread::panicking() {
            return;
        }
        let (fault, open) = self
            .books
            .with(|(books, fault)| (fault.take(), books.open()));
        if let Some((event, why)) = fault {
            panic!("{why}: {event:?}");
        }
        assert_eq!(open, 0, "requests that never ended");
    }
}
