//! The budget that threads share: nothing that was deposited is lost, and no more is spent.

use hedge_core::adapter::{BudgetHandle, Claim, SharedBudget, Traffic};
use hedge_core::{Budget, Cause, Instant, Suppressed};
use loom::thread;

const NOW: Instant = Instant::ZERO;

/// Half a token for each request.
fn empty(burst: u32) -> SharedBudget {
    let budget = SharedBudget::new(Budget::percent(50.0).burst(burst));
    for _ in 0..burst {
        assert_eq!(budget.withdraw(NOW), Ok(()));
    }
    budget.give_back(burst);
    budget
}

#[test]
fn every_deposit_counts_once() {
    loom::model(|| {
        let budget = empty(3);
        let other = budget.clone();
        let depositor = thread::spawn(move || {
            other.deposit();
            other.deposit();
        });
        budget.deposit();
        let early = budget.withdraw(NOW).is_ok();
        depositor.join().unwrap();
        budget.deposit();
        let tokens = budget.edit(|budget| budget.tokens());
        assert_eq!(tokens + f64::from(u8::from(early)), 2.0);
    });
}

/// Two hedgers share the budget, and the traffic of one is slow: its requests deposit three quarters.
#[test]
fn deposits_of_both_kinds_count_once() {
    loom::model(|| {
        let budget = SharedBudget::new(Budget::percent(50.0));
        let slow = Traffic {
            slow: true,
            ..Traffic::CALM
        };
        let other = budget.clone();
        let depositor = thread::spawn(move || {
            other.deposit_in(slow);
            other.deposit();
        });
        budget.deposit_in(slow);
        let early = budget.withdraw_for(Claim::new(Cause::Delay, Traffic::CALM), NOW);
        depositor.join().unwrap();
        assert!(early.is_ok());
        // Ten at the start.
        assert_eq!(
            budget.edit(|budget| budget.tokens()),
            9.0 + 0.5 + 2.0 * 0.375
        );
    });
}

/// What was paid for a wait is given back once, whatever other threads do.
#[test]
fn a_refund_gives_back_what_was_taken() {
    loom::model(|| {
        let budget = SharedBudget::new(Budget::percent(50.0).burst(2).max_in_flight(1));
        let other = budget.clone();
        let waits = thread::spawn(move || {
            let paid = other.withdraw_for(Claim::new(Cause::Retry, Traffic::CALM), NOW);
            if let Ok(payment) = paid {
                other.refund(payment);
            }
            paid.is_ok()
        });
        let hedge = budget.withdraw_for(Claim::new(Cause::Delay, Traffic::CALM), NOW);
        let waited = waits.join().unwrap();
        assert!(hedge.is_ok() || waited);
        let (tokens, in_flight) = budget.edit(|budget| (budget.tokens(), budget.in_flight()));
        let spent = u32::from(hedge.is_ok());
        assert_eq!((tokens, in_flight), (2.0 - f64::from(spent), spent));
    });
}

#[test]
fn a_token_is_spent_once() {
    loom::model(|| {
        let budget = empty(2);
        budget.deposit();
        budget.deposit();
        let other = budget.clone();
        let thread = thread::spawn(move || other.withdraw(NOW));
        let charges = [budget.withdraw(NOW), thread.join().unwrap()];
        assert_eq!(charges.iter().filter(|charge| charge.is_ok()).count(), 1);
        assert!(charges.contains(&Err(Suppressed::BudgetRatio)));
    });
}

#[test]
fn no_more_are_in_flight_than_may_be() {
    loom::model(|| {
        let budget = SharedBudget::new(Budget::unlimited().max_in_flight(1));
        let one = |budget: &SharedBudget| {
            if budget.withdraw(NOW).is_ok() {
                assert_eq!(budget.edit(|budget| budget.in_flight()), 1);
                budget.give_back(1);
            }
        };
        let other = budget.clone();
        let thread = thread::spawn(move || one(&other));
        one(&budget);
        thread.join().unwrap();
        assert_eq!(budget.edit(|budget| budget.in_flight()), 0);
    });
}

#[test]
fn a_budget_that_grows_while_deposits_come_loses_none_that_it_has_room_for() {
    loom::model(|| {
        let budget = empty(1);
        let other = budget.clone();
        let thread = thread::spawn(move || {
            other.deposit();
            other.deposit();
        });
        budget.edit(|budget| budget.reconfigure(Budget::percent(50.0).burst(9)));
        thread.join().unwrap();
        assert_eq!(budget.edit(|budget| budget.tokens()), 1.0);
    });
}
