use core::cell::{Cell, RefCell};
use std::format;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::hedger::Hedger;
use crate::manual::ManualTimer;
use crate::telemetry::Event;
use crate::time::Instant;

type Clock = ManualTimer<16>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Simulates a provider: after `millis`, returns an answer with a quality, or an error.
async fn ask(clock: &Clock, millis: u64, answer: Result<f64, &'static str>) -> Result<f64, String> {
    clock.sleep(ms(millis)).await;
    answer.map_err(String::from)
}

fn tier(name: &str, delay: u64) -> Tier {
    Tier::new(name).delay(ms(delay)).quality_threshold(0.5)
}

fn quality(answer: &f64) -> f64 {
    *answer
}

#[test]
fn the_last_tier_is_waited_for_whatever_its_delay() {
    let clock = Clock::new();
    let tiers = [
        Tier::new("a").delay(ms(100)),
        Tier::new("b").delay(Duration::ZERO),
    ];
    let cascade = Cascade::new(&clock, tiers).unwrap();
    let answer =
        clock.drive(cascade.request((|| ask(&clock, 500, Ok(1.0)), || ask(&clock, 200, Ok(2.0)))));
    let answer = answer.unwrap();
    assert_eq!(answer.value, 2.0);
    assert_eq!(answer.outcome.total_latency, ms(300));
    assert_eq!(answer.outcome.hedges_fired, 1);
    assert_eq!(answer.outcome.tier, Some(1));
    assert_eq!(clock.now(), Instant::from_epoch(ms(300)));
}

#[test]
fn a_tier_that_answers_in_time_is_the_only_one() {
    let clock = Clock::new();
    let tiers = [tier("a", 100).cost(3.0), tier("b", 0)];
    let cascade = Cascade::new(&clock, tiers).unwrap().quality(quality);
    let asked = Cell::new(false);
    let answer = clock.drive(cascade.request((
        || ask(&clock, 100, Ok(0.9)),
        || {
            asked.set(true);
            ask(&clock, 1, Ok(1.0))
        },
    )));
    let outcome = answer.unwrap().outcome;
    // If the answer and the delay coincide, the answer wins.
    assert!(!asked.get());
    assert_eq!((outcome.tier, outcome.accepted), (Some(0), true));
    assert_eq!((outcome.total_cost, outcome.completed_cost), (3.0, 3.0));
    let ends = [TierEnd::Won, TierEnd::Unused];
    assert!(outcome.tiers().iter().map(|tier| tier.end).eq(ends));
}

#[test]
fn a_failure_or_a_poor_answer_asks_the_next_tier_at_once() {
    for first in [Err("down"), Ok(0.4), Ok(f64::NAN)] {
        let clock = Clock::new();
        let tiers = [tier("a", 100), tier("b", 100)];
        let cascade = Cascade::new(&clock, tiers).unwrap().quality(quality);
        let answer =
            clock.drive(cascade.request((|| ask(&clock, 30, first), || ask(&clock, 50, Ok(0.5)))));
        let outcome = answer.unwrap().outcome;
        assert_eq!(outcome.total_latency, ms(80), "{first:?}");
        assert_eq!(outcome.tiers()[1].start, Some(ms(30)));
        assert_eq!(outcome.tiers()[1].latency, Some(ms(50)));
    }
}

#[test]
fn without_a_delay_a_tier_is_waited_for() {
    let clock = Clock::new();
    let tiers = [Tier::new("a"), Tier::new("b")];
    let cascade = Cascade::new(&clock, tiers).unwrap();
    let answer = clock.drive(cascade.request((
        || ask(&clock, 5000, Err("down")),
        || ask(&clock, 1, Ok(0.5)),
    )));
    assert_eq!(answer.unwrap().outcome.total_latency, ms(5001));
}

#[test]
fn an_answer_is_measured_by_its_own_tier() {
    let clock = Clock::new();
    let tiers = [
        Tier::new("strict").delay(ms(10)).quality_threshold(0.95),
        Tier::new("lenient").quality_threshold(0.1),
    ];
    let cascade = Cascade::new(&clock, tiers).unwrap().quality(quality);
    let answer =
        clock.drive(cascade.request((|| ask(&clock, 20, Ok(0.9)), || ask(&clock, 100, Ok(0.2)))));
    let answer = answer.unwrap();
    assert_eq!((answer.value, answer.outcome.accepted), (0.2, true));
    assert_eq!(answer.outcome.total_latency, ms(110));
}

