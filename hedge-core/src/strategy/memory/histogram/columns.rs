//! A histogram as columns of numbers.

use super::ForgettingHistogram;
use super::buckets::{BUCKETS, GROUP, bucket_of, edge};
use crate::strategy::{ReadColumns, RestoreError, WriteColumns};

impl ForgettingHistogram {
    /// Writes the lower bound and the weight of each bucket that is not empty.
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

    /// Reads a histogram that was exported.
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
}

/// Returns the lower bound in nanoseconds and the weight of each group of `width` buckets that is not empty.
fn weights(weights: &[u16], width: usize) -> impl Iterator<Item = (f64, f64)> {
    let weights = weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 0);
    weights.map(move |(at, weight)| (edge(at * width) as f64, f64::from(*weight)))
}

/// Returns the inverse of [`weights`].
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
