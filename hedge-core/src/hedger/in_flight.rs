//! Hedges in flight, counted from their withdrawal to their end.

use core::borrow::Borrow;
use core::fmt;
use core::marker::PhantomData;

use super::BudgetHandle;
use crate::outcome::Suppressed;
use crate::time::Instant;

/// The places in flight of some hedges. They are given back when this is dropped, whatever dropped it.
///
/// `O` is the budget or a reference to it.
pub(crate) struct InFlight<O: Borrow<B>, B: BudgetHandle> {
    budget: O,
    places: u8,
    handle: PhantomData<fn(&B)>,
}

impl<O: Borrow<B>, B: BudgetHandle> InFlight<O, B> {
    /// No place yet, in `budget`.
    pub(crate) const fn none(budget: O) -> Self {
        Self::of(budget, 0)
    }

    /// One place that was withdrawn from `budget` before.
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

    /// Withdraws what one more hedge costs, its place included.
    pub(crate) fn withdraw(&mut self, now: Instant) -> Result<(), Suppressed> {
        self.budget.borrow().withdraw(now)?;
        self.places += 1;
        Ok(())
    }

    /// Gives back the places of `hedges` that ended, or as many as there are.
    pub(crate) fn give_back(&mut self, hedges: u32) {
        let hedges = hedges.min(self.places.into());
        if hedges > 0 {
            self.places -= hedges as u8;
            self.budget.borrow().give_back(hedges);
        }
    }

    /// Leaves one place to somebody else, who gives it back.
    pub(crate) fn hand_over(&mut self) {
        self.places = self.places.saturating_sub(1);
    }
}

impl<O: Borrow<B>, B: BudgetHandle> Drop for InFlight<O, B> {
    #[inline]
    fn drop(&mut self) {
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
