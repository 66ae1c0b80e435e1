//! A histogram of latencies in constant memory.

use core::fmt;
use core::time::Duration;

use crate::time::nanos;

#[cfg(test)]
mod tests;

/// Values are counted in units of 2⁶ = 64 ns, so that even the narrowest bucket, which is one unit
/// wide, is within ± 3.2 % from 1 µs up.
const UNIT_BITS: u32 = 6;
/// There are 2⁴ = 16 buckets per octave: half a bucket is at most 1/32 of any value in it.
const OCTAVE_BITS: u32 = 4;
const PER_OCTAVE: usize = 1 << OCTAVE_BITS;
/// Values above 2⁴³ ns, which is 2 h 26 min, are counted in the last bucket.
const RANGE_BITS: u32 = 43;
/// The buckets of values below 16 units, which are linear, followed by those of the octaves.
const BUCKETS: usize = (RANGE_BITS - UNIT_BITS - OCTAVE_BITS + 1) as usize * PER_OCTAVE;

/// A log-linear histogram of durations, like HdrHistogram: 16 buckets of equal width per octave,
/// 4.3 KiB in total.
///
/// The middle of a bucket is within 3.2 % of every value in it, for values from 1 µs to 2 h 26 min;
/// below that, it is within 32 ns. Longer values are counted in the last bucket.
/// [`count`](Self::count), [`sum`](Self::sum), [`mean`](Self::mean), [`min`](Self::min) and
/// [`max`](Self::max) are exact. Merging the histograms of parts gives exactly the histogram of the
/// whole.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::metrics::Histogram;
///
/// let mut latencies = Histogram::new();
/// for ms in 1..=1000 {
///     latencies.record(Duration::from_millis(ms));
/// }
/// assert_eq!(latencies.count(), 1000);
/// assert_eq!(latencies.mean(), Some(Duration::from_micros(500_500)));
/// assert_eq!(latencies.max(), Some(Duration::from_secs(1)));
/// let p99 = latencies.quantile(0.99).unwrap().as_secs_f64();
/// assert!((p99 / 0.990 - 1.0).abs() < 0.032);
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Histogram {
    count: u64,
    /// In nanoseconds, like the next two fields. This is wide enough for 2⁶⁴ values of 584 years.
    sum: u128,
    /// The complement of the minimum, so that an empty histogram is all zeros. Neither a `static`
    /// nor `reset` then needs an image of it in flash.
    not_min: u64,
    max: u64,
    buckets: [u64; BUCKETS],
}

impl Histogram {
    /// Creates an empty histogram.
    pub const fn new() -> Self {
        Self {
            count: 0,
            sum: 0,
            not_min: 0,
            max: 0,
            buckets: [0; BUCKETS],
        }
    }

    /// Records `value`, limited to 584 years.
    pub fn record(&mut self, value: Duration) {
        self.record_nanos(nanos(value));
    }

    pub(crate) fn record_nanos(&mut self, value: u64) {
        let mut batch = self.batch();
        batch.record_nanos(value);
        batch.finish();
    }

