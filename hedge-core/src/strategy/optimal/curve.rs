//! The product-limit estimate of the share of attempts that take longer, as a curve.

use crate::window::Entry;

/// A position on the curve of S(t), the share of attempts that take longer than t, between the sorted entries of a
/// window.
///
/// Every entry starts with the same mass, and the mass of a censored entry is distributed equally among those above it
/// (Efron, 1967). So all entries above a position have the same mass. A step costs a comparison, and a division at a
/// censored entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    sorted: &'a [Entry],
    below: usize,
    /// The mass of each entry above, as a share of all.
    mass: f32,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor below all entries.
    pub(super) fn new(sorted: &'a [Entry]) -> Self {
        Self {
            sorted,
            below: 0,
            mass: 1.0 / sorted.len().max(1) as f32,
        }
    }

    /// Creates a cursor above all entries.
    pub(super) fn top(sorted: &'a [Entry]) -> Self {
        let mut cursor = Self::new(sorted);
        while cursor.below < sorted.len() {
            cursor.up();
        }
        cursor
    }

    /// Returns S, from 1 to 0. Above all entries it is 0, even if the largest one is censored.
    pub(super) fn survival(&self) -> f32 {
        self.mass * self.above() as f32
    }

    /// Returns S for the next attempt, which is one more draw; never 0.
    pub(super) fn next_survival(&self) -> f32 {
        let samples = self.sorted.len() as f32;
        (self.survival() * samples + 1.0) / (samples + 1.0)
    }

    /// Returns the entry above after skipping `skip` entries, in microseconds.
    pub(super) fn higher(&self, skip: usize) -> Option<u64> {
        let entry = self.sorted.get(self.below.saturating_add(skip));
        entry.map(|entry| entry.micros())
    }

    /// Returns the entry just below, in microseconds.
    pub(super) fn lower(&self) -> Option<u64> {
        self.entry_below().map(Entry::micros)
    }

    /// Moves up past all entries that are `micros` long or shorter.
    pub(super) fn up_past(&mut self, micros: u64) {
        while self.higher(0).is_some_and(|higher| higher <= micros) {
            self.up();
        }
    }

    /// Moves down past all entries that are `micros` long or longer.
    pub(super) fn down_past(&mut self, micros: u64) {
        while self.lower().is_some_and(|lower| lower >= micros) {
            self.down();
        }
    }

    /// Moves down past censored entries to one that finished.
    pub(super) fn down_to_finished(&mut self) {
        while self.entry_below().is_some_and(Entry::is_censored) {
            self.down();
        }
    }

    /// Returns S at the position where [`next_survival`](Self::next_survival) is `share`.
    pub(super) fn survival_before_next(&self, share: f32) -> f32 {
        let samples = self.sorted.len() as f32;
        (share * (samples + 1.0) - 1.0) / samples.max(1.0)
    }

    /// Returns the number of entries above.
    pub(super) fn above(&self) -> usize {
        self.sorted.len() - self.below
    }

    fn entry_below(&self) -> Option<Entry> {
        self.sorted.get(self.below.checked_sub(1)?).copied()
    }

    fn up(&mut self) {
        let above = self.above();
        if let Some(entry) = self.sorted.get(self.below) {
            if entry.is_censored() && above > 1 {
                self.mass *= above as f32 / (above - 1) as f32;
            }
            self.below += 1;
        }
    }

    fn down(&mut self) {
        if let Some(entry) = self.entry_below() {
            self.below -= 1;
            let above = self.above();
            if entry.is_censored() && above > 1 {
                self.mass *= (above - 1) as f32 / above as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::record::Sample;

    fn entries(samples: &[(u16, bool)]) -> Vec<Entry> {
        let mut entries: Vec<_> = samples
            .iter()
            .filter_map(|&(micros, finished)| {
                let elapsed = Duration::from_micros(micros.into());
                Entry::of(if finished {
                    Sample::Finished(elapsed)
                } else {
                    Sample::Dropped(elapsed)
                })
            })
            .collect();
        entries.sort();
        entries
    }

    /// Returns the product-limit estimate as in textbooks: at each time at which an entry finished, the curve is
    /// multiplied by the share of the running entries that did not.
    fn product_limit(entries: &[Entry], t: u64) -> f64 {
        let mut survival = 1.0;
        for (rank, entry) in entries.iter().enumerate() {
            if entry.micros() <= t && !entry.is_censored() {
                survival *= 1.0 - 1.0 / (entries.len() - rank) as f64;
            }
        }
        survival
    }

    proptest! {
        #[test]
        fn it_is_the_product_limit_estimate_in_both_directions(
            samples in prop::collection::vec((0_u16..60, any::<bool>()), 1..80),
        ) {
            let entries = entries(&samples);
            let longest = entries.last().map_or(0, |entry| entry.micros());
            let (mut up, mut down) = (Cursor::new(&entries), Cursor::top(&entries));
            prop_assert_eq!(down.survival(), 0.0);
            for t in 0..longest {
                up.up_past(t);
                let expected = product_limit(&entries, t);
                prop_assert!((f64::from(up.survival()) - expected).abs() < 1e-5);
            }
            for t in (0..longest).rev() {
                down.down_past(t + 1);
                let expected = product_limit(&entries, t);
                prop_assert!((f64::from(down.survival()) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn it_stops_at_the_right_places() {
        let entries = entries(&[(10, true), (20, true), (20, false), (30, false)]);
        let mut cursor = Cursor::new(&entries);
        cursor.up_past(19);
        assert_eq!((cursor.lower(), cursor.higher(0)), (Some(10), Some(20)));
        assert_eq!((cursor.higher(2), cursor.higher(3)), (Some(30), None));
        assert_eq!((cursor.survival(), cursor.next_survival()), (0.75, 0.8));
        cursor.up_past(20);
        assert_eq!((cursor.lower(), cursor.higher(0)), (Some(20), Some(30)));
        assert_eq!((cursor.survival(), cursor.above()), (0.5, 1));
        let mut cursor = Cursor::top(&entries);
        cursor.down_to_finished();
        assert_eq!((cursor.lower(), cursor.above()), (Some(20), 2));
        assert_eq!(cursor.survival(), 0.5);
        cursor.down_past(0);
        assert_eq!((cursor.lower(), cursor.survival()), (None, 1.0));
    }
}
