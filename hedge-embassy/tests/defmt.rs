//! What defmt is given to send.
#![cfg(feature = "defmt")]

use core::cell::RefCell;
use core::future::pending;
use core::time::Duration;

use futures_lite::future::poll_once;
use hedge_core::manual::ManualTimer;
use hedge_embassy::{Budget, Error, Event, Fixed, Logged};

/// Text goes over the wire as it is; what surrounds it is in the program on the desk.
fn sent(text: &str) -> bool {
    let bytes = defmt::export::fetch_bytes();
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[test]
fn every_event_is_logged_by_its_name() {
    let seen = RefCell::new(Vec::new());
    let clock = ManualTimer::<8>::new();
    let hedger = hedge_core::Hedger::builder(&clock)
        .strategy(Fixed::new(Duration::from_millis(5)))
        .budget(Budget::percent(10.0).burst(2))
        .timeout(Duration::from_millis(50))
        .strategy_name("sensor-hub")
        .sink(|event: &Event| {
            // Not filtered, as `DefmtSink` is, by what DEFMT_LOG says of the crate.
            defmt::error!("{}", Logged(event));
            let name = event.kind.name();
            let bytes = defmt::export::fetch_bytes();
            let has = |text: &str| {
                bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
            };
            assert!(has(name) && has("sensor-hub"), "{name}");
            seen.borrow_mut().push(name);
        })
        .build_local()
        .unwrap();
    // A hedge wins, a hedge is one too many, a request times out, and another is dropped.
    let request = |hedges: usize| {
        let clock = &clock;
        hedger.request(move |attempt| async move {
            if attempt.index() < hedges {
                return pending().await;
            }
            clock.sleep(Duration::from_millis(20)).await;
            Ok::<_, ()>(())
        })
    };
    clock.drive(request(1)).unwrap();
    clock.drive(request(9)).unwrap_err();
    clock.drive(request(0)).unwrap();
    clock.drive(async { assert!(poll_once(request(9)).await.is_none()) });

    let mut seen = seen.into_inner();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "hedge.fired",
            "hedge.suppressed",
            "hedge.won",
            "request.cancelled",
            "request.dropped",
            "request.exception",
            "request.start",
            "request.stop",
        ]
    );
}

#[test]
fn an_error_is_logged_with_its_cause() {
    let error = Error::Failed {
        error: "the link is down",
        attempts: 2,
    };
    defmt::error!("{}", Logged(&error));
    assert!(sent("the link is down"));
}

#[test]
fn an_outcome_says_why_there_was_no_hedge() {
    let clock = ManualTimer::<8>::new();
    let hedger = hedge_core::Hedger::builder(&clock).build_local().unwrap();
    let hedged = clock
        .drive(hedger.request(async |_| Ok::<_, ()>(())))
        .unwrap();
    defmt::error!("{}", Logged(&hedged.outcome));
    assert!(sent("not_due"));
}
