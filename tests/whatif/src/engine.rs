//! The decisions that run in production, in virtual time.
//!
//! This is the only file of the lab that drives a request's decisions by hand.

use core::time::Duration;

use hedge_core::adapter::{
    AlwaysReady, Controller, HedgerState, OnReplicas, Placement, RequestController, RequestEnd,
    ResultController,
};
use hedge_core::metrics::NoMetrics;
use hedge_core::replicas::ReplicaSet;
use hedge_core::strategy::{Hints, Strategy};
use hedge_core::telemetry::NoSink;
use hedge_core::{Attempt, Budget, Classify, Hedger, Instant, Outcome, Timer, Verdict};

/// What the requests of one simulated hedger share.
type Shared<S> = core::cell::RefCell<HedgerState<S, NoMetrics>>;
type SharedBudget = core::cell::RefCell<Budget>;

/// A hedger whose requests are driven by hand.
pub(crate) type Lab<S, const MAX: usize> = Hedger<Still, Shared<S>, SharedBudget, NoSink, MAX>;

/// A timer that is never asked: the simulation passes the time to every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Still;

impl Timer for Still {
    type Sleep = core::future::Pending<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        core::future::pending()
    }
}

/// The classifier of simulated requests: an attempt's error is the verdict on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByVerdict;

impl Classify<(), Verdict> for ByVerdict {
    fn classify(&self, _: &Attempt, result: &Result<(), Verdict>) -> Verdict {
        result.err().unwrap_or(Verdict::Accept)
    }
}

/// What a caller says about one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) hedge: bool,
    pub(crate) hints: Hints,
}

impl Ask {
    pub(crate) const PLAIN: Self = Self {
        hedge: true,
        hints: Hints::NONE,
    };
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    Answered,
    Failed,
    TimedOut,
}

/// A request under way. It follows the steps of the race that polls futures in production: attempts that end at the
/// same time as a hedge is due, or as the deadline passes, come first.
pub(crate) struct Running<'h, S: Strategy, const MAX: usize, G: Placement = AlwaysReady> {
    controller: RequestController<'h, Shared<S>, SharedBudget, NoSink, ByVerdict, MAX, G>,
    deadline: Instant,
    started: usize,
    live: usize,
    /// When a hedge was last refused. At that time it is not asked for again.
    refused_at: Option<Instant>,
    /// The earliest attempt that failed.
    failed: Option<u8>,
}

impl<'h, S: Strategy, const MAX: usize> Running<'h, S, MAX> {
    /// Starts the request and its primary.
    pub(crate) fn start(hedger: &'h Lab<S, MAX>, ask: &Ask, now: Instant) -> Self {
        let call = hedger.call().hints(ask.hints).classify(ByVerdict);
        let call = if ask.hedge { call } else { call.unhedged() };
        Self::of(call.controller(), now)
    }
}

/// A request whose attempts go to replicas of the set `R`.
pub(crate) type RunningOn<'h, S, R, const MAX: usize> =
    Running<'h, S, MAX, OnReplicas<R, Still, MAX>>;

impl<'h, S: Strategy, R: ReplicaSet, const MAX: usize> RunningOn<'h, S, R, MAX> {
    /// Starts the request. Returns its primary, which has a replica.
    pub(crate) fn start_on(
        hedger: &'h Lab<S, MAX>,
        set: R,
        now: Instant,
    ) -> (Self, Result<Attempt, RequestEnd>) {
        let call = hedger.call().on(set).classify(ByVerdict);
        let mut running = Self::of(call.controller(), now);
        let primary = running.controller.primary();
        (running, primary)
    }
}

impl<'h, S: Strategy, const MAX: usize, G: Placement> Running<'h, S, MAX, G> {
    fn of(
        mut controller: RequestController<'h, Shared<S>, SharedBudget, NoSink, ByVerdict, MAX, G>,
        now: Instant,
    ) -> Self {
        let _ = controller.timed();
        controller.start(now);
        let deadline = controller.deadline().unwrap_or(Instant::MAX);
        Self {
            controller,
            deadline,
            started: 1,
            live: 1,
            refused_at: None,
            failed: None,
        }
    }

    /// When the request's time is up.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When the next hedge is due; `None` if, as things stand, there will be none before the deadline.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        if self.started >= MAX {
            return None;
        }
        let (deadline, refused_at) = (self.deadline, self.refused_at);
        let due = self.controller.due().filter(|due| *due < deadline);
        due.filter(|due| refused_at.is_none_or(|refused| *due > refused))
    }

    /// A hedge is due. Returns the attempt to start, or `None` if it is refused.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Attempt> {
        let attempt = self.controller.admit(now);
        match attempt {
            Some(_) => {
                self.started += 1;
                self.live += 1;
            }
            None => self.refused_at = Some(now),
        }
        attempt
    }

    /// An attempt has run out of time.
    pub(crate) fn expired(&mut self, attempt: usize, now: Instant) {
        self.live -= 1;
        self.controller.expired(attempt as u8, now);
        self.failed_at(attempt as u8);
    }

    fn failed_at(&mut self, index: u8) {
        self.refused_at = None;
        let first = self.failed.map_or(index, |failed| failed.min(index));
        self.failed = Some(first);
    }

    /// An attempt ended. Returns how the request ended, if that ends it.
    pub(crate) fn finished(
        &mut self,
        attempt: usize,
        verdict: Verdict,
        now: Instant,
    ) -> Option<RequestEnd> {
        let index = attempt as u8;
        self.live -= 1;
        let result = match verdict {
            Verdict::Accept => Ok(()),
            refusal => Err(refusal),
        };
        match self.controller.finished(index, &result, now) {
            Verdict::Accept => Some(RequestEnd::Won(index)),
            Verdict::Fatal => Some(RequestEnd::Fatal(index)),
            _ => {
                self.failed_at(index);
                None
            }
        }
    }

    /// How the request ends if nothing runs and nothing is due any more.
    pub(crate) fn exhausted(&mut self) -> Option<RequestEnd> {
        if self.live > 0 || self.due().is_some() {
            return None;
        }
        self.failed.map(RequestEnd::Failed)
    }

    /// Ends the request.
    pub(crate) fn settle(mut self, how: RequestEnd, now: Instant) -> (Ended, Outcome) {
        let ended = match how {
            RequestEnd::Won(_) => Ended::Answered,
            RequestEnd::TimedOut | RequestEnd::Dropped => Ended::TimedOut,
            RequestEnd::Fatal(_) | RequestEnd::Failed(_) | RequestEnd::NoReplica(_) => {
                Ended::Failed
            }
        };
        (ended, self.controller.completed(how, now))
    }
}

