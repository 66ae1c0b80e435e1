//! The budget that threads share.

use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::sync::Arc;

use super::shards::{Padded, lock, own_of, shard_count, thread_index};
use crate::hedger::{Budget, BudgetHandle};
use crate::outcome::Suppressed;
use crate::runtime::sync::{AtomicU32, Mutex};
use crate::time::Instant;

/// A [`Budget`] for many threads and several hedgers. A clone is another handle to the same budget.
///
/// A deposit touches only a counter that other threads rarely use, or no counter when the budget is
/// full. All deposits are counted before a withdrawal, so that the sum is exact.
///
/// ```
/// use hedge_core::adapter::{BudgetHandle, SharedBudget};
/// use hedge_core::{Budget, Instant, Suppressed};
///
/// let budget = SharedBudget::new(Budget::percent(50.0).burst(1));
/// let retries = budget.clone();
/// assert_eq!(budget.withdraw(Instant::ZERO), Ok(()));
/// assert_eq!(retries.withdraw(Instant::ZERO), Err(Suppressed::BudgetRatio));
/// retries.deposit();
/// retries.deposit();
/// assert_eq!(budget.withdraw(Instant::ZERO), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct SharedBudget(Arc<Purse>);

#[derive(Debug)]
struct Purse {
    /// Deposits that have not been added to the budget.
    deposits: Box<[Padded<AtomicU32>]>,
    /// The number of deposits that fills the budget; further deposits have no effect.
    enough: AtomicU32,
    budget: Padded<Mutex<Budget>>,
}

impl SharedBudget {
    /// Creates a shared budget from `budget`.
    pub fn new(budget: Budget) -> Self {
        Self(Arc::new(Purse {
            deposits: (0..shard_count())
                .map(|_| Padded(AtomicU32::new(0)))
                .collect(),
            enough: AtomicU32::new(budget.deposits_to_fill()),
            budget: Padded(Mutex::new(budget)),
        }))
    }
}

impl From<Budget> for SharedBudget {
    fn from(budget: Budget) -> Self {
        Self::new(budget)
    }
}

impl BudgetHandle for SharedBudget {
    fn deposit(&self) {
        if let Some(Padded(deposits)) = own_of(&self.0.deposits, thread_index())
            && deposits.load(Ordering::Relaxed) < self.0.enough.load(Ordering::Relaxed)
        {
            deposits.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn withdraw(&self, now: Instant) -> Result<(), Suppressed> {
        self.edit(|budget| budget.withdraw(now))
    }

    fn give_back(&self, hedges: u32) {
        lock(&self.0.budget.0).give_back(hedges);
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        let mut budget = lock(&self.0.budget.0);
        for Padded(deposits) in &self.0.deposits {
            // Most counters are zero, and reading them does not take their cache lines from other
            // threads.
            if deposits.load(Ordering::Relaxed) > 0 {
                budget.deposit_many(deposits.swap(0, Ordering::Relaxed));
            }
        }
        let result = f(&mut budget);
        let enough = budget.deposits_to_fill();
        if self.0.enough.load(Ordering::Relaxed) != enough {
            self.0.enough.store(enough, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deposits_that_gather_count_before_anything_is_charged() {
        let budget = SharedBudget::new(Budget::percent(50.0).burst(2));
        let charges = || {
            (0..5)
                .filter(|_| budget.withdraw(Instant::ZERO).is_ok())
                .count()
        };
        assert_eq!(charges(), 2);
        (0..3).for_each(|_| budget.deposit());
        assert_eq!(charges(), 1);
        // Half a token was left; this deposits the other half.
        budget.deposit();
        assert_eq!(charges(), 1);
        // The deposits are limited to what the bucket holds.
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(charges(), 2);
    }
}
