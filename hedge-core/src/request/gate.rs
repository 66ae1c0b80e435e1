//! Hedges that need something which may not be at hand.

use crate::attempt::{Attempt, Classify, Verdict};
use crate::hedger::{Charge, Ledger};
use crate::outcome::Outcome;
use crate::race::{Judge, Pacer, Settled};
use crate::request::Pace;
use crate::telemetry::Sink;
use crate::time::Instant;

/// The decisions of a request whose hedges `ready` may hold back: see
/// [`Call::request_if`](crate::Call::request_if).
#[derive(Debug)]
pub(crate) struct Gate<'h, L: Ledger, B: Charge, K: Sink, C, G, const MAX: usize> {
    pace: Pace<'h, L, B, K, C, MAX>,
    ready: G,
}

impl<'h, L: Ledger, B: Charge, K: Sink, C, G, const MAX: usize> Gate<'h, L, B, K, C, G, MAX> {
    pub(crate) const fn new(pace: Pace<'h, L, B, K, C, MAX>, ready: G) -> Self {
        Self { pace, ready }
    }
}

impl<L, B, K, C, G, const MAX: usize> Pacer for Gate<'_, L, B, K, C, G, MAX>
where
    L: Ledger,
    B: Charge,
    K: Sink,
    G: FnMut() -> bool,
{
    type Record = Outcome;

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        self.pace.admit_if(now, &mut self.ready)
    }

    fn timed(&mut self) -> bool {
        self.pace.timed()
    }

    fn start(&mut self, now: Instant) {
        self.pace.start(now);
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.pace.deadline()
    }

    fn due(&mut self) -> Option<Instant> {
        self.pace.due()
    }

    fn settled(&mut self, how: Settled, now: Instant) -> Outcome {
        self.pace.settled(how, now)
    }

    #[inline(always)]
    fn settled_alone(&mut self, now: Instant) -> Option<Outcome> {
        self.pace.settled_alone(now)
    }

    fn keeps_losers(&mut self) -> bool {
        self.pace.keeps_losers()
    }

    fn loser_finished(&mut self, index: u8) {
        self.pace.loser_finished(index);
    }
}

impl<L, B, K, C, G, V, E, const MAX: usize> Judge<V, E> for Gate<'_, L, B, K, C, G, MAX>
where
    L: Ledger,
    B: Charge,
    K: Sink,
    C: Classify<V, E>,
    G: FnMut() -> bool,
{
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict {
        self.pace.finished(index, result, now)
    }
}
