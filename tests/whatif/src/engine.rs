//! The decisions that run in production, in virtual time: requests one after the other.

use core::time::Duration;

use hedge_core::adapter::{Controller, HedgerState, RequestEnd, ResultController};
use hedge_core::metrics::NoMetrics;
use hedge_core::strategy::Strategy;
use hedge_core::telemetry::NoSink;
use hedge_core::{Hedger, Instant, Outcome, Timer};

/// A hedger whose requests are driven by hand.
pub(crate) type Lab<S, const MAX: usize> = Hedger<
    Still,
    core::cell::RefCell<HedgerState<S, NoMetrics>>,
    core::cell::RefCell<hedge_core::Budget>,
    NoSink,
    MAX,
>;

/// A timer that is never asked: the engine tells the time.
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

/// Runs one request that starts at `start`, whose attempts take as long as `latency` says; when it ended and
/// what it did. Attempts that end together end in the order of their starts, and before a hedge that is due.
pub(crate) fn request<S: Strategy, const MAX: usize>(
    hedger: &Lab<S, MAX>,
    start: Instant,
    mut latency: impl FnMut(usize) -> Duration,
) -> (Instant, Outcome) {
    let mut pace = hedger.call().controller();
    let _ = pace.timed();
    pace.start(start);
    let deadline = pace.deadline().unwrap_or(Instant::MAX);
    let mut ends = [Instant::MAX; MAX];
    ends[0] = start + latency(0);
    let mut started = 1;
    loop {
        let (winner, end) = ends
            .iter()
            .enumerate()
            .min_by_key(|(_, end)| **end)
            .map_or((0, Instant::MAX), |(winner, end)| (winner, *end));
        let due = if started < MAX {
            pace.due().unwrap_or(Instant::MAX)
        } else {
            Instant::MAX
        };
        if due < end.min(deadline) {
            match pace.admit(due) {
                Some(attempt) => {
                    ends[attempt.index()] = due + latency(attempt.index());
                    started += 1;
                }
                // A refusal stands until an attempt fails, which none does here.
                None => started = MAX,
            }
        } else if end <= deadline {
            let winner = winner as u8;
            let _ = ResultController::<(), ()>::finished(&mut pace, winner, &Ok(()), end);
            return (end, pace.completed(RequestEnd::Won(winner), end));
        } else {
            return (deadline, pace.completed(RequestEnd::TimedOut, deadline));
        }
    }
}
