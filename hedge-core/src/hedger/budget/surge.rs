//! The small bucket of the surge gate.

use super::Budget;
use super::bucket::TOKEN;

/// The most that the bucket holds.
const MOST: u64 = Budget::START as u64 * TOKEN;
/// The least that the bucket holds, when its debt is at the limit.
const LEAST: i32 = -((Budget::DEBT as u64 * TOKEN) as i32);

/// A second, small token bucket, of which surging traffic needs a token for each hedge.
///
/// It earns and pays the same amounts as the large bucket, also while traffic is calm, and its balance can be negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SurgeBucket {
    /// The balance in millionths of a token; negative for a debt.
    pub(super) tokens: i32,
}

impl SurgeBucket {
    /// Creates a bucket with these tokens, or as many as it has room for.
    pub(super) const fn new(tokens: u64) -> Self {
        let tokens = if tokens < MOST { tokens } else { MOST };
        Self {
            tokens: tokens as i32,
        }
    }

    /// Adds `amount`, up to its own limit or the `capacity` of the large bucket, if that is smaller.
    pub(super) fn deposit(&mut self, amount: u64, capacity: u64) {
        let earned = amount.min(i32::MAX as u64) as i32;
        let most = MOST.min(capacity) as i32;
        self.tokens = self.tokens.saturating_add(earned).min(most);
    }

    /// Returns whether the bucket holds what an attempt needs.
    pub(super) const fn covers(&self, needed: u64) -> bool {
        self.tokens >= needed as i32
    }

    /// Takes a token. Returns false, and takes nothing, if the debt is at the limit.
    pub(super) fn withdraw(&mut self) -> bool {
        let left = self.tokens - TOKEN as i32;
        self.tokens = left.max(LEAST);
        left >= LEAST
    }

    /// Gives back a token that was paid.
    pub(super) fn refund(&mut self, capacity: u64) {
        let most = MOST.min(capacity) as i32;
        self.tokens = (self.tokens + TOKEN as i32).min(most);
    }
}
