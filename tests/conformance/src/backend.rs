//! A backend that answers by script and remembers who called.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use futures_lite::future;
use heapless::Vec;
use hedge_core::adapter::Lock;
use hedge_core::{Attempt, Instant, Timer, Verdict};

use crate::{Home, World};

/// What an attempt does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    wait: Wait,
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    Ticks(u32),
    /// Pending when first polled and ready when next; takes no time.
    OnePoll,
    Forever,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Ok,
    Err,
    Busy(u32),
    Fatal,
}

/// Succeeds after `ticks`; when first polled if that is 0.
pub(crate) const fn ok(ticks: u32) -> Step {
    Step {
        wait: Wait::Ticks(ticks),
        answer: Answer::Ok,
    }
}

/// Fails after `ticks`.
pub(crate) const fn err(ticks: u32) -> Step {
    Step {
        wait: Wait::Ticks(ticks),
        answer: Answer::Err,
    }
}

/// Asks after `ticks` for `patience` more.
pub(crate) const fn busy(ticks: u32, patience: u32) -> Step {
    Step {
        wait: Wait::Ticks(ticks),
        answer: Answer::Busy(patience),
    }
}

/// Fails for good after `ticks`.
pub(crate) const fn fatal(ticks: u32) -> Step {
    Step {
        wait: Wait::Ticks(ticks),
        answer: Answer::Fatal,
    }
}

/// Succeeds when polled for the second time.
pub(crate) const fn ok_soon() -> Step {
    Step {
        wait: Wait::OnePoll,
        answer: Answer::Ok,
    }
}

/// Does not answer.
pub(crate) const fn never() -> Step {
    Step {
        wait: Wait::Forever,
        answer: Answer::Err,
    }
}

/// What a failed attempt returns: its index, and what it wants done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    Plain(usize),
    Busy(usize, Duration),
    Fatal(usize),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl core::error::Error for Failure {}

/// A classifier that does what failures want.
pub(crate) fn by_failure<V>(result: &Result<V, Failure>) -> Verdict {
    match result {
        Ok(_) => Verdict::Accept,
        Err(Failure::Plain(_)) => Verdict::Retry,
        Err(Failure::Busy(_, patience)) => Verdict::RetryAfter(*patience),
        Err(Failure::Fatal(_)) => Verdict::Fatal,
    }
}

/// A backend. Attempts beyond the script do not answer. Successes give the attempt's index.
pub(crate) struct Backend<'w, T, H: Home> {
    world: &'w World<T, H>,
    script: Vec<Step, 8>,
    opened: Instant,
    calls: H::Lock<Vec<Call, 16>>,
}

/// An attempt as its backend saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) attempt: Attempt,
    /// Since the backend was made.
    pub(crate) at: Duration,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Answered,
    Dropped,
}

impl<'w, T: Timer + Clone, H: Home> Backend<'w, T, H> {
    pub(crate) fn new(world: &'w World<T, H>, script: &[Step]) -> Self {
        let script = script.iter().copied().collect();
        Self {
            world,
            script,
            opened: world.now(),
            calls: H::lock(Vec::new()),
        }
    }

    /// Runs an attempt, which counts as started right now.
    pub(crate) fn call(&self, attempt: Attempt) -> impl Future<Output = Result<usize, Failure>> {
        let step = self.script.get(attempt.index()).copied().unwrap_or(never());
        let visit = Visit::new(self, attempt);
        async move {
            let visit = visit;
            let index = attempt.index();
            match step.wait {
                Wait::Ticks(0) => {}
                Wait::Ticks(ticks) => self.world.sleep(ticks).await,
                Wait::OnePoll => future::yield_now().await,
                Wait::Forever => future::pending().await,
            }
            visit.end(End::Answered);
            match step.answer {
                Answer::Ok => Ok(index),
                Answer::Err => Err(Failure::Plain(index)),
                Answer::Busy(patience) => Err(Failure::Busy(index, self.world.ticks(patience))),
                Answer::Fatal => Err(Failure::Fatal(index)),
            }
        }
    }

    /// Counts an attempt as running until what is returned is dropped.
    pub(crate) fn visit(&self, attempt: Attempt) -> impl Sized {
        Visit::new(self, attempt)
    }

    /// How many attempts were started.
    pub(crate) fn started(&self) -> usize {
        self.calls.with(|calls| calls.len())
    }

    /// How many attempts are running.
    pub(crate) fn running(&self) -> usize {
        self.count(None)
    }

    /// How many attempts were dropped before they answered.
    pub(crate) fn dropped(&self) -> usize {
        self.count(Some(End::Dropped))
    }

    fn count(&self, end: Option<End>) -> usize {
        self.calls
            .with(|calls| calls.iter().filter(|call| call.end == end).count())
    }

    /// The `n`th attempt to start.
    #[track_caller]
    pub(crate) fn nth(&self, n: usize) -> Call {
        match self.calls.with(|calls| calls.get(n).copied()) {
            Some(call) => call,
            None => panic!("there was no attempt {n}"),
        }
    }

    /// Attempts started at these ticks, in this order.
    #[track_caller]
    pub(crate) fn assert_started_at(&self, ticks: &[u32]) {
        for (n, ticks) in ticks.iter().enumerate() {
            self.world.assert_took(self.nth(n).at, *ticks);
        }
        assert_eq!(self.started(), ticks.len());
    }
}

/// Tells the backend when an attempt ends, even if it is dropped.
struct Visit<'b, 'w, T, H: Home> {
    backend: &'b Backend<'w, T, H>,
    place: usize,
}

impl<'b, 'w, T: Timer + Clone, H: Home> Visit<'b, 'w, T, H> {
    fn new(backend: &'b Backend<'w, T, H>, attempt: Attempt) -> Self {
        let at = backend.world.now().since(backend.opened);
        let place = backend.calls.with(|calls| {
            assert!(
                calls
                    .push(Call {
                        attempt,
                        at,
                        end: None
                    })
                    .is_ok(),
                "too many attempts"
            );
            calls.len() - 1
        });
        Self { backend, place }
    }
}

impl<T, H: Home> Visit<'_, '_, T, H> {
    fn end(&self, end: End) {
        self.backend.calls.with(|calls| {
            if let Some(call) = calls.get_mut(self.place) {
                call.end.get_or_insert(end);
            }
        });
    }
}

impl<T, H: Home> Drop for Visit<'_, '_, T, H> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}
