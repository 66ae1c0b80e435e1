//! Whether slow requests come in clusters.

use core::iter;

use crate::strategy::{ReadColumns, RestoreError, WriteColumns};

/// The variance of the number of requests in a block of 64 that pass their delay. If they were independent, the
/// variance would be slightly less than the mean. If slow requests come in clusters, it is many times the mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clustering {
    requests: u8,
    passed: u8,
    blocks: u8,
    mean: f32,
    variance: f32,
    clustered: bool,
}

/// The number of requests in a block.
const BLOCK: u8 = 64;
/// About the number of blocks that count.
const BLOCKS: u8 = 64;
/// The number of blocks before the first decision.
const ENOUGH: u8 = 8;
/// The ratio of variance to mean above which requests count as clustered, and the ratio below which they no longer do.
const ON: f32 = 2.0;
const OFF: f32 = 1.4;

impl Clustering {
    pub(super) const fn new() -> Self {
        Self {
            requests: 0,
            passed: 0,
            blocks: 0,
            mean: 0.0,
            variance: 0.0,
            clustered: false,
        }
    }

    pub(super) const fn is_clustered(&self) -> bool {
        self.clustered
    }

    /// Records a request for which a hedge was planned.
    pub(super) fn record(&mut self, passed: bool) {
        self.requests += 1;
        self.passed += u8::from(passed);
        if self.requests == BLOCK {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        /// The least mean for the ratio, which says nothing if hardly any request passes.
        const LEAST_MEAN: f32 = 0.2;
        /// The largest square of a block, relative to the mean: one block that is far off, when everything suddenly is
        /// slow, must not count as many clusters.
        const MOST_SQUARE: f32 = 25.0;

        self.blocks = (self.blocks + 1).min(BLOCKS);
        let weight = 1.0 / f32::from(self.blocks);
        let off = f32::from(self.passed) - self.mean;
        self.mean += weight * off;
        let mean = self.mean.max(LEAST_MEAN);
        let square = (off * off * (1.0 - weight)).min(MOST_SQUARE * mean);
        self.variance += weight * (square - self.variance);
        (self.requests, self.passed) = (0, 0);
        let ratio = self.variance / mean;
        let bound = if self.clustered { OFF } else { ON };
        self.clustered = self.blocks >= ENOUGH && ratio > bound;
    }

    pub(super) fn export(&self, columns: &mut dyn WriteColumns) {
        let mut number = |name, value: f64| columns.column(name, &mut iter::once(value));
        number("blocks", self.blocks.into());
        number("passes_mean", self.mean.into());
        number("passes_variance", self.variance.into());
        number("clustered", u8::from(self.clustered).into());
    }

    pub(super) fn restore(columns: &dyn ReadColumns) -> Result<Self, RestoreError> {
        let most = f64::from(BLOCK);
        Ok(Self {
            requests: 0,
            passed: 0,
            blocks: columns.number("blocks", 0.0, BLOCKS.into())? as u8,
            mean: columns.number("passes_mean", 0.0, most)? as f32,
            variance: columns.number("passes_variance", 0.0, most * most)? as f32,
            clustered: columns.number("clustered", 0.0, 1.0)? > 0.5,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix;

    /// Returns the state after requests of which a share passes, in runs of this average length.
    fn after(requests: u32, share: f64, run: f64, seed: u64) -> Clustering {
        let mut rng = SplitMix(seed);
        let (mut clustering, mut slow) = (Clustering::new(), false);
        for _ in 0..requests {
            let change = if slow {
                1.0 / run
            } else {
                share / (1.0 - share) / run
            };
            slow = slow != (rng.uniform() < change);
            clustering.record(if run > 1.0 {
                slow
            } else {
                rng.uniform() < share
            });
        }
        clustering
    }

    #[test]
    fn clusters_are_distinguished_from_chance() {
        for seed in 0..10 {
            for share in [0.01, 0.05, 0.2, 0.5] {
                let chance = after(20_000, share, 1.0, seed);
                assert!(!chance.is_clustered(), "{share} {seed}: {chance:?}");
                let runs = after(40_000, share.max(0.03), 20.0, seed);
                assert!(runs.is_clustered(), "{share} {seed}: {runs:?}");
            }
        }
    }

    #[test]
    fn the_first_blocks_say_nothing() {
        assert!(!after(7 * 64, 0.2, 50.0, 1).is_clustered());
        assert!(!Clustering::new().is_clustered());
    }
}
