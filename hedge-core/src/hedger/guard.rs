//! Suspends hedging while hedges do not help.

use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::record::{AttemptEnd, Record, RequestEnd};

/// Watches what became of the last hedges, and how many requests came to want one.
///
/// * Hedging is suspended when the last hedges all lost, so many of them that this would hardly happen, one
///   time in 1000, if hedges won as often as they promise: 24, or more if they promise to win seldom,
///   as they do that are started early for the sake of few slow requests. (Harsher rules, such as two
///   wins in 24, suspend hedges that win rarely but save much. How much a win saved is not known,
///   since the primary was dropped.)
/// * So it is when nearly all requests pass the hedge delay: that is a backend that has become slow, not
///   the tail of one, and hedges add to what slows it.
///
/// One in [`PROBE_EVERY`](Self::PROBE_EVERY) hedges that come due is still started, as a probe. The first
/// that wins, or fewer requests that pass the delay, resume hedging.
///
/// It sees only its own hedger's requests, not the load that hedges cause elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guard {
    /// How many hedges in a row did not win.
    lost: u8,
    /// How many may.
    patience: u8,
    due: u8,
    slow: bool,
    /// The share of requests that passed the delay, of about the last 32.
    passed: f32,
}

impl Guard {
    const LEAST_PATIENCE: u8 = 24;
    const PROBE_EVERY: u8 = 100;
    /// When the backend counts as slow, and when no longer.
    const SLOW: f32 = 0.9;
    const NO_LONGER_SLOW: f32 = 0.75;

    pub(crate) const fn new() -> Self {
        Self {
            lost: 0,
            patience: Self::LEAST_PATIENCE,
            due: 0,
            slow: false,
            passed: 0.0,
        }
    }

    /// Whether a hedge that is due may start.
    pub(crate) fn admit(&mut self) -> bool {
        if self.lost < self.patience && !self.slow {
            return true;
        }
        self.due = (self.due + 1) % Self::PROBE_EVERY;
        self.due == 0
    }

    /// Hears how a request went. `promised` is the share of hedges that should win, if that is known; it is
    /// asked seldom.
    pub(crate) fn record(&mut self, record: &Record, promised: impl FnOnce() -> Option<f32>) {
        if let Some(passed) = passed(record) {
            self.note(passed);
        }
        // A hedge after a failure says nothing about slowness, nor does one whose race nobody won.
        if record.hedge_cause != Some(Cause::Delay) || !matches!(record.end, RequestEnd::Won(_)) {
            return;
        }
        // A primary that failed lost to no hedge.
        let won = record.hedge_won() && record.primary_end != AttemptEnd::Failed;
        if won {
            self.lost = 0;
            self.patience = Self::LEAST_PATIENCE;
            return;
        }
        self.lost = self.lost.saturating_add(1).min(self.patience);
        if self.lost == Self::LEAST_PATIENCE && self.patience == Self::LEAST_PATIENCE {
            self.patience = promised().map_or(Self::LEAST_PATIENCE, patience);
        }
    }

