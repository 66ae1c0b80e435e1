//! A histogram of latencies whose counts fade.

use core::fmt;

use crate::strategy::{ReadColumns, RestoreError, WriteColumns};
use crate::window::Entry;

/// Buckets in an octave, the range from one power of two to the next.
const PER_OCTAVE: usize = 16;
/// `log2(PER_OCTAVE)`.
const OCTAVE_BITS: u32 = PER_OCTAVE.trailing_zeros();
/// A unit is 256 ns: below 16 units, 4 µs, buckets are one unit wide.
const UNIT_BITS: u32 = 8;
/// The first row covers 16 units, and each of the others an octave: up to 9.7 hours.
const ROWS: usize = 34;
const BUCKETS: usize = ROWS * PER_OCTAVE;

/// How many buckets share one count of dropped attempts. An attempt that a hedge overtook is recorded at
/// 1.25 × its delay or more, and a group of 4 of the 16 buckets of an octave is at most a quarter wide:
/// so it never shares a group with its delay.
pub(super) const GROUP: usize = 4;
const GROUPS: usize = BUCKETS / GROUP;
const GROUPS_PER_ROW: usize = PER_OCTAVE / GROUP;

/// What one sample weighs, so that it can be halved twice before it is rounded.
pub(super) const SAMPLE: u16 = 4;

/// A share between 0 and 1 in units of 2⁻³². Microcontrollers have no `f64`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Share(u32);

impl Share {
    pub(crate) const HALF: Self = Self(1 << 31);

    /// The share of attempts that take longer than this percentile, which is clamped to 50 and 99.9; a
    /// NaN counts as 99.9.
    pub(crate) const fn above(percent: f64) -> Self {
        let percent = if percent < 50.0 {
            50.0
        } else if percent <= 99.9 {
            percent
        } else {
            99.9
        };
        Self(((100.0 - percent) * (4_294_967_296.0 / 100.0)) as u32)
    }

    /// The nearest share that can be expressed.
    pub(crate) const fn of(share: f32) -> Self {
        Self((share as f64 * 4_294_967_296.0) as u32)
    }

    pub(crate) const fn tenths(self, tenths: u8) -> Self {
        Self((self.0 as u64 * tenths as u64 / 10) as u32)
    }

    pub(crate) const fn get(self) -> f32 {
        self.0 as f32 / 4_294_967_296.0
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }
}

/// Counts latencies in log-linear buckets, 16 an octave, and halves all counts at intervals, so that each
/// sample fades exponentially.
///
/// Attempts that were dropped are counted apart, in wider buckets. All times are in nanoseconds.
#[derive(Clone)]
pub(crate) struct ForgettingHistogram {
    finished: [u16; BUCKETS],
    /// What a dropped attempt adds to each bucket of a group: a quarter of its weight.
    dropped: [u16; GROUPS],
    /// The sum of all weights.
    total: u32,
    /// The state of the generator that decides which odd weights are rounded up when they are halved.
    rounding: u32,
}

/// Which samples to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Which {
    All,
    Finished,
}

/// Where a quantile lies.
struct Place {
    bucket: usize,
    /// The weight of the bucket.
    weight: u64,
    /// How much of that lies above the quantile, in units of 2⁻¹⁶.
    above: u64,
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

    /// About how many samples there are, with those that have faded counting for less.
    pub(crate) const fn samples(&self) -> u32 {
        self.total.div_ceil(SAMPLE as u32)
    }

    /// How many of [`samples`](Self::samples) are attempts that were dropped.
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

    /// Writes where each bucket that is not empty begins, and its weight.
    pub(crate) fn export(&self, columns: &mut dyn WriteColumns) {
        let finished = || weights(&self.finished, 1);
        let dropped = || weights(&self.dropped, GROUP);
        columns.column("finished_from_ns", &mut finished().map(|(from, _)| from));
        columns.column(
            "finished_weights",
            &mut finished().map(|(_, weight)| weight),
        );
        columns.column("dropped_from_ns", &mut dropped().map(|(from, _)| from));
        columns.column("dropped_weights", &mut dropped().map(|(_, weight)| weight));
    }