/// What an attempt gives, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answer {
    /// From the attempt's own start.
    pub(crate) after: Duration,
    pub(crate) verdict: Verdict,
}

impl Answer {
    /// No answer at all.
    pub(crate) const NEVER: Self = Self {
        after: Duration::MAX,
        verdict: Verdict::Accept,
    };

    /// An acceptable answer after so many milliseconds.
    pub(crate) fn ok(after: f64) -> Self {
        Self {
            after: ms(after),
            verdict: Verdict::Accept,
        }
    }

    /// An error after so many milliseconds.
    pub(crate) fn error(after: f64) -> Self {
        Self {
            after: ms(after),
            verdict: Verdict::Retry,
        }
    }
}

/// A request whose attempts take as long as is known when they start.
pub(crate) struct Flight<'h, S: Strategy, const MAX: usize> {
    running: Running<'h, S, MAX>,
    ends: [(Instant, Verdict); MAX],
    now: Instant,
}

const IDLE: (Instant, Verdict) = (Instant::MAX, Verdict::Accept);

impl<'h, S: Strategy, const MAX: usize> Flight<'h, S, MAX> {
    pub(crate) fn start(
        hedger: &'h Lab<S, MAX>,
        ask: &Ask,
        start: Instant,
        primary: Answer,
    ) -> Self {
        let mut ends = [IDLE; MAX];
        ends[0] = (start + primary.after, primary.verdict);
        Self {
            running: Running::start(hedger, ask, start),
            ends,
            now: start,
        }
    }

    /// The attempt that ends first, and when.
    fn first(&self) -> (usize, Instant) {
        let ends = self.ends.iter().map(|(end, _)| *end).enumerate();
        ends.min_by_key(|(_, end)| *end)
            .unwrap_or((0, Instant::MAX))
    }

    fn due(&mut self) -> Option<Instant> {
        // What is refused at once is due before it began.
        self.running.due().map(|due| due.max(self.now))
    }

    /// When something happens next.
    pub(crate) fn next(&mut self) -> Instant {
        let (_, end) = self.first();
        let due = self.due().unwrap_or(Instant::MAX);
        end.min(due).min(self.running.deadline())
    }

    /// Lets that happen. `answer` says what the attempt of this index gives that starts now. Returns how the request
    /// ended, if it did.
    pub(crate) fn step(
        &mut self,
        answer: impl FnOnce(usize, Instant) -> Answer,
    ) -> Option<(RequestEnd, Instant)> {
        let (attempt, end) = self.first();
        let deadline = self.running.deadline();
        if let Some(due) = self.due().filter(|due| *due < end.min(deadline)) {
            self.now = due;
            if let Some(attempt) = self.running.admit(due) {
                let index = attempt.index();
                let answer = answer(index, due);
                self.ends[index] = (due + answer.after, answer.verdict);
            }
        } else if end <= deadline && end < Instant::MAX {
            self.now = end;
            let (_, verdict) = core::mem::replace(&mut self.ends[attempt], IDLE);
            if let Some(how) = self.running.finished(attempt, verdict, end) {
                return Some((how, end));
            }
        } else {
            return Some((RequestEnd::TimedOut, deadline));
        }
        self.running.exhausted().map(|how| (how, self.now))
    }

    pub(crate) fn settle(self, how: RequestEnd, now: Instant) -> (Ended, Outcome) {
        self.running.settle(how, now)
    }
}

/// Runs one request that starts at `start`, whose attempts take as long as `latency` says: when it ended, how, and
/// what it did.
pub(crate) fn request<S: Strategy, const MAX: usize>(
    hedger: &Lab<S, MAX>,
    ask: &Ask,
    start: Instant,
    mut latency: impl FnMut(usize) -> Duration,
) -> (Instant, Ended, Outcome) {
    let mut answer = |attempt| Answer {
        after: latency(attempt),
        verdict: Verdict::Accept,
    };
    let mut flight = Flight::start(hedger, ask, start, answer(0));
    loop {
        if let Some((how, end)) = flight.step(|attempt, _| answer(attempt)) {
            let (ended, outcome) = flight.settle(how, end);
            return (end, ended, outcome);
        }
    }
}

pub(crate) fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1e3)
}