    /// Returns a batch, which records many values at a lower cost.
    pub(crate) fn batch(&mut self) -> Batch<'_> {
        Batch {
            count: 0,
            sum: 0,
            not_min: self.not_min,
            max: self.max,
            histogram: self,
        }
    }

    fn count_in_bucket(&mut self, value: u64) {
        if let Some(bucket) = self.buckets.get_mut(index(value)) {
            *bucket = bucket.saturating_add(1);
        }
    }

    /// Returns the number of values.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of all values, at most [`Duration::MAX`].
    pub fn sum(&self) -> Duration {
        const GIGA: u128 = 1_000_000_000;
        u64::try_from(self.sum / GIGA).map_or(Duration::MAX, |secs| {
            Duration::new(secs, (self.sum % GIGA) as u32)
        })
    }

    /// Returns the smallest value; `None` if the histogram is empty.
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_nanos(!self.not_min))
    }

    /// Returns the largest value; `None` if the histogram is empty.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_nanos(self.max))
    }

    /// Returns the arithmetic mean, rounded down to the nanosecond; `None` if the histogram is
    /// empty.
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(self.count.into())?;
        Some(Duration::from_nanos(
            u64::try_from(mean).unwrap_or(u64::MAX),
        ))
    }

    /// Returns the `q`-quantile, with `q` from 0 to 1; `None` if the histogram is empty.
    ///
    /// The quantile is the value of rank ⌈`q` n⌉ of n, as in HdrHistogram. The result is the middle
    /// of that value's bucket, limited to the smallest and the largest value. A `q` out of range is
    /// clamped, and NaN counts as 0.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::metrics::Histogram;
    ///
    /// let mut latencies = Histogram::new();
    /// assert_eq!(latencies.quantile(0.5), None);
    /// latencies.record(Duration::from_millis(20));
    /// assert_eq!(latencies.quantile(0.5), Some(Duration::from_millis(20)));
    /// ```
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.quantiles([q]).map(|[value]| value)
    }

    /// Returns several quantiles, in any order, in one pass over the buckets.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::metrics::Histogram;
    ///
    /// let mut latencies = Histogram::new();
    /// latencies.record(Duration::from_millis(10));
    /// latencies.record(Duration::from_millis(20));
    /// let [smallest, largest] = latencies.quantiles([0.0, 1.0]).unwrap();
    /// assert_eq!(smallest, Duration::from_millis(10));
    /// assert_eq!(largest, Duration::from_millis(20));
    /// ```
    pub fn quantiles<const K: usize>(&self, q: [f64; K]) -> Option<[Duration; K]> {
        if self.count == 0 {
            return None;
        }
        let (min, max) = (!self.not_min, self.max);
        let ranks = q.map(|q| self.rank(q));
        // The first and the last value are known exactly.
        let mut values = ranks.map(|rank| if rank == 1 { min } else { max });
        let mut below = 0u64;
        for (index, count) in self.filled() {
            let through = below.saturating_add(count);
            for (value, &rank) in values.iter_mut().zip(&ranks) {
                if below < rank && rank <= through && 1 < rank && rank < self.count {
                    *value = middle(index).max(min).min(max);
                }
            }
            below = through;
        }
        Some(values.map(Duration::from_nanos))
    }

    /// Returns ⌈`q` n⌉, clamped to 1 to n.
    fn rank(&self, q: f64) -> u64 {
        // The cast saturates, and converts NaN to 0.
        let rank = libm::ceil(q * self.count as f64) as u64;
        rank.max(1).min(self.count)
    }

    /// Returns the bounds of the value of this rank in nanoseconds; `None` if there are not so many values, or for rank 0.
    #[cfg(feature = "alloc")]
    pub(crate) fn bounds_of_rank(&self, rank: u64) -> Option<(u64, u64)> {
        let mut through = 0u64;
        self.filled().find_map(|(index, count)| {
            through = through.saturating_add(count);
            let (low, high) = bounds(index);
            let here = rank > 0 && rank <= through;
            here.then(|| (low.max(!self.not_min), high.min(self.max)))
        })
    }

    /// Returns how many values are at most `nanos` for certain, and how many may be.
    #[cfg(feature = "alloc")]
    pub(crate) fn count_within(&self, nanos: u64) -> (u64, u64) {
        self.filled()
            .fold((0, 0), |(surely, perhaps), (index, count)| {
                let (low, high) = bounds(index);
                let (low, high) = (low.max(!self.not_min), high.min(self.max));
                let count_if = |counted| if counted { count } else { 0 };
                (
                    surely + count_if(high <= nanos),
                    perhaps + count_if(low <= nanos),
                )
            })
    }

    /// Returns the non-empty buckets, for exporters: the largest value that each one takes, which
    /// is [`Duration::MAX`] for the last bucket, and the number of its values.
    ///
    /// A bound is part of its bucket, as with the `le` label of Prometheus.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::metrics::Histogram;
    ///
    /// let mut latencies = Histogram::new();
    /// latencies.record(Duration::from_nanos(1024));
    /// latencies.record(Duration::from_nanos(1025));
    /// latencies.record(Duration::from_nanos(1026));
    /// let mut buckets = latencies.buckets();
    /// assert_eq!(buckets.next(), Some((Duration::from_nanos(1024), 1)));
    /// assert_eq!(buckets.next(), Some((Duration::from_nanos(1088), 2)));
    /// assert_eq!(buckets.next(), None);
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.filled().map(|(index, count)| {
            let bound = match index {
                LAST => Duration::MAX,
                _ => Duration::from_nanos(bounds(index).1),
            };
            (bound, count)
        })
    }

    fn filled(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let all = self.buckets.iter().copied().enumerate();
        all.filter(|&(_, count)| count > 0)
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.not_min = self.not_min.max(other.not_min);
        self.max = self.max.max(other.max);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Removes all values.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

/// A batch of values to record. It holds the totals separately, since the compiler would otherwise
/// write them to memory with each bucket.
pub(crate) struct Batch<'h> {
    count: u64,
    sum: u128,
    not_min: u64,
    max: u64,
    histogram: &'h mut Histogram,
}

impl Batch<'_> {
    /// Records a value in nanoseconds.
    pub(crate) fn record_nanos(&mut self, value: u64) {
        self.count += 1;
        self.sum += u128::from(value);
        self.not_min = self.not_min.max(!value);
        self.max = self.max.max(value);
        self.histogram.count_in_bucket(value);
    }

    /// Adds the totals to the histogram and returns how many values were recorded.
    pub(crate) fn finish(self) -> u64 {
        let histogram = self.histogram;
        histogram.count = histogram.count.saturating_add(self.count);
        histogram.sum = histogram.sum.saturating_add(self.sum);
        (histogram.not_min, histogram.max) = (self.not_min, self.max);
        self.count
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    /// Writes a summary, since the buckets would fill a screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("min", &self.min())
            .field("mean", &self.mean())
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

const LAST: usize = BUCKETS - 1;

/// Returns the bucket of `nanos`.
const fn index(nanos: u64) -> usize {
    // Subtract one, so that a bucket includes its upper bound and not its lower.
    let units = nanos.saturating_sub(1) >> UNIT_BITS;
    // The first 32 buckets are one unit wide, and each octave after that has buckets twice as wide
    // as the octave before. The top five bits select the bucket within the octave.
    let octave = u64::BITS - 1 - (units | PER_OCTAVE as u64).leading_zeros();
    let shift = octave - OCTAVE_BITS;
    let index = shift as usize * PER_OCTAVE + (units >> shift) as usize;
    if index < LAST { index } else { LAST }
}

/// Returns the bounds of a bucket in nanoseconds. It includes the upper bound and not the lower.
const fn bounds(index: usize) -> (u64, u64) {
    let shift = (index / PER_OCTAVE).saturating_sub(1);
    let units = (index - shift * PER_OCTAVE) as u64;
    let scale = shift as u32 + UNIT_BITS;
    (units << scale, (units + 1) << scale)
}

const fn middle(index: usize) -> u64 {
    let (lower, upper) = bounds(index);
    lower.midpoint(upper)
}
