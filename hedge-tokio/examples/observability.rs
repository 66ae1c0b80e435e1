//! What hedging looks like in the tools on the other screen: spans and events by `tracing`, and a scrape of
//! Prometheus by the facade `metrics`.
//!
//! ```sh
//! cargo run -p hedge-tokio --example observability --features tracing,metrics
//! ```

use core::error::Error;
use core::time::Duration;
use std::io;

use hedge_tokio::telemetry::MetricsSink;
use hedge_tokio::{Attempt, Budget, Fixed, Hedger};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::sleep;
use tracing::{Level, info_span};
use tracing_subscriber::fmt::format::FmtSpan;

/// What the documentation of `MetricsSink` promises.
const METRICS: [&str; 6] = [
    "hedge_requests_total",
    "hedge_attempts_total",
    "hedge_hedged_requests_total",
    "hedge_wins_total",
    "hedge_suppressed_total",
    "hedge_request_duration_seconds",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // First of all, for the sink makes its handles at the first request.
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .budget(Budget::percent(5.0).burst(3))
        .strategy_name("search")
        .sink(MetricsSink::new())
        .build()?;

    println!("Two requests, the second of which is hedged:\n");
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(io::stdout)
        .without_time()
        .finish();
    let tracing = tracing::subscriber::set_default(subscriber);
    for request in [1, 10] {
        hedger.request(|attempt| search(request, attempt)).await?;
    }
    drop(tracing);

    for request in 11..209 {
        hedger.request(|attempt| search(request, attempt)).await?;
    }
    let scrape = prometheus.render();
    println!("\nWhat Prometheus reads after 200:\n\n{scrape}");

    match METRICS.iter().find(|metric| !scrape.contains(*metric)) {
        None => Ok(()),
        Some(missing) => Err(format!("{missing} is missing").into()),
    }
}

/// Every tenth primary is stuck for a while. The span is what an HTTP client would make.
async fn search(request: u32, attempt: Attempt) -> Result<&'static str, io::Error> {
    let _span = info_span!("http", replica = attempt.index());
    let stuck = request.is_multiple_of(10) && !attempt.is_hedge();
    sleep(Duration::from_millis(if stuck { 60 } else { 2 })).await;
    Ok("found")
}
