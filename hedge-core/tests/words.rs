//! What is printed, and what an answer and an error give away.

use core::error::Error as _;
use core::time::Duration;
use std::collections::HashSet;
use std::io;

use hedge_core::cascade::{Cascade, CascadeError, Tier, TierEnd};
use hedge_core::manual::ManualTimer;
use hedge_core::strategy::Strategy as _;
use hedge_core::{
    Error, ExponentialBackoff, Fixed, FixedRegistry, Hedged, Hedger, InsertError, Instant, Name,
    Percentile, StrategyKind, Suppressed, Verdict,
};

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
fn a_cascade_that_fails_leads_to_its_first_error() {
    let clock = ManualTimer::<4>::new();
    let tiers = [Tier::new("large"), Tier::new("small")];
    assert_eq!(tiers[1].name(), "small");
    let cascade = Cascade::new(&clock, tiers).unwrap();
    let large = async || Err::<(), _>(io::Error::other("overloaded"));
    let small = async || Err::<(), _>(io::Error::other("reset"));
    let error = clock.drive(cascade.request((large, small))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "every tier failed: large: overloaded; small: reset"
    );
    assert_eq!(error.source().unwrap().to_string(), "overloaded");
    let ends: Vec<_> = error
        .failures()
        .unwrap()
        .outcome()
        .tiers()
        .iter()
        .map(|tier| tier.end)
        .collect();
    assert_eq!(ends, [TierEnd::Failed; 2]);
    assert_eq!(format!("{:>8}", ends[0]), "  failed");
    let (CascadeError::Failed(failures) | CascadeError::Timeout(failures)) = error else {
        panic!("{error}");
    };
    assert!(failures.into_errors().iter().all(Option::is_some));
}

#[test]
fn a_registry_says_why_it_has_nothing_to_give() {
    let mut registry = FixedRegistry::<u8, 1>::default();
    let make = |registry: &mut FixedRegistry<u8, 1>, name, made: Result<u8, _>| {
        registry
            .get_or_try_insert_with(Name::truncated(name), || made)
            .copied()
    };
    let why = || Error::Failed {
        error: io::Error::other("no socket"),
        attempts: 1,
    };
    let error = make(&mut registry, "a", Err(why())).unwrap_err();
    assert_eq!(error.to_string(), "1 attempt failed");
    assert_eq!(error.source().unwrap().to_string(), "no socket");
    assert!(registry.is_empty());
    assert_eq!(make(&mut registry, "a", Ok(3)).unwrap(), 3);
    let error = make(&mut registry, "b", Ok(4)).unwrap_err();
    assert_eq!(error.to_string(), "the registry holds 1, and evicts none");
    assert!(matches!(error, InsertError::Full { capacity: 1 }) && error.source().is_none());
}

#[test]
fn what_cannot_be_restored_says_which_number_is_wrong() {
    let restored = |columns: &[(&str, &[f64])]| {
        let mut strategy = Percentile::new(95.0);
        let error = strategy.restore(&columns, Instant::ZERO).unwrap_err();
        error.to_string()
    };
    assert_eq!(restored(&[]), "`finished_from_ns` is missing");
    let wrong = restored(&[("finished_from_ns", &[5.0, f64::NAN])]);
    assert!(
        wrong.starts_with("`finished_from_ns[1]` is NaN, but must be 0 to "),
        "{wrong}"
    );
    // What versions before this one wrote.
    let outdated = restored(&[("latencies_us", &[5.0])]);
    assert_eq!(
        outdated,
        "`latencies_us` was written by an older version or by an exact window, and cannot be read"
    );
    let mut backoff = ExponentialBackoff::new();
    let mut names = Vec::new();
    // Every column of two numbers, where one is right.
    struct Names<'n>(&'n mut Vec<&'static str>);
    impl hedge_core::strategy::WriteColumns for Names<'_> {
        fn column(&mut self, name: &'static str, _: &mut dyn Iterator<Item = f64>) {
            self.0.push(name);
        }
    }
    backoff.export(&mut Names(&mut names), Instant::ZERO);
    let columns: Vec<(&str, &[f64])> = names.iter().map(|&name| (name, &[1.0, 1.0][..])).collect();
    let error = backoff
        .restore(&columns.as_slice(), Instant::ZERO)
        .unwrap_err();
    let expected = " holds 2 numbers, but must hold 1";
    assert!(error.to_string().ends_with(expected), "{error}");
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
