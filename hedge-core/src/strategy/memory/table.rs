//! A memory as columns of numbers.

use core::iter;

use super::histogram::ForgettingHistogram;
use super::{LatencyMemory, MOST_RESTARTS, RunningMedian};
use crate::strategy::{ReadColumns, RestoreError, WriteColumns};
use crate::time::Instant;

impl LatencyMemory {
    /// Writes the memory: the lower bound and the weight of each bucket that is not empty, and the state of the
    /// estimates.
    pub(crate) fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        let mut memory = self.clone();
        memory.expire(now);
        memory.histogram.export(columns);
        let mut number = |name, value: f64| columns.column(name, &mut iter::once(value));
        number("samples", memory.samples.into());
        number("since_halving", memory.since_halving.into());
        number("median_fast_ns", memory.fast_median.nanos() as f64);
        number("median_slow_ns", memory.slow_median.nanos() as f64);
        number("restarts", memory.restarts.into());
        number("exceeded_share", memory.share.get().into());
        number("bucket_offset", memory.correction.offset());
    }

    /// Checks columns like [`restore`](Self::restore).
    #[cfg(feature = "alloc")]
    pub(crate) fn check(columns: &dyn ReadColumns) -> Result<(), RestoreError> {
        let mut memory = Self::new(super::Share::HALF);
        memory.restore(columns, Instant::ZERO)
    }

    /// Replaces the memory by what was exported, as if all samples had just arrived.
    pub(crate) fn restore(
        &mut self,
        columns: &dyn ReadColumns,
        now: Instant,
    ) -> Result<(), RestoreError> {
        if columns.column("latencies_us").is_some() {
            return Err(RestoreError::outdated("latencies_us"));
        }
        let most = RunningMedian::MOST as f64;
        let median = |name| columns.number(name, 0.0, most);
        let histogram = ForgettingHistogram::restore(columns)?;
        let samples = columns.number("samples", 0.0, u16::MAX.into())? as u16;
        // After a halving, a histogram holds at least about half of the shortest window. One that holds far fewer
        // samples is not warm, whatever `samples` says.
        let held = histogram.samples();
        let samples = if held < Self::LEAST_WINDOW / 4 {
            samples.min(held as u16)
        } else {
            samples
        };
        let since_halving = columns.number("since_halving", 0.0, u16::MAX.into())? as u16;
        let fast_median = RunningMedian::of(median("median_fast_ns")? as u64);
        let slow_median = RunningMedian::of(median("median_slow_ns")? as u64);
        // Two numbers that are missing in exports of versions that did not write them.
        let optional = |name, low| match columns.column(name) {
            Some(_) => columns.number(name, low, 1.0),
            None => Ok(0.0),
        };
        let exceeded = optional("exceeded_share", 0.0)?;
        let offset = optional("bucket_offset", -1.0)?;
        let restarts = columns.number("restarts", 0.0, MOST_RESTARTS.into())? as u8;

        self.clear();
        self.expiry.advance(now);
        self.expiry.young = histogram.clone();
        self.expiry.samples = samples;
        self.histogram = histogram;
        self.samples = samples;
        self.since_halving = since_halving.min(self.half_life - 1);
        if self.stretch_dropped {
            self.doubt(exceeded);
        }
        (self.fast_median, self.slow_median) = (fast_median, slow_median);
        self.restarts = restarts;
        if samples > 0 {
            self.refresh();
            self.correction.set_offset(offset);
            self.delay = self.correction.delay();
        }
        Ok(())
    }

    /// Gives the samples little weight if they were recorded under a lower percentile, which this share exceeded its
    /// delay.
    ///
    /// A primary whose hedge won was recorded shortly after the delay of that time. The delay of a higher percentile would
    /// lie among these samples, far too low, until they have faded.
    fn doubt(&mut self, exceeded: f64) {
        if exceeded <= 1.5 * f64::from(self.share.get()) {
            return;
        }
        let enough = self.start.needed(self.window()) as u32;
        while self.histogram.samples() > enough.saturating_mul(2) {
            self.histogram.halve();
            self.expiry.young.halve();
        }
        let left = self.histogram.samples() as u16;
        self.samples = self.samples.min(left);
        self.expiry.samples = self.expiry.samples.min(left);
    }
}
