//! The metrics of whole requests, as an exporter would see them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::*;
use crate::attempt::Attempt;
use crate::hedger::{Budget, Hedger};
use crate::manual::ManualTimer;
use crate::outcome::Suppressed;
use crate::replicas::{AttemptEnd, Choice};
use crate::strategy::Fixed;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns the non-zero metrics that `f` records, as Prometheus would show them.
fn counted(f: impl FnOnce()) -> BTreeMap<String, String> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, f);
    let snapshot = snapshotter.snapshot().into_vec();
    let shown = snapshot.into_iter().filter_map(|(key, _, _, value)| {
        let (name, labels) = key.key().clone().into_parts();
        let labels: Vec<String> = labels
            .iter()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let value = match value {
            DebugValue::Counter(0) => return None,
            DebugValue::Counter(count) => format!("{count}"),
            DebugValue::Histogram(values) => format!("{values:?}"),
            DebugValue::Gauge(value) => format!("{value}"),
        };
        Some((format!("{}{{{}}}", name.as_str(), labels.join(",")), value))
    });
    shown.collect()
}

#[test]
fn requests_are_counted_with_their_labels() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .budget(Budget::percent(0.0).min_per_second(1.0))
            .timeout(ms(500))
            .strategy_name("search")
            .sink(MetricsSink::new())
            .build_local()
            .unwrap();
        let clock = &clock;
        let take = |primary: u64, hedge: u64| {
            let attempt = move |attempt: Attempt| async move {
                clock
                    .sleep(ms(if attempt.is_hedge() { hedge } else { primary }))
                    .await;
                Ok::<_, ()>(())
            };
            clock.drive(hedger.request(attempt)).is_ok()
        };
        // The primary answers, the hedge wins, the budget refuses a hedge, and the request times out.
        assert!(take(10, 1) && take(100, 30) && take(100, 30) && !take(900, 900));
        let failing = hedger
            .call()
            .unhedged()
            .request(|_| async { Err::<(), _>(()) });
        assert!(clock.drive(failing).is_err());
    });
    let labels = "strategy=fixed,strategy_name=search";
    let expected = [
        (
            // The primary that a hedge beat, and both attempts that ran out of time.
            String::from("hedge_losers_total{strategy_name=search,end=cancelled}"),
            "2",
        ),
        (format!("hedge_attempts_total{{{labels}}}"), "6"),
        (format!("hedge_hedged_requests_total{{{labels}}}"), "1"),
        (
            format!("hedge_request_duration_seconds{{{labels}}}"),
            "[0.01, 0.05, 0.1]",
        ),
        (
            format!("hedge_requests_total{{{labels},result=failed}}"),
            "1",
        ),
        (format!("hedge_requests_total{{{labels},result=ok}}"), "3"),
        (
            format!("hedge_requests_total{{{labels},result=timeout}}"),
            "1",
        ),
        (
            // Includes the request that timed out.
            format!("hedge_suppressed_total{{{labels},reason=budget_rate}}"),
            "2",
        ),
        (format!("hedge_hedges_total{{{labels},cause=delay}}"), "1"),
        (format!("hedge_wins_total{{{labels},cause=delay}}"), "1"),
    ];
    let expected = expected.map(|(name, value)| (name, String::from(value)));
    assert_eq!(counted, BTreeMap::from(expected));
}

/// Checks that the table in the documentation, [`MetricsSink::NAMES`] and the recorded metrics
/// have the same names.
#[test]
fn names_are_as_documented() {
    let rows = include_str!("mod.rs").lines().filter_map(|line| {
        let row = line.strip_prefix("/// | `")?;
        Some(row.split('`').next().unwrap())
    });
    let documented: Vec<&str> = rows.collect();
    let names = [&MetricsSink::NAMES[..], &MetricsSink::REPLICA_NAMES].concat();
    assert_eq!(documented, names);

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let labels = Labels {
            strategy: StrategyKind::Fixed,
            name: Name::EMPTY,
            key: Name::EMPTY,
        };
        Handles::new(labels).suppressed(Suppressed::Guard);
        let _ = Losers::new(Name::EMPTY);
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(1)))
            .budget(Budget::unlimited())
            .holdback_percent(50.0)
            .build_local()
            .unwrap();
        for _ in 0..100 {
            let slow = |_| async {
                clock.sleep(ms(3)).await;
                Ok::<_, ()>(())
            };
            assert!(clock.drive(hedger.request(slow)).is_ok());
        }
        MetricsSink::gauges(&hedger.status(), &hedger.metrics());
        assert!(Ends::new(Name::EMPTY).of(ReplicaId::FIRST).is_some());
        // Those that only requests make.
        for name in [REPLICA_REQUESTS, REPLICA_WINS] {
            let _ = metrics::counter!(name);
        }
        let replicas = crate::replicas::Replicas::<1>::all();
        ReplicaGauges::new("").record(&replicas.stats(crate::time::Instant::ZERO));
    });
    let snapshot = snapshotter.snapshot().into_vec();
    let recorded: BTreeSet<String> = snapshot
        .iter()
        .map(|(key, ..)| String::from(key.key().name()))
        .collect();
    let described = snapshot.iter().all(|(_, _, about, _)| about.is_some());
    assert!(described, "{snapshot:?}");
    assert!(
        recorded
            .iter()
            .eq(&names.into_iter().map(String::from).collect::<BTreeSet<_>>())
    );
}

