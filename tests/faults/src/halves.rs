//! What delay hedges should have of a budget, whatever retries take, and a handle that watches.

use hedge_core::adapter::{BudgetHandle, Claim, Payment, Traffic};
use hedge_core::{Budget, Cause, Instant, Suppressed};

use crate::invariants::Invariant;
use crate::purse::Limits;
use crate::world::World;

const TOKEN: i64 = 1_000_000;

/// What delay hedges have at least, in millionths of a token, since one of them was refused: half of what was deposited
/// from then on, less what they took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Halves {
    limits: Limits,
    /// For so many more deposits retries keep to their half.
    wanting: i64,
    own: i64,
}

impl Halves {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            wanting: 0,
            own: 0,
        }
    }

    fn deposit(&mut self) {
        self.wanting -= 1;
        self.own = if self.wanting > 0 {
            let own = self.own + self.limits.deposit() / 2;
            own.min(self.limits.capacity() / 2)
        } else {
            0
        };
    }

    /// A delay hedge has asked for a token. Whether the answer can be.
    fn answered(&mut self, answer: Result<Payment, Suppressed>) -> bool {
        match answer {
            Ok(Payment::Bucket { .. }) => self.own = (self.own - TOKEN).max(0),
            Ok(Payment::Reserve) | Err(Suppressed::BudgetRatio | Suppressed::BudgetRate) => {
                let (capacity, deposit) = (self.limits.capacity(), self.limits.deposit());
                self.wanting = match deposit {
                    0 => 0,
                    deposit => (capacity + deposit - 1) / deposit,
                };
                return self.own < TOKEN;
            }
            _ => {}
        }
        true
    }
}

/// A budget whose answers are checked.
pub(crate) struct Watched<'w, B> {
    pub(crate) world: &'w World,
    pub(crate) budget: B,
}

impl<B: BudgetHandle> BudgetHandle for Watched<'_, B> {
    fn deposit_in(&self, traffic: Traffic) {
        self.budget.deposit_in(traffic);
        if let Some(halves) = &mut self.world.journal().halves {
            halves.deposit();
        }
    }

    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        let answer = self.budget.withdraw_for(claim, now);
        if let (Cause::Delay, Some(halves)) = (claim.cause, &mut self.world.journal().halves) {
            let before = *halves;
            // One that is asked for again leaves the last token to others.
            let right = halves.answered(answer) || claim.again;
            self.world
                .check(Invariant::DelayHedgesKeepTheirHalf, right, || {
                    format!("{answer:?} from {before:?}")
                });
        }
        answer
    }

    fn give_back(&self, hedges: u32) {
        self.budget.give_back(hedges);
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        self.budget.edit(f)
    }

    fn refund(&self, payment: Payment) {
        self.budget.refund(payment);
    }
}
