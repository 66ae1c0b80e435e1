//! Probes: single hedges that start while others are deferred.

use crate::time::Instant;

/// Decides which of the deferred hedges start nevertheless, to find out whether hedges help again.
///
/// By count, a probe starts after 32 deferred hedges, then after 64, then after every 100. By time, for clients with
/// few requests, a probe starts when the last one was long enough ago: an eighth of the time from the first deferred
/// hedge to the last probe, or half of it if more than a few hedges were deferred since, and always between 5 seconds
/// and a minute. So the gaps grow slowly, a probe that loses by chance delays the next one only a little, and hedging
/// returns soon after an incident of any length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    /// The number of hedges that were deferred since the last probe.
    held_back: u8,
    /// The number of deferred hedges between two probes.
    gap: u8,
    /// When the first hedge was deferred.
    since: Instant,
    last: Instant,
    /// The last probe did not start, so that the next that is asked for is one.
    is_owed: bool,
}

impl Probe {
    const FIRST_GAP: u8 = 32;
    /// The largest gap between two probes, in deferred hedges.
    pub(crate) const LAST_GAP: u8 = 100;
    /// The number of deferred hedges since the last probe above which the time limit is longer.
    const FEW: u8 = 6;
    /// In nanoseconds.
    const LEAST_WAIT: u64 = 5_000_000_000;
    const MOST_WAIT: u64 = 60_000_000_000;

    pub(crate) const fn new() -> Self {
        Self {
            held_back: 0,
            gap: Self::FIRST_GAP,
            since: Instant::ZERO,
            last: Instant::ZERO,
            is_owed: false,
        }
    }

    /// Returns whether no hedge was deferred yet.
    const fn is_new(&self) -> bool {
        self.held_back == 0 && self.gap == Self::FIRST_GAP
    }

    /// Returns whether a hedge that would be deferred starts as a probe. Probes are at least `least_gap` hedges apart,
    /// unless one is due by time.
    pub(crate) fn ask(&mut self, now: Instant, least_gap: u8) -> bool {
        if self.is_new() {
            (self.since, self.last) = (now, now);
        }
        self.held_back = self.held_back.saturating_add(1);
        let halvings = if self.held_back <= Self::FEW { 3 } else { 1 };
        let wait = self.last.nanos_since(self.since) >> halvings;
        let wait = wait.clamp(Self::LEAST_WAIT, Self::MOST_WAIT);
        let is_due =
            self.held_back >= self.gap.max(least_gap) || now.nanos_since(self.last) >= wait;
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
        // If hedges have won since then, none is deferred, so no probe is owed.
        self.is_owed = !self.is_new();
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(ms))
    }

    /// Returns after how many hedges each probe started.
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
