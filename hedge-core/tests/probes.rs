//! A probe that was granted to a hedge, or to a retry, that does not start for another reason.

use core::cell::Cell;
use core::future::{Future, pending};
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::{Budget, Fixed, Hedger, Options, Outcome, Suppressed};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Clock = ManualTimer<8>;

/// A hedger with a guard, whose hedges are due after 10 ms.
macro_rules! hedger {
    ($clock:expr, $budget:expr) => {{
        let mut options = Options::default();
        options.guard = Some(true);
        Hedger::builder($clock)
            .strategy(Fixed::new(ms(10)))
            .budget($budget)
            .options(options)
            .build_local()
            .unwrap()
    }};
}

/// A primary that takes 15 ms, and a hedge that never answers. `ready` says whether the hedge may start.
macro_rules! request {
    ($clock:expr, $hedger:expr, $ready:expr) => {{
        let clock: &Clock = $clock;
        let request = $hedger.call().request_if(
            |_| $ready,
            |attempt| async move {
                clock
                    .sleep(ms(if attempt.is_hedge() { 1000 } else { 15 }))
                    .await;
                Ok::<_, ()>(())
            },
        );
        clock.drive(request).unwrap().outcome
    }};
}

/// Until a probe is owed: 24 hedges that lose, and 31 that are put off.
macro_rules! until_probe {
    ($clock:expr, $hedger:expr) => {
        let lost = (0..24).filter(|_| request!($clock, $hedger, true).hedged);
        assert_eq!(lost.count(), 24);
        for _ in 0..31 {
            assert_eq!(
                why(request!($clock, $hedger, true)),
                Some(Suppressed::Guard)
            );
        }
    };
}

fn why(outcome: Outcome) -> Option<Suppressed> {
    assert_eq!(outcome.hedged, outcome.suppressed.is_none());
    outcome.suppressed
}

#[test]
fn one_whose_service_is_not_ready_is_owed() {
    let clock = Clock::new();
    let hedger = hedger!(&clock, Budget::unlimited());
    until_probe!(&clock, hedger);
    for _ in 0..3 {
        assert_eq!(
            why(request!(&clock, hedger, false)),
            Some(Suppressed::NotReady)
        );
    }
    assert_eq!(why(request!(&clock, hedger, true)), None);
    assert_eq!(why(request!(&clock, hedger, true)), Some(Suppressed::Guard));
}

#[test]
fn one_that_the_budget_refuses_is_owed() {
    let clock = Clock::new();
    let hedger = hedger!(&clock, Budget::unlimited().max_in_flight(1));
    until_probe!(&clock, hedger);
    {
        // Its retry takes the only place.
        let mut holder = pin!(hedger.request(|attempt| async move {
            if attempt.is_hedge() {
                pending::<()>().await;
            }
            Err::<(), _>(())
        }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(holder.as_mut().poll(&mut cx).is_pending());
        assert_eq!(
            why(request!(&clock, hedger, true)),
            Some(Suppressed::InFlight)
        );
    }
    assert_eq!(why(request!(&clock, hedger, true)), None);
    assert_eq!(why(request!(&clock, hedger, true)), Some(Suppressed::Guard));
}

#[test]
fn one_that_is_withheld_for_the_control_group_is_owed() {
    let clock = Clock::new();
    let hedger = hedger!(&clock, Budget::unlimited());
    until_probe!(&clock, hedger);
    let mut options = hedger.options();
    options.holdback_percent = 50.0;
    hedger.set_options(options).unwrap();
    let mut withheld = 0;
    // Ten probes, as far apart as if none had been withheld: all requests pass the delay, so that the backend is slow.
    for gap in [0, 99, 99, 99, 99, 99, 99, 99, 99, 99] {
        for _ in 0..gap {
            assert_eq!(why(request!(&clock, hedger, true)), Some(Suppressed::Guard));
        }
        while let Some(reason) = why(request!(&clock, hedger, true)) {
            assert_eq!(reason, Suppressed::Holdback);
            withheld += 1;
        }
    }
    assert!((1..40).contains(&withheld), "{withheld}");
}

/// With `observe_only`, a probe counts as sent, so that a dry run counts one probe and not all that are due.
#[test]
fn one_that_is_only_observed_is_not_owed() {
    let clock = Clock::new();
    let hedger = hedger!(&clock, Budget::unlimited());
    until_probe!(&clock, hedger);
    let mut options = hedger.options();
    options.observe_only = true;
    hedger.set_options(options).unwrap();
    assert_eq!(
        why(request!(&clock, hedger, true)),
        Some(Suppressed::ObserveOnly)
    );
    assert_eq!(why(request!(&clock, hedger, true)), Some(Suppressed::Guard));
}

#[test]
fn a_retry_that_does_not_start_is_owed() {
    let clock = Clock::new();
    let hedger = hedger!(&clock, Budget::unlimited());
    let is_ready = Cell::new(true);
    let failing = || {
        let retries = Cell::new(0);
        let request = hedger.call().request_if(
            |_| is_ready.get(),
            |attempt| {
                retries.set(attempt.index());
                async { Err::<(), _>(()) }
            },
        );
        assert!(clock.drive(request).is_err());
        retries.get()
    };
    let retries: usize = (0..2000).map(|_| failing()).sum();
    assert!(retries < 300, "{retries}");
    is_ready.set(false);
    assert_eq!((0..640).map(|_| failing()).sum::<usize>(), 0);
    is_ready.set(true);
    // One is owed, not ten.
    assert_eq!(failing(), 1);
    assert_eq!((0..32).map(|_| failing()).sum::<usize>(), 0);
}
