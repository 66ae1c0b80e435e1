//! The last latencies of a backend, in order of arrival and in ascending order.
//!
//! An attempt that was dropped is *censored*: it would have taken longer than its sample says. If
//! it were counted as finished at that time, every percentile would be too low, and hedges, which
//! drop the slowest attempts, would cause more hedges. Percentiles therefore come from the
//! product-limit estimate of the distribution (Kaplan and Meier, 1958).

use core::cmp::Ordering;
use core::fmt;
use core::time::Duration;

use crate::record::{AttemptEnd, Record, Sample};
use crate::time::{Instant, nanos};

use ages::Ages;

mod ages;
mod draw;
#[cfg(test)]
mod tests;

/// The last `size` ≤ `N` latencies, to the microsecond.
#[derive(Clone)]
pub(crate) struct Window<const N: usize> {
    /// A ring buffer of `size` entries in order of arrival, starting at `oldest`.
    ring: [Entry; N],
    /// The entries in ascending order.
    sorted: [Entry; N],
    /// Small integers save memory in the smallest windows, which are used on microcontrollers.
    size: u16,
    len: u16,
    oldest: u16,
    /// The index of the first censored entry in `sorted`; `len` if there is none.
    first_censored: u16,
    ages: Ages,
}

/// One in fixed-point arithmetic: microcontrollers have no `f64` hardware.
const ONE: u64 = 1 << 32;

impl<const N: usize> Window<N> {
    /// The greatest size of a window.
    pub(crate) const LIMIT: usize = u16::MAX as usize;

    /// Creates an empty window of `size` samples, clamped to 1 to `N`. Samples expire after
    /// `max_age`.
    pub(crate) const fn new(size: usize, max_age: Option<Duration>) -> Self {
        const {
            assert!(
                N > 0 && N <= Self::LIMIT,
                "a window holds 1 to 65535 samples"
            )
        };
        let size = if size < N { size } else { N };
        Self {
            ring: [Entry::ZERO; N],
            sorted: [Entry::ZERO; N],
            size: if size > 0 { size as u16 } else { 1 },
            len: 0,
            oldest: 0,
            first_censored: 0,
            ages: Ages::new(max_age),
        }
    }

