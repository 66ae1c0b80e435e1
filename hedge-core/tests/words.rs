//! What is printed, and what an answer and an error give away.

use core::error::Error as _;
use core::time::Duration;
use std::collections::HashSet;
use std::io;

use hedge_core::manual::ManualTimer;
use hedge_core::{Error, Fixed, Hedged, Hedger, StrategyKind, Suppressed, Verdict};

fn is_a_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn every_reason_has_a_name_and_a_place() {
    let names: HashSet<_> = Suppressed::ALL
        .iter()
        .map(|reason| reason.as_str())
        .collect();
    assert_eq!(names.len(), Suppressed::ALL.len());
    assert!(names.into_iter().all(is_a_name));
    for (place, reason) in Suppressed::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), place);
        assert_eq!(format!("{reason:>14}"), format!("{:>14}", reason.as_str()));
    }
}

#[test]
fn every_strategy_has_a_name() {
    let names: HashSet<_> = StrategyKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), StrategyKind::ALL.len());
    assert!(names.into_iter().all(is_a_name));
    for kind in StrategyKind::ALL {
        assert_eq!(format!("{kind:>20}"), format!("{:>20}", kind.as_str()));
    }
}

#[test]
fn errors_say_what_was_tried() {
    let why = || io::Error::other("reset");
    let failed = |attempts| Error::Failed {
        error: why(),
        attempts,
    };
    let timeout = |error| Error::Timeout {
        elapsed: Duration::from_millis(30),
        attempts: 2,
        error,
    };
    assert_eq!(failed(1).to_string(), "1 attempt failed");
    assert_eq!(failed(3).to_string(), "3 attempts failed");
    let text = timeout(None).to_string();
    assert_eq!(text, "no answer from 2 attempts after 30ms");
    assert_eq!((failed(3).attempts(), timeout(None).attempts()), (3, 2));
    assert!(timeout(None).is_timeout() && !failed(1).is_timeout());

    let source = |error: &Error<io::Error>| error.source().map(ToString::to_string);
    assert_eq!(source(&failed(1)).as_deref(), Some("reset"));
    assert_eq!(source(&timeout(Some(why()))).as_deref(), Some("reset"));
    assert_eq!(source(&timeout(None)), None);
    assert!(failed(1).into_inner().is_some());
    assert!(timeout(None).into_inner().is_none());
}

#[test]
fn an_answer_can_become_another() {
    let clock = ManualTimer::<4>::new();
    let strategy = Fixed::new(Duration::from_millis(5));
    let hedger = Hedger::builder(&clock).strategy(strategy).build_local();
    let hedger = hedger.unwrap();
    let answer: Hedged<u8> = clock
        .drive(hedger.request(async |_| Ok::<_, ()>(7)))
        .unwrap();
    let other = answer.map(|seven| f64::from(seven) / 2.0);
    assert_eq!(other.outcome, answer.outcome);
    assert_eq!((other.into_inner(), answer.into_inner()), (3.5, 7));
}

/// What is held while a request runs says where it is, and not what it holds.
#[test]
fn a_request_can_be_looked_at() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock).build_local().unwrap();
    let call = hedger.call().classify(|_: &Result<(), ()>| Verdict::Accept);
    let request = call.open(async |_| Ok(()));
    assert_eq!(format!("{request:?}"), "Request { settled: false, .. }");
    assert_eq!(request.live(), 0);
}
