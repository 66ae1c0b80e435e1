//! The price of a hedge while the budget cannot pay for all.

use crate::outcome::Suppressed;
use crate::record::Record;

/// The price of a hedge in units of the reward, learned from what the budget refuses.
///
/// While the budget cannot pay for all hedges, one that starts takes the token of another. So the price rises while
/// hedges are refused, which favours delays with fewer hedges, and falls otherwise. It settles where the delays in use
/// ask for about as many hedges as the budget pays for.
#[derive(Clone, Debug)]
pub(super) struct Price {
    value: f32,
    /// Requests since the last refusal.
    calm: u16,
}

impl Price {
    pub(super) const fn new() -> Self {
        Self::of(0.0)
    }

    /// A price that was learned before.
    pub(super) const fn of(value: f32) -> Self {
        Self {
            value,
            calm: u16::MAX,
        }
    }

    /// Returns the price, 0 to 1.
    pub(super) fn value(&self) -> f64 {
        self.value.into()
    }

    pub(super) fn learn(&mut self, record: &Record) {
        /// The number of requests after a refusal for which the budget counts as short. So a cluster of refusals counts
        /// by its duration and not by their number, and rare clusters change little.
        const SHORT: u16 = 64;
        /// The amount that each request adds while the budget is short.
        const STEP: f32 = 1.0 / 2048.0;
        /// The amount that other requests subtract: when the price has settled, the budget is short a fifth of the
        /// time.
        const FALL: f32 = STEP / 4.0;
        /// The highest price, since no hedge gains more than the whole reward.
        const MOST: f32 = 1.0;

        self.calm = if was_refused(record) {
            0
        } else {
            self.calm.saturating_add(1)
        };
        self.value = if self.calm < SHORT {
            (self.value + STEP).min(MOST)
        } else {
            (self.value - FALL).max(0.0)
        };
    }
}

/// Returns whether a hedge was due and the budget refused it.
fn was_refused(record: &Record) -> bool {
    use Suppressed::{BudgetRate, BudgetRatio, InFlight};
    record.due()
        && matches!(
            record.suppressed(),
            Some(BudgetRatio | BudgetRate | InFlight)
        )
}
