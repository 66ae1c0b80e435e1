//! A small histogram, for samples of a short time.

use core::fmt;

use super::buckets::{GROUP, GROUPS, bucket_of};

/// Counts a few latencies in buckets a quarter of an octave wide.
#[derive(Clone)]
pub(crate) struct CoarseHistogram(pub(super) [u16; GROUPS]);

impl CoarseHistogram {
    pub(crate) const fn new() -> Self {
        Self([0; GROUPS])
    }

    pub(crate) fn add(&mut self, nanos: u64) {
        if let Some(count) = self.0.get_mut(bucket_of(nanos) / GROUP) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0 = [0; GROUPS];
    }
}

impl fmt::Debug for CoarseHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples: u32 = self.0.iter().map(|&count| u32::from(count)).sum();
        f.debug_tuple("CoarseHistogram").field(&samples).finish()
    }
}
