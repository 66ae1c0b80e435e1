//! The ages of samples, at two bytes per eighth of the maximum age instead of one stamp per sample.

use core::time::Duration;

use crate::time::{Instant, nanos};

const PERIODS: usize = 8;

/// The number of samples that arrived in each of the last periods. A period is an eighth of
/// `max_age`. The samples of a period are removed together, when their age is between 7/8 of
/// `max_age` and `max_age`.
#[derive(Clone, Debug)]
pub(super) struct Ages {
    /// In nanoseconds; the largest number stands for `None`.
    max_age: u64,
    /// Oldest first. The sum is the number of samples.
    counts: [u16; PERIODS],
    /// The end of the newest period.
    ends: Instant,
}

impl Ages {
    /// Creates empty counts. If `max_age` is `None`, samples never expire.
    pub(super) const fn new(max_age: Option<Duration>) -> Self {
        Self {
            max_age: match max_age {
                Some(age) => nanos(age),
                None => u64::MAX,
            },
            counts: [0; PERIODS],
            ends: Instant::ZERO,
        }
    }

    pub(super) const fn max_age(&self) -> Option<Duration> {
        match self.max_age {
            u64::MAX => None,
            age => Some(Duration::from_nanos(age)),
        }
    }

    /// Returns whether samples never expire.
    pub(super) const fn never(&self) -> bool {
        self.max_age == u64::MAX
    }

    pub(super) fn clear(&mut self) {
        self.counts = [0; PERIODS];
    }

    /// Starts the period that contains `now`. Returns how many samples expire.
    pub(super) fn advance(&mut self, now: Instant) -> u16 {
        let mut expired = 0;
        if self.never() {
            return expired;
        }
        let period = (self.max_age / PERIODS as u64).max(1);
        // After as many periods every sample has expired.
        for _ in 0..PERIODS {
            if now < self.ends {
                return expired;
            }
            let mut moved = 0;
            for count in self.counts.iter_mut().rev() {
                core::mem::swap(count, &mut moved);
            }
            expired += moved;
            self.ends = self.ends.later(period);
        }
        self.ends = self.ends.max(now.later(period));
        expired
    }

    /// Counts a sample that has just arrived.
    pub(super) fn add(&mut self) {
        if !self.never()
            && let Some(newest) = self.counts.last_mut()
        {
            *newest = newest.saturating_add(1);
        }
    }

    /// Subtracts the oldest sample.
    pub(super) fn evict(&mut self) {
        if !self.never()
            && let Some(oldest) = self.counts.iter_mut().find(|count| **count > 0)
        {
            *oldest -= 1;
        }
    }
}