#[test]
fn if_none_will_do_the_best_answer_is_returned_and_flagged() {
    let clock = Clock::new();
    let tiers = [tier("a", 0), tier("b", 0), tier("c", 0), tier("d", 0)];
    let cascade = Cascade::new(&clock, tiers).unwrap().quality(quality);
    let answer = clock.drive(cascade.request((
        || ask(&clock, 30, Ok(0.3)),
        || ask(&clock, 20, Ok(0.4)),
        || ask(&clock, 10, Ok(0.4)),
        || ask(&clock, 5, Err("down")),
    )));
    let answer = answer.unwrap();
    let outcome = answer.outcome;
    assert_eq!(answer.value, 0.4);
    assert_eq!((outcome.tier, outcome.accepted), (Some(1), false));
    assert_eq!(outcome.tier_name().as_str(), "b");
    assert_eq!(outcome.total_latency, ms(30));
    assert_eq!((outcome.total_cost, outcome.completed_cost), (4.0, 3.0));
}

#[test]
fn if_all_fail_the_error_names_each() {
    let clock = Clock::new();
    let cascade = Cascade::new(&clock, [tier("a", 10), tier("b", 10)]).unwrap();
    let error = clock.drive(cascade.request((
        || ask(&clock, 50, Err("busy")),
        || ask(&clock, 5, Err("down")),
    )));
    let error = error.unwrap_err();
    assert_eq!(format!("{error}"), "every tier failed: a: busy; b: down");
    let outcome = error.failures().unwrap().outcome();
    assert_eq!((outcome.tier, outcome.total_latency), (None, ms(50)));
    assert_eq!((outcome.total_cost, outcome.completed_cost), (2.0, 0.0));
    assert!(outcome.completed_cost.is_sign_positive());
}

#[test]
fn without_time_nothing_is_sent() {
    let clock = Clock::new();
    let cascade = Cascade::new(&clock, [tier("a", 10), tier("b", 10)]).unwrap();
    let cascade = cascade.quality(quality).timeout(Duration::ZERO);
    let error = clock.drive(cascade.request((
        || -> core::future::Ready<Result<f64, &str>> { panic!("sent") },
        || -> core::future::Ready<Result<f64, &str>> { panic!("sent") },
    )));
    let error = error.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.failures().unwrap().outcome().total_cost, 0.0);
}

#[test]
fn all_of_it_has_a_timeout() {
    let clock = Clock::new();
    let cascade = Cascade::new(&clock, [tier("a", 10), tier("b", 10), tier("c", 10)]);
    let cascade = cascade.unwrap().quality(quality).timeout(ms(40));
    let error = clock.drive(cascade.request((
        || ask(&clock, 15, Err("busy")),
        || ask(&clock, 500, Ok(1.0)),
        || ask(&clock, 500, Ok(1.0)),
    )));
    let error = error.unwrap_err();
    assert!(error.is_timeout());
    let text = "no tier answered within 40ms: a: busy; b: no answer; c: no answer";
    assert_eq!(format!("{error}"), text);

    // The best answer below its threshold is returned rather than an error.
    let answer = clock.drive(cascade.request((
        || ask(&clock, 15, Ok(0.2)),
        || ask(&clock, 500, Ok(1.0)),
        || ask(&clock, 20, Ok(0.1)),
    )));
    let answer = answer.unwrap();
    assert_eq!((answer.value, answer.outcome.accepted), (0.2, false));
    assert!(answer.outcome.timed_out);
}

#[test]
fn losers_are_dropped_before_the_answer_is_returned() {
    struct Guard<'g>(&'g Cell<bool>);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    let (clock, dropped) = (Clock::new(), Cell::new(false));
    let cascade = Cascade::new(&clock, [tier("a", 10), tier("b", 10)]).unwrap();
    let answer = clock.drive(async {
        let guard = Guard(&dropped);
        let answer = cascade.request((
            || async {
                let _guard = guard;
                ask(&clock, 500, Ok(1.0)).await
            },
            || ask(&clock, 5, Ok(1.0)),
        ));
        let answer = answer.await;
        assert!(dropped.get());
        answer
    });
    assert_eq!(answer.unwrap().outcome.tiers()[0].end, TierEnd::Cancelled);
}

#[test]
fn a_tier_may_be_hedged_by_a_hedger_of_its_own() {
    let clock = Clock::new();
    let hedger = Hedger::builder(&clock)
        .strategy(crate::strategy::Fixed::new(ms(20)))
        .build_local()
        .unwrap();
    let cascade = Cascade::new(&clock, [tier("a", 100), tier("b", 100)]).unwrap();
    let answer = clock.drive(cascade.request((
        async || {
            let attempt = |attempt: Attempt| {
                let millis = if attempt.is_hedge() { 30 } else { 900 };
                ask(&clock, millis, Ok(1.0))
            };
            Ok(hedger.request(attempt).await?.value)
        },
        async || {
            Err(crate::outcome::Error::Failed {
                error: String::new(),
                attempts: 1,
            })
        },
    )));
    assert_eq!(answer.unwrap().outcome.total_latency, ms(50));
    assert_eq!(hedger.metrics().hedge_wins, 1);
}

