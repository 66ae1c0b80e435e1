//! Defers hedging while hedges do not help.

use core::time::Duration;

use super::ewma::Ewma;
use super::probe::Probe;
use crate::attempt::Cause;
use crate::record::{AttemptEnd, Record, RequestEnd};
use crate::time::Instant;

/// Watches how many of the last hedges won, and how many requests needed one.
///
/// It never refuses a hedge for good, but defers it to twice the hedge delay, and to twice that again at each further
/// *level*. If the guard is wrong, a stuck request is still rescued, only later. Simple rules are therefore enough:
///
/// * The level rises by one when so many hedges lost in a row that this would happen one time in 1000 if hedges won as
///   often as expected: 24, or up to 64 if few are expected to win. Each 3 further losses raise it again. (Stricter
///   rules, such as two wins in 24, would defer hedges that win rarely but save much. How much a win saved is unknown,
///   since the primary was dropped.)
/// * A hedge that wins lowers the level to the level at which it started, and by one at least.
/// * When nearly all requests pass the hedge delay and take longer than the median, the backend is slow as a whole, and
///   hedges add to its load. They are deferred as at level 1 or above, except for one in a hundred.
///
/// A [`Probe`] starts from time to time, so that the guard notices when hedges help again.
///
/// The guard sees only the requests of its hedger, and not the load that hedges cause elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guard {
    /// How far hedges are deferred: at level `n` to 2^n times the hedge delay.
    level: u8,
    /// The number of hedges in a row that lost, at this level or above.
    lost: u8,
    /// The number of losses in a row that raise the level.
    patience: u8,
    slow: bool,
    /// The share of requests that passed the delay and took longer than the median.
    passed: Ewma<32>,
    probe: Probe,
}

/// The guard's decision about a hedge that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Admission {
    /// The hedge may start.
    Admit,
    /// It may start although others are put off, to see whether hedges help again.
    Probe,
    /// The hedge may be asked for again at this step, when the request has waited for 2^step times its hedge delay.
    Defer(u8),
}

impl Guard {
    const LEAST_PATIENCE: u8 = 24;
    const MOST_PATIENCE: u8 = 64;
    /// The number of losses after a change of level that raise it again.
    const IMPATIENCE: u8 = 3;
    /// 64 times the hedge delay.
    const MOST_LEVEL: u8 = 6;
    /// The share of slow requests above which the backend counts as slow, and the share below which it no longer does.
    const SLOW: f32 = 0.9;
    const NO_LONGER_SLOW: f32 = 0.75;

    pub(crate) const fn new() -> Self {
        Self {
            level: 0,
            lost: 0,
            patience: Self::LEAST_PATIENCE,
            slow: false,
            passed: Ewma::ZERO,
            probe: Probe::new(),
        }
    }

    /// Returns the level: hedges are deferred to 2^level times the hedge delay.
    pub(crate) const fn level(&self) -> u8 {
        self.level
    }

    /// Returns whether the backend counts as slow as a whole.
    pub(crate) const fn is_slow(&self) -> bool {
        self.slow
    }

    /// Decides whether a hedge may start at `step`, when its request has waited for 2^step times the hedge delay.
    pub(crate) fn admit(&mut self, step: u8, now: Instant) -> Admission {
        let level = if self.slow {
            // While the backend is slow, defer the hedge however long its request has waited.
            self.level.max(step.saturating_add(1))
        } else {
            self.level
        };
        let least_gap = if self.slow { Probe::LAST_GAP } else { 0 };
        if step >= level {
            Admission::Admit
        } else if step == 0 && self.probe.ask(now, least_gap) {
            Admission::Probe
        } else {
            Admission::Defer(level)
        }
    }

    /// Takes back a probe that did not start after all.
    pub(crate) fn give_back_probe(&mut self) {
        self.probe.give_back();
    }