    /// Returns the number of samples.
    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }

    /// Returns how many samples fit.
    pub(crate) fn size(&self) -> usize {
        self.size.into()
    }

    /// Returns the number of censored samples.
    pub(crate) fn censored(&self) -> usize {
        let rest = self.sorted().get(self.first_censored.into()..);
        let rest = rest.unwrap_or_default();
        rest.iter().filter(|entry| entry.is_censored()).count()
    }

    /// Returns the age at which samples expire, if set.
    pub(crate) const fn max_age(&self) -> Option<Duration> {
        self.ages.max_age()
    }

    /// Removes all samples.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.oldest = 0;
        self.first_censored = 0;
        self.ages.clear();
    }

    /// Adds the duration of an attempt, and replaces the oldest sample if the window is full.
    ///
    /// Failures are ignored, and so are attempts that were dropped immediately, which carry no
    /// information. Returns whether the sample was added.
    ///
    /// Latencies are rounded up and censored durations down, so that neither claims more than was
    /// observed.
    pub(crate) fn push(&mut self, sample: Sample, now: Instant) -> bool {
        Entry::of(sample).is_some_and(|entry| self.push_entry(entry, now))
    }

    /// Adds the durations of the primaries in `records`. Returns how many samples were added.
    pub(crate) fn push_batch(&mut self, records: &[Record]) -> usize {
        let entries = records
            .iter()
            .filter_map(|record| Some((Entry::primary(record)?, record.ended_at)));
        if !FAST || self.len < self.size || !self.ages.never() {
            return entries
                .filter(|&(entry, now)| self.push_entry(entry, now))
                .count();
        }
        // The window is full and its samples do not expire, so only the order changes.
        let mut oldest = self.oldest;
        let mut added = 0;
        for (entry, _) in entries {
            if entry.is_uninformative() {
                continue;
            }
            let Some(slot) = self.ring.get_mut(usize::from(oldest)) else {
                break;
            };
            let old = core::mem::replace(slot, entry);
            oldest = self.after(oldest, 1);
            self.replace_sorted(old, entry);
            added += 1;
        }
        self.oldest = oldest;
        added
    }

    fn push_entry(&mut self, entry: Entry, now: Instant) -> bool {
        if entry.is_uninformative() {
            return false;
        }
        self.expire(now);
        if FAST && self.len == self.size {
            let Some(slot) = self.ring.get_mut(usize::from(self.oldest)) else {
                return false;
            };
            let old = core::mem::replace(slot, entry);
            self.oldest = self.after(self.oldest, 1);
            self.ages.evict();
            self.replace_sorted(old, entry);
        } else {
            if self.len == self.size {
                self.ages.evict();
                self.remove_oldest();
            }
            let next = self.after(self.oldest, self.len);
            if let Some(slot) = self.ring.get_mut(usize::from(next)) {
                *slot = entry;
            }
            self.insert_sorted(entry);
        }
        self.ages.add();
        true
    }

    /// Removes expired samples. Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        if self.ages.never() {
            return false;
        }
        let expired = self.ages.advance(now).min(self.len);
        if expired == self.len {
            self.clear();
            return expired > 0;
        }
        (0..expired).for_each(|_| self.remove_oldest());
        expired > 0
    }

    #[cfg_attr(not(feature = "std"), inline(never))]
    fn remove_oldest(&mut self) {
        if let Some(&old) = self.ring.get(usize::from(self.oldest)) {
            self.oldest = self.after(self.oldest, 1);
            self.remove_sorted(old);
        }
    }

    /// Returns the latency, in nanoseconds, that a share of the attempts exceeds, `above` in units of 2⁻³²; `None` if
    /// there are no samples. Below, p is the share that does not exceed it.
    ///
    /// The result is the smallest observed latency t with S(t) · n ≤ n − p (n + 1), where n is the
    /// number of samples and S the product-limit estimate of the share of attempts that take longer
    /// than t. Without smaller censored samples, it is the sample of rank ⌈p (n + 1)⌉ (n + 1, since
    /// the next attempt is one more draw). If p (n + 1) > n, or if censored samples keep the curve
    /// above that level, it is the largest entry.
    ///
    /// Computed by redistribution to the right (Efron, 1967): every sample starts with a mass of 1,
    /// and a censored sample distributes its mass equally among the samples above it. The mass per
    /// sample is therefore constant between runs of censored samples.
    pub(crate) fn exceeded_by(&self, above: u64) -> Option<u64> {
        /// Tolerates rounding errors, so that a curve that reaches the level exactly counts.
        const SLACK: u64 = 1 << 16;

        let sorted = self.sorted();
        let n = sorted.len() as u64;
        let last = sorted.len().checked_sub(1)?;
        // The number of samples that may lie above the result, in units of the current mass per sample.
        let mut above = (above * (n + 1)).saturating_sub(ONE) + SLACK;
        let mut at = last.saturating_sub((above / ONE) as usize);
        let mut mark = usize::from(self.first_censored);
        while mark <= at {
            let run = sorted.get(mark..).unwrap_or_default();
            let run = run.iter().take_while(|entry| entry.is_censored()).count();
            let end = mark + run.max(1);
            if end > last {
                at = last;
                break;
            }
            let (more, all) = (sorted.len() - end, sorted.len() - mark);
            above = above.saturating_mul(more as u64) / all as u64;
            at = last.saturating_sub((above / ONE) as usize).max(end);
            let events = sorted.get(end..=at).unwrap_or_default();
            mark = end + leading_events(events);
        }
        sorted.get(at).map(|entry| 1000 * entry.micros())
    }

    /// Returns the estimated share of hedges started after `delay` nanoseconds that win.
    ///
    /// Assumes that hedges and primaries independently take as long as these samples. Censored
    /// samples count as finished.
    pub(crate) fn wins_after(&self, delay: u64) -> f32 {
        let (sorted, delay) = (self.sorted(), Entry::finished_nanos(delay).micros());
        let (mut slow, mut in_time, mut wins) = (0, 0, 0);
        for entry in sorted {
            let rest = entry.micros().saturating_sub(delay);
            if rest > 0 {
                slow += 1;
                let later = sorted.get(in_time..).unwrap_or_default();
                let is_in_time = |hedge: &&Entry| hedge.micros() < rest;
                in_time += later.iter().take_while(is_in_time).count();
                wins += in_time;
            }
        }
        let pairs = sorted.len() * slow;
        if pairs > 0 {
            wins as f32 / pairs as f32
        } else {
            0.0
        }
    }

    /// Returns the samples that are not too old at `now`, in order of arrival.
    pub(crate) fn not_expired(&self, now: Instant) -> impl Iterator<Item = Entry> {
        let expired = self.ages.clone().advance(now).min(self.len);
        let places = (expired..self.len).map(|nth| self.after(self.oldest, nth));
        places.filter_map(|place| self.ring.get(usize::from(place)).copied())
    }

    /// Returns all samples in ascending order.
    pub(crate) fn sorted(&self) -> &[Entry] {
        self.sorted.get(..self.len.into()).unwrap_or_default()
    }

    /// Returns the index in the ring `by` ≤ `size` after `place`.
    fn after(&self, place: u16, by: u16) -> u16 {
        let room = self.size.saturating_sub(place);
        if by < room { place + by } else { by - room }
    }

    /// Returns how many samples are smaller than `entry`, which is the index where it belongs.
    fn below(&self, entry: Entry) -> usize {
        self.sorted().partition_point(|&smaller| smaller < entry)
    }

    fn insert_sorted(&mut self, new: Entry) {
        let to = self.below(new);
        self.len += 1;
        if let Some(span) = self.sorted.get_mut(to..self.len.into()) {
            shift_up(span, new);
        }
        self.count_inserted(to, new);
    }

    fn remove_sorted(&mut self, old: Entry) {
        let from = self.below(old);
        self.count_removed(from);
        if let Some(span) = self.sorted.get_mut(from..self.len.into()) {
            shift_down(span, old);
        }
        self.len -= 1;
    }

    /// Replaces `old` by `new` in the sorted entries.
    ///
    /// Moves only the entries between the two, where a removal and an insertion would each move all
    /// entries above. Of several entries equal to `old`, it removes the one nearest to `new`, since
    /// a fast backend often has equal latencies.
    fn replace_sorted(&mut self, old: Entry, new: Entry) {
        match old.cmp(&new) {
            Ordering::Equal => {}
            Ordering::Less => {
                // The removal moves the entries below `new` down by one.
                let from = self.below(old.next()).saturating_sub(1);
                let to = self.below(new).saturating_sub(1);
                self.count_removed(from);
                if let Some(span) = self.sorted.get_mut(from..=to) {
                    shift_down(span, new);
                }
                self.count_inserted(to, new);
            }
            Ordering::Greater => {
                let (from, to) = (self.below(old), self.below(new.next()));
                self.count_removed(from);
                if let Some(span) = self.sorted.get_mut(to..=from) {
                    shift_up(span, new);
                }
                self.count_inserted(to, new);
            }
        }
    }

    /// Updates `first_censored` for a removal. Call it before the entry at `from` is removed.
    fn count_removed(&mut self, from: usize) {
        let first = usize::from(self.first_censored);
        if from < first {
            self.first_censored -= 1;
        } else if from == first {
            let above = self.sorted().get(from + 1..).unwrap_or_default();
            self.first_censored = (from + leading_events(above)) as u16;
        }
    }

    /// Updates `first_censored` for the insertion of `new` at `to`.
    fn count_inserted(&mut self, to: usize, new: Entry) {
        let first = usize::from(self.first_censored);
        if to <= first {
            self.first_censored = if new.is_censored() { to } else { first + 1 } as u16;
        }
    }
}