#[test]
fn tiers_may_come_from_a_list() {
    let clock = Clock::new();
    let tiers: Vec<Tier> = ["a", "b", "c"].map(|name| tier(name, 10)).into();
    let cascade = Cascade::<_, 8>::from_slice(&clock, &tiers).unwrap();
    assert_eq!(cascade.tiers(), tiers);
    let answer = clock.drive(cascade.request([50_u64, 20, 30].map(|millis| {
        let clock = &clock;
        move || ask(clock, millis, Ok(1.0))
    })));
    let outcome = answer.unwrap().outcome;
    assert_eq!(outcome.tier_name().as_str(), "b");
    assert_eq!(outcome.tiers().len(), 3);
}

#[cfg(feature = "alloc")]
#[test]
fn requests_of_different_types_may_be_boxed() {
    let timer = ManualTimer::<4>::new();
    let cascade = Cascade::<_, 8>::from_slice(&timer, &[tier("a", 10), tier("b", 10)]).unwrap();
    let requests: Vec<BoxedRequest<'_, u8, ()>> = [
        boxed(|| async { Err(()) }),
        boxed(|| core::future::ready(Ok(7))),
    ]
    .into();
    let answer = timer.drive(cascade.request(requests));
    assert_eq!(answer.unwrap().value, 7);
}

#[test]
fn invalid_values_are_named() {
    let clock = Clock::new();
    let error = |tier: Tier| format!("{}", Cascade::new(&clock, [tier]).unwrap_err());
    assert_eq!(
        error(tier("a", 1).cost(-1.0)),
        "`cost` is -1, but must be at least 0"
    );
    assert_eq!(
        error(tier("a", 1).quality_threshold(f64::NAN)),
        "`quality_threshold` is NaN, but must be a finite number"
    );
    let none = Cascade::<_, 8>::from_slice(&clock, &[]).unwrap_err();
    assert_eq!(format!("{none}"), "`tiers` is 0, but must be 1 to 8");

    let cascade = Cascade::<_, 8>::from_slice(&clock, &[tier("a", 1)]).unwrap();
    let error =
        clock.drive(cascade.request((|| ask(&clock, 1, Ok(1.0)), || ask(&clock, 1, Ok(1.0)))));
    let text = "`requests` is 2, but must be as many as there are tiers";
    assert_eq!(format!("{}", error.unwrap_err()), text);
}

#[test]
fn events_tell_what_happens_in_order() {
    let (clock, log) = (Clock::new(), Rc::new(RefCell::new(Vec::new())));
    let sink = |event: &Event| {
        let millis = event.at.since_epoch().as_millis();
        log.borrow_mut().push(format!("{millis} {}", event.kind));
    };
    let cascade = Cascade::new(&clock, [tier("a", 10), tier("b", 10), tier("c", 10)]);
    let cascade = cascade.unwrap().quality(quality).name("models").sink(&sink);
    let run = |millis: [u64; 3], answers: [Result<f64, &'static str>; 3]| {
        log.borrow_mut().clear();
        let start = clock.now().since_epoch().as_millis() as u64;
        let _ = clock.drive(cascade.request((
            || ask(&clock, millis[0], answers[0]),
            || ask(&clock, millis[1], answers[1]),
            || ask(&clock, millis[2], answers[2]),
        )));
        let shifted = |line: &String| {
            let (at, name) = line.split_once(' ').unwrap();
            format!("{} {name}", at.parse::<u64>().unwrap() - start)
        };
        log.borrow().iter().map(shifted).collect::<Vec<_>>()
    };
    assert_eq!(
        run([50, 5, 20], [Ok(1.0), Ok(0.1), Ok(1.0)]),
        [
            "0 cascade.start",
            "0 cascade.tier.start",
            "10 cascade.tier.timeout",
            "10 cascade.tier.start",
            "15 cascade.tier.completed",
            "15 cascade.tier.start",
            "35 cascade.tier.completed",
            "35 cascade.tier.cancelled",
            "35 cascade.stop",
        ]
    );
    let failed = run([1, 1, 1], [Err(""), Err(""), Err("")]);
    assert_eq!(failed.last().unwrap(), "3 cascade.exception");

    log.borrow_mut().clear();
    let dropped = cascade.request((
        || ask(&clock, 5, Ok(1.0)),
        || ask(&clock, 5, Ok(1.0)),
        || ask(&clock, 5, Ok(1.0)),
    ));
    let mut dropped = std::boxed::Box::pin(dropped);
    let mut cx = Context::from_waker(core::task::Waker::noop());
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    drop(dropped);
    let last = log
        .borrow()
        .iter()
        .rev()
        .take(2)
        .cloned()
        .collect::<Vec<_>>();
    assert!(last[0].ends_with("cascade.dropped"), "{last:?}");
    assert!(last[1].ends_with("cascade.tier.cancelled"), "{last:?}");
}

#[cfg(feature = "alloc")]
mod closed_form;
