//! Numbers of the requests of a cascade.

use core::sync::atomic::{AtomicU32, Ordering};

/// Assigns a unique number to each request that emits events.
#[derive(Debug, Default)]
pub(super) struct Ids(AtomicU32);

impl Ids {
    pub(super) fn next(&self) -> u64 {
        #[cfg(target_has_atomic = "32")]
        let last = self.0.fetch_add(1, Ordering::Relaxed);
        // Targets without compare-and-swap have a single core, where only an interrupt could come
        // in between.
        #[cfg(not(target_has_atomic = "32"))]
        let last = {
            let last = self.0.load(Ordering::Relaxed);
            self.0.store(last.wrapping_add(1), Ordering::Relaxed);
            last
        };
        u64::from(last) + 1
    }
}

/// A clone is a separate cascade and numbers its own requests.
impl Clone for Ids {
    fn clone(&self) -> Self {
        Self::default()
    }
}