    /// Records a request. `typical` returns the median latency, and `expected` the share of hedges that should win, if
    /// it is known. Both are called rarely.
    pub(crate) fn record(
        &mut self,
        record: &Record,
        typical: impl FnOnce() -> Duration,
        expected: impl FnOnce() -> Option<f32>,
    ) {
        if let Some(passed) = record.passed() {
            self.record_slowness(passed && record.total() > typical());
        }
        // Hedges after failures, and hedges of requests without a winner, say nothing about slowness.
        if record.hedge_cause() != Some(Cause::Delay) || !matches!(record.end, RequestEnd::Won(_)) {
            return;
        }
        // If the primary failed, the hedge did not win by being faster.
        let won = record.hedge_won() && record.primary_end != AttemptEnd::Failed;
        self.record_hedge(won, step(record), expected);
    }

    /// Records whether a request was slow.
    pub(crate) fn record_slowness(&mut self, slow: bool) {
        self.passed.observe(slow);
        let limit = if self.slow {
            Self::NO_LONGER_SLOW
        } else {
            Self::SLOW
        };
        self.slow = self.passed.share() > limit;
    }

    /// Records whether a hedge that started at `step` won.
    pub(crate) fn record_hedge(
        &mut self,
        won: bool,
        step: u8,
        expected: impl FnOnce() -> Option<f32>,
    ) {
        if won {
            self.record_win(step);
        } else if step >= self.level {
            // A probe that lost started earlier, so it says nothing about the hedges of this level.
            self.record_loss(expected);
        }
    }

    fn record_win(&mut self, step: u8) {
        if self.level == 0 {
            self.lost = 0;
            self.patience = Self::LEAST_PATIENCE;
        } else {
            self.move_to(step.min(self.level - 1));
            self.probe = Probe::new();
        }
    }

    fn record_loss(&mut self, expected: impl FnOnce() -> Option<f32>) {
        self.lost = self.lost.saturating_add(1).min(self.patience);
        // Only the first rise needs the expected win rate: three more losses are enough for each further level.
        if self.level == 0
            && self.lost == Self::LEAST_PATIENCE
            && self.patience == Self::LEAST_PATIENCE
        {
            self.patience = expected().map_or(Self::LEAST_PATIENCE, patience);
        }
        if self.lost >= self.patience && self.level < Self::MOST_LEVEL {
            if self.level == 0 {
                self.probe = Probe::new();
            }
            self.move_to(self.level + 1);
        }
    }

    fn move_to(&mut self, level: u8) {
        self.level = level;
        self.lost = self.patience.saturating_sub(Self::IMPATIENCE);
    }
}

/// Returns the number of losses in a row that happen by chance one time in 1000, if this share of hedges wins.
fn patience(expected: f32) -> u8 {
    const RARE: f32 = 0.001;
    // This loop replaces a logarithm, which would take 0.3 KB of firmware.
    let loses = 1.0 - expected;
    let (mut chance, mut losses) = (loses, 0);
    // The condition is false for a NaN and for values out of range.
    while losses < Guard::MOST_PATIENCE && (RARE..=1.0).contains(&chance) {
        chance *= loses;
        losses += 1;
    }
    losses.clamp(Guard::LEAST_PATIENCE, Guard::MOST_PATIENCE)
}

