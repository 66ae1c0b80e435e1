//! The claim of an attempt on a budget, and the payment for it.

use super::bucket::TOKEN;
use crate::attempt::Cause;
use crate::hedger::Traffic;

/// The claim of an attempt on a budget, before it starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Why the attempt is to start.
    pub cause: Cause,
    /// Whether the attempt was refused before because there was no token for it. Such a claim leaves the last token to
    /// first claims, unless the bucket is full: while tokens are scarce, a hedge helps a request that has just become
    /// slow more than one that has already waited.
    pub again: bool,
    /// The state of the hedger's traffic.
    pub traffic: Traffic,
}

impl Claim {
    /// Creates the first claim of an attempt.
    pub const fn new(cause: Cause, traffic: Traffic) -> Self {
        Self {
            cause,
            again: false,
            traffic,
        }
    }

    /// Returns how many tokens there must be.
    pub(super) const fn needed_tokens(self) -> u8 {
        if self.again { 2 } else { 1 }
    }

    /// Returns how much the bucket must hold, in millionths of a token.
    pub(super) const fn needed(self) -> u64 {
        self.needed_tokens() as u64 * TOKEN
    }
}

/// What paid for an attempt, so that it can be refunded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Payment {
    /// The token bucket paid.
    Bucket {
        /// Why the attempt was to start.
        cause: Cause,
        /// Whether the small bucket, which opens the surge gate, paid a token too. It does not if its debt is at the
        /// limit.
        surge_token: bool,
    },
    /// The reserve per second paid.
    Reserve,
    /// Nothing was paid, since the budget is unlimited.
    Free,
}
