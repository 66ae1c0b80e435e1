//! Permits for hedges in flight.

use core::borrow::Borrow;
use core::fmt;
use core::marker::PhantomData;

use super::{BudgetHandle, Payment, Traffic};
use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::time::Instant;

/// The permits of hedges in flight. They are returned to the budget when this is dropped.
///
/// `O` is the budget or a reference to it.
pub(crate) struct InFlight<O: Borrow<B>, B: BudgetHandle> {
    budget: O,
    places: u8,
    /// What has paid for a hedge that is to start later. Its place is not among the others.
    reserved: Option<Payment>,
    handle: PhantomData<fn(&B)>,
}

impl<O: Borrow<B>, B: BudgetHandle> InFlight<O, B> {
    /// Creates a holder of permits for `budget`, without any.
    pub(crate) const fn none(budget: O) -> Self {
        Self::of(budget, 0)
    }

    /// Creates a holder of one permit, which was withdrawn from `budget` before.
    #[cfg(feature = "std")]
    pub(crate) const fn one(budget: O) -> Self {
        Self::of(budget, 1)
    }

    const fn of(budget: O, places: u8) -> Self {
        Self {
            budget,
            places,
            reserved: None,
            handle: PhantomData,
        }
    }

    /// Withdraws what one more hedge costs, its place included.
    pub(crate) fn withdraw(
        &mut self,
        cause: Cause,
        traffic: Traffic,
        now: Instant,
    ) -> Result<Payment, Suppressed> {
        let payment = self.budget.borrow().withdraw_for(cause, traffic, now)?;
        self.places += 1;
        Ok(payment)
    }

    /// Keeps the place that was withdrawn last for a hedge that is to start later.
    pub(crate) fn reserve(&mut self, payment: Payment) {
        self.places = self.places.saturating_sub(1);
        self.reserved = Some(payment);
    }

    /// Whether a hedge that is to start later has been paid for.
    pub(crate) const fn has_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// The hedge starts that was paid for before. Returns whether there was one.
    pub(crate) fn use_reserved(&mut self) -> bool {
        let was_reserved = self.reserved.take().is_some();
        self.places += u8::from(was_reserved);
        was_reserved
    }

    /// Gives back what was paid for a hedge that is not to start.
    #[inline]
    pub(crate) fn refund_reserved(&mut self) {
        // Most requests have none.
        if self.reserved.is_some()
            && let Some(payment) = self.reserved.take()
        {
            self.budget.borrow().refund(payment);
        }
    }

    /// Returns the permits of `hedges` that have ended, or as many as there are.
    pub(crate) fn give_back(&mut self, hedges: u32) {
        let hedges = hedges.min(self.places.into());
        if hedges > 0 {
            self.places -= hedges as u8;
            self.budget.borrow().give_back(hedges);
        }
    }

    /// Hands one permit over to the attempt, which returns it.
    pub(crate) fn hand_over(&mut self) {
        self.places = self.places.saturating_sub(1);
    }
}

impl<O: Borrow<B>, B: BudgetHandle> Drop for InFlight<O, B> {
    #[inline]
    fn drop(&mut self) {
        self.refund_reserved();
        // Most requests have none, and need not ask the budget.
        if self.places > 0 {
            self.budget.borrow().give_back(self.places.into());
        }
    }
}

impl<O: Borrow<B>, B: BudgetHandle> fmt::Debug for InFlight<O, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.places).finish()
    }
}
