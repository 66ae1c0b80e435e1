//! The traits that make the decisions of a race.

use super::span::AttemptSpan;
use crate::attempt::{Attempt, Verdict};
use crate::record::RequestEnd;
use crate::time::Instant;

/// Decides when the attempts of one request start, and receives their results.
///
/// A controller reads no clock: every method receives the time. The same decisions can therefore
/// run under a future, in a simulation and in a unit test. No method is called while an attempt is
/// being polled.
pub trait Controller {
    /// The controller's summary of a completed request.
    type Output;

    /// Returns whether the request must be timed from before its first poll. If not, the clock is
    /// first read when the primary is pending after that poll.
    fn timed(&mut self) -> bool {
        true
    }

    /// Starts the request. Not called if the request is not [`timed`](Self::timed) and its primary
    /// ends it when first polled.
    fn start(&mut self, now: Instant);

    /// Returns the primary. Called right before it is launched, and after [`start`](Self::start) if the request is
    /// [`timed`](Self::timed).
    ///
    /// # Errors
    ///
    /// Returns how the request ends if nothing may be sent: no replica is allowed, or no time is left.
    #[cfg_attr(feature = "std", inline(always))]
    fn primary(&mut self) -> Result<Attempt, RequestEnd> {
        Ok(Attempt::PRIMARY)
    }

    /// Returns the span in which `attempt` runs, right before it is launched.
    #[cfg_attr(feature = "std", inline(always))]
    fn span(&self, attempt: &Attempt) -> AttemptSpan {
        let _ = attempt;
        AttemptSpan::NONE
    }

    /// Returns when the request runs out of time. Called after [`start`](Self::start).
    fn deadline(&mut self) -> Option<Instant>;

    /// Returns when the next attempt is due; `None` if currently none is planned.
    fn due(&mut self) -> Option<Instant>;

    /// Returns the attempt that is due, or `None` if it may not start now. If it may start later, [`due`](Self::due)
    /// then returns when.
    fn admit(&mut self, now: Instant) -> Option<Attempt>;

    /// Returns which running attempt runs out of time first, and when; `None` if attempts may run as
    /// long as the request.
    fn expiry(&mut self) -> Option<(u8, Instant)> {
        None
    }

    /// Reports that an attempt was dropped because it ran out of time.
    fn expired(&mut self, index: u8, now: Instant) {
        let _ = (index, now);
    }

    /// Returns whether refused values are kept when another attempt starts.
    fn keeps_refused(&self) -> bool {
        true
    }

    /// Completes the request, after its losers were dropped (unless they are kept). Called once for
    /// every request that was polled. `now` is [`Instant::ZERO`] if the request was not timed.
    fn completed(&mut self, end: RequestEnd, now: Instant) -> Self::Output;

    /// Returns whether losers stay in the race after it has returned its result, so that they can
    /// be polled further.
    fn keeps_losers(&mut self) -> bool {
        false
    }

    /// Reports that a kept loser finished, with an `Ok` if it `succeeded`.
    fn loser_finished(&mut self, index: u8, succeeded: bool, now: Instant) {
        let _ = (index, succeeded, now);
    }
}

/// A [`Controller`] that classifies the results of attempts.
pub trait ResultController<V, E>: Controller {
    /// Classifies the `result` of attempt `index`. `now` is [`Instant::ZERO`] if the request was
    /// not timed.
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict;
}
