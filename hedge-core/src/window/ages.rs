//! When samples are too old, at two bytes per eighth of that age instead of a stamp per sample.

use core::time::Duration;

use crate::time::{Instant, nanos};

const PERIODS: usize = 8;

/// How many samples arrived in each of the last periods, eighths of `max_age`. A period's samples
/// leave together, when they are between 7/8 of `max_age` and all of it old.
#[derive(Clone, Debug)]
pub(super) struct Ages {
    max_age: Option<Duration>,
    /// Oldest first; their sum is the number of samples.
    counts: [u16; PERIODS],
    /// When the newest period ends.
    ends: Instant,
}

impl Ages {
    /// Samples never grow too old if `max_age` is absent.
    pub(super) const fn new(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            counts: [0; PERIODS],
            ends: Instant::ZERO,
        }
    }

    pub(super) const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Whether samples stay however old they are.
    pub(super) const fn never(&self) -> bool {
        self.max_age.is_none()
    }

    pub(super) fn clear(&mut self) {
        self.counts = [0; PERIODS];
    }

    /// Begins the period that `now` is in. Returns how many samples that makes too old.
    pub(super) fn advance(&mut self, now: Instant) -> u16 {
        let Some(max_age) = self.max_age else {
            return 0;
        };
        if now < self.ends {
            return 0;
        }
        let period = (nanos(max_age) / PERIODS as u64).max(1);
        let begun = (nanos(now.since(self.ends)) / period).saturating_add(1);
        let overrun = nanos(now.since(self.ends)) % period;
        self.ends = now + Duration::from_nanos(period - overrun);
        let begun = usize::try_from(begun).unwrap_or(PERIODS).min(PERIODS);

        self.counts.rotate_left(begun);
        let mut expired = 0;
        for count in self.counts.iter_mut().rev().take(begun) {
            expired += core::mem::take(count);
        }
        expired
    }

    /// Counts a sample that has just arrived.
    pub(super) fn add(&mut self) {
        if self.max_age.is_some()
            && let Some(newest) = self.counts.last_mut()
        {
            *newest = newest.saturating_add(1);
        }
    }

    /// Uncounts the oldest sample.
    pub(super) fn evict(&mut self) {
        if self.max_age.is_some()
            && let Some(oldest) = self.counts.iter_mut().find(|count| **count > 0)
        {
            *oldest -= 1;
        }
    }
}