/// Returns the step at which the hedge started: how often the delay doubled before, rounded.
fn step(record: &Record) -> u8 {
    let (start, mut waited) = (record.hedge_start, record.hedge_delay);
    let mut step = 0;
    // A start half-way between two steps counts as the later step.
    while step < Guard::MOST_LEVEL && waited > 0 && start >= waited.saturating_add(waited / 2) {
        waited = waited.saturating_mul(2);
        step += 1;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::Admission::{Admit, Defer, Probe};
    use super::*;
    use crate::record::Sample;

    fn at(seconds: u64) -> Instant {
        Instant::from_epoch(Duration::from_secs(seconds))
    }

    fn lose(guard: &mut Guard, step: u8, hedges: u32) {
        (0..hedges).for_each(|_| guard.record_hedge(false, step, || None));
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn request(due: bool, winner: u8) -> Record {
        let record = Record::new(Sample::Finished(ms(20)));
        if !due {
            return record;
        }
        let hedge = Sample::Finished(ms(10));
        record
            .planned(ms(10))
            .with_due(true)
            .with_hedge(Cause::Delay, ms(10), hedge)
            .ended(RequestEnd::Won(winner), ms(20))
    }

    #[test]
    fn the_step_of_a_hedge_is_how_often_its_delay_has_doubled() {
        let step = |start| {
            let hedge = Sample::Finished(ms(1));
            let record = Record::new(Sample::Dropped(ms(900))).planned(ms(10));
            step(&record.with_hedge(Cause::Delay, ms(start), hedge))
        };
        let steps = [5, 10, 14, 15, 20, 29, 30, 40, 640, 100_000].map(step);
        assert_eq!(steps, [0, 0, 0, 1, 1, 1, 2, 2, 6, 6]);
    }

    #[test]
    fn hedges_that_never_win_are_put_off_ever_longer() {
        let mut guard = Guard::new();
        lose(&mut guard, 0, 23);
        assert_eq!(guard.admit(0, at(1)), Admit);
        lose(&mut guard, 0, 1);
        assert_eq!(guard.admit(0, at(1)), Defer(1));
        // A hedge that has waited for twice the delay is admitted.
        assert_eq!(guard.admit(1, at(1)), Admit);
        assert_eq!(guard.admit(2, at(1)), Admit);
        // Three losses at this level are enough to rise, and losses of probes do not count.
        lose(&mut guard, 0, 10);
        lose(&mut guard, 1, 2);
        assert_eq!(guard.admit(1, at(1)), Admit);
        lose(&mut guard, 1, 1);
        assert_eq!(guard.admit(1, at(1)), Defer(2));
        // The highest level is 64 times the delay.
        lose(&mut guard, 6, 100);
        assert_eq!(guard.admit(0, at(1)), Defer(6));
        assert_eq!(guard.admit(6, at(1)), Admit);
    }

    #[test]
    fn a_win_lowers_the_level_to_its_own() {
        let at_level = |level: u32| {
            let mut guard = Guard::new();
            lose(&mut guard, 6, 24 + 3 * (level - 1));
            assert_eq!(guard.admit(0, at(1)), Defer(level as u8));
            guard
        };
        // If a probe wins, hedging returns to level 0 at once.
        let mut guard = at_level(5);
        guard.record_hedge(true, 0, || None);
        assert_eq!(guard.admit(0, at(1)), Admit);
        // Three losses are then enough to defer hedges again.
        lose(&mut guard, 0, 3);
        assert_eq!(guard.admit(0, at(1)), Defer(1));
        let mut guard = at_level(5);
        guard.record_hedge(true, 2, || None);
        assert_eq!(guard.admit(0, at(1)), Defer(2));
        // A win at the present level lowers it by one.
        let mut guard = at_level(5);
        guard.record_hedge(true, 5, || None);
        assert_eq!(guard.admit(0, at(1)), Defer(4));
        // A win at level 0 resets the count of losses.
        let mut guard = at_level(1);
        (0..2).for_each(|_| guard.record_hedge(true, 0, || None));
        lose(&mut guard, 0, 23);
        assert_eq!(guard.admit(0, at(1)), Admit);
    }

    #[test]
    fn a_win_in_twenty_four_is_enough() {
        let mut guard = Guard::new();
        for n in 0..240 {
            guard.record(
                &request(true, u8::from(n % 24 == 0)),
                || Duration::MAX,
                || None,
            );
            // Most requests need no hedge.
            guard.record(&request(false, 0), || Duration::MAX, || None);
            assert_eq!(guard.admit(0, at(1)), Admit);
        }
    }

    #[test]
    fn one_hedge_in_a_hundred_is_a_probe_in_the_end() {
        let mut guard = Guard::new();
        lose(&mut guard, 6, 100);
        let probes = |guard: &mut Guard| {
            let admitted = (0..1000).filter(|_| guard.admit(0, at(1)) == Probe);
            admitted.count()
        };
        // Probes start after 32, then 64, and then every 100 due hedges.
        assert_eq!(probes(&mut guard), 2 + 9);
        assert_eq!(probes(&mut guard), 10);
    }

    #[test]
    fn a_client_of_few_requests_probes_by_time() {
        let mut guard = Guard::new();
        lose(&mut guard, 6, 100);
        // With one due hedge every 20 s, nearly each one is a probe at first, and in the end one a minute.
        let admitted: std::vec::Vec<_> = (0..60)
            .filter(|n| guard.admit(0, at(20 * n)) == Probe)
            .collect();
        assert_eq!(admitted[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15]);
        assert_eq!(admitted[20..], [41, 44, 47, 50, 53, 56, 59]);
    }

    #[test]
    fn hedges_that_win_seldom_are_given_more_time() {
        let losses = |expected: Option<f32>| {
            let mut guard = Guard::new();
            let mut losses = 0;
            while guard.admit(0, at(1)) == Admit {
                guard.record_hedge(false, 0, || expected);
                losses += 1;
            }
            losses
        };
        for expected in [None, Some(1.0), Some(0.5), Some(f32::NAN), Some(-1.0)] {
            assert_eq!(losses(expected), 24, "{expected:?}");
        }
        // 0.85 to the power of 42 is 0.001.
        assert_eq!(losses(Some(0.15)), 42);
        assert_eq!(losses(Some(0.1)), 64);
        assert_eq!(losses(Some(0.0)), 64);
    }

    #[test]
    fn how_many_should_win_is_asked_before_hedges_are_put_off() {
        let mut guard = Guard::new();
        lose(&mut guard, 0, 24);
        assert_eq!(guard.admit(0, at(1)), Defer(1));
        for _ in 0..3 {
            guard.record_hedge(false, 1, || Some(0.1));
        }
        assert_eq!(guard.admit(0, at(1)), Defer(2));
    }

    #[test]
    fn slowness_is_not_a_tail() {
        let mut guard = Guard::new();
        // Two requests in three may pass the delay for any length of time.
        for n in 0..600 {
            guard.record(&request(n % 3 > 0, 1), || Duration::ZERO, || None);
            assert_eq!(guard.admit(0, at(1)), Admit);
        }
        // If all requests pass the delay, one in a hundred is hedged, whether hedges win or not.
        let mut admitted = 0;
        for n in 0..400_u32 {
            guard.record(
                &request(true, u8::from(n % 2 == 1)),
                || Duration::ZERO,
                || None,
            );
            admitted += u32::from(guard.admit(0, at(1)) != Defer(1));
        }
        assert!((30..80).contains(&admitted), "{admitted}");
        // Deferred hedges are deferred again while the backend is slow, however long they have waited.
        assert_eq!(guard.admit(0, at(1)), Defer(1));
        assert_eq!(guard.admit(3, at(1)), Defer(4));
        // When half of the requests no longer pass the delay, all due hedges start.
        for n in 0..40 {
            guard.record(&request(n % 2 > 0, 1), || Duration::ZERO, || None);
        }
        assert_eq!(guard.admit(0, at(1)), Admit);
    }

    #[test]
    fn an_early_delay_is_no_slowness() {
        // All requests pass the delay, but half of them take no longer than the median of 20 ms.
        let mut guard = Guard::new();
        for _ in 0..400 {
            guard.record(&request(true, 1), || Duration::from_millis(20), || None);
            assert_eq!(guard.admit(0, at(1)), Admit);
        }
    }

    #[test]
    fn requests_that_were_not_hedged_change_nothing() {
        let mut guard = Guard::new();
        (0..100).for_each(|_| guard.record(&request(false, 0), || Duration::ZERO, || None));
        assert_eq!(guard, Guard::new());
    }
}
