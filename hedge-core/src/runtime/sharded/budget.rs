//! The budget that threads share.

use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::sync::Arc;

use super::shards::{Padded, lock, shard_count, shard_of, thread_index};
use crate::hedger::{Budget, BudgetHandle, Claim, Payment, Traffic};
use crate::outcome::Suppressed;
use crate::sync::{AtomicU32, AtomicU64, Mutex};
use crate::time::Instant;

/// A [`Budget`] for many threads and several hedgers. A clone is another handle to the same budget.
///
/// A deposit changes a counter that other threads rarely use, or none if the budget is full. All deposits are counted
/// before a withdrawal, so the sum is exact.
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
pub struct SharedBudget(Arc<ShardedBudget>);

#[derive(Debug)]
struct ShardedBudget {
    /// Deposits that were not counted yet: those in slow traffic in the upper half of a word, others in the lower half.
    deposits: Box<[Padded<AtomicU64>]>,
    /// The number of pending deposits of a kind that fills the budget, so that further ones change nothing.
    enough: AtomicU32,
    budget: Padded<Mutex<Budget>>,
}

impl SharedBudget {
    /// Creates a shared budget from `budget`.
    pub fn new(budget: Budget) -> Self {
        Self(Arc::new(ShardedBudget {
            deposits: (0..shard_count())
                .map(|_| Padded(AtomicU64::new(0)))
                .collect(),
            enough: AtomicU32::new(budget.most_deposits()),
            budget: Padded(Mutex::new(budget)),
        }))
    }
}

impl From<Budget> for SharedBudget {
    fn from(budget: Budget) -> Self {
        Self::new(budget)
    }
}

/// The shift of the deposits in slow traffic.
const SLOW: u32 = 32;

impl BudgetHandle for SharedBudget {
    fn deposit_in(&self, traffic: Traffic) {
        let shift = if traffic.slow { SLOW } else { 0 };
        if let Some(Padded(deposits)) = shard_of(&self.0.deposits, thread_index()) {
            // Concurrent threads may each add one deposit beyond the limit; neither half of the counter overflows.
            let pending = (deposits.load(Ordering::Relaxed) >> shift) as u32;
            if pending < self.0.enough.load(Ordering::Relaxed).min(u32::MAX / 2) {
                deposits.fetch_add(1 << shift, Ordering::Relaxed);
            }
        }
    }

    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        self.edit(|budget| budget.withdraw_for(claim, now))
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
                let pending = deposits.swap(0, Ordering::Relaxed);
                budget.deposit_many(pending as u32);
                let slow = Traffic {
                    slow: true,
                    ..Traffic::CALM
                };
                budget.deposit_in((pending >> SLOW) as u32, slow);
            }
        }
        let result = f(&mut budget);
        let enough = budget.most_deposits();
        if self.0.enough.load(Ordering::Relaxed) != enough {
            self.0.enough.store(enough, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Cause;

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
        // Half a token is left, and this deposits the other half.
        budget.deposit();
        assert_eq!(charges(), 1);
        // The deposits are limited to what the bucket holds.
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(charges(), 2);
    }

    #[test]
    fn deposits_in_slow_traffic_are_counted_apart() {
        let slow = Traffic {
            slow: true,
            ..Traffic::CALM
        };
        let shared = SharedBudget::new(Budget::percent(10.0));
        let mut alone = Budget::percent(10.0);
        for n in 0..400_u32 {
            let traffic = if n % 3 == 0 { slow } else { Traffic::CALM };
            shared.deposit_in(traffic);
            alone.deposit_in(1, traffic);
            if n % 100 == 99 {
                let shared =
                    shared.withdraw_for(Claim::new(Cause::Delay, Traffic::CALM), Instant::ZERO);
                assert_eq!(
                    shared,
                    alone.withdraw_for(Claim::new(Cause::Delay, Traffic::CALM), Instant::ZERO)
                );
            }
        }
        assert_eq!(shared.edit(|budget| budget.tokens()), alone.tokens());
        // Deposits beyond a full bucket are not counted.
        (0..100_000).for_each(|_| shared.deposit_in(slow));
        assert_eq!(shared.edit(|budget| budget.tokens()), 80.0);
    }
}
