//! The trait of what decides in a race.

use crate::attempt::{Attempt, Verdict};
use crate::record::RequestEnd;
use crate::replicas::NoReplica;
use crate::time::Instant;

/// Decides for one request when attempts start, and is given their results.
///
/// It reads no clock: every method is given the time. So the same decisions run under a future, in a
/// simulation, and in a test by hand. No method is called while an attempt is being polled.
pub trait Controller {
    /// What the controller makes of a request that is over.
    type Output;

    /// Whether a request has to be timed from before its first poll. If not, the clock is first read
    /// when the primary is not ready at once.
    fn timed(&mut self) -> bool {
        true
    }

    /// The request starts. Not called if it is not [`timed`](Self::timed) and its primary ends it when
    /// first polled.
    fn start(&mut self, now: Instant);

    /// The primary, asked right before it is launched, after [`start`](Self::start) if the request is
    /// [`timed`](Self::timed).
    ///
    /// # Errors
    ///
    /// Ends the request with [`RequestEnd::NoReplica`]: nothing is sent.
    #[inline(always)]
    fn primary(&mut self) -> Result<Attempt, NoReplica> {
        Ok(Attempt::PRIMARY)
    }

    /// When the request's time is up; asked after [`start`](Self::start).
    fn deadline(&mut self) -> Option<Instant>;

    /// When the next attempt is due; `None` if, as things stand, there will be none.
    fn due(&mut self) -> Option<Instant>;

    /// The next attempt is due: the attempt to start, or `None` if it may not start now. If it may start later,
    /// [`due`](Self::due) says when, from then on.
    fn admit(&mut self, now: Instant) -> Option<Attempt>;

    /// The request is over, and its losers are dropped (unless they are kept). Called once for every
    /// request that was polled. `now` is [`Instant::ZERO`] if the request was not timed.
    fn completed(&mut self, end: RequestEnd, now: Instant) -> Self::Output;

    /// Whether losers stay in the race after it has given its result, to be polled on.
    fn keeps_losers(&mut self) -> bool {
        false
    }

    /// A kept loser finished, with an `Ok` if it `succeeded`.
    fn loser_finished(&mut self, index: u8, succeeded: bool, now: Instant) {
        let _ = (index, succeeded, now);
    }
}

/// A [`Controller`] that can tell an answer from a failure.
pub trait ResultController<V, E>: Controller {
    /// Attempt `index` returned `result`. `now` is [`Instant::ZERO`] if the request was not timed.
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict;
}