    fn note(&mut self, passed: bool) {
        const NONE: f32 = 1e-6;
        // Most requests do not pass, and where hardly any do there is nothing to compute.
        if !passed && self.passed < NONE {
            self.passed = 0.0;
            return;
        }
        let now = f32::from(u8::from(passed));
        self.passed += (now - self.passed) / 32.0;
        let limit = if self.slow {
            Self::NO_LONGER_SLOW
        } else {
            Self::SLOW
        };
        self.slow = self.passed > limit;
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}

/// How many hedges may lose in a row if this share should win, so that they do by chance one time in 1000.
fn patience(promised: f32) -> u8 {
    const LOG_RARE: f32 = -6.9;
    // Out of range becomes the nearest that is not, and NaN 0.
    let losses = (LOG_RARE / libm::log1pf(-promised)) as u8;
    losses.max(Guard::LEAST_PATIENCE)
}

/// Whether the request passed the hedge delay; `None` if it does not say.
fn passed(record: &Record) -> Option<bool> {
    if record.hedge_cause == Some(Cause::Delay) {
        return Some(true);
    }
    match record.suppressed? {
        Suppressed::NotDue => Some(false),
        Suppressed::BudgetRatio
        | Suppressed::BudgetRate
        | Suppressed::InFlight
        | Suppressed::Guard
        | Suppressed::NotDrawn
        | Suppressed::ObserveOnly
        | Suppressed::NotReady => Some(true),
        Suppressed::Off
        | Suppressed::WarmingUp
        | Suppressed::Deadline
        | Suppressed::Pushback
        | Suppressed::MaxHedges => None,
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::record::Sample;

    fn hedged(winner: u8) -> Record {
        let mut report = Record::new(Sample::Dropped(Duration::from_millis(20)));
        report.end = RequestEnd::Won(winner);
        report.attempts = 2;
        report.hedge_cause = Some(Cause::Delay);
        report
    }

    #[test]
    fn hedges_that_never_win_are_suspended_until_a_probe_wins() {
        let mut guard = Guard::new();
        for _ in 0..24 {
            assert!(guard.admit());
            guard.record(&hedged(0), || None);
        }
        let probes = (0..1000).filter(|_| guard.admit()).count();
        assert_eq!(probes, 10);
        guard.record(&hedged(0), || None);
        assert!(!guard.admit());
        guard.record(&hedged(1), || None);
        assert!(guard.admit());
    }

    #[test]
    fn a_win_in_twenty_four_is_enough() {
        let mut guard = Guard::new();
        for n in 0..240 {
            guard.record(&hedged(u8::from(n % 24 == 0)), || None);
            // Most requests need none.
            guard.record(
                &Record::new(Sample::Finished(Duration::from_millis(20))),
                || None,
            );
            assert!(guard.admit());
        }
    }

    #[test]
    fn requests_that_were_not_hedged_change_nothing() {
        let mut guard = Guard::new();
        for _ in 0..100 {
            guard.record(
                &Record::new(Sample::Finished(Duration::from_millis(20))),
                || None,
            );
        }
        assert_eq!(guard, Guard::new());
    }

    #[test]
    fn slowness_is_not_a_tail() {
        let mut guard = Guard::new();
        let (fast, won) = (
            Record::new(Sample::Finished(Duration::from_millis(20))),
            hedged(1),
        );
        let mut held_back = hedged(0);
        held_back.hedge_cause = None;
        held_back.suppressed = Some(Suppressed::BudgetRatio);
        // Two requests in three may well pass the delay, over and over.
        for n in 0..600 {
            guard.record(if n % 3 == 0 { &fast } else { &won }, || None);
            assert!(guard.admit());
        }
        // When all of them do, winning or not, few are hedged soon.
        let mut admitted = 0;
        for n in 0..300 {
            guard.record(if n % 2 == 0 { &held_back } else { &won }, || None);
            admitted += u32::from(guard.admit());
        }
        assert!((20..60).contains(&admitted), "{admitted}");
        // And when half of them no longer do, all that are due.
        for n in 0..40 {
            guard.record(if n % 2 == 0 { &fast } else { &won }, || None);
        }
        assert!(guard.admit());
    }

    #[test]
    fn hedges_that_promise_to_win_seldom_are_given_more_time() {
        let losses = |promised: Option<f32>| {
            let mut guard = Guard::new();
            let mut losses = 0;
            while guard.admit() {
                guard.record(&hedged(0), || promised);
                // Most requests need none.
                guard.record(&Record::new(Sample::Finished(Duration::ZERO)), || None);
                losses += 1;
            }
            losses
        };
        for promised in [None, Some(1.0), Some(0.5), Some(f32::NAN), Some(-1.0)] {
            assert_eq!(losses(promised), 24, "{promised:?}");
        }
        // 0.9 to the power of 65 is 0.001.
        assert_eq!(losses(Some(0.1)), 65);
        assert_eq!(losses(Some(0.0)), 255);

        // One that wins starts anew.
        let mut guard = Guard::new();
        (0..40).for_each(|_| guard.record(&hedged(0), || Some(0.1)));
        guard.record(&hedged(1), || None);
        (0..24).for_each(|_| guard.record(&hedged(0), || None));
        assert!(!guard.admit());
    }
}
