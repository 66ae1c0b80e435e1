//! Permits for hedges in flight.

use core::fmt;

use super::{BudgetHandle, Claim, HedgerParts, Payment};
use crate::outcome::Suppressed;
use crate::time::Instant;

/// A type that gives access to a budget.
pub(crate) trait HasBudget {
    type Budget: BudgetHandle;

    fn budget(&self) -> &Self::Budget;
}

impl<L, B: BudgetHandle, K> HasBudget for &HedgerParts<L, B, K> {
    type Budget = B;

    fn budget(&self) -> &B {
        &self.budget
    }
}

/// The permits of hedges in flight. They are returned to the budget when this is dropped.
pub(crate) struct InFlight<O: HasBudget> {
    owner: O,
    places: u8,
    /// The payment for a hedge that starts later. Its place is not counted in `places`.
    reserved: Option<Payment>,
}

impl<O: HasBudget> InFlight<O> {
    /// Creates a holder of permits of the owner's budget, without any.
    pub(crate) const fn none(owner: O) -> Self {
        Self::of(owner, 0)
    }

    /// Creates a holder of one permit, which was withdrawn from the owner's budget before.
    #[cfg(feature = "std")]
    pub(crate) const fn one(owner: O) -> Self {
        Self::of(owner, 1)
    }

    const fn of(owner: O, places: u8) -> Self {
        Self {
            owner,
            places,
            reserved: None,
        }
    }

    pub(crate) const fn owner(&self) -> &O {
        &self.owner
    }

    /// Withdraws the cost of one more hedge, and its place in flight.
    pub(crate) fn withdraw(&mut self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        let payment = self.owner.budget().withdraw_for(claim, now)?;
        self.places += 1;
        Ok(payment)
    }

    /// Refunds the last withdrawal, for a hedge that does not start.
    pub(crate) fn refund(&mut self, payment: Payment) {
        self.places = self.places.saturating_sub(1);
        self.owner.budget().refund(payment);
    }

    /// Keeps the last withdrawal for a hedge that starts later.
    pub(crate) fn reserve(&mut self, payment: Payment) {
        self.places = self.places.saturating_sub(1);
        self.reserved = Some(payment);
    }

    /// Returns whether a hedge that starts later has been paid for.
    pub(crate) const fn has_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// Uses the payment that was kept, for the hedge that starts now. Returns whether there was one.
    pub(crate) fn use_reserved(&mut self) -> bool {
        let was_reserved = self.reserved.take().is_some();
        self.places += u8::from(was_reserved);
        was_reserved
    }

    /// Refunds the payment that was kept, for a hedge that does not start.
    #[inline]
    pub(crate) fn refund_reserved(&mut self) {
        // Most requests have no reserved payment.
        if self.reserved.is_some()
            && let Some(payment) = self.reserved.take()
        {
            self.owner.budget().refund(payment);
        }
    }

    /// Returns the permits of `hedges` that have ended, or as many as there are.
    pub(crate) fn give_back(&mut self, hedges: u32) {
        let hedges = hedges.min(self.places.into());
        if hedges > 0 {
            self.places -= hedges as u8;
            self.owner.budget().give_back(hedges);
        }
    }

    /// Hands one permit over to the attempt, which returns it.
    pub(crate) fn hand_over(&mut self) {
        self.places = self.places.saturating_sub(1);
    }
}

impl<O: HasBudget> Drop for InFlight<O> {
    #[inline]
    fn drop(&mut self) {
        self.refund_reserved();
        // Most requests hold no place, and need not call the budget.
        if self.places > 0 {
            self.owner.budget().give_back(self.places.into());
        }
    }
}

impl<O: HasBudget> fmt::Debug for InFlight<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.places).finish()
    }
}
