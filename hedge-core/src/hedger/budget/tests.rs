//! Each limit of a budget, alone and with the others.

use core::time::Duration;

use proptest::prelude::*;

use super::bucket::TOKEN;
use super::*;

fn at(ms: u64) -> Instant {
    Instant::from_epoch(Duration::from_millis(ms))
}

const SURGE: Traffic = Traffic {
    surging: true,
    slow: false,
};

#[test]
fn n_requests_start_at_most_burst_plus_their_share() {
    let mut budget = Budget::percent(10.0);
    let mut hedges = 0;
    for n in 1..=4000 {
        budget.deposit();
        hedges += u32::from(budget.withdraw(at(n)).is_ok());
        if n == 100 {
            assert!(hedges <= 20, "{hedges}");
        }
    }
    // A new budget holds ten tokens, so that restarts cause no bursts.
    assert_eq!(hedges, 410);
}

#[test]
fn what_quiet_times_earn_is_there_in_bad_ones() {
    let mut budget = Budget::percent(10.0);
    budget.deposit_many(10_000);
    assert_eq!(granted(&mut budget, Traffic::CALM, 200), 80);
}

#[test]
fn a_surge_spends_the_small_bucket_only() {
    let mut budget = Budget::percent(10.0);
    budget.deposit_many(10_000);
    assert_eq!(granted(&mut budget, SURGE, 200), 10);
    // The rest of the tokens can be used when the surge is over.
    assert_eq!(granted(&mut budget, Traffic::CALM, 200), 70);
    // Tokens that were spent while traffic was calm become a debt of the small bucket, at most 30.
    budget.deposit_many(300);
    assert_eq!(granted(&mut budget, SURGE, 200), 0);
    budget.deposit_many(10);
    assert_eq!(granted(&mut budget, SURGE, 200), 1);
}

#[test]
fn one_that_is_asked_for_again_leaves_the_last_token() {
    let first = Claim::new(Cause::Delay, Traffic::CALM);
    let again = Claim {
        again: true,
        ..first
    };
    let mut budget = Budget::percent(10.0).burst(4);
    let granted = (0..9).filter(|_| budget.withdraw_for(again, at(0)).is_ok());
    assert_eq!(granted.count(), 3);
    assert!(budget.withdraw_for(first, at(0)).is_ok());
    // A bucket of one token is full with one, so the claim is granted.
    let mut small = Budget::percent(10.0).burst(1);
    assert!(small.withdraw_for(again, at(0)).is_ok());
    assert!(small.withdraw_for(again, at(0)).is_err());
    // The last token of the small bucket and of the reserve is left, too.
    let surging = Claim {
        traffic: SURGE,
        ..again
    };
    let mut gated = Budget::percent(10.0);
    gated.deposit_many(1000);
    let granted = (0..99).filter(|_| gated.withdraw_for(surging, at(0)).is_ok());
    assert_eq!(granted.count(), 9);
    let mut reserve = Budget::percent(0.0).min_per_second(3.0);
    let granted = (0..9).filter(|_| reserve.withdraw_for(again, at(0)).is_ok());
    assert_eq!(granted.count(), 2);
    assert!(reserve.withdraw_for(first, at(0)).is_ok());
    let mut slow = Budget::percent(0.0).min_per_second(0.5);
    assert!(slow.withdraw_for(again, at(0)).is_ok());
}

#[test]
fn while_tokens_are_scarce_those_who_ask_first_get_them() {
    let mut budget = Budget::percent(10.0);
    let mut granted = [0; 2];
    // A third of the requests want a hedge, and those that are refused ask again twice.
    for n in 0..30_000_u32 {
        budget.deposit();
        let claim = Claim {
            again: n % 3 > 0,
            ..Claim::new(Cause::Delay, Traffic::CALM)
        };
        let is_granted = budget.withdraw_for(claim, at(0)).is_ok();
        granted[usize::from(claim.again)] += u32::from(is_granted);
    }
    let [first, again] = granted;
    assert!(first >= 2990 && again <= 15, "{first} {again}");
    // If no other request asks, those that ask again get the tokens.
    let mut granted = 0;
    for n in 0..10_000_u32 {
        budget.deposit();
        let claim = Claim {
            again: true,
            ..Claim::new(Cause::Delay, Traffic::CALM)
        };
        granted += u32::from(n % 3 == 0 && budget.withdraw_for(claim, at(0)).is_ok());
    }
    assert!(granted >= 990, "{granted}");
}

