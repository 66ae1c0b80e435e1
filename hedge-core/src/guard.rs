//! Suspends hedging while hedges do not help.

use crate::{Cause, End, Report, Sample};

/// Watches what became of the last hedges.
///
/// When none of the last [`WINDOW`](Self::WINDOW) won, hedging is suspended. One in
/// [`PROBE_EVERY`](Self::PROBE_EVERY) hedges that come due is still started, as a probe, and the first
/// probe that wins resumes hedging. (Harsher rules, such as two wins in 24, suspend hedges that win
/// rarely but save much, as those do that find a shorter queue.)
///
/// It sees only its own hedger's requests, not the load that hedges cause elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guard {
    /// How many hedges in a row did not win.
    lost: u8,
    due: u8,
}

impl Guard {
    const WINDOW: u8 = 24;
    const PROBE_EVERY: u8 = 100;

    pub(crate) const fn new() -> Self {
        Self { lost: 0, due: 0 }
    }

    /// Whether a hedge that is due may start.
    pub(crate) fn admit(&mut self) -> bool {
        if self.lost < Self::WINDOW {
            return true;
        }
        self.due = (self.due + 1) % Self::PROBE_EVERY;
        self.due == 0
    }

    pub(crate) fn record(&mut self, report: &Report) {
        // A hedge after a failure says nothing about slowness, nor does one whose race nobody won.
        if report.hedge_cause != Some(Cause::Delay) || !matches!(report.end, End::Won(_)) {
            return;
        }
        // A primary that failed lost to no hedge.
        let won = report.hedge_won() && !matches!(report.primary, Sample::Failed(_));
        self.lost = if won {
            0
        } else {
            (self.lost + 1).min(Self::WINDOW)
        };
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn hedged(winner: u8) -> Report {
        let mut report = Report::new(Sample::Dropped(Duration::from_millis(20)));
        report.end = End::Won(winner);
        report.attempts = 2;
        report.hedge_cause = Some(Cause::Delay);
        report
    }

    #[test]
    fn hedges_that_never_win_are_suspended_until_a_probe_wins() {
        let mut guard = Guard::new();
        for _ in 0..24 {
            assert!(guard.admit());
            guard.record(&hedged(0));
        }
        let probes = (0..1000).filter(|_| guard.admit()).count();
        assert_eq!(probes, 10);
        guard.record(&hedged(0));
        assert!(!guard.admit());
        guard.record(&hedged(1));
        assert!(guard.admit());
    }

    #[test]
    fn a_win_in_twenty_four_is_enough() {
        let mut guard = Guard::new();
        for n in 0..240 {
            guard.record(&hedged(u8::from(n % 24 == 0)));
            assert!(guard.admit());
        }
    }

    #[test]
    fn requests_that_were_not_hedged_change_nothing() {
        let mut guard = Guard::new();
        for _ in 0..100 {
            guard.record(&Report::new(Sample::Finished(Duration::from_millis(20))));
        }
        assert_eq!(guard, Guard::new());
    }
}
