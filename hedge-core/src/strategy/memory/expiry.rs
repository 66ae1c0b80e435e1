//! Samples that are too old.

use core::time::Duration;

use super::histogram::ForgettingHistogram;
use crate::time::{Instant, nanos};

/// The samples of the present half of `max_age`. When the half ends, they replace all samples. So each sample counts
/// until it is half as old as `max_age`, and none counts when it is older than that.
#[derive(Clone, Debug)]
pub(super) struct Expiry {
    max_age: Option<Duration>,
    pub(super) young: ForgettingHistogram,
    pub(super) samples: u16,
    ends: Instant,
}

impl Expiry {
    /// Samples never expire.
    pub(super) const NEVER: Self = Self::after(None);

    pub(super) const fn after(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            young: ForgettingHistogram::new(),
            samples: 0,
            ends: Instant::ZERO,
        }
    }

    /// Returns the expiry without the samples of the present half.
    pub(super) const fn emptied(&self) -> Self {
        Self {
            ends: self.ends,
            ..Self::after(self.max_age)
        }
    }

    pub(super) const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Returns how many halves of `max_age` have ended since the last call, at most 2.
    pub(super) fn advance(&mut self, now: Instant) -> u8 {
        let Some(max_age) = self.max_age else {
            return 0;
        };
        if now < self.ends {
            return 0;
        }
        let half = (nanos(max_age) / 2).max(1);
        let late = nanos(now.since(self.ends));
        self.ends = now + Duration::from_nanos(half - late % half);
        if late < half { 1 } else { 2 }
    }
}
