//! Hedges that need something which may not be at hand.

use crate::attempt::{Attempt, Classify, Verdict};
use crate::hedger::{BudgetHandle, SharedState};
use crate::outcome::Outcome;
use crate::race::{Controller, ResultController, Settled};
use crate::request::RequestController;
use crate::telemetry::Sink;
use crate::time::Instant;

/// The decisions of a request whose hedges `ready` may not_before back: see
/// [`Call::request_if`](crate::Call::request_if).
#[derive(Debug)]
pub(crate) struct Gate<'h, L: SharedState, B: BudgetHandle, K: Sink, C, G, const MAX: usize> {
    controller: RequestController<'h, L, B, K, C, MAX>,
    ready: G,
}

impl<'h, L: SharedState, B: BudgetHandle, K: Sink, C, G, const MAX: usize>
    Gate<'h, L, B, K, C, G, MAX>
{
    pub(crate) const fn new(controller: RequestController<'h, L, B, K, C, MAX>, ready: G) -> Self {
        Self { controller, ready }
    }
}

impl<L, B, K, C, G, const MAX: usize> Controller for Gate<'_, L, B, K, C, G, MAX>
where
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    G: FnMut() -> bool,
{
    type Record = Outcome;

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        self.controller.admit_if(now, &mut self.ready)
    }

    fn timed(&mut self) -> bool {
        self.controller.timed()
    }

    fn start(&mut self, now: Instant) {
        self.controller.start(now);
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.controller.deadline()
    }

    fn due(&mut self) -> Option<Instant> {
        self.controller.due()
    }

    fn settled(&mut self, how: Settled, now: Instant) -> Outcome {
        self.controller.settled(how, now)
    }

    #[inline(always)]
    fn settled_alone(&mut self, now: Instant) -> Option<Outcome> {
        self.controller.settled_alone(now)
    }

    fn keeps_losers(&mut self) -> bool {
        self.controller.keeps_losers()
    }

    fn loser_finished(&mut self, index: u8) {
        self.controller.loser_finished(index);
    }
}

impl<L, B, K, C, G, V, E, const MAX: usize> ResultController<V, E> for Gate<'_, L, B, K, C, G, MAX>
where
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    C: Classify<V, E>,
    G: FnMut() -> bool,
{
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict {
        self.controller.finished(index, result, now)
    }
}
