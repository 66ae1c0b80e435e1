//! A ring buffer for the records of one thread, from which they are flushed to the policy.

use core::ops::Range;
use core::sync::atomic::Ordering;

use heapless::Vec;

use super::MAX_BATCH;
use crate::record::{Record, SingleWords};
use crate::sync::{AtomicU64, AtomicUsize};

/// The records of single attempts that one thread, the *owner*, pushes without a lock. Other threads take them under
/// the lock of the shard.
///
/// For most requests, a lock would cost as much as all other bookkeeping.
#[derive(Debug)]
pub(super) struct Ring {
    owner: AtomicUsize,
    /// The number of records that were pushed, and the number of these that were taken.
    pushed: AtomicUsize,
    taken: AtomicUsize,
    slots: [[AtomicU64; Record::SINGLE_WORDS]; Self::CAPACITY],
}

/// The owner of a ring that no thread has used yet.
const NOBODY: usize = usize::MAX;

impl Ring {
    pub(super) const CAPACITY: usize = 2 * MAX_BATCH;

    pub(super) fn new() -> Self {
        Self {
            owner: AtomicUsize::new(NOBODY),
            pushed: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            slots: core::array::from_fn(|_| core::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// Pushes a record, and returns how many are in the ring then. Returns `None` if there is no room, or if the ring
    /// does not belong to the thread with this number.
    #[inline(always)]
    pub(super) fn push(&self, thread: Option<usize>, record: SingleWords) -> Option<usize> {
        let thread = thread?;
        if self.owner.load(Ordering::Relaxed) != thread && !self.claim(thread) {
            return None;
        }
        // Only this thread writes `pushed`.
        let pushed = self.pushed.load(Ordering::Relaxed);
        let waiting = pushed.wrapping_sub(self.taken.load(Ordering::Acquire));
        if waiting >= Self::CAPACITY {
            return None;
        }
        let slot = self.slots.get(pushed % Self::CAPACITY)?;
        for (slot, word) in slot.iter().zip(record) {
            slot.store(word, Ordering::Relaxed);
        }
        self.pushed.store(pushed.wrapping_add(1), Ordering::Release);
        Some(waiting + 1)
    }

    #[cold]
    fn claim(&self, thread: usize) -> bool {
        let relaxed = Ordering::Relaxed;
        let claimed = self
            .owner
            .compare_exchange(NOBODY, thread, relaxed, relaxed);
        claimed.is_ok()
    }

    /// Returns the places of the records that are waiting.
    pub(super) fn waiting(&self) -> Range<usize> {
        let pushed = self.pushed.load(Ordering::Acquire);
        self.taken.load(Ordering::Relaxed)..pushed
    }

    /// Reads up to [`MAX_BATCH`] records at the start of these places. They stay in the ring.
    pub(super) fn read(&self, places: &Range<usize>) -> Vec<Record, MAX_BATCH> {
        let many = places.end.wrapping_sub(places.start).min(MAX_BATCH);
        let places = (0..many).map(|nth| places.start.wrapping_add(nth));
        let slots = places.filter_map(|place| self.slots.get(place % Self::CAPACITY));
        let words =
            |slot: &[AtomicU64; _]| slot.each_ref().map(|word| word.load(Ordering::Relaxed));
        slots.map(|slot| Record::from_single(words(slot))).collect()
    }

    /// Frees the slots of this many records, the oldest first.
    pub(super) fn free(&self, records: usize) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken
            .store(taken.wrapping_add(records), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::record::Sample;
    use crate::time::Instant;

    fn record(n: usize) -> Record {
        Record::new(Sample::Finished(Duration::from_nanos(n as u64)))
    }

    fn push(ring: &Ring, thread: usize, n: usize) -> Option<usize> {
        ring.push(Some(thread), record(n).to_single()?)
    }

    #[test]
    fn records_come_out_in_the_order_in_which_they_went_in() {
        let ring = Ring::new();
        let (mut next, mut expected) = (0, 0);
        for round in 1..200 {
            for waiting in 1..=round % Ring::CAPACITY {
                assert_eq!(push(&ring, 7, next), Some(waiting));
                next += 1;
            }
            let mut places = ring.waiting();
            while places.start != places.end {
                for found in ring.read(&places) {
                    assert_eq!(found, record(expected).at(Instant::ZERO));
                    expected += 1;
                    ring.free(1);
                }
                places = ring.waiting();
            }
            assert_eq!(expected, next);
        }
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let ring = Ring::new();
        let pushed = (0..1000).filter_map(|n| push(&ring, 7, n));
        assert_eq!(pushed.count(), Ring::CAPACITY);
        ring.free(1);
        assert_eq!(push(&ring, 7, 0), Some(Ring::CAPACITY));
    }

    #[test]
    fn only_the_first_thread_pushes() {
        let ring = Ring::new();
        assert_eq!(ring.push(None, record(0).to_single().unwrap()), None);
        assert_eq!(push(&ring, 3, 0), Some(1));
        assert_eq!(push(&ring, 4, 0), None);
        assert_eq!(push(&ring, 3, 0), Some(2));
    }
}
