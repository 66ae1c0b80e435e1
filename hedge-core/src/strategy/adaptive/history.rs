//! The last latencies, and draws from them for latencies that are unknown.

use core::iter;
use core::time::Duration;

use rand_core::Rng;

use crate::random::Draws;
use crate::record::Record;
use crate::strategy::recent::Recent;
use crate::strategy::{ReadColumns, RestoreError, WriteColumns};
use crate::time::Instant;
use crate::window::Window;

/// The number of hedges to keep. They are fewer than primaries and matter less.
const HEDGES: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct History<const N: usize> {
    pub(super) primaries: Recent<N>,
    /// The latencies of hedges, kept separately: a hedge starts only for a slow request, and may be slow for the same
    /// reason.
    hedges: Window<HEDGES>,
    /// The weight of the hedges, in requests. It fades as fast as the weight of the arms.
    hedge_weight: f32,
    /// The median in seconds, as of `changes` samples ago; zero before the first sample.
    median: f32,
    changes: u16,
}

impl<const N: usize> History<N> {
    pub(super) const fn new() -> Self {
        Self {
            primaries: Recent::new(),
            hedges: Window::new(HEDGES, None),
            hedge_weight: 0.0,
            median: 0.0,
            changes: 0,
        }
    }

    /// Returns an empty window or history whose samples expire at this age.
    pub(super) const fn aging(self, max_age: Duration) -> Self {
        Self {
            primaries: self.primaries.aging(max_age),
            hedges: Window::new(HEDGES, Some(max_age)),
            hedge_weight: 0.0,
            median: 0.0,
            changes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.primaries.window.len()
    }

    /// Returns the median of primaries in seconds, which may be a few samples old and is never zero.
    pub(super) fn median(&self) -> Option<f32> {
        (self.len() > 0).then(|| self.median.max(1e-6))
    }

    pub(super) fn clear(&mut self) {
        self.primaries.window.clear();
        self.hedges.clear();
        self.hedge_weight = 0.0;
    }

    pub(super) fn fade_hedges(&mut self, share: f32) {
        self.hedge_weight *= share;
    }

    /// Removes expired samples. Returns whether a primary was removed.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.hedges.expire(now);
        self.primaries.window.expire(now)
    }

    pub(super) fn push(&mut self, record: &Record, memory: f32) {
        let now = record.ended_at;
        self.hedge_weight *= memory;
        if let Some(hedge) = record.hedge()
            && self.hedges.push(hedge, now)
        {
            self.hedge_weight += 1.0;
        }
        if !self
            .primaries
            .window
            .push(record.primary(), record.ended_at)
        {
            return;
        }
        self.changes = self.changes.saturating_add(1);
        // A 64th of the window moves the median by less than its own error.
        if 64 * usize::from(self.changes) >= self.len() {
            self.refresh_median();
        }
    }

    fn refresh_median(&mut self) {
        self.changes = 0;
        self.median = self.primaries.median().unwrap_or_default().as_secs_f32();
    }

    pub(super) fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        self.primaries.window.export("latencies_us", columns, now);
        self.hedges.export("hedges_us", columns, now);
        columns.column("hedge_weight", &mut iter::once(self.hedge_weight.into()));
    }

    pub(super) fn restore(
        &mut self,
        columns: &dyn ReadColumns,
        now: Instant,
    ) -> Result<(), RestoreError> {
        let hedge_weight = columns.number("hedge_weight", 0.0, f32::MAX.into())? as f32;
        let mut hedges = self.hedges.clone();
        hedges.restore("hedges_us", columns, now)?;
        self.primaries
            .window
            .restore("latencies_us", columns, now)?;
        (self.hedges, self.hedge_weight) = (hedges, hedge_weight);
        self.refresh_median();
        Ok(())
    }

    /// Draws how long a primary that was dropped after `bound` would have taken, in seconds.
    pub(super) fn primary<R: Rng>(&self, bound: Duration, draws: &mut Draws<'_, R>) -> f32 {
        seconds(self.primaries.window.draw_above(Some(bound), draws), draws)
    }

    /// Draws how long a hedge would have taken, in seconds. `bound` is how long it ran, if it was started.
    ///
    /// Draws from past hedges or, if there is little evidence, from primaries, as if hedges were equally fast. This
    /// favours hedging until it has been tried.
    pub(super) fn hedge<R: Rng>(&self, bound: Option<Duration>, draws: &mut Draws<'_, R>) -> f32 {
        /// The number of hedges that weigh as much as all primaries.
        const PRIOR: f32 = 4.0;

        let mut bound = bound;
        if draws.uniform() * (self.hedge_weight + PRIOR) < self.hedge_weight {
            match self.hedges.draw_above(bound, draws) {
                Ok(latency) => return latency.as_secs_f32(),
                Err(beyond) => bound = Some(beyond),
            }
        }
        seconds(self.primaries.window.draw_above(bound, draws), draws)
    }
}

/// Returns a drawn latency in seconds. One that is longer than every sample is drawn from the Pareto distribution with
/// index 1, under which it exceeds twice the bound with a chance of one half.
fn seconds<R: Rng>(drawn: Result<Duration, Duration>, draws: &mut Draws<'_, R>) -> f32 {
    match drawn {
        Ok(latency) => latency.as_secs_f32(),
        Err(beyond) => beyond.as_secs_f32() / draws.uniform(),
    }
}
