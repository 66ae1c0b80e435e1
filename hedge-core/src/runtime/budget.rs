//! A budget for several hedgers.

use super::Runtime;
use crate::attempt::Cause;
use crate::hedger::{Budget, BudgetHandle, Payment, Traffic};
use crate::outcome::Suppressed;
use crate::time::Instant;

/// A [`Budget`] that several hedgers and a retry layer share: a clone is another handle to it.
///
/// It has a clock of its own, for the reserve per second.
#[derive(Clone, Debug)]
pub struct SharedBudget<R> {
    core: crate::runtime::sharded::SharedBudget,
    timer: R,
}

impl<R: Runtime> SharedBudget<R> {
    /// Shares `budget`.
    pub fn new(budget: Budget) -> Self {
        Self {
            core: crate::runtime::sharded::SharedBudget::new(budget),
            timer: R::default(),
        }
    }

    /// A request is made.
    pub fn deposit(&self) {
        self.core.deposit();
    }

    /// Takes what one hedge or retry costs, and a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused.
    pub fn try_charge(&self) -> Result<(), Suppressed> {
        self.core.withdraw(self.timer.now())
    }

    /// Gives back the places in flight of `attempts` that ended. Their tokens stay spent.
    pub fn give_back(&self, attempts: u32) {
        self.core.give_back(attempts);
    }

    /// Exclusive access to the budget, every deposit counted. `f` must not use a hedger that shares it.
    pub fn edit<V>(&self, f: impl FnOnce(&mut Budget) -> V) -> V {
        self.core.edit(f)
    }
}

impl<R: Runtime> From<Budget> for SharedBudget<R> {
    fn from(budget: Budget) -> Self {
        Self::new(budget)
    }
}

/// Hedgers have clocks of their own, with other epochs: the time that they tell is not used.
impl<R: Runtime> BudgetHandle for SharedBudget<R> {
    fn deposit_in(&self, traffic: Traffic) {
        self.core.deposit_in(traffic);
    }

    fn withdraw_for(
        &self,
        cause: Cause,
        traffic: Traffic,
        _: Instant,
    ) -> Result<Payment, Suppressed> {
        self.core.withdraw_for(cause, traffic, self.timer.now())
    }

    fn give_back(&self, hedges: u32) {
        self.give_back(hedges);
    }

    fn edit<V>(&self, f: impl FnOnce(&mut Budget) -> V) -> V {
        self.edit(f)
    }
}
