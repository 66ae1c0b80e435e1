//! Where in its bucket a quantile lies.

use super::NONE;
use super::histogram::{Estimate, Share};

/// The position of the delay within a bucket of the histogram.
///
/// A bucket is up to 6 % wide. Interpolation knows how many latencies it holds, but not where: if latencies differ by
/// less than that, all of them may lie above the interpolated delay, or below it. So the delay moves up with each
/// latency of the bucket that exceeds it, and down with each other one, in proportion such that the steps cancel out
/// where the share that should exceed it does (stochastic approximation: Robbins and Monro, 1951).
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction {
    estimate: Estimate,
    /// The distance from the estimate, as a share of the width of the bucket, in units of 2⁻²⁴.
    offset: i32,
}

impl Correction {
    pub(super) const NONE: Self = Self {
        estimate: Estimate {
            nanos: NONE,
            low: NONE,
            width: 0,
            above: Share::HALF,
        },
        offset: 0,
    };
    const BUCKET: i32 = 1 << 24;
    /// The sum of a step up and a step down: one part in 128 of the bucket.
    const STEP: i32 = Self::BUCKET >> 7;

    /// Takes over another estimate. In another bucket it stands as it is.
    pub(super) fn update(&mut self, estimate: Estimate) {
        if estimate.low != self.estimate.low {
            self.offset = 0;
        }
        self.estimate = estimate;
    }

    /// Returns the distance from the estimate, as a share of the width of the bucket: −1 to 1.
    pub(super) fn offset(&self) -> f64 {
        f64::from(self.offset) / f64::from(Self::BUCKET)
    }

    /// Sets what [`offset`](Self::offset) returned.
    pub(super) fn set_offset(&mut self, offset: f64) {
        self.offset = (offset * f64::from(Self::BUCKET)) as i32;
    }

    /// Takes into account a latency. Returns whether it moved the delay up.
    pub(super) fn observe(&mut self, nanos: u64, delay: u64) -> bool {
        // Latencies of other buckets say nothing about this one.
        if nanos.wrapping_sub(self.estimate.low) >= self.estimate.width {
            return false;
        }
        let exceeds = nanos > delay;
        let down = ((u64::from(self.estimate.above.bits()) * Self::STEP as u64) >> 32) as i32;
        let step = if exceeds { Self::STEP - down } else { -down };
        self.offset = (self.offset + step).clamp(-Self::BUCKET, Self::BUCKET);
        exceeds
    }

    /// Returns the corrected delay, which lies in the bucket or at its ends.
    pub(super) fn delay(&self) -> u64 {
        let Estimate {
            nanos, low, width, ..
        } = self.estimate;
        if width == 0 {
            return nanos;
        }
        let (least, most) = (low as i64, (low + width) as i64);
        // Buckets are whole numbers of 256 ns wide.
        let offset = ((i64::from(self.offset) >> 8) * (width >> 8) as i64) >> 8;
        (nanos as i64 + offset).clamp(least, most).max(1) as u64
    }
}
