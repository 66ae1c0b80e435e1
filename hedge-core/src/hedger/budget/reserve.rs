//! A reserve of hedges per second.

use super::bucket::TOKEN;
use crate::time::Instant;

/// A number of hedges per second, independent of the number of requests. Counts millionths of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reserve {
    /// The amount that each second adds.
    rate: u64,
    tokens: u64,
    /// The time up to which the reserve has been filled.
    refilled: Instant,
}

impl Reserve {
    /// Creates a full reserve of this many hedges per second.
    pub(super) const fn new(per_second: f64) -> Self {
        let rate = (per_second * TOKEN as f64 + 0.5) as u64;
        let reserve = Self {
            rate,
            tokens: 0,
            refilled: Instant::ZERO,
        };
        Self {
            tokens: reserve.capacity(),
            ..reserve
        }
    }

    /// Returns whether the budget has no reserve.
    pub(super) const fn is_none(&self) -> bool {
        self.rate == 0
    }

    /// Returns the capacity: the amount of one second, and at least one hedge.
    const fn capacity(&self) -> u64 {
        match self.rate {
            0 => 0,
            1..TOKEN => TOKEN,
            rate => rate,
        }
    }

    /// Takes a token if there are `needed` or the reserve is full. Returns whether it did.
    #[must_use]
    pub(super) fn withdraw(&mut self, needed: u64, now: Instant) -> bool {
        self.refill(now);
        if self.tokens < needed.min(self.capacity()) {
            return false;
        }
        self.tokens = self.tokens.saturating_sub(TOKEN);
        true
    }

    /// Gives back a token, as far as there is room for it.
    pub(super) fn refund(&mut self) {
        self.tokens = self.tokens.saturating_add(TOKEN).min(self.capacity());
    }

    fn refill(&mut self, now: Instant) {
        const SECOND: u64 = 1_000_000_000;
        let elapsed = now.nanos_since(self.refilled);
        // The product saturates after a long time at a high rate. What is lost here is earned at the next call.
        let earned = elapsed.saturating_mul(self.rate) / SECOND;
        self.tokens = self.tokens.saturating_add(earned);
        if self.tokens < self.capacity() {
            // Advance only by the time that the earned tokens took, so that frequent calls do not lose fractions.
            let paid = (earned * SECOND).div_ceil(self.rate);
            self.refilled = self.refilled.later(paid);
        } else {
            self.tokens = self.capacity();
            self.refilled = self.refilled.max(now);
        }
    }

    /// Takes over the rate of `other`, which is full, and keeps the tokens that it has room for.
    pub(super) fn reconfigure(&mut self, other: Self) {
        self.rate = other.rate;
        self.tokens = self.tokens.min(other.tokens);
    }
}