/// Omits the samples, of which there may be a thousand.
impl<const N: usize> fmt::Debug for Window<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("size", &self.size)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Whether large windows are fast. Firmware has small ones, and prefers less code: `memmove` alone takes 1.6 KB.
const FAST: bool = cfg!(feature = "std");

/// Moves all but the last entry up by one and puts `first` in front.
fn shift_up(span: &mut [Entry], first: Entry) {
    if FAST && let Some(end) = span.len().checked_sub(1) {
        span.copy_within(..end, 1);
        if let Some(slot) = span.first_mut() {
            *slot = first;
        }
        return;
    }
    let mut moved = first;
    for slot in span {
        core::mem::swap(slot, &mut moved);
    }
}

/// Moves all but the first entry down by one and puts `last` at the end.
fn shift_down(span: &mut [Entry], last: Entry) {
    if FAST && !span.is_empty() {
        span.copy_within(1.., 0);
        if let Some(slot) = span.last_mut() {
            *slot = last;
        }
        return;
    }
    let mut moved = last;
    for slot in span.iter_mut().rev() {
        core::mem::swap(slot, &mut moved);
    }
}

/// Returns the number of entries before the first censored one. Examines 16 at a time, which takes
/// a few vector instructions.
fn leading_events(entries: &[Entry]) -> usize {
    let start = if FAST {
        let (chunks, _) = entries.as_chunks::<16>();
        let bits = |chunk: &[Entry; 16]| chunk.iter().fold(0, |bits, entry| bits | entry.0);
        16 * chunks
            .iter()
            .take_while(|chunk| bits(chunk) & 1 == 0)
            .count()
    } else {
        0
    };
    let rest = entries.get(start..).unwrap_or_default();
    start + rest.iter().take_while(|entry| !entry.is_censored()).count()
}

