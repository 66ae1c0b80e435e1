use super::*;
use crate::attempt::Cause;
use crate::record::Sample;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn delay(strategy: &ExponentialBackoff) -> Duration {
    strategy
        .clone()
        .plan(&Hints::NONE, Instant::ZERO)
        .delay()
        .unwrap_or(Duration::MAX)
}

/// Returns the delay after one request that ended like this, from 100 ms.
fn after(edit: impl FnOnce(&mut Record)) -> Duration {
    let mut report = Record::new(Sample::Finished(ms(1)));
    edit(&mut report);
    let mut strategy = ExponentialBackoff::new();
    strategy.record(&report);
    assert_eq!(strategy.stats().delay, delay(&strategy));
    delay(&strategy)
}

fn hedged(cause: Cause, end: RequestEnd) -> impl FnOnce(&mut Record) {
    move |report| {
        report.attempts = 2;
        report.suppressed = None;
        report.retries = u8::from(cause == Cause::Retry) << 1;
        report.end = end;
    }
}

#[test]
fn a_hedge_that_won_or_was_not_needed_shortens_the_delay() {
    assert_eq!(after(|_| ()), ms(90));
    assert_eq!(after(hedged(Cause::Delay, RequestEnd::Won(1))), ms(90));
    assert_eq!(after(hedged(Cause::Delay, RequestEnd::Won(3))), ms(90));
    assert_eq!(after(hedged(Cause::Retry, RequestEnd::Won(1))), ms(90));
}

#[test]
fn a_hedge_that_lost_lengthens_it() {
    assert_eq!(after(hedged(Cause::Delay, RequestEnd::Won(0))), ms(150));
}

#[test]
fn a_request_that_failed_lengthens_it_most() {
    for end in [RequestEnd::Failed(0), RequestEnd::TimedOut] {
        assert_eq!(after(|report| report.end = end), ms(200));
        assert_eq!(after(hedged(Cause::Delay, end)), ms(200));
        assert_eq!(after(hedged(Cause::Retry, end)), ms(200));
    }
}

#[test]
fn what_says_nothing_changes_nothing() {
    assert_eq!(after(|report| report.end = RequestEnd::Dropped), ms(100));
    assert_eq!(after(hedged(Cause::Delay, RequestEnd::Dropped)), ms(100));
    for reason in Suppressed::ALL {
        let told = after(|report| report.suppressed = Some(reason));
        let expected = match reason {
            Suppressed::NotDue => ms(90),
            Suppressed::BudgetRatio
            | Suppressed::BudgetRate
            | Suppressed::InFlight
            | Suppressed::ObserveOnly => ms(150),
            _ => ms(100),
        };
        assert_eq!(told, expected, "{reason}");
    }
}

/// Latencies repeat from 0 to 100 ms, and the budget refuses every hedge. The delay settles where one request in five
/// is due, since 1.5 × 0.9^4 is about 1.
#[test]
fn a_spent_budget_does_not_drive_it_to_its_minimum() {
    let mut strategy = ExponentialBackoff::new();
    let mut due = 0;
    for n in 0..20_000_u64 {
        let latency = ms(n * 37 % 100);
        let is_due = latency > delay(&strategy);
        let mut report = Record::new(Sample::Finished(latency));
        if is_due {
            report.suppressed = Some(Suppressed::BudgetRatio);
            due += 1;
        }
        strategy.record(&report);
    }
    assert!((3_000..5_000).contains(&due), "{due}");
}

#[test]
fn streaks_count_and_break() {
    let mut strategy = ExponentialBackoff::new();
    let mut record = |edit: &dyn Fn(&mut Record)| {
        let mut report = Record::new(Sample::Finished(ms(1)));
        edit(&mut report);
        strategy.record(&report);
        let stats = strategy.stats();
        let streaks = [
            stats.success_streak,
            stats.failure_streak,
            stats.error_streak,
        ];
        (streaks, stats.adjustments)
    };
    assert_eq!(record(&|_| ()), ([1, 0, 0], 1));
    assert_eq!(record(&|_| ()), ([2, 0, 0], 2));
    let lost = |report: &mut Record| hedged(Cause::Delay, RequestEnd::Won(0))(report);
    assert_eq!(record(&lost), ([0, 1, 0], 3));
    assert_eq!(
        record(&|report| report.end = RequestEnd::Dropped),
        ([0, 1, 0], 3)
    );
    assert_eq!(record(&lost), ([0, 2, 0], 4));
    assert_eq!(
        record(&|report| report.end = RequestEnd::Failed(0)),
        ([0, 0, 1], 5)
    );
    assert_eq!(record(&|_| ()), ([1, 0, 0], 6));
}

