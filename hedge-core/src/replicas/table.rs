//! Where the records of a set are kept: in plain memory or in atomics.

use super::hold::Holds;
use super::record::{Load, Record};

/// The replicas' records and what they share.
///
/// Every method takes a few instructions and none waits for another thread. Threads may update records between
/// two calls, so decisions that must hold are made inside of an update.
pub(super) trait Table {
    /// Returns the places whose replicas may be given attempts.
    fn active(&self) -> u64;

    fn load(&self, index: usize) -> Load;

    fn record(&self, index: usize) -> Record;

    /// Replaces a load by what `f` returns. Returns whether `f` returned one.
    fn update_load(&mut self, index: usize, f: impl Fn(Load) -> Option<Load>) -> bool;

    /// Replaces a record by what `f` returns. `f` may be called several times.
    fn update_record(&mut self, index: usize, f: impl Fn(Record) -> Option<Record>) -> bool;

    fn shared(&self) -> Shared;

    /// Replaces the shared values. Concurrent updates of two threads may overwrite one another.
    fn set_shared(&mut self, shared: Shared);

    /// Returns whether replicas are on hold.
    fn holds(&self) -> Holds;

    /// Replaces `seen`, which [`holds`](Self::holds) returned. Returns false, and does nothing, if another thread has
    /// replaced it since.
    fn set_holds(&mut self, seen: Holds, new: Holds) -> bool;

    fn random(&mut self) -> u64;
}

/// The values that all replicas of a set share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Shared {
    /// A moving average of the logarithm of successful attempts' latency, in 1/1024 octaves; 0 if there were none.
    pub(super) typical: u16,
    /// A moving estimate of their 75th percentile, in the same unit.
    pub(super) p75: u16,
    /// Primaries since the last probe, up to [`OVERDUE`](super::choose::OVERDUE).
    pub(super) since_probe: u8,
}

/// Returns the places in `mask`, from the lowest.
#[inline]
pub(super) fn places(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let index = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        // The mask shows the compiler that the index is below 64.
        (index < u64::BITS).then_some((index & 63) as usize)
    })
}
