//! Pushback: how long a request waits for a hedge that the server holds up, and for which it does not.

use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::telemetry::NoSink;
use hedge_core::{
    Budget, Hedged, Hedger, Metrics, Options, Outcome, Suppressed, Verdict, WindowedPercentile,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Builder<'c> =
    hedge_core::Builder<&'c ManualTimer<8>, WindowedPercentile<64>, Metrics, NoSink, 2>;

/// A primary that is turned away after 5 ms, with so much patience, by a backend that usually takes two seconds; then
/// a hedge that is served at once. What the hedge was called, the outcome, and when.
fn turned_away(
    patience: Duration,
    edit: impl FnOnce(Builder<'_>) -> Builder<'_>,
) -> (u16, Outcome) {
    let clock = ManualTimer::<8>::new();
    let builder = Hedger::builder(&clock).strategy(WindowedPercentile::with_window::<64>(95.0));
    let hedger = edit(builder).build_local().unwrap();
    for _ in 0..64 {
        let slow = |_| async {
            clock.sleep(ms(2_000)).await;
            Ok::<_, ()>(200)
        };
        let call = hedger.call().unhedged().teaches(true);
        assert!(clock.drive(call.request(slow)).is_ok());
    }
    let call = hedger
        .call()
        .classify(|result: &Result<u16, ()>| match result {
            Ok(503) => Verdict::RetryAfter(patience),
            Ok(_) => Verdict::Accept,
            Err(()) => Verdict::Retry,
        });
    let clock = &clock;
    let answer = clock.drive(call.request(|attempt| async move {
        clock.sleep(ms(5)).await;
        Ok(if attempt.is_hedge() { 200 } else { 503 })
    }));
    let Hedged { value, outcome } = answer.unwrap();
    (value, outcome)
}

fn same(builder: Builder<'_>) -> Builder<'_> {
    builder
}

#[test]
fn a_hedge_waits_as_long_as_the_server_asks() {
    let (status, outcome) = turned_away(ms(10_000), same);
    assert_eq!((status, outcome.total_latency), (200, ms(10_010)));
}

#[test]
fn nobody_waits_for_a_hedge_that_could_not_help_any_more() {
    // A second is left then, and a request takes two.
    let (status, outcome) = turned_away(ms(29_000), |builder| builder.timeout(ms(30_000)));
    assert_eq!((status, outcome.total_latency), (503, ms(5)));
    assert_eq!(outcome.suppressed, Some(Suppressed::Deadline));
}

#[test]
fn nobody_waits_for_a_hedge_that_is_only_observed() {
    let (status, outcome) = turned_away(ms(10_000), |builder| {
        let mut options = Options::DEFAULT;
        options.observe_only = true;
        builder.options(options)
    });
    assert_eq!((status, outcome.total_latency), (503, ms(5)));
    assert_eq!(outcome.suppressed, Some(Suppressed::ObserveOnly));
}

#[test]
fn nobody_waits_for_a_hedge_that_no_budget_will_pay() {
    let (status, outcome) = turned_away(ms(10_000), |builder| builder.budget(Budget::percent(0.0)));
    assert_eq!((status, outcome.total_latency), (503, ms(5)));
    assert_eq!(outcome.suppressed, Some(Suppressed::BudgetRatio));
}
