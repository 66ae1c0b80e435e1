//! Estimates about future attempts.

use super::ForgettingHistogram;
use super::buckets::{BUCKETS, PER_OCTAVE, UNIT_BITS, bucket_of, edge};
use super::row::Which;
use crate::window::Entry;

impl ForgettingHistogram {
    /// Returns the share of hedges started after `delay` that would win, if hedges and primaries independently took as
    /// long as these samples. Dropped attempts count as finished.
    pub(crate) fn wins_after(&self, delay: u64) -> f32 {
        let (mut below, mut summed) = (0, 0);
        let (mut wins, mut hedges) = (0_u64, 0_u64);
        for bucket in bucket_of(delay)..BUCKETS {
            let weight = self.weight(bucket);
            let middle = edge(bucket).midpoint(edge(bucket + 1));
            if weight == 0 || middle <= delay {
                continue;
            }
            // Add the buckets of hedges that would finish before a primary of this bucket.
            let in_time = bucket_of(middle - delay);
            below += (summed..in_time).map(|at| self.weight(at)).sum::<u64>();
            summed = in_time;
            hedges += weight;
            wins += weight * below;
        }
        if hedges == 0 {
            return 0.0;
        }
        wins as f32 / (hedges as f32 * self.total as f32)
    }

    /// Returns the longest latency of an attempt that finished, rounded up to its bucket; zero if none did.
    pub(crate) fn longest_finished(&self) -> u64 {
        let last = self.finished.iter().rposition(|&weight| weight > 0);
        last.map_or(0, |bucket| edge(bucket + 1))
    }

    /// Returns the share of attempts that take longer than `nanos`, or at least as long if `dropped`. Dropped attempts
    /// count as lower bounds if `bounds`, which gives the product-limit estimate; else as finished.
    pub(crate) fn survival(&self, nanos: u64, dropped: bool, bounds: bool) -> f32 {
        let (last, mut at_risk, mut share) = (bucket_of(nanos), self.total, 1.0);
        for (nth, row) in self.rows().enumerate() {
            let first = nth * PER_OCTAVE;
            if first > last || at_risk == 0 {
                break;
            }
            if row.weight(Which::All) == 0 {
                continue;
            }
            for column in 0..PER_OCTAVE.min(last + 1 - first) {
                let finished = row.bucket(column, Which::Finished) as u32;
                let gone = row.bucket(column, Which::All) as u32;
                let ended = if bounds { finished } else { gone };
                let mut left = 1.0 - ended as f32 / at_risk.max(1) as f32;
                if first + column == last {
                    // In its bucket, a finished attempt lies in the middle, and a bound below all others.
                    left = if dropped { 1.0 } else { 0.5 * (1.0 + left) };
                }
                share *= left;
                at_risk = at_risk.saturating_sub(gone);
            }
        }
        // Count the next attempt as one more draw.
        let samples = self.samples() as f32;
        (share * samples + 1.0) / (samples + 1.0)
    }

    /// Fills `entries` with as many samples as fit, in ascending order and distributed like the histogram. Dropped
    /// attempts become lower bounds if `bounds`. Returns the number of samples.
    pub(crate) fn expand(&self, entries: &mut [Entry], bounds: bool) -> usize {
        let most = entries.len().min(self.samples() as usize);
        let each = most as f32 / self.total.max(1) as f32;
        // The number of samples still to be written; starting at a half rounds to nearest.
        let (mut finished, mut dropped, mut len) = (0.5_f32, 0.5_f32, 0);
        for (nth, row) in self.rows().enumerate() {
            if row.weight(Which::All) == 0 {
                continue;
            }
            for column in 0..PER_OCTAVE {
                let bucket = nth * PER_OCTAVE + column;
                let of_finished = row.bucket(column, Which::Finished);
                let of_dropped = row.bucket(column, Which::All) - of_finished;
                let start = len;
                for (owed, weight, is_bound) in [
                    (&mut finished, of_finished, false),
                    (&mut dropped, of_dropped, bounds),
                ] {
                    *owed += weight as f32 * each;
                    let count = *owed as usize;
                    *owed -= count as f32;
                    let (low, width) = (edge(bucket), edge(bucket + 1) - edge(bucket));
                    for at in 0..count as u64 {
                        let within = (width >> UNIT_BITS) * (2 * at + 1) / (2 * count as u64);
                        if let Some(slot) = entries.get_mut(len) {
                            *slot = Entry::lasting(low + (within << UNIT_BITS), is_bound);
                            len += 1;
                        }
                    }
                }
                if of_dropped > 0 {
                    entries
                        .get_mut(start..len)
                        .unwrap_or_default()
                        .sort_unstable();
                }
            }
        }
        len
    }
}
