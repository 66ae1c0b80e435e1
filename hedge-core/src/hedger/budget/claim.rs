//! What an attempt asks of a budget, and what paid for it.

use super::bucket::TOKEN;
use crate::attempt::Cause;
use crate::hedger::Traffic;

/// What an attempt asks of a budget before it starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Why the attempt is to start.
    pub cause: Cause,
    /// Whether the attempt was refused before because there was no token for it. Such a claim leaves the last token to
    /// attempts that are asked for the first time, unless the bucket is full: while tokens are scarce they would come
    /// late for requests that have waited, and be missing for those that have not.
    pub again: bool,
    /// What the hedger knows of its traffic.
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

    /// How much has to be there, in millionths of a token.
    pub(super) const fn needed(self) -> u64 {
        if self.again { 2 * TOKEN } else { TOKEN }
    }
}

/// What has paid for an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Payment {
    /// The bucket.
    Bucket {
        /// Why the attempt was to start.
        cause: Cause,
        /// Whether the small bucket, which opens the surge gate, paid a token too. It does not if its debt is at the
        /// limit.
        surge_token: bool,
    },
    /// The reserve per second.
    Reserve,
    /// Nothing: there is no limit.
    Free,
}