#[test]
fn replicas_are_counted() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .sink(MetricsSink::new())
            .build_local()
            .unwrap();
        let replicas = core::cell::RefCell::new(crate::replicas::Replicas::<2>::all());
        // The first request sends an attempt to each replica.
        let call = hedger.call().on(&replicas);
        let request = call.request(|attempt| {
            let (clock, is_hedge) = (&clock, attempt.is_hedge());
            async move {
                clock.sleep(ms(if is_hedge { 5 } else { 500 })).await;
                Ok::<_, ()>(())
            }
        });
        let outcome = clock.drive(request).unwrap().outcome;
        assert_eq!(outcome.replicas_used, 3);
        let call = hedger.call().on(&replicas).among(1);
        let _ = clock.drive(call.request(|_| async { Ok::<_, ()>(()) }));
    });
    let labels = |replica| format!("{{strategy=fixed,strategy_name=,replica={replica}}}");
    let count = |name, replica| {
        let count = &counted[&format!("{name}{}", labels(replica))];
        count.parse::<u64>().unwrap()
    };
    assert_eq!(count(REPLICA_REQUESTS, 0) + count(REPLICA_REQUESTS, 1), 3);
    assert_eq!(count(REPLICA_REQUESTS, 0), 2);
    assert_eq!(count(REPLICA_WINS, 0) + count(REPLICA_WINS, 1), 2);
    let cancelled = |replica| {
        let labels = format!("{{strategy_name=,replica={replica}}}");
        counted.get(&format!("{REPLICA_CANCELLED}{labels}"))
    };
    assert_eq!([cancelled(0), cancelled(1)].iter().flatten().count(), 1);
}

#[test]
fn ends_of_attempts_are_counted_by_replica() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(1000)))
            .attempt_timeout(ms(100))
            .budget(Budget::unlimited())
            .strategy_name("search")
            .sink(MetricsSink::new())
            .build_local()
            .unwrap();
        let replicas = core::cell::RefCell::new(crate::replicas::Replicas::<3>::all());
        let take = |among: u64, millis: u64, fails: bool| {
            let clock = &clock;
            let call = hedger.call().on(&replicas).among(among);
            let request = call.request(|_| async move {
                clock.sleep(ms(millis)).await;
                if fails { Err(()) } else { Ok(()) }
            });
            let _ = clock.drive(request);
        };
        take(0b001, 5, false);
        take(0b001, 7, false);
        take(0b010, 5, true);
        take(0b100, 500, false);
        let gauges = ReplicaGauges::new("search");
        let stats = || replicas.borrow().stats(clock.now());
        let chosen = replicas
            .borrow_mut()
            .choose(Choice::PRIMARY.among(0b010), clock.now());
        // Replicas are compared when one is chosen.
        let any = replicas
            .borrow_mut()
            .choose(Choice::PRIMARY, clock.now())
            .unwrap();
        replicas
            .borrow_mut()
            .report(&any, AttemptEnd::Cancelled, clock.now());
        assert!(stats().get(1).is_some_and(|replica| replica.in_flight == 1));
        // One that left is no longer suspect, or whatever else it was.
        let third = replicas.borrow().id(2).unwrap();
        gauges.record(&stats());
        replicas.borrow_mut().remove(third);
        gauges.record(&stats());
        replicas
            .borrow_mut()
            .report(&chosen.unwrap(), AttemptEnd::Cancelled, clock.now());
    });
    let of = |name: &str, replica: u8, more: &str| {
        let name = format!("{name}{{strategy_name=search,replica={replica}{more}}}");
        counted.get(&name).map(String::as_str)
    };
    assert_eq!(of(REPLICA_DURATION, 0, ""), Some("[0.005, 0.007]"));
    // Each is tried again at the only replica that is allowed.
    assert_eq!(of(REPLICA_FAILURES, 1, ",reason=failed"), Some("2"));
    assert_eq!(of(REPLICA_FAILURES, 2, ",reason=timeout"), Some("2"));
    assert_eq!(of(REPLICA_FAILURES, 0, ",reason=failed"), None);
    assert_eq!(of(REPLICA_IN_FLIGHT, 1, ""), Some("1"));
    assert_eq!(of(REPLICA_SUSPECT, 1, ""), Some("1"), "{counted:?}");
    for name in [REPLICA_SUSPECT, REPLICA_LATENCY] {
        assert_eq!(of(name, 2, ""), Some("0"), "{name}");
    }
    assert_ne!(of(REPLICA_LATENCY, 1, ""), Some("0"));
}

