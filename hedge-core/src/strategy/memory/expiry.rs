//! Samples that are too old.

use core::time::Duration;

use super::histogram::ForgettingHistogram;
use crate::time::{Instant, nanos};

/// What arrived in the present half of `max_age`. When it ends, this takes the place of all that there is, so that
/// no sample counts when it is older than `max_age`, and each does until it is half as old.
#[derive(Clone, Debug)]
pub(super) struct Expiry {
    max_age: Option<Duration>,
    pub(super) young: ForgettingHistogram,
    pub(super) samples: u16,
    ends: Instant,
}

impl Expiry {
    /// Samples never grow too old.
    pub(super) const NEVER: Self = Self::after(None);

    pub(super) const fn after(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            young: ForgettingHistogram::new(),
            samples: 0,
            ends: Instant::ZERO,
        }
    }

    /// Nothing has arrived in the present half of `max_age`.
    pub(super) const fn emptied(&self) -> Self {
        Self {
            ends: self.ends,
            ..Self::after(self.max_age)
        }
    }

    pub(super) const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// How many halves of `max_age` have ended since the last call: 2 stands for more.
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