    /// What was written.
    pub(crate) fn restore(columns: &dyn ReadColumns) -> Result<Self, RestoreError> {
        let mut restored = Self::new();
        fill(
            &mut restored.finished,
            1,
            columns,
            ["finished_from_ns", "finished_weights"],
        )?;
        fill(
            &mut restored.dropped,
            GROUP,
            columns,
            ["dropped_from_ns", "dropped_weights"],
        )?;
        restored.sum();
        Ok(restored)
    }

    fn sum(&mut self) {
        self.total = self.rows().map(|row| row.weight(Which::All)).sum();
    }

    /// Forgets every sample.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Takes these samples, as if all of them had finished, in place of those there are.
    pub(crate) fn restart_from(&mut self, samples: &CoarseHistogram) {
        const EACH: u16 = SAMPLE / GROUP as u16;

        self.clear();
        let (groups, _) = self.finished.as_chunks_mut::<GROUP>();
        for (group, count) in groups.iter_mut().zip(samples.0) {
            *group = [count.saturating_mul(EACH); GROUP];
        }
        self.sum();
    }

    /// Looks up quantiles, several of them in one pass over the buckets.
    pub(crate) fn quantiles(&self) -> Quantiles<'_> {
        let (mut all, mut finished) = ([0; ROWS], [0; ROWS]);
        for (row, (all, finished)) in self.rows().zip(all.iter_mut().zip(&mut finished)) {
            *finished = row.weight(Which::Finished);
            *all = row.weight(Which::All);
        }
        Quantiles {
            histogram: self,
            all,
            finished,
        }
    }

    /// The share of the hedges started after `delay` that would win if they took as long as these samples,
    /// whatever their primary takes. What was dropped counts as if it had finished then.
    pub(crate) fn wins_after(&self, delay: u64) -> f32 {
        let (mut below, mut summed) = (0, 0);
        let (mut wins, mut hedges) = (0_u64, 0_u64);
        for bucket in bucket_of(delay)..BUCKETS {
            let weight = self.weight(bucket);
            let middle = edge(bucket).midpoint(edge(bucket + 1));
            if weight == 0 || middle <= delay {
                continue;
            }
            // Buckets that a hedge has time for.
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

    /// The longest latency of an attempt that finished, to within a bucket; zero if none did.
    pub(crate) fn longest_finished(&self) -> u64 {
        let last = self.finished.iter().rposition(|&weight| weight > 0);
        last.map_or(0, |bucket| edge(bucket + 1))
    }

    /// The share of attempts that take longer than `nanos`, or that take at least as long if `dropped`. Those that were
    /// dropped count as if they had finished then, or as a bound if `bounds`: then the estimate is that of
    /// the product limit.
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
                    // It lies amid those of its bucket, and a bound below them.
                    left = if dropped { 1.0 } else { 0.5 * (1.0 + left) };
                }
                share *= left;
                at_risk = at_risk.saturating_sub(gone);
            }
        }
        // The attempt to come is one more draw.
        let samples = self.samples() as f32;
        (share * samples + 1.0) / (samples + 1.0)
    }

    /// Fills `entries` with as many samples as fit, ascending and spread like those there are. What was dropped is a bound
    /// if `bounds`. Returns how many they are.
    pub(crate) fn expand(&self, entries: &mut [Entry], bounds: bool) -> usize {
        let most = entries.len().min(self.samples() as usize);
        let each = most as f32 / self.total.max(1) as f32;
        // How many samples are owed: half a sample ahead, so that each stands for what lies around it.
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

/// Quantiles of a [`ForgettingHistogram`].
pub(crate) struct Quantiles<'a> {
    histogram: &'a ForgettingHistogram,
    /// The weight of each row.
    all: [u32; ROWS],
    finished: [u32; ROWS],
}

