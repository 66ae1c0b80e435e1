//! A reserve of hedges per second.

use crate::time::Instant;

/// A number of hedges per second, independent of the number of requests.
///
/// Tokens are counted as the time in which they are earned (the generic cell rate algorithm), so that nothing is
/// multiplied or divided at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reserve {
    /// The number of nanoseconds in which a token is earned; 0 if there is no reserve.
    price: u64,
    /// When the reserve will be full again.
    full_at: Instant,
}

const SECOND: u64 = 1_000_000_000;

impl Reserve {
    /// Creates a full reserve of this many hedges per second, in steps of a millionth of a hedge.
    pub(super) const fn new(per_second: f64) -> Self {
        // The cast saturates and turns NaN into 0.
        let millionths = (per_second * 1e6 + 0.5) as u64;
        Self {
            // Rounded down, so that a second holds as many tokens as it should.
            price: match millionths {
                0 => 0,
                rate if rate < 1_000_000 * SECOND => 1_000_000 * SECOND / rate,
                _ => 1,
            },
            full_at: Instant::ZERO,
        }
    }

    /// Returns whether the budget has no reserve.
    pub(super) const fn is_none(&self) -> bool {
        self.price == 0
    }

    /// Returns the time in which an empty reserve fills: it holds the tokens of one second, and at least one.
    fn capacity(&self) -> u64 {
        self.price.max(SECOND)
    }

    /// Takes a token if there are so many or the reserve is full. Returns whether it did.
    #[must_use]
    pub(super) fn withdraw(&mut self, tokens: u8, now: Instant) -> bool {
        let needed = self.price.saturating_mul(tokens.into());
        let missing = self.full_at.nanos_since(now);
        let full_at = self.full_at.max(now).later(self.price);
        // At the end of time nothing is earned any more.
        let covers = missing.saturating_add(needed.min(self.capacity())) <= self.capacity();
        let granted = covers && full_at < Instant::MAX;
        if granted {
            self.full_at = full_at;
        }
        granted
    }

    /// Gives back a token, as far as there is room for it.
    pub(super) fn refund(&mut self) {
        self.full_at = self.full_at.earlier(self.price);
    }

    /// Takes over the rate of `other`. What has been earned is kept as far as there is room for it.
    pub(super) fn reconfigure(&mut self, other: Self) {
        let full_at = self.full_at.later(other.capacity());
        self.full_at = full_at.earlier(self.capacity());
        self.price = other.price;
    }
}
