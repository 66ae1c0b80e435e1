//! The spans and events of requests in `tracing`.

use core::cell::RefCell;
use core::fmt;
use core::task;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use hedge_core::cascade::{Cascade, Tier};
use hedge_core::manual::ManualTimer;
use hedge_core::replicas::Replicas;
use hedge_core::{Attempt, Budget, Fixed, Hedger};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Subscriber, info_span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

type Fields = BTreeMap<&'static str, String>;

/// Collects the closed spans with their fields, and the events with the span they were in.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Collected>>);

#[derive(Clone, Default)]
struct Collected {
    spans: Vec<(&'static str, Option<&'static str>, Fields)>,
    events: Vec<(String, Option<&'static str>)>,
    /// From a span to the one that it follows from.
    links: Vec<(Id, Id)>,
    /// The identifier of each closed span.
    ids: Vec<Id>,
}

struct Visitor<'f>(&'f mut Fields);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Visitor(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Visitor(extensions.get_mut::<Fields>().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields));
        let span = context.event_span(event).map(|span| span.name());
        let message = fields.remove("message").unwrap_or_default();
        self.lock().events.push((message, span));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        self.lock().links.push((id.clone(), follows.clone()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        let fields = span.extensions_mut().remove::<Fields>().unwrap();
        let mut collected = self.lock();
        collected.spans.push((span.name(), parent, fields));
        collected.ids.push(id);
    }
}

impl Collector {
    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was collected while `f` ran.
    fn of(f: impl FnOnce()) -> Collected {
        let collector = Self::default();
        let registry = Registry::default().with(collector.clone());
        tracing::subscriber::with_default(registry, f);
        collector.lock().clone()
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Clock = ManualTimer<8>;

/// The primary takes 100 ms and the hedge 30.
async fn answer(clock: &Clock, attempt: Attempt) -> Result<usize, ()> {
    clock
        .sleep(if attempt.is_hedge() { ms(30) } else { ms(100) })
        .await;
    Ok(attempt.index())
}

#[test]
fn a_request_is_a_span_with_its_outcome_and_its_events() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .strategy_name("search")
            .build_local()
            .unwrap();
        let _caller = info_span!("caller").entered();
        clock
            .drive(hedger.request(|attempt| answer(&clock, attempt)))
            .unwrap();
    });
    let requests = |span: &&(_, _, _)| span.0 == "hedge.request";
    let request = collected.spans.iter().find(requests).unwrap();
    assert_eq!(request.1, Some("caller"));
    for (field, value) in [
        ("strategy_name", "search"),
        ("strategy", "fixed"),
        ("hedged", "true"),
        ("hedge_won", "true"),
        ("winner", "1"),
        ("attempts", "2"),
        ("total_latency_ms", "50.0"),
        ("backup_latency_ms", "30.0"),
        ("hedge_delay_ms", "20.0"),
        ("cost", "2.0"),
    ] {
        assert_eq!(
            request.2.get(field).map(String::as_str),
            Some(value),
            "{field}"
        );
    }
    assert_eq!(request.2.get("primary_latency_ms"), None);
    assert_eq!(request.2.get("suppressed"), None);
    // Under the hedger's `telemetry_prefix`.
    let names = [
        "hedging.hedge.fired",
        "hedging.hedge.won",
        "hedging.request.cancelled",
    ];
    let events = names.map(|name| (name.into(), Some("hedge.request")));
    assert_eq!(collected.events, events);
}

/// No value of an outcome is left out: each is in one of these two.
#[test]
fn every_value_of_an_outcome_is_a_field() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .strategy_name("search")
            .build_local()
            .unwrap();
        // Both finish.
        let request = hedger.request(|attempt| {
            let clock = &clock;
            async move {
                clock.sleep(ms(30)).await;
                if attempt.is_hedge() { Ok(()) } else { Err(()) }
            }
        });
        clock.drive(request).unwrap();
        clock
            .drive(hedger.request(|_| async { Ok::<_, ()>(()) }))
            .unwrap();
    });
    let told: BTreeSet<&str> = collected
        .spans
        .iter()
        .filter(|span| span.0 == "hedge.request")
        .flat_map(|span| span.2.keys().copied())
        .collect();
    // Those of the struct; times say their unit.
    let fields = [
        "accepted",
        "attempts",
        "backup_latency_ms",
        "cost",
        "hedge_delay_ms",
        "hedge_won",
        "hedged",
        "primary_latency_ms",
        "strategy",
        "strategy_name",
        "suppressed",
        "total_latency_ms",
        "winner",
    ];
    assert!(told.into_iter().eq(fields));
    let documentation = include_str!("../src/telemetry/mod.rs");
    for field in fields {
        assert!(documentation.contains(&format!("`{field}`")), "{field}");
    }
}

/// It is told in the request's span, though it is dropped elsewhere.
#[test]
fn a_request_that_is_dropped_says_so() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .telemetry_prefix("shop.search")
            .build_local()
            .unwrap();
        let mut request = Box::pin(hedger.request(|attempt| answer(&clock, attempt)));
        let mut cx = task::Context::from_waker(task::Waker::noop());
        for _ in 0..2 {
            assert!(request.as_mut().poll(&mut cx).is_pending());
            clock.advance(ms(20));
        }
        let _elsewhere = info_span!("elsewhere").entered();
        drop(request);
    });
    assert_eq!(collected.spans[2].2["error.type"], "dropped");
    let names = [
        "shop.search.hedge.fired",
        "shop.search.request.cancelled",
        "shop.search.request.cancelled",
        "shop.search.request.dropped",
    ];
    let events = names.map(|name| (name.into(), Some("hedge.request")));
    assert_eq!(collected.events, events);
}