impl Quantiles<'_> {
    /// The latency that a share `above` of all samples exceed, those that were dropped counting as if they
    /// had finished then: 0 if there is no sample, and `u64::MAX` if it is out of range.
    pub(crate) fn of_all(&self, above: Share) -> u64 {
        let Some(place) = self.find(above, Which::All) else {
            return 0;
        };
        between(&place, self.depth(&place))
    }

    /// The latency that a share `above` of the attempts that finished exceed: `u64::MAX` if none finished.
    pub(crate) fn of_finished(&self, above: Share) -> u64 {
        let Some(place) = self.find(above, Which::Finished) else {
            return u64::MAX;
        };
        between(&place, place.above / place.weight)
    }

    /// Walks down from the longest samples until a share `above` of them has been passed.
    fn find(&self, above: Share, which: Which) -> Option<Place> {
        let rows = match which {
            Which::All => &self.all,
            Which::Finished => &self.finished,
        };
        let total: u32 = rows.iter().sum();
        let mut above = (u64::from(total) * u64::from(above.0)) >> 16;
        // Whether the quantile lies among so many, which come next.
        let mut holds = |weight: u64| {
            let weight = weight << 16;
            let holds = weight > 0 && weight >= above;
            above -= if holds { 0 } else { weight };
            holds
        };
        let nth = rows.iter().rposition(|weight| holds((*weight).into()))?;
        let row = self.histogram.rows().nth(nth)?;
        let column = (0..PER_OCTAVE).rfind(|column| holds(row.bucket(*column, which)))?;
        Some(Place {
            bucket: nth * PER_OCTAVE + column,
            weight: row.bucket(column, which),
            above,
        })
    }

    /// How far below the upper end of its bucket the quantile is, as a share of the bucket's width in units
    /// of 2⁻¹⁶, if the density changes across the bucket as it does between its neighbours.
    fn depth(&self, place: &Place) -> u64 {
        const ONE: i64 = 1 << 16;

        let at = place.bucket;
        // The weights of the neighbours if they were as wide as this bucket.
        let scaled = |other: usize| {
            let (width, other_width) = (edge(at + 1) - edge(at), edge(other + 1) - edge(other));
            (self.histogram.weight(other) << 8) * (width >> UNIT_BITS) / (other_width >> UNIT_BITS)
        };
        let (higher, lower) = (scaled(at + 1) as i64, scaled(at.saturating_sub(1)) as i64);
        let weight = place.weight as i64;
        let slope = (((higher - lower) << 7) / weight).clamp(-ONE, ONE);
        let linear = place.above as i64 / weight;
        let mut depth = linear;
        for _ in 0..4 {
            let density = ONE + ((slope * (ONE - depth)) >> 17);
            depth = ((linear << 16) / density.max(1)).clamp(0, ONE);
        }
        depth as u64
    }
}

/// Counts a few latencies in buckets a quarter of an octave wide.
#[derive(Clone)]
pub(crate) struct CoarseHistogram([u16; GROUPS]);

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

impl fmt::Debug for ForgettingHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForgettingHistogram")
            .field("samples", &self.samples())
            .finish_non_exhaustive()
    }
}

/// The buckets of an octave.
struct Row<'a> {
    finished: &'a [u16; PER_OCTAVE],
    dropped: &'a [u16; GROUPS_PER_ROW],
}

impl Row<'_> {
    fn weight(&self, which: Which) -> u32 {
        let finished: u32 = self.finished.iter().map(|&weight| u32::from(weight)).sum();
        if which == Which::Finished {
            return finished;
        }
        let dropped: u32 = self.dropped.iter().map(|&weight| u32::from(weight)).sum();
        finished + dropped * GROUP as u32
    }

    fn bucket(&self, column: usize, which: Which) -> u64 {
        let finished = self.finished.get(column).copied().unwrap_or_default();
        let dropped = match which {
            Which::All => self.dropped.get(column / GROUP).copied(),
            Which::Finished => None,
        };
        u64::from(finished) + u64::from(dropped.unwrap_or_default())
    }
}

/// The latency so far below the upper end of its bucket, as a share of the bucket's width in units of 2⁻¹⁶;
/// `u64::MAX` in the last bucket.
fn between(place: &Place, depth: u64) -> u64 {
    if place.bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let (low, high) = (edge(place.bucket), edge(place.bucket + 1));
    high - ((((high - low) >> UNIT_BITS) * depth) << UNIT_BITS >> 16)
}