#[test]
fn a_burst_that_was_set_is_kept_to() {
    let mut budget = Budget::percent(10.0).burst(50);
    budget.deposit_in(
        500,
        Traffic {
            slow: true,
            ..SURGE
        },
    );
    assert_eq!(granted(&mut budget, SURGE, 200), 50);
    // A new budget with a burst of 50 also starts with ten tokens.
    assert_eq!(
        granted(&mut Budget::percent(10.0).burst(50), SURGE, 200),
        10
    );
    assert_eq!(granted(&mut Budget::percent(10.0).burst(4), SURGE, 200), 4);
}

#[test]
fn slow_traffic_earns_three_quarters() {
    let slow = Traffic {
        surging: false,
        slow: true,
    };
    let mut budget = Budget::percent(10.0);
    budget.deposit_in(200, slow);
    assert_eq!(budget.tokens(), 10.0 + 15.0);
    // The small bucket earns the full deposit.
    assert_eq!(granted(&mut budget, Traffic::CALM, 25), 25);
    budget.deposit_in(160, slow);
    assert_eq!(granted(&mut budget, SURGE, 200), 1);
}

#[test]
fn errors_leave_slow_requests_their_half() {
    // 12 %, then 32 % of the requests fail wherever they run, and 4 % are slow.
    for failing in [3, 8] {
        let mut budget = Budget::percent(10.0);
        let mut granted = [0; 2];
        for n in 0..20_000 {
            budget.deposit();
            let cause = match n % 25 {
                12 => Cause::Delay,
                place if place < failing => Cause::Retry,
                _ => continue,
            };
            let granted = &mut granted[usize::from(cause == Cause::Retry)];
            *granted += u32::from(
                budget
                    .withdraw_for(Claim::new(cause, Traffic::CALM), at(0))
                    .is_ok(),
            );
        }
        let [hedges, retries] = granted;
        assert!(hedges >= 760, "{failing}: {hedges} of 800");
        // No token is left unused.
        assert!(retries + hedges >= 1990, "{failing}: {retries}");
    }
}

#[test]
fn what_is_not_needed_is_given_back() {
    let mut budget = Budget::percent(10.0).max_in_flight(1);
    let before = budget.clone();
    let paid = budget
        .withdraw_for(Claim::new(Cause::Retry, SURGE), at(0))
        .unwrap();
    let cause = Cause::Retry;
    let surge_token = true;
    assert_eq!(paid, Payment::Bucket { cause, surge_token });
    assert_eq!(budget.withdraw(at(0)), Err(Suppressed::InFlight));
    budget.refund(paid);
    assert_eq!(budget, before);
    // A token of the reserve goes back to the reserve.
    let mut reserve = Budget::percent(0.0).min_per_second(1.0);
    let paid = reserve
        .withdraw_for(Claim::new(Cause::Retry, SURGE), at(0))
        .unwrap();
    assert_eq!(paid, Payment::Reserve);
    assert_eq!(reserve.withdraw(at(0)), Err(Suppressed::BudgetRate));
    reserve.refund(paid);
    assert_eq!(reserve.withdraw(at(0)), Ok(()));
}

#[test]
fn a_refund_gives_back_what_the_small_bucket_paid() {
    let most = (Budget::DEBT as u64 * TOKEN) as i32;
    for debt in [0, most - TOKEN as i32, most] {
        let mut budget = Budget::percent(10.0);
        budget.surge.tokens = -debt;
        let before = budget.clone();
        let claim = Claim::new(Cause::Delay, Traffic::CALM);
        let paid = budget.withdraw_for(claim, at(0)).unwrap();
        budget.refund(paid);
        assert_eq!(budget, before, "{debt}");
    }
}

