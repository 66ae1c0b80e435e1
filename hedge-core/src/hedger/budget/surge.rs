//! The small bucket of the surge gate.

use super::Budget;
use super::bucket::TOKEN;

/// What it holds when it is full.
const MOST: u64 = Budget::START as u64 * TOKEN;
/// The least it holds, when its debt is at the limit.
const LEAST: i32 = -((Budget::DEBT as u64 * TOKEN) as i32);

/// A second, small token bucket, of which surging traffic needs a token for each hedge.
///
/// It earns what the large bucket earns and pays what that pays, also while traffic is calm, and owes what it cannot pay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SurgeBucket {
    /// In millionths of a token; negative where it owes.
    pub(super) tokens: i32,
}

impl SurgeBucket {
    /// Holds as many of these tokens as it has room for.
    pub(super) const fn new(tokens: u64) -> Self {
        let tokens = if tokens < MOST { tokens } else { MOST };
        Self {
            tokens: tokens as i32,
        }
    }

    /// Adds `amount`. It holds no more than a large bucket of this capacity.
    pub(super) fn deposit(&mut self, amount: u64, capacity: u64) {
        let earned = amount.min(i32::MAX as u64) as i32;
        let most = MOST.min(capacity) as i32;
        self.tokens = self.tokens.saturating_add(earned).min(most);
    }

    /// Whether it holds as much as an attempt needs.
    pub(super) const fn covers(&self, needed: u64) -> bool {
        self.tokens >= needed as i32
    }

    /// Takes a token. Returns whether it paid: it does not if its debt is at the limit.
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
