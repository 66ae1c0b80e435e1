//! Spans, links and statuses as an exporter of OpenTelemetry gets them.

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use hedge_tokio::{Attempt, Fixed, Hedger};
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::time::sleep;
use tracing::{Instrument, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Keeps what is exported.
#[derive(Clone, Default)]
struct Exporter(Arc<Mutex<Vec<SpanData>>>);

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.append(&mut batch);
        Ok(())
    }
}

/// Returns the spans that are exported while `future` runs, at the level INFO.
async fn exported<F: Future>(future: impl FnOnce(Hedger) -> F) -> Vec<SpanData> {
    let exporter = Exporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let bridge = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_filter(LevelFilter::INFO);
    let hedger = Hedger::builder().strategy(Fixed::new(ms(20))).build();
    // The test has one thread, so that tasks see it too.
    let subscriber = tracing::subscriber::set_default(Registry::default().with(bridge));
    future(hedger.unwrap()).await;
    drop(subscriber);
    provider.shutdown().unwrap();
    let spans = exporter.0.lock().unwrap_or_else(PoisonError::into_inner);
    spans.clone()
}

/// The primary is stuck.
async fn search(attempt: Attempt) -> Result<(), ()> {
    let client = info_span!(
        "GET",
        otel.kind = "client",
        "http.request.resend_count" = attempt.index()
    );
    sleep(ms(if attempt.is_hedge() { 5 } else { 500 }))
        .instrument(client)
        .await;
    Ok(())
}

fn ids<'s>(spans: impl IntoIterator<Item = &'s SpanData>) -> HashSet<SpanId> {
    let ids = spans.into_iter().map(|span| span.span_context.span_id());
    ids.collect()
}

/// That the request of `spans` is linked to its two attempts, each of which has its client's span.
fn check(spans: &[SpanData]) {
    let named = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    let request = named("hedge.request").next().unwrap();
    let attempts: Vec<_> = named("hedge.attempt").collect();
    assert_eq!(attempts.len(), 2);
    let links = request.links.iter().map(|link| link.span_context.span_id());
    assert_eq!(links.collect::<HashSet<_>>(), ids(attempts.iter().copied()));
    for attempt in &attempts {
        assert_eq!(attempt.parent_span_id, request.span_context.span_id());
        assert_eq!(attempt.links.len(), 0);
    }
    let clients = named("GET").map(|span| span.parent_span_id);
    assert_eq!(clients.collect::<HashSet<_>>(), ids(attempts));
    assert!(named("GET").all(|span| span.span_kind == SpanKind::Client));
    assert_eq!(request.status, Status::Unset);
}

#[tokio::test(start_paused = true)]
async fn a_hedged_request_is_linked_to_its_attempts() {
    let spans = exported(|hedger| async move { hedger.request(search).await.unwrap() }).await;
    check(&spans);
}

#[tokio::test(start_paused = true)]
async fn so_is_one_whose_attempts_are_tasks() {
    let spans = exported(|hedger| async move {
        hedger.request_spawned(search).await.unwrap();
        // The task that was aborted ends.
        sleep(ms(1)).await;
    });
    check(&spans.await);
    // Losers that run on are linked to as well.
    let spans = exported(|hedger| async move {
        hedger.request_detached(search).await.unwrap();
        sleep(ms(1000)).await;
    });
    check(&spans.await);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_has_an_error_status_and_type() {
    let spans = exported(|hedger| async move {
        let failing = hedger.request(|_| async { Err::<(), _>(()) });
        assert!(failing.await.is_err());
        let late = hedger.call().timeout(ms(10)).request(search);
        assert!(late.await.is_err());
    });
    let spans = spans.await;
    let requests = spans.iter().filter(|span| span.name == "hedge.request");
    let errors: Vec<_> = requests
        .map(|span| {
            assert_eq!(span.status, Status::error(""));
            let key = |attribute: &&opentelemetry::KeyValue| attribute.key.as_str() == "error.type";
            let kind = span.attributes.iter().find(key).unwrap();
            kind.value.as_str().into_owned()
        })
        .collect();
    assert_eq!(errors, ["failed", "timeout"]);
}
