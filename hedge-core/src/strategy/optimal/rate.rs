//! Keeps the number of hedges at the budget.

use core::iter;

use crate::strategy::{ReadColumns, RestoreError, WriteColumns};

/// The difference between the hedges that were started and those that the budget allowed.
///
/// A [`correction`](Self::correction) makes up for the difference over about the next 1000 requests, or 25 / budget if
/// that is more. So the budget is kept over thousands of requests, even if the share of requests that exceed a delay is
/// estimated wrongly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    surplus: f32,
}

impl Rate {
    pub(super) const fn new() -> Self {
        Self { surplus: 0.0 }
    }

    pub(super) fn export(&self, columns: &mut dyn WriteColumns) {
        columns.column("surplus", &mut iter::once(self.surplus.into()));
    }

    pub(super) fn restore(columns: &dyn ReadColumns) -> Result<Self, RestoreError> {
        // This is the maximum over all budgets; the next request clamps it to this budget's maximum.
        let most = f64::from(2.0 * room(1.0, true));
        let surplus = columns.number("surplus", -most, most)? as f32;
        Ok(Self { surplus })
    }

    /// Counts a request. Budget that is not used because of `sparing` is not spent later.
    pub(super) fn count(&mut self, hedged: bool, budget: f32, sparing: bool, clustered: bool) {
        let room = room(budget, clustered);
        let least = if sparing {
            self.surplus.min(0.0)
        } else {
            -0.5 * room
        };
        let change = if hedged { 1.0 - budget } else { -budget };
        self.surplus = (self.surplus + change).clamp(least, 2.0 * room);
    }

    /// Returns the factor for the budget over the next hundreds of requests, 0.1 to 1.5.
    pub(super) fn correction(self, budget: f32, clustered: bool) -> f32 {
        self.share_left(budget, clustered).max(0.1)
    }

    /// Returns the factor for the chance of the next request: 1, and down to 0 if the budget is overspent fast because
    /// every request suddenly is slow.
    pub(super) fn brake(self, budget: f32, clustered: bool) -> f32 {
        (3.0 * self.share_left(budget, clustered)).clamp(0.0, 1.0)
    }

    fn share_left(self, budget: f32, clustered: bool) -> f32 {
        1.0 - self.surplus / room(budget, clustered)
    }
}

/// Returns the surplus at which hedging stops. A cluster of slow requests needs more than its share, for which quiet
/// times make up.
fn room(budget: f32, clustered: bool) -> f32 {
    const CLUSTERS: f32 = 16.0;

    let room = (1000.0 * budget).max(25.0);
    if clustered { CLUSTERS * room } else { room }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts requests of which a share of `due` × correction is hedged, evenly spaced.
    fn hedges(rate: &mut Rate, requests: u32, due: f32, budget: f32) -> u32 {
        let (mut owed, mut hedges) = (0.0, 0);
        for _ in 0..requests {
            owed += (due * rate.correction(budget, false)).min(1.0) * rate.brake(budget, false);
            let hedged = owed >= 1.0;
            owed -= f32::from(u8::from(hedged));
            hedges += u32::from(hedged);
            rate.count(hedged, budget, false, false);
        }
        hedges
    }

    #[test]
    fn the_budget_is_kept_however_wrong_the_estimate_is() {
        for budget in [0.01, 0.05, 0.25] {
            for wrong in [0.75, 1.0, 1.5, 3.0] {
                let mut rate = Rate::new();
                hedges(&mut rate, 10_000, wrong * budget, budget);
                let hedges = hedges(&mut rate, 20_000, wrong * budget, budget);
                let share = hedges as f32 / 20_000.0 / budget;
                assert!((0.98..1.02).contains(&share), "{budget} {wrong}: {share}");
            }
        }
    }

    #[test]
    fn when_every_request_is_due_hedging_stops_soon() {
        let mut rate = Rate::new();
        let first = hedges(&mut rate, 1000, 1.0, 0.05);
        assert!((50..=101).contains(&first), "{first}");
        assert!(hedges(&mut rate, 10_000, 1.0, 0.05) <= 510);
    }

    #[test]
    fn what_is_saved_up_is_limited_and_what_is_spared_on_purpose_is_not_saved() {
        let mut rate = Rate::new();
        (0..100_000).for_each(|_| rate.count(false, 0.1, false, false));
        assert_eq!(rate.correction(0.1, false), 1.5);
        (0..100).for_each(|_| rate.count(true, 0.1, false, false));
        let surplus = rate.surplus;
        assert!(surplus > 0.0);
        (0..100_000).for_each(|_| rate.count(false, 0.1, true, false));
        assert_eq!((rate.surplus, rate.correction(0.1, false)), (0.0, 1.0));
    }
}
