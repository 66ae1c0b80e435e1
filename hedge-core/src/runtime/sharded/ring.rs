//! The records of the requests of one thread, on their way to the policy.

use core::ops::Range;
use core::sync::atomic::Ordering;

use heapless::Vec;

use super::MAX_BATCH;
use crate::record::{Record, SingleWords};
use crate::sync::{AtomicU64, AtomicUsize};

/// The records of single attempts that one thread, the *owner*, pushes without a lock. Another thread takes them, one at
/// a time, under the lock of the shard.
///
/// Taking and releasing a lock would cost as much as the rest of the bookkeeping of most requests.
#[derive(Debug)]
pub(super) struct Ring {
    owner: AtomicUsize,
    /// How many records were pushed, and how many of these were taken.
    pushed: AtomicUsize,
    taken: AtomicUsize,
    slots: [[AtomicU64; Record::SINGLE_WORDS]; Self::CAPACITY],
}

/// The owner of a ring that nobody has used yet.
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

    /// Pushes a record, and returns how many are waiting then. `None` if there is no room, or if the ring belongs to
    /// another thread than the one with this number.
    #[inline(always)]
    pub(super) fn push(&self, thread: Option<usize>, record: SingleWords) -> Option<usize> {
        let thread = thread?;
        if self.owner.load(Ordering::Relaxed) != thread && !self.claim(thread) {
            return None;
        }
        // Only this thread writes it.
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

    /// Frees the slots of so many records.
    pub(super) fn free(&self, records: usize) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken
            .store(taken.wrapping_add(records), Ordering::Release);
    }
}
