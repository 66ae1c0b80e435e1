//! A budget that several hedgers share.

use super::Runtime;
use crate::hedger::{Budget, BudgetHandle, Claim, HasBudget, Payment, Traffic};
use crate::outcome::Suppressed;
use crate::time::Instant;

/// A [`Budget`] that several hedgers and a retry layer can share. A clone is another handle to the
/// same budget.
///
/// The budget has its own clock, for the reserve per second.
#[derive(Clone, Debug)]
pub struct SharedBudget<R> {
    core: crate::runtime::sharded::SharedBudget,
    timer: R,
}

impl<R: Runtime> SharedBudget<R> {
    /// Creates a shared budget from `budget`.
    pub fn new(budget: Budget) -> Self {
        Self {
            core: crate::runtime::sharded::SharedBudget::new(budget),
            timer: R::default(),
        }
    }

    /// Adds what one request deposits.
    pub fn deposit(&self) {
        self.core.deposit();
    }

    /// Withdraws the cost of one hedge or retry, and counts it in flight.
    ///
    /// # Errors
    ///
    /// Returns which limit refused, and takes nothing.
    pub fn try_withdraw(&self) -> Result<(), Suppressed> {
        self.core.withdraw(self.timer.now())
    }

    /// Reports that `attempts` hedges or retries have ended and are no longer in flight. Their
    /// tokens stay spent.
    pub fn give_back(&self, attempts: u32) {
        self.core.give_back(attempts);
    }

    /// Returns the result of `f` with exclusive access to the budget, after every deposit was
    /// counted. `f` must not use a hedger that shares the budget.
    pub fn edit<V>(&self, f: impl FnOnce(&mut Budget) -> V) -> V {
        self.core.edit(f)
    }
}

impl<R: Runtime> From<Budget> for SharedBudget<R> {
    fn from(budget: Budget) -> Self {
        Self::new(budget)
    }
}

/// Hedgers have separate clocks with different epochs, so the time that they pass is not used.
impl<R: Runtime> HasBudget for SharedBudget<R> {
    type Budget = Self;

    fn budget(&self) -> &Self {
        self
    }
}

impl<R: Runtime> BudgetHandle for SharedBudget<R> {
    fn deposit_in(&self, traffic: Traffic) {
        self.core.deposit_in(traffic);
    }

    fn withdraw_for(&self, claim: Claim, _: Instant) -> Result<Payment, Suppressed> {
        self.core.withdraw_for(claim, self.timer.now())
    }

    fn give_back(&self, hedges: u32) {
        self.give_back(hedges);
    }

    fn edit<V>(&self, f: impl FnOnce(&mut Budget) -> V) -> V {
        self.edit(f)
    }
}
