//! Numbers for the requests of a cascade.

use core::sync::atomic::{AtomicU32, Ordering};

/// Gives every request that somebody hears of another number.
#[derive(Debug, Default)]
pub(super) struct Ids(AtomicU32);

impl Ids {
    pub(super) fn next(&self) -> u64 {
        #[cfg(target_has_atomic = "32")]
        let last = self.0.fetch_add(1, Ordering::Relaxed);
        // Without compare-and-swap there is one core, where all but an interrupt take turns.
        #[cfg(not(target_has_atomic = "32"))]
        let last = {
            let last = self.0.load(Ordering::Relaxed);
            self.0.store(last.wrapping_add(1), Ordering::Relaxed);
            last
        };
        u64::from(last) + 1
    }
}

/// A clone is another cascade, and numbers its own requests.
impl Clone for Ids {
    fn clone(&self) -> Self {
        Self::default()
    }
}