#[test]
fn requests_with_a_key_are_counted_apart() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let sink = MetricsSink::new();
        let heard = |event: &Event| {
            // Keys are given to requests by hedgers of servers, whose runtimes are in other crates.
            let key = [Name::EMPTY, Name::truncated("a"), Name::truncated("b")];
            let key = key[event.request as usize % 3];
            sink.emit(&Event { key, ..*event });
        };
        let hedger = Hedger::builder(&clock).sink(heard).build_local().unwrap();
        for _ in 0..7 {
            let _ = clock.drive(hedger.request(|_| async { Ok::<_, ()>(()) }));
        }
    });
    for (key, requests) in [("", "2"), (",key=a", "3"), (",key=b", "2")] {
        let name = format!("hedge_attempts_total{{strategy=percentile,strategy_name={key}}}");
        assert_eq!(counted[&name], requests, "{counted:?}");
    }
}

#[test]
fn a_refused_hedge_of_a_hedged_request_is_counted() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .attempts::<3>()
            .max_hedges(2)
            .budget(Budget::unlimited().max_in_flight(1))
            .sink(MetricsSink::new())
            .build_local()
            .unwrap();
        let slow = |_| async {
            clock.sleep(ms(90)).await;
            Ok::<_, ()>(())
        };
        assert!(clock.drive(hedger.request(slow)).is_ok());
        let hurried = |_| async { Ok::<_, ()>(()) };
        let call = hedger.call().unhedged();
        assert!(clock.drive(call.request(hurried)).is_ok());
    });
    for reason in ["in_flight", "off"] {
        let name =
            format!("hedge_suppressed_total{{strategy=fixed,strategy_name=,reason={reason}}}");
        assert_eq!(
            counted.get(&name).map(String::as_str),
            Some("1"),
            "{counted:?}"
        );
    }
}

#[test]
fn a_request_that_is_dropped_is_counted_without_a_duration() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .sink(MetricsSink::new())
            .build_local()
            .unwrap();
        let hanging = hedger.request(|_| core::future::pending::<Result<(), ()>>());
        let dropped = futures_lite::future::or(async { hanging.await.is_ok() }, async {
            clock.sleep(ms(50)).await;
            false
        });
        assert!(!clock.drive(dropped));
    });
    let labels = "strategy=fixed,strategy_name=";
    let expected = [
        (
            String::from("hedge_losers_total{strategy_name=,end=cancelled}"),
            "2",
        ),
        (format!("hedge_attempts_total{{{labels}}}"), "2"),
        (format!("hedge_hedged_requests_total{{{labels}}}"), "1"),
        (format!("hedge_hedges_total{{{labels},cause=delay}}"), "1"),
        (format!("hedge_request_duration_seconds{{{labels}}}"), "[]"),
        (
            format!("hedge_requests_total{{{labels},result=dropped}}"),
            "1",
        ),
    ];
    let expected = expected.map(|(name, value)| (name, String::from(value)));
    assert_eq!(counted, BTreeMap::from(expected));
}

#[test]
fn a_change_of_strategy_changes_the_label() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .strategy(crate::strategy::AnyStrategy::from(Fixed::new(ms(20))))
            .sink(MetricsSink::new())
            .build_local()
            .unwrap();
        for _ in 0..2 {
            let _ = clock.drive(hedger.request(|_| async { Ok::<_, ()>(()) }));
            hedger.set_strategy(crate::strategy::Off.into()).unwrap();
        }
    });
    for strategy in ["fixed", "off"] {
        let name = format!("hedge_requests_total{{strategy={strategy},strategy_name=,result=ok}}");
        assert_eq!(
            counted.get(&name).map(String::as_str),
            Some("1"),
            "{counted:?}"
        );
    }
}

#[test]
fn hedgers_that_share_a_sink_are_counted_apart() {
    let sink = std::sync::Arc::new(MetricsSink::new());
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        for name in ["search", "ads", "search"] {
            let hedger = Hedger::builder(&clock)
                .strategy(Fixed::new(ms(20)))
                .budget(Budget::unlimited())
                .strategy_name(name)
                .sink(sink.clone())
                .build_local()
                .unwrap();
            let clock = &clock;
            let attempt = |attempt: Attempt| async move {
                clock
                    .sleep(ms(if attempt.is_hedge() { 1 } else { 100 }))
                    .await;
                Ok::<_, ()>(())
            };
            clock.drive(hedger.request(attempt)).unwrap();
        }
    });
    for (name, count) in [("search", "2"), ("ads", "1")] {
        let losers = format!("hedge_losers_total{{strategy_name={name},end=cancelled}}");
        let wins = format!("hedge_wins_total{{strategy=fixed,strategy_name={name},cause=delay}}");
        for name in [losers, wins] {
            let value = counted.get(&name).map(String::as_str);
            assert_eq!(value, Some(count), "{name}: {counted:?}");
        }
    }
}

#[test]
fn an_effect_that_is_not_known_any_more_is_not_shown() {
    let counted = counted(|| {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock).build_local().unwrap();
        metrics::gauge!(EFFECT, "strategy" => "percentile", "strategy_name" => "", "bound" => "low")
            .set(1.0);
        MetricsSink::gauges(&hedger.status(), &hedger.metrics());
    });
    for bound in ["low", "value", "high"] {
        let name = format!("{EFFECT}{{strategy=percentile,strategy_name=,bound={bound}}}");
        assert_eq!(counted.get(&name).map(String::as_str), Some("NaN"));
    }
}
