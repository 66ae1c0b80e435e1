//! One hedge now and then, where others are held back.

use core::time::Duration;

use crate::time::Instant;

/// Decides which of the hedges that are held back start nevertheless, to see whether that would help again.
///
/// By count: after 32 of them, then 64, then 100 each. By time, for a client that makes few requests: when none has
/// started for a part of the time from the first that was held back to the last probe, but for 5 seconds at least and a
/// minute at most. The part is an eighth while few were held back since that probe, and a half otherwise. So the time
/// between probes grows slowly, one that happens to lose puts the next off by little, and hedging is back soon after an
/// incident, however long that was. A probe a minute is no load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    /// How many were held back since the last probe.
    held_back: u8,
    /// How many are, between two probes.
    gap: u8,
    /// When the first was held back.
    since: Instant,
    last: Instant,
    /// The last probe did not start, so that the next that is asked for is one.
    is_owed: bool,
}

impl Probe {
    const FIRST_GAP: u8 = 32;
    /// The gap that is reached in the end.
    pub(crate) const LAST_GAP: u8 = 100;
    /// With more held back since the last probe, the count is what matters.
    const FEW: u8 = 6;
    const LEAST_WAIT: Duration = Duration::from_secs(5);
    const MOST_WAIT: Duration = Duration::from_secs(60);

    pub(crate) const fn new() -> Self {
        Self {
            held_back: 0,
            gap: Self::FIRST_GAP,
            since: Instant::ZERO,
            last: Instant::ZERO,
            is_owed: false,
        }
    }

    /// Whether none was held back yet.
    const fn is_new(&self) -> bool {
        self.held_back == 0 && self.gap == Self::FIRST_GAP
    }

    /// Whether a hedge that would be held back is a probe. There is at least `least_gap` between two, unless one is due
    /// by time.
    pub(crate) fn ask(&mut self, now: Instant, least_gap: u8) -> bool {
        if self.is_new() {
            (self.since, self.last) = (now, now);
        }
        self.held_back = self.held_back.saturating_add(1);
        let part = if self.held_back <= Self::FEW { 8 } else { 2 };
        let wait = self.last.since(self.since) / part;
        let wait = wait.clamp(Self::LEAST_WAIT, Self::MOST_WAIT);
        let is_due = self.held_back >= self.gap.max(least_gap) || now.since(self.last) >= wait;
        if is_due || self.is_owed {
            self.held_back = 0;
            self.last = now;
            if !self.is_owed {
                self.gap = self.gap.saturating_mul(2).min(Self::LAST_GAP);
            }
            self.is_owed = false;
            return true;
        }
        false
    }

    /// Takes back a probe that did not start: the next hedge that would be held back is one instead.
    pub(crate) fn give_back(&mut self) {
        // Not if hedges have won since, so that none is held back.
        self.is_owed = !self.is_new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(ms))
    }

    /// After how many that were asked each probe came.
    fn gaps(probe: &mut Probe, asked: u64, every_ms: u64, least_gap: u8) -> std::vec::Vec<u64> {
        let probes = (1..=asked).filter(|n| probe.ask(at(n * every_ms), least_gap));
        let mut last = 0;
        probes
            .map(|n| n - core::mem::replace(&mut last, n))
            .collect()
    }

    #[test]
    fn probes_by_count_grow_apart_to_a_hundred() {
        assert_eq!(
            gaps(&mut Probe::new(), 500, 1, 0),
            [32, 64, 100, 100, 100, 100]
        );
        assert_eq!(gaps(&mut Probe::new(), 350, 1, 100), [100, 100, 100]);
    }

    #[test]
    fn probes_by_time_grow_apart_to_a_minute() {
        // With one due hedge every 20 s, the time decides when a probe starts.
        let gaps = gaps(&mut Probe::new(), 100, 20_000, 0);
        assert_eq!(gaps[..9], [2, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert!(gaps[16..].iter().all(|gap| *gap == 3), "{gaps:?}");
    }

    #[test]
    fn where_many_are_held_back_time_matters_less() {
        // With one due hedge every 2 s, the seventh comes 12 s after a probe, which is an eighth of 96 s.
        let gaps = gaps(&mut Probe::new(), 400, 2_000, 0);
        let first = gaps.iter().position(|gap| *gap > 6).unwrap();
        let asked: u64 = gaps[..first].iter().sum();
        assert!((48..60).contains(&asked), "{gaps:?}");
        assert!(
            gaps[first..].iter().all(|gap| (24..=30).contains(gap)),
            "{gaps:?}"
        );
    }

    #[test]
    fn a_probe_that_did_not_start_is_owed_once() {
        let mut probe = Probe::new();
        probe.give_back();
        assert!(!probe.ask(at(1), 0), "nothing was taken");
        assert_eq!(gaps(&mut probe, 31, 1, 0), [31]);
        for _ in 0..3 {
            probe.give_back();
            assert!(probe.ask(at(31), 0));
        }
        // The next comes when it would have come anyway.
        assert_eq!(gaps(&mut probe, 164, 1, 0), [64, 100]);
    }

    #[test]
    fn five_seconds_are_the_least_wait() {
        let mut probe = Probe::new();
        assert!(!probe.ask(at(1000), 0));
        for second in [6, 11, 16, 21, 26, 31, 36, 41, 46] {
            assert!(!probe.ask(at(1000 * second - 1), 0));
            assert!(probe.ask(at(1000 * second), 0));
        }
        // The last probe came 45 s after the first, so the next one may come an eighth of that later, which is 5.625 s.
        assert!(!probe.ask(at(51_624), 0));
        assert!(probe.ask(at(51_625), 0));
    }
}