proptest! {
    /// Compares with a model in floating point, for one kind of attempts.
    #[test]
    fn two_buckets_follow_their_rules(
        percent in 1_u32..=100,
        steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..600),
    ) {
        let mut budget = Budget::percent(f64::from(percent));
        let each = f64::from(percent) / 100.0;
        let (mut large, mut small) = (10.0_f64, 10.0_f64);
        let mut spent = 0.0;
        for (n, (request, surging, slow)) in (0_u32..).zip(steps) {
            let traffic = Traffic { surging, slow };
            if request {
                budget.deposit_in(1, traffic);
                large = (large + if slow { 0.75 * each } else { each }).min(80.0);
                small = (small + each).min(10.0);
            }
            // Sums of floats may be slightly less than the whole number that they should be.
            let whole = |tokens: f64| tokens > 1.0 - 1e-9;
            let expected = whole(large) && (!surging || whole(small));
            if expected {
                large -= 1.0;
                small = (small - 1.0).max(-30.0);
                spent += 1.0;
            }
            let granted = budget.withdraw_for(Claim::new(Cause::Delay, traffic), at(0)).is_ok();
            prop_assert_eq!(granted, expected);
            prop_assert!(spent <= 10.0 + f64::from(n + 1) * each + 1e-9);
        }
    }

    /// Checks the bound for any traffic, causes, refunds and options.
    #[test]
    fn the_bound_holds(
        burst in prop::option::of(0_u32..100),
        percent in 0_u32..=100,
        steps in prop::collection::vec((0_u8..6, 0_u32..50), 0..300),
    ) {
        let mut budget = Budget::percent(f64::from(percent));
        if let Some(burst) = burst {
            budget = budget.burst(burst);
        }
        let most = if percent == 0 { 0 } else { burst.unwrap_or(80) };
        let (mut requests, mut spent) = (0, 0);
        for (step, n) in steps {
            let traffic = Traffic { surging: n % 2 == 0, slow: n % 3 == 0 };
            let cause = if n % 5 < 2 { Cause::Retry } else { Cause::Delay };
            match step {
                0 => {
                    requests += n;
                    budget.deposit_in(n, traffic);
                }
                1 if spent > 0 => {
                    spent -= 1;
                    budget.refund(Payment::Bucket { cause, surge_token: true });
                }
                _ => spent += u32::from(budget.withdraw_for(Claim::new(cause, traffic), at(0)).is_ok()),
            }
            prop_assert!(100 * spent <= 100 * most + requests * percent);
            prop_assert_eq!(budget.in_flight(), spent);
        }
    }
}

fn granted(budget: &mut Budget, traffic: Traffic, asked: u32) -> u32 {
    let ask = |budget: &mut Budget| {
        budget
            .withdraw_for(Claim::new(Cause::Delay, traffic), at(0))
            .is_ok()
    };
    (0..asked).map(|_| u32::from(ask(budget))).sum()
}

#[test]
fn shares_are_rounded_to_millionths() {
    // Ten deposits of a tenth make one token, and not a millionth less.
    let mut budget = Budget::percent(10.0).burst(1);
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    (0..10).for_each(|_| budget.deposit());
    assert_eq!(budget.tokens(), 1.0);
    let mut little = Budget::percent(0.000_06).burst(1);
    assert_eq!(little.withdraw(at(0)), Ok(()));
    little.deposit();
    assert_eq!(little.tokens(), 1e-6);
}

#[test]
fn many_deposits_are_as_many_times_one() {
    let mut budget = Budget::percent(30.0).burst(2);
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    budget.deposit_many(3);
    assert_eq!(budget.tokens(), 0.9);
    budget.deposit_many(1);
    assert_eq!(budget.tokens(), 1.2);
    budget.deposit_many(u32::MAX);
    assert_eq!(budget.tokens(), 2.0);
}

#[test]
fn without_a_limit_nothing_is_refused() {
    let mut budget = Budget::unlimited();
    assert!((0..1000).all(|_| budget.withdraw(at(0)).is_ok()));
    assert_eq!((budget.in_flight(), budget.tokens()), (1000, f64::INFINITY));
    let mut budget = Budget::unlimited().max_in_flight(2);
    let granted = (0..9).filter(|_| budget.withdraw(at(0)).is_ok());
    assert_eq!(granted.count(), 2);
}

#[test]
fn a_refusal_takes_nothing() {
    let mut budget = Budget::percent(100.0).burst(5).max_in_flight(1);
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    let before = budget.clone();
    assert_eq!(budget.withdraw(at(0)), Err(Suppressed::InFlight));
    assert_eq!(budget, before);
    budget.give_back(1);
    assert_eq!(budget.withdraw(at(0)), Ok(()));
}

