//! What a hedge costs the other requests while the budget is short.

use crate::outcome::Suppressed;
use crate::record::Record;

/// The price of a hedge in units of the reward, learned from what the budget refuses.
///
/// A hedge that starts while the budget is short takes the token of another. So the price rises while hedges are refused,
/// which favours delays that ask for fewer hedges, and falls while none is. It comes to rest where the delays in use ask
/// for about as many hedges as the budget pays for.
#[derive(Clone, Debug)]
pub(super) struct Price {
    value: f32,
    /// Requests since the last refusal.
    calm: u16,
}

impl Price {
    pub(super) const fn new() -> Self {
        Self {
            value: 0.0,
            calm: u16::MAX,
        }
    }

    /// The price, 0 to 1.
    pub(super) fn value(&self) -> f64 {
        self.value.into()
    }

    pub(super) fn learn(&mut self, record: &Record) {
        /// For how many requests after a refusal the budget counts as short. So a cluster of refusals counts for the time
        /// that it lasts, and not for each of them: rare clusters are what a budget is for.
        const SHORT: u16 = 64;
        /// What each request in such a time adds.
        const STEP: f32 = 1.0 / 2048.0;
        /// A fourth for others: at rest, the budget is short a fifth of the time.
        const FALL: f32 = STEP / 4.0;
        /// No hedge gains more than the whole reward.
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

/// Whether the delay had passed, and the budget paid for no hedge.
fn was_refused(record: &Record) -> bool {
    use Suppressed::{BudgetRate, BudgetRatio, InFlight};
    record.due()
        && matches!(
            record.suppressed(),
            Some(BudgetRatio | BudgetRate | InFlight)
        )
}
