//! A budget for several hedgers.

use hedge_core::{Budget, Charge, Instant, Suppressed, Timer};

use crate::TokioTimer;

/// A [`Budget`] that several hedgers and a retry layer share: a clone is another handle to it.
///
/// It has a clock of its own, for the reserve per second.
///
/// ```
/// use hedge_tokio::{Budget, Hedger, SharedBudget};
///
/// let budget = SharedBudget::new(Budget::percent(5.0));
/// let search = Hedger::builder().shared_budget(budget.clone()).build()?;
/// let ads = Hedger::builder().shared_budget(budget.clone()).build()?;
///
/// // A retry layer that makes requests of its own deposits for each, and charges its retries.
/// budget.deposit();
/// if budget.try_charge().is_ok() {
///     // … retry …
///     budget.release(1);
/// }
/// # Ok::<(), hedge_tokio::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedBudget {
    core: hedge_core::SharedBudget,
    timer: TokioTimer,
}

impl SharedBudget {
    /// Shares `budget`.
    pub fn new(budget: Budget) -> Self {
        Self {
            core: hedge_core::SharedBudget::new(budget),
            timer: TokioTimer::new(),
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
        self.core.charge(self.timer.now())
    }

    /// Gives back the places in flight of `attempts` that ended. Their tokens stay spent.
    pub fn release(&self, attempts: u32) {
        self.core.release(attempts);
    }

    /// Exclusive access to the budget, every deposit counted. `f` must not use a hedger that shares it.
    pub fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        self.core.edit(f)
    }
}

impl From<Budget> for SharedBudget {
    fn from(budget: Budget) -> Self {
        Self::new(budget)
    }
}

/// Hedgers have clocks of their own, with other epochs: the time that they tell is not used.
impl Charge for SharedBudget {
    fn deposit(&self) {
        self.deposit();
    }

    fn charge(&self, _: Instant) -> Result<(), Suppressed> {
        self.try_charge()
    }

    fn release(&self, hedges: u32) {
        self.release(hedges);
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        self.edit(f)
    }
}
