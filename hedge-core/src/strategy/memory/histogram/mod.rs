//! A histogram of latencies that forgets exponentially.

use core::fmt;

use buckets::{BUCKETS, GROUPS, bucket_of};
use row::{Row, Which};

pub(super) use buckets::GROUP;
pub(crate) use coarse::CoarseHistogram;
pub(crate) use quantiles::Estimate;
pub(crate) use share::Share;

mod buckets;
mod coarse;
mod columns;
mod estimates;
mod quantiles;
mod row;
mod share;
#[cfg(test)]
mod tests;

/// The weight of one sample, which can be halved twice before it is rounded.
pub(super) const SAMPLE: u16 = 4;

/// Counts latencies in log-linear buckets, 16 an octave, and halves all counts at intervals, so that each
/// sample fades exponentially.
///
/// Attempts that were dropped are counted apart, in wider buckets. All times are in nanoseconds.
#[derive(Clone)]
pub(crate) struct ForgettingHistogram {
    finished: [u16; BUCKETS],
    /// The weight of dropped attempts in each bucket of a group, which is a quarter of the group's weight.
    dropped: [u16; GROUPS],
    /// The sum of all weights.
    total: u32,
    /// The state of the generator that decides which odd weights are rounded up when they are halved.
    rounding: u32,
}

impl ForgettingHistogram {
    pub(crate) const fn new() -> Self {
        Self {
            finished: [0; BUCKETS],
            dropped: [0; GROUPS],
            total: 0,
            rounding: 1,
        }
    }

    /// Returns about how many samples there are, in which older ones count less.
    pub(crate) const fn samples(&self) -> u32 {
        self.total.div_ceil(SAMPLE as u32)
    }

    /// Returns how many of the [`samples`](Self::samples) are attempts that were dropped.
    pub(crate) fn dropped(&self) -> u32 {
        let weight: u32 = self.dropped.iter().map(|&weight| u32::from(weight)).sum();
        weight * GROUP as u32 / u32::from(SAMPLE)
    }

    /// Counts an attempt that finished after `nanos`.
    pub(crate) fn add_finished(&mut self, nanos: u64) {
        if let Some(weight) = self.finished.get_mut(bucket_of(nanos))
            && let Some(sum) = weight.checked_add(SAMPLE)
        {
            *weight = sum;
            self.total += u32::from(SAMPLE);
        }
    }

    /// Counts an attempt that was dropped after `nanos`.
    pub(crate) fn add_dropped(&mut self, nanos: u64) {
        const EACH: u16 = SAMPLE / GROUP as u16;

        if let Some(weight) = self.dropped.get_mut(bucket_of(nanos) / GROUP)
            && let Some(sum) = weight.checked_add(EACH)
        {
            *weight = sum;
            self.total += u32::from(SAMPLE);
        }
    }

    /// Halves the weight of every sample.
    pub(crate) fn halve(&mut self) {
        for weight in self.finished.iter_mut().chain(&mut self.dropped) {
            // Odd weights are rounded up or down at random: if all of them were rounded down, the sparse
            // buckets of the tail would fade faster than the others. The generator has a period of 2³² − 1
            // (Marsaglia, "Xorshift RNGs", 2003).
            self.rounding ^= self.rounding << 13;
            self.rounding ^= self.rounding >> 17;
            self.rounding ^= self.rounding << 5;
            let up = (self.rounding >> 31) as u16;
            *weight = *weight / 2 + (*weight & up);
        }
        self.sum();
    }

    fn sum(&mut self) {
        self.total = self.rows().map(|row| row.weight(Which::All)).sum();
    }

    /// Forgets every sample.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Replaces all samples by these, which count as finished.
    pub(crate) fn restart_from(&mut self, samples: &CoarseHistogram) {
        const EACH: u16 = SAMPLE / GROUP as u16;

        self.clear();
        let (groups, _) = self.finished.as_chunks_mut::<GROUP>();
        for (group, count) in groups.iter_mut().zip(samples.0) {
            *group = [count.saturating_mul(EACH); GROUP];
        }
        self.sum();
    }

    fn weight(&self, bucket: usize) -> u64 {
        let finished = self.finished.get(bucket).copied().unwrap_or_default();
        let dropped = self.dropped.get(bucket / GROUP).copied();
        u64::from(finished) + u64::from(dropped.unwrap_or_default())
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = Row<'_>> + ExactSizeIterator {
        let (finished, _) = self.finished.as_chunks();
        let (dropped, _) = self.dropped.as_chunks();
        let rows = finished.iter().zip(dropped);
        rows.map(|(finished, dropped)| Row { finished, dropped })
    }
}

impl fmt::Debug for ForgettingHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForgettingHistogram")
            .field("samples", &self.samples())
            .finish_non_exhaustive()
    }
}