#[test]
fn the_reserve_serves_when_the_bucket_is_empty() {
    let mut budget = Budget::percent(10.0).burst(1).min_per_second(2.0);
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    assert_eq!(budget.withdraw(at(0)), Ok(()));
    assert_eq!(budget.withdraw(at(0)), Err(Suppressed::BudgetRate));
    assert_eq!(budget.withdraw(at(499)), Err(Suppressed::BudgetRate));
    assert_eq!(budget.withdraw(at(501)), Ok(()));
    // Frequent calls lose no fractions.
    let mut slow = Budget::percent(0.0).min_per_second(0.01);
    let micros = |n: u64| Instant::from_epoch(Duration::from_micros(n));
    // Each call earns half a millionth of a token. One token is there at the start, and one is earned after 100 s.
    let granted = (0..2_200_000).filter(|n| slow.withdraw(micros(50 * n)).is_ok());
    assert_eq!(granted.count(), 2);
    // A high rate, at which the product saturates, loses no more than parts of a nanosecond.
    let mut fast = Budget::percent(0.0).min_per_second(100_000.0);
    let mut granted = |ms| {
        (0..200_000)
            .filter(|_| fast.withdraw(at(ms)).is_ok())
            .count()
    };
    assert_eq!(granted(0), 100_000);
    assert!((49_990..=50_000).contains(&granted(500)));
    // Time does not run backwards, nor does the reserve overflow.
    assert_eq!(budget.withdraw(at(0)), Err(Suppressed::BudgetRate));
    let far = Instant::from_epoch(Duration::from_secs(1 << 33));
    assert_eq!(budget.withdraw(far), Ok(()));
    assert_eq!(budget.withdraw(far), Ok(()));
    assert_eq!(budget.withdraw(far), Err(Suppressed::BudgetRate));
    assert_eq!(budget.withdraw(Instant::MAX), Err(Suppressed::BudgetRate));
    // A second has as many as it should, whether or not they divide it evenly.
    for rate in [1, 3, 6, 7, 11, 1000] {
        let mut budget = Budget::percent(0.0).min_per_second(f64::from(rate));
        let granted = (0..2 * rate).filter(|_| budget.withdraw(at(0)).is_ok());
        assert_eq!(granted.count(), rate as usize);
    }
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(
        Budget::percent(0.0).withdraw(at(0)),
        Err(Suppressed::BudgetRatio)
    );
    assert_eq!(
        Budget::percent(f64::NAN).withdraw(at(0)),
        Err(Suppressed::BudgetRatio)
    );
    assert_eq!(
        Budget::percent(10.0).burst(0).withdraw(at(0)),
        Err(Suppressed::BudgetRatio)
    );
}

#[test]
fn wrong_options_are_named() {
    let option = |budget: Budget| budget.validate(2).unwrap_err().option();
    assert_eq!(option(Budget::percent(201.0)), "budget_percent");
    assert_eq!(option(Budget::percent(-1.0)), "budget_percent");
    assert_eq!(option(Budget::percent(f64::NAN)), "budget_percent");
    assert_eq!(option(Budget::percent(f64::INFINITY)), "budget_percent");
    assert_eq!(
        option(Budget::default().min_per_second(-1.0)),
        "budget_min_per_second"
    );
    assert_eq!(option(Budget::default().max_in_flight(0)), "max_in_flight");
    assert!(Budget::percent(200.0).validate(2).is_ok());
    assert!(Budget::unlimited().validate(1).is_ok());
}

#[test]
fn new_options_keep_what_is_in_flight() {
    let mut budget = Budget::percent(10.0).burst(4);
    budget.withdraw(at(0)).unwrap();
    budget.reconfigure(Budget::percent(20.0).burst(2));
    assert_eq!((budget.in_flight(), budget.tokens()), (1, 2.0));
}

#[test]
fn new_options_give_back_nothing() {
    let options = || Budget::percent(10.0).burst(2).min_per_second(2.0);
    let mut budget = options();
    let granted =
        |budget: &mut Budget, ms| (0..9).filter(|_| budget.withdraw(at(ms)).is_ok()).count();
    assert_eq!(granted(&mut budget, 1000), 4);
    // New options give back neither tokens nor the reserve, nor what had been earned before.
    budget.reconfigure(options().burst(9));
    assert_eq!((granted(&mut budget, 1000), budget.tokens()), (0, 0.0));
    assert_eq!(granted(&mut budget, 1500), 1);
    // After an unlimited budget, the bucket starts full.
    let mut budget = Budget::unlimited();
    budget.reconfigure(Budget::percent(10.0).burst(3));
    assert_eq!(budget.tokens(), 3.0);
}

#[test]
fn a_budget_behind_a_lock_can_be_charged() {
    let budget = core::cell::RefCell::new(Budget::percent(50.0).burst(1));
    assert_eq!(BudgetHandle::withdraw(&budget, at(0)), Ok(()));
    assert_eq!(
        BudgetHandle::withdraw(&budget, at(0)),
        Err(Suppressed::BudgetRatio)
    );
    BudgetHandle::deposit(&budget);
    BudgetHandle::deposit(&budget);
    assert_eq!(budget.edit(|b| (b.in_flight(), b.tokens())), (1, 1.0));
    BudgetHandle::give_back(&budget, 1);
    assert_eq!(budget.edit(|b| b.in_flight()), 0);
}