/// Where each of these that is not zero begins, in nanoseconds, and what it is. They are `width` buckets wide.
fn weights(weights: &[u16], width: usize) -> impl Iterator<Item = (f64, f64)> {
    let weights = weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 0);
    weights.map(move |(at, weight)| (edge(at * width) as f64, f64::from(*weight)))
}

/// The inverse of [`weights`].
fn fill(
    slots: &mut [u16],
    width: usize,
    columns: &dyn ReadColumns,
    [from, weights]: [&'static str; 2],
) -> Result<(), RestoreError> {
    let from = columns.numbers(from, 0.0, edge(BUCKETS) as f64)?;
    let weights = columns.exactly(from.len(), weights, 0.0, u16::MAX.into())?;
    for (from, weight) in from.iter().zip(weights) {
        if let Some(slot) = slots.get_mut(bucket_of(*from as u64) / width) {
            *slot = slot.saturating_add(*weight as u16);
        }
    }
    Ok(())
}

/// Which bucket a latency falls into. The last one also takes all that is longer.
fn bucket_of(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < PER_OCTAVE as u64 {
        return units as usize;
    }
    let octave = units.ilog2() - OCTAVE_BITS;
    let column = (units >> octave) as usize - PER_OCTAVE;
    let row = octave as usize + 1;
    (row * PER_OCTAVE + column).min(BUCKETS - 1)
}

/// Where a bucket begins.
fn edge(bucket: usize) -> u64 {
    let (row, column) = (bucket / PER_OCTAVE, (bucket % PER_OCTAVE) as u64);
    if row == 0 {
        return column << UNIT_BITS;
    }
    (PER_OCTAVE as u64 + column) << (row as u32 - 1 + UNIT_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn every_latency_lies_within_its_bucket() {
        let mut nanos = 0_u64;
        while nanos < edge(BUCKETS) {
            let bucket = bucket_of(nanos);
            assert!(edge(bucket) <= nanos && nanos < edge(bucket + 1), "{nanos}");
            nanos += nanos / 100 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        // 9.7 hours.
        assert!(edge(BUCKETS) / 1_000_000_000 > 35_000);
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(edge(bucket)), bucket);
        }
        for bucket in PER_OCTAVE..BUCKETS {
            let width = edge(bucket + 1) - edge(bucket);
            assert!(width * 16 <= edge(bucket), "{bucket}");
        }
    }

    #[test]
    fn a_quantile_is_the_latency_that_so_many_exceed() {
        for scale in [1, 1_000, MS, 1000 * MS] {
            let mut histogram = ForgettingHistogram::new();
            (0..1000).for_each(|n| histogram.add_finished(scale * 10_000 + n * scale * 10));
            for percent in [50.0, 90.0, 95.0, 99.0] {
                let found = histogram.quantiles().of_all(Share::above(percent)) as f64;
                let expected = scale as f64 * (10_000.0 + 100.0 * percent);
                let off = found / expected - 1.0;
                // The highest bucket is not full.
                assert!(off.abs() < 0.02, "{scale} {percent}: {found} {expected}");
            }
        }
    }

    /// Within a bucket of an exponential tail more samples are short than long.
    #[test]
    fn interpolation_follows_the_slope() {
        let mut histogram = ForgettingHistogram::new();
        let latency = |n: u32| -100e6 * libm::log((f64::from(n) + 0.5) / 15_000.0);
        (0..15_000).for_each(|n| histogram.add_finished(latency(n) as u64));
        for percent in [90.0, 93.0, 95.0, 97.0, 99.0] {
            let found = histogram.quantiles().of_all(Share::above(percent)) as f64;
            let share = 100.0 * libm::exp(-found / 100e6);
            let off = share / (100.0 - percent) - 1.0;
            assert!(off.abs() < 0.01, "{percent}: {off}");
        }
    }

    #[test]
    fn dropped_attempts_count_but_not_as_finished() {
        let mut histogram = ForgettingHistogram::new();
        (0..90).for_each(|_| histogram.add_finished(10 * MS));
        (0..10).for_each(|_| histogram.add_dropped(400 * MS));
        assert_eq!((histogram.samples(), histogram.dropped()), (100, 10));
        let all = histogram.quantiles().of_all(Share::above(95.0));
        assert!((350 * MS..450 * MS).contains(&all), "{all}");
        let finished = histogram.quantiles().of_finished(Share::above(99.0));
        assert!((10 * MS..11 * MS).contains(&finished), "{finished}");
        let dropped_only = {
            let mut histogram = ForgettingHistogram::new();
            histogram.add_dropped(5);
            histogram.quantiles().of_finished(Share::HALF)
        };
        assert_eq!(dropped_only, u64::MAX);
    }

    #[test]
    fn an_empty_histogram_and_what_is_out_of_range() {
        let mut histogram = ForgettingHistogram::new();
        assert_eq!(histogram.quantiles().of_all(Share::HALF), 0);
        assert_eq!(histogram.wins_after(0), 0.0);
        histogram.add_finished(u64::MAX);
        assert_eq!(histogram.quantiles().of_all(Share::HALF), u64::MAX);
    }

    /// Sparse buckets fade as fast as full ones.
    #[test]
    fn halving_keeps_the_shape() {
        let mut histogram = ForgettingHistogram::new();
        (0..6000).for_each(|_| histogram.add_finished(10 * MS));
        // One in each of 300 buckets.
        for bucket in bucket_of(20 * MS)..bucket_of(20 * MS) + 300 {
            histogram.add_finished(edge(bucket));
        }
        for round in 0..6 {
            let tail = 300.0 / 6300.0;
            let above: u64 = (bucket_of(20 * MS)..BUCKETS)
                .map(|bucket| histogram.weight(bucket))
                .sum();
            let found = above as f64 / f64::from(histogram.total);
            assert!((found / tail - 1.0).abs() < 0.2, "{round}: {found}");
            histogram.halve();
        }
        (0..20).for_each(|_| histogram.halve());
        assert_eq!(histogram.samples(), 0);
    }

    #[test]
    fn counts_saturate() {
        let mut histogram = ForgettingHistogram::new();
        (0..100_000).for_each(|_| histogram.add_finished(10 * MS));
        (0..100_000).for_each(|_| histogram.add_dropped(10 * MS));
        assert!(histogram.samples() > 16_000);
        let sum: u32 = histogram.rows().map(|row| row.weight(Which::All)).sum();
        assert_eq!(sum, histogram.total);
        assert!((8 * MS..11 * MS).contains(&histogram.quantiles().of_all(Share::HALF)));
    }

    #[test]
    fn hedges_win_as_often_as_two_draws_say() {
        let mut histogram = ForgettingHistogram::new();
        (0..970).for_each(|_| histogram.add_finished(10 * MS));
        (0..30).for_each(|_| histogram.add_finished(400 * MS));
        assert_eq!(histogram.wins_after(20 * MS), 0.97);
        // Too late for any.
        assert_eq!(histogram.wins_after(395 * MS), 0.0);
        // The exponential distribution has no memory: half win.
        let mut histogram = ForgettingHistogram::new();
        let latency = |n: u32| -100e6 * libm::log((f64::from(n) + 0.5) / 4000.0);
        (0..4000).for_each(|n| histogram.add_finished(latency(n) as u64));
        let wins = histogram.wins_after(250 * MS);
        assert!((0.47..0.53).contains(&wins), "{wins}");
    }

    #[test]
    fn it_is_small_and_can_be_a_static() {
        static EMPTY: ForgettingHistogram = ForgettingHistogram::new();
        assert_eq!(EMPTY.samples(), 0);
        assert!(size_of::<ForgettingHistogram>() <= 1400);
    }

    #[test]
    fn shares_are_clamped() {
        let bits = |percent| Share::above(percent).bits();
        assert_eq!(bits(50.0), 1 << 31);
        assert_eq!(bits(0.0), 1 << 31);
        assert_eq!(bits(f64::NAN), bits(99.9));
        assert_eq!(bits(100.0), bits(99.9));
        assert!(bits(99.9).abs_diff(4_294_967) <= 1);
    }
}
