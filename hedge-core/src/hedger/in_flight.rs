//! Permits for hedges in flight.

use core::borrow::Borrow;
use core::fmt;
use core::marker::PhantomData;

use super::BudgetHandle;
use crate::outcome::Suppressed;
use crate::time::Instant;

/// The permits of hedges in flight. They are returned to the budget when this is dropped.
///
/// `O` is the budget or a reference to it.
pub(crate) struct InFlight<O: Borrow<B>, B: BudgetHandle> {
    budget: O,
    places: u8,
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
            handle: PhantomData,
        }
    }

    /// Withdraws the tokens of one more hedge, and its permit.
    pub(crate) fn withdraw(&mut self, now: Instant) -> Result<(), Suppressed> {
        self.budget.borrow().withdraw(now)?;
        self.places += 1;
        Ok(())
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
        // Most requests have no permits, and need no access to the budget.
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
