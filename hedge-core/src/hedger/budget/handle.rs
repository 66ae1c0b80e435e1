//! A budget that several hedgers share.

use super::{Budget, Claim, Payment};
use crate::attempt::Cause;
use crate::hedger::Traffic;
use crate::lock::Lock;
use crate::outcome::Suppressed;
use crate::time::Instant;

/// A budget that can be charged through a shared reference: a [`Lock`] around a [`Budget`], or
/// `SharedBudget` on servers.
pub trait BudgetHandle {
    /// Deposits for one request that is made in this traffic.
    fn deposit_in(&self, traffic: Traffic);

    /// Withdraws what an attempt with this claim costs, and takes a place in flight.
    ///
    /// # Errors
    ///
    /// Returns which limit refused. Nothing is taken in this case.
    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed>;

    /// Gives back the places in flight of `hedges` that ended.
    fn give_back(&self, hedges: u32);

    /// Calls `f` with exclusive access to the budget, after all deposits were counted.
    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R;

    /// Refunds the payment for an attempt that was not started, and gives back its place in flight.
    fn refund(&self, payment: Payment) {
        self.edit(|budget| budget.refund(payment));
    }

    /// Deposits for one request that is made without a hedger.
    fn deposit(&self) {
        self.deposit_in(Traffic::CALM);
    }

    /// Withdraws the cost of a retry that is made without a hedger, and takes a place in flight.
    ///
    /// # Errors
    ///
    /// Returns which limit refused. Nothing is taken in this case.
    fn withdraw(&self, now: Instant) -> Result<(), Suppressed> {
        self.withdraw_for(Claim::new(Cause::Retry, Traffic::CALM), now)
            .map(|_| ())
    }
}

impl<L: Lock<Data = Budget>> BudgetHandle for L {
    fn deposit_in(&self, traffic: Traffic) {
        self.with(|budget| budget.deposit_in(1, traffic));
    }

    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        self.with(|budget| budget.withdraw_for(claim, now))
    }

    fn give_back(&self, hedges: u32) {
        self.with(|budget| budget.give_back(hedges));
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        self.with(f)
    }
}
