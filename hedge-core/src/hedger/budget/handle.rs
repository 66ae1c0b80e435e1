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
    /// A request is made in such traffic.
    fn deposit_in(&self, traffic: Traffic);

    /// Withdraws what an attempt with this claim costs, and takes a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused.
    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed>;

    /// Gives back the places in flight of `hedges` that ended.
    fn give_back(&self, hedges: u32);

    /// Exclusive access to the budget, every deposit counted.
    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R;

    /// Gives back what an attempt was to cost that was never started, and its place in flight.
    fn refund(&self, payment: Payment) {
        self.edit(|budget| budget.refund(payment));
    }

    /// A request is made without a hedger.
    fn deposit(&self) {
        self.deposit_in(Traffic::CALM);
    }

    /// Takes what a retry costs that was made without a hedger, and a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused.
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
