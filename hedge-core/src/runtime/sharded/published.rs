//! The plan that requests read without a lock.

use core::sync::atomic::Ordering;

use crate::hedger::RequestPlan;
use crate::sync::{AtomicU32, AtomicU64, fence};

/// A [`RequestPlan`] that is read without a lock: a sequence lock over atomics. Only one thread may write at a time.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The version of the words; odd while they are being written.
    version: AtomicU64,
    words: [AtomicU64; 5],
    valid: AtomicU32,
}

impl Published {
    pub(super) fn get(&self) -> Option<RequestPlan> {
        let before = self.version.load(Ordering::Acquire);
        let valid = self.valid.load(Ordering::Relaxed) != 0;
        let words = self
            .words
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        (valid && before.is_multiple_of(2) && before == after)
            .then(|| RequestPlan::from_words(words))
    }

    pub(super) fn set(&self, plan: Option<RequestPlan>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        if let Some(plan) = plan {
            for (word, value) in self.words.iter().zip(plan.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
        }
        self.valid.store(plan.is_some().into(), Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }
}
