use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::catch_unwind;

use super::*;
use crate::hedger::Options;
use crate::metrics::Metrics;
use crate::record::Sample;
use crate::strategy::{Percentile, Plan};

/// Counts all records and panics over the third.
#[derive(Debug, Default)]
struct Touchy(u32);

impl Strategy for Touchy {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(Duration::from_millis(self.0.into())).reusable()
    }

    fn record(&mut self, _: &Record) {
        self.0 += 1;
        assert_ne!(self.0, 3, "as planned");
    }
}

fn state() -> Sharded<Touchy, Metrics> {
    Sharded::new(HedgerState::new(
        Policy::new(Touchy::default(), Options::DEFAULT),
        Metrics::new(),
    ))
}

/// Returns the record of a request with one attempt.
fn single(now: Instant) -> Record {
    let latency = Duration::from_millis(5);
    Record::new(Sample::Finished(latency))
        .planned(Duration::from_millis(7))
        .at(now)
}

fn at(ms: u64) -> Instant {
    Instant::from_epoch(Duration::from_millis(ms))
}

#[test]
fn a_strategy_that_panics_over_a_record_is_not_asked_again() {
    let state = state();
    let panics = (1..=10).filter(|&n| {
        // The records are a millisecond apart, so that each is flushed immediately.
        let record = || state.record(&single(at(2 * n)));
        catch_unwind(AssertUnwindSafe(record)).is_err()
    });
    assert_eq!(panics.count(), 1);
    assert_eq!(state.edit(at(99), |policy| policy.strategy.0), 10);
    assert_eq!(state.metrics(at(99)).total_requests, 10);
}

#[test]
fn records_that_are_pending_are_all_taken_into_account() {
    let state = state();
    let requests = || state.metrics(at(2)).total_requests;
    let heard = || lock(&state.policy_cell.0).policy.strategy.0;
    state.record(&single(at(2)));
    // These records come within a millisecond of the first, so they wait.
    state.record(&single(at(2)));
    assert_eq!((requests(), heard()), (2, 1));
    state.edit(at(2), |_| ());
    assert_eq!((requests(), heard()), (2, 2));
}

#[test]
fn a_request_that_hedged_takes_along_what_is_pending() {
    let state = Sharded::new(HedgerState::new(
        Policy::new(Order::default(), Options::DEFAULT),
        Metrics::new(),
    ));
    state.record(&single(at(2)));
    state.record(&single(at(2)));
    let mut hedged = single(at(2));
    hedged.attempts = 2;
    state.record(&hedged);
    assert_eq!(lock(&state.policy_cell.0).policy.strategy.0, [1, 1, 2]);
    assert_eq!(state.metrics(at(2)).total_requests, 3);
    state.reset_metrics(at(3));
    assert_eq!(state.metrics(at(3)).total_requests, 0);
}

/// Remembers the numbers of attempts in the order of the records.
#[derive(Debug, Default)]
struct Order(std::vec::Vec<u8>);

impl Strategy for Order {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(Duration::ZERO)
    }

    fn record(&mut self, report: &Record) {
        self.0.push(report.attempts);
    }
}

#[test]
fn a_published_plan_follows_the_strategy_and_the_options() {
    let state = state();
    let delay = || state.request_plan(&Hints::NONE, at(2)).delay();
    assert_eq!(delay(), Some(Duration::ZERO));
    assert!(state.published.0.get().is_some());
    state.record(&single(at(2)));
    assert_eq!(
        state.published.0.get().and_then(|plan| plan.delay()),
        Some(Duration::from_millis(1))
    );
    assert_eq!(delay(), Some(Duration::from_millis(1)));

    let options = Options {
        enabled: false,
        ..Options::DEFAULT
    };
    state
        .edit(at(2), |policy| policy.set_options(options))
        .unwrap();
    assert_eq!(delay(), None);
    assert!(state.flags().off());
}

#[test]
fn each_key_draws_its_own_random_numbers() {
    let options = Options {
        holdback_percent: 50.0,
        ..Options::DEFAULT
    };
    let policy = Policy::new(Percentile::new(95.0), options);
    let state = Sharded::new(HedgerState::new(policy, Metrics::new())).with_keys(2);
    let groups = |name| {
        let state = state.keyed(state.key(name));
        (0..64)
            .map(|_| state.draw_group())
            .collect::<std::vec::Vec<_>>()
    };
    assert_ne!(groups("a"), groups("b"));
}