#[test]
fn the_delay_stays_within_its_bounds_and_a_reset_restores_it() {
    let fresh = ExponentialBackoff::new()
        .base_delay(ms(50))
        .min_delay(ms(20))
        .max_delay(ms(70));
    let mut strategy = fresh;
    let failed = Record::new(Sample::Failed(ms(1)));
    (0..3).for_each(|_| strategy.record(&failed));
    assert_eq!(delay(&strategy), ms(70));
    let fast = Record::new(Sample::Finished(ms(1)));
    strategy.record(&fast);
    // The delay rises from the bound, and not from the value that the factors alone would give.
    assert_eq!(delay(&strategy), ms(63));
    (0..20).for_each(|_| strategy.record(&fast));
    assert_eq!(delay(&strategy), ms(20));
    assert_eq!(strategy.stats().adjustments, 24);
    strategy.reset();
    assert_eq!(strategy, fresh);
}

#[test]
fn the_factors_can_be_set() {
    let strategy = ExponentialBackoff::new()
        .increase_factor(3.0)
        .decrease_factor(0.5)
        .error_factor(4.0);
    let after = |edit: &dyn Fn(&mut Record)| {
        let mut report = Record::new(Sample::Finished(ms(1)));
        edit(&mut report);
        let mut strategy = strategy;
        strategy.record(&report);
        delay(&strategy)
    };
    assert_eq!(after(&|_| ()), ms(50));
    assert_eq!(
        after(&|report| hedged(Cause::Delay, RequestEnd::Won(0))(report)),
        ms(300)
    );
    assert_eq!(after(&|report| report.end = RequestEnd::Failed(0)), ms(400));
}

#[test]
fn it_leaves_zero_again() {
    let mut strategy = ExponentialBackoff::new().base_delay(ms(0)).min_delay(ms(0));
    assert_eq!(delay(&strategy), ms(0));
    let failed = Record::new(Sample::Failed(ms(1)));
    (0..20).for_each(|_| strategy.record(&failed));
    assert!(delay(&strategy) > ms(1000));
}

#[test]
fn invalid_values_are_named() {
    let new = ExponentialBackoff::new;
    let bad = [
        (
            "exponential_max_delay",
            new().min_delay(ms(100)).max_delay(ms(100)),
        ),
        ("exponential_base_delay", new().base_delay(ms(9))),
        ("exponential_base_delay", new().base_delay(ms(5001))),
        ("exponential_increase_factor", new().increase_factor(1.0)),
        (
            "exponential_increase_factor",
            new().increase_factor(f64::INFINITY),
        ),
        ("exponential_decrease_factor", new().decrease_factor(0.0)),
        ("exponential_decrease_factor", new().decrease_factor(1.0)),
        (
            "exponential_decrease_factor",
            new().decrease_factor(f64::NAN),
        ),
        ("exponential_error_factor", new().error_factor(0.5)),
        ("exponential_error_factor", new().error_factor(f64::NAN)),
    ];
    for (option, strategy) in bad {
        assert_eq!(
            strategy.validate().map_err(|error| error.option()),
            Err(option)
        );
    }
    let edges = new()
        .base_delay(ms(10))
        .increase_factor(1.001)
        .decrease_factor(0.999);
    for good in [
        new(),
        edges,
        new().base_delay(ms(5000)),
        new().max_delay(Duration::MAX),
    ] {
        assert_eq!(good.validate(), Ok(()));
    }
}

#[test]
fn invalid_options_are_survived() {
    let factors = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300];
    let delays = [Duration::ZERO, ms(100), Duration::MAX];
    for (factor, bound) in factors.into_iter().flat_map(|f| delays.map(|d| (f, d))) {
        let mut strategy = ExponentialBackoff::new()
            .base_delay(bound)
            .min_delay(Duration::MAX)
            .max_delay(bound)
            .increase_factor(factor)
            .decrease_factor(factor)
            .error_factor(factor);
        for end in [
            RequestEnd::Won(0),
            RequestEnd::Won(1),
            RequestEnd::Failed(0),
            RequestEnd::TimedOut,
        ] {
            let mut report = Record::new(Sample::Finished(ms(1)));
            hedged(Cause::Delay, end)(&mut report);
            strategy.record(&report);
            assert_eq!(delay(&strategy), bound);
        }
    }
}

#[test]
fn an_invalid_factor_changes_nothing() {
    let strategy = ExponentialBackoff::new()
        .increase_factor(0.5)
        .decrease_factor(2.0)
        .error_factor(0.5);
    let undefined = ExponentialBackoff::new()
        .increase_factor(f64::NAN)
        .decrease_factor(f64::NAN)
        .error_factor(f64::NAN);
    for mut strategy in [strategy, undefined] {
        for end in [
            RequestEnd::Won(0),
            RequestEnd::Won(1),
            RequestEnd::Failed(0),
        ] {
            let mut report = Record::new(Sample::Finished(ms(1)));
            hedged(Cause::Delay, end)(&mut report);
            strategy.record(&report);
            assert_eq!(delay(&strategy), ms(100));
        }
    }
}

#[test]
fn scaling_rounds_and_saturates() {
    assert_eq!(
        scaled(Duration::from_nanos(3), 0.5),
        Duration::from_nanos(2)
    );
    assert_eq!(scaled(Duration::MAX, 2.0), Duration::from_nanos(u64::MAX));
    assert_eq!(scaled(ms(1), -1.0), Duration::ZERO);
    assert_eq!(scaled(ms(1), f64::NAN), Duration::ZERO);
}