#[test]
fn what_attempts_do_nests_in_it() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .build_local()
            .unwrap();
        // As an HTTP client does; the hedge is started and polled long after the primary.
        let request = hedger.request(|attempt| {
            let attempt = answer(&clock, attempt);
            async { attempt.instrument(info_span!("http")).await }
        });
        clock.drive(request).unwrap();
    });
    let names: Vec<_> = collected
        .spans
        .iter()
        .map(|span| (span.0, span.1))
        .collect();
    let http = ("http", Some("hedge.attempt"));
    let attempt = ("hedge.attempt", Some("hedge.request"));
    assert_eq!(
        names,
        [http, attempt, http, attempt, ("hedge.request", None)]
    );
}

#[test]
fn a_request_is_linked_to_its_attempts() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .build_local()
            .unwrap();
        let set = RefCell::new(Replicas::<2>::all());
        let request = hedger.call().on(&set);
        clock
            .drive(request.request(|attempt| answer(&clock, attempt)))
            .unwrap();
    });
    let at = |name| {
        let spans = collected.spans.iter().enumerate();
        spans.filter(move |(_, span)| span.0 == name)
    };
    let (request, _) = at("hedge.request").next().unwrap();
    let mut attempts: Vec<_> = at("hedge.attempt").collect();
    attempts.sort_by_key(|(_, span)| &span.2["attempt"]);
    let links: Vec<_> = attempts
        .iter()
        .map(|(place, _)| {
            (
                collected.ids[request].clone(),
                collected.ids[*place].clone(),
            )
        })
        .collect();
    assert_eq!(collected.links, links);
    let field = |field| {
        attempts
            .iter()
            .map(move |(_, span)| span.2.get(field).map(String::as_str))
    };
    assert!(field("cause").eq([Some("primary"), Some("delay")]));
    assert!(field("returned").eq([None, Some("true")]));
    assert_ne!(field("replica").next(), field("replica").nth(1));
}

/// The hedges of a request of which nobody sees the attempts.
#[test]
fn a_filter_leaves_attempts_out() {
    let collector = Collector::default();
    let filter = filter_fn(|metadata| metadata.target() != "hedge::attempt");
    let registry = Registry::default().with(collector.clone().with_filter(filter));
    tracing::subscriber::with_default(registry, || {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .build_local()
            .unwrap();
        let request = hedger.request(|attempt| {
            let attempt = answer(&clock, attempt);
            async { attempt.instrument(info_span!("http")).await }
        });
        clock.drive(request).unwrap();
    });
    let collected = collector.lock();
    let names = collected.spans.iter().map(|span| (span.0, span.1));
    let http = ("http", Some("hedge.request"));
    assert!(names.eq([http, http, ("hedge.request", None)]));
    assert_eq!(collected.links, []);
}

#[test]
fn why_nothing_was_hedged_and_that_it_failed_is_told() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(ms(20)))
            .budget(Budget::percent(0.0))
            .build_local()
            .unwrap();
        clock
            .drive(hedger.request(|attempt| answer(&clock, attempt)))
            .unwrap();
        let failing = hedger.request(|_| async { Err::<(), _>(()) });
        assert!(clock.drive(failing).is_err());
        let late = hedger.call().timeout(ms(50));
        assert!(
            clock
                .drive(late.request(|attempt| answer(&clock, attempt)))
                .is_err()
        );
    });
    let requests: Vec<_> = collected
        .spans
        .iter()
        .filter(|span| span.0 == "hedge.request")
        .collect();
    assert_eq!(requests[0].2["suppressed"], "budget_ratio");
    assert_eq!(requests[0].2.get("error.type"), None);
    assert_eq!(requests[1].2["error.type"], "failed");
    // A request that failed has these fields, too.
    assert_eq!(requests[1].2["strategy"], "fixed");
    assert_eq!(requests[1].2["attempts"], "1");
    assert_eq!(requests[2].2["error.type"], "timeout");
    assert_eq!(requests[2].2["total_latency_ms"], "50.0");
    assert_eq!(collected.events[0].0, "hedging.hedge.suppressed");
}

#[test]
fn cascades_are_traced_too() {
    let collected = Collector::of(|| {
        let clock = Clock::new();
        let cascade = Cascade::new(&clock, [Tier::new("a").delay(ms(10)), Tier::new("b")]);
        let cascade = cascade.unwrap();
        let answers = clock.drive(cascade.request([100, 20].map(|millis| {
            let clock = &clock;
            move || async move {
                clock.sleep(ms(millis)).await;
                Ok::<_, ()>(())
            }
        })));
        assert!(answers.is_ok());
    });
    let names: Vec<_> = collected
        .events
        .iter()
        .map(|event| event.0.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "hedging.cascade.start",
            "hedging.cascade.tier.start",
            "hedging.cascade.tier.timeout",
            "hedging.cascade.tier.start",
            "hedging.cascade.tier.completed",
            "hedging.cascade.tier.cancelled",
            "hedging.cascade.stop",
        ]
    );
}