/// A latency, with a lowest bit that marks it as censored. Of equal latencies, finished ones sort before censored
/// ones, as the estimate requires.
///
/// It counts microseconds up to 18 minutes, and from there on steps of 4096 microseconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Entry(u32);

impl Entry {
    pub(crate) const ZERO: Self = Self(0);
    /// The range that is counted in microseconds.
    const FINE: u64 = 1 << 30;
    const STEP_BITS: u32 = 12;
    /// The longest latency, 50 days. Longer ones count as this long.
    pub(crate) const MAX_MICROS: u64 = Self::FINE + ((Self::FINE - 1) << Self::STEP_BITS);

    /// Returns the entry of a sample; `None` for a failure, which says little about how long
    /// success takes.
    pub(crate) fn of(sample: Sample) -> Option<Self> {
        match sample {
            Sample::Finished(latency) => Some(Self::finished(latency)),
            Sample::Dropped(elapsed) => Some(Self::censored(elapsed)),
            Sample::Failed(_) => None,
        }
    }

    /// Returns the entry of the primary.
    fn primary(record: &Record) -> Option<Self> {
        match record.primary_end {
            AttemptEnd::Finished => Some(Self::finished_nanos(record.primary)),
            AttemptEnd::Dropped => Some(Self::censored_nanos(record.primary)),
            AttemptEnd::Failed => None,
        }
    }

    /// Returns the entry of an attempt that finished after `nanos`, or that took at least this long if `is_bound`.
    pub(crate) fn lasting(nanos: u64, is_bound: bool) -> Self {
        if is_bound {
            Self::censored_nanos(nanos)
        } else {
            Self::finished_nanos(nanos)
        }
    }

    fn finished(latency: Duration) -> Self {
        Self::finished_nanos(nanos(latency))
    }

    fn censored(elapsed: Duration) -> Self {
        Self::censored_nanos(nanos(elapsed))
    }

    fn finished_nanos(latency: u64) -> Self {
        let micros = latency.div_ceil(1000);
        if micros < Self::FINE {
            return Self((micros as u32) << 1);
        }
        let steps = (micros - Self::FINE).div_ceil(1 << Self::STEP_BITS);
        Self(Self::coarse(steps) << 1)
    }

    fn censored_nanos(elapsed: u64) -> Self {
        let micros = elapsed / 1000;
        if micros < Self::FINE {
            return Self((micros as u32) << 1 | 1);
        }
        Self(Self::coarse((micros - Self::FINE) >> Self::STEP_BITS) << 1 | 1)
    }

    const fn coarse(steps: u64) -> u32 {
        let most = Self::FINE - 1;
        (Self::FINE + if steps < most { steps } else { most }) as u32
    }

    /// Returns the next larger entry. The entry must not be the largest.
    const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns whether the attempt was dropped immediately, which carries no information.
    const fn is_uninformative(self) -> bool {
        self.is_censored() && self.micros() == 0
    }

    pub(crate) const fn is_censored(self) -> bool {
        self.0 & 1 == 1
    }

    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) const fn micros(self) -> u64 {
        let count = (self.0 >> 1) as u64;
        if count < Self::FINE {
            count
        } else {
            Self::FINE + ((count - Self::FINE) << Self::STEP_BITS)
        }
    }

    const fn duration(self) -> Duration {
        Duration::from_micros(self.micros())
    }
}
