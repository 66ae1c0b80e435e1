//! A hedged request as OpenTelemetry sees it, over the bridge that `tracing` has to it: the request is a span with what
//! it did for attributes, hedges are events in it, its attempts are its children, to which it is linked, and what an attempt
//! sends is a child of that attempt, with the names of the semantic conventions.
//!
//! ```sh
//! cargo run -p hedge-tokio --example opentelemetry --features tracing
//! ```
//!
//! The exporter here prints. A service has the one of its collector, and all else as here.

#[macro_use]
#[path = "common/print.rs"]
mod print;

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hedge_tokio::{Attempt, Fixed, Hedger};
use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::time::sleep;
use tracing::{Instrument, Level, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The clock of tests, so that it is always the hedge that wins.
    tokio::time::pause();
    let spans = Spans::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    // Spans are at INFO, events at DEBUG.
    let bridge = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("search"))
        .with_filter(LevelFilter::from_level(Level::DEBUG));
    let tracing = tracing::subscriber::set_default(Registry::default().with(bridge));

    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .strategy_name("search")
        .build()?;
    let page = info_span!("page");
    hedger.request(search).instrument(page).await?;

    drop(tracing);
    provider.shutdown()?;
    let mut spans = spans.lock();
    spans.sort_by_key(|span| span.start_time);
    print(&spans, SpanId::INVALID, 0);
    check(&spans)
}

/// The primary is stuck. The span is what an HTTP client makes, by the semantic conventions: a hedge is the same request, sent
/// again.
async fn search(attempt: Attempt) -> Result<&'static str, io::Error> {
    let client = info_span!(
        "GET",
        otel.kind = "client",
        "http.request.method" = "GET",
        "http.request.resend_count" = attempt.is_hedge().then_some(attempt.index()),
        "server.address" = ["a.search.example", "b.search.example"][attempt.index() % 2],
    );
    let answer = sleep(Duration::from_millis(if attempt.is_hedge() {
        5
    } else {
        200
    }));
    answer.instrument(client).await;
    Ok("found")
}

/// Keeps what is exported.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl Spans {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SpanData>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.lock().len()).finish()
    }
}

impl SpanExporter for Spans {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.lock().append(&mut batch);
        Ok(())
    }
}

/// The spans below `parent`, as a tree.
fn print(spans: &[SpanData], parent: SpanId, depth: usize) {
    // Where they are in the source, and on which thread, is of no interest here.
    let shown = |key: &str| {
        !["code.", "thread.", "busy_", "idle_", "target", "level"]
            .iter()
            .any(|p| key.starts_with(p))
    };
    let indent = "    ".repeat(depth);
    for span in spans.iter().filter(|span| span.parent_span_id == parent) {
        println!("{indent}{}", span.name);
        for attribute in span.attributes.iter().filter(|kv| shown(kv.key.as_str())) {
            println!("{indent}  {} = {}", attribute.key, attribute.value);
        }
        for event in span.events.iter() {
            print!("{indent}  * {}", event.name);
            for attribute in event.attributes.iter().filter(|kv| shown(kv.key.as_str())) {
                print!(", {} = {}", attribute.key, attribute.value);
            }
            println!();
        }
        for link in span.links.iter() {
            println!("{indent}  -> {}", name(spans, link.span_context.span_id()));
        }
        print(spans, span.span_context.span_id(), depth + 1);
    }
}

/// What the span is called, and which attempt it is.
fn name(spans: &[SpanData], id: SpanId) -> String {
    let span = spans.iter().find(|span| span.span_context.span_id() == id);
    span.map_or_else(String::new, |span| {
        let attempt = span
            .attributes
            .iter()
            .find(|kv| kv.key.as_str() == "attempt");
        let attempt = attempt.map_or_else(String::new, |kv| format!(" {}", kv.value));
        format!("{}{attempt}", span.name)
    })
}

/// That it is all there.
fn check(spans: &[SpanData]) -> Result<(), Box<dyn Error>> {
    let find = |name: &str| {
        spans
            .iter()
            .find(|span| span.name == name)
            .ok_or(format!("no span `{name}`"))
    };
    let (page, request) = (find("page")?, find("hedge.request")?);
    if request.parent_span_id != page.span_context.span_id() {
        return Err("the request is not the page's".into());
    }
    let id = request.span_context.span_id();
    let attempts: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "hedge.attempt" && span.parent_span_id == id)
        .map(|span| span.span_context.span_id())
        .collect();
    if attempts.len() != 2 {
        return Err("the attempts are not the request's".into());
    }
    let links: Vec<_> = request
        .links
        .iter()
        .map(|link| link.span_context.span_id())
        .collect();
    if links != attempts {
        return Err("the request is not linked to its attempts".into());
    }
    let sent = spans.iter().filter(|span| span.name == "GET");
    if !sent.map(|span| span.parent_span_id).eq(attempts) {
        return Err("what is sent is not the attempts'".into());
    }
    for (key, value) in [
        ("strategy_name", "search"),
        ("hedge_won", "true"),
        ("attempts", "2"),
        ("winner", "1"),
    ] {
        let attribute = request.attributes.iter().find(|kv| kv.key.as_str() == key);
        if attribute.is_none_or(|attribute| attribute.value.as_str() != value) {
            return Err(format!("`{key}` is {attribute:?}").into());
        }
    }
    let events: Vec<_> = request
        .events
        .iter()
        .map(|event| event.name.as_ref())
        .collect();
    if events
        != [
            "hedging.hedge.fired",
            "hedging.hedge.won",
            "hedging.request.cancelled",
        ]
    {
        return Err(format!("the events are {events:?}").into());
    }
    Ok(())
}
