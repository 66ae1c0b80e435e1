//! What hedging looks like in the tools on the other screen: spans and events by `tracing`, and a scrape of
//! Prometheus by the facade `metrics`.
//!
//! ```sh
//! cargo run -p hedge-tokio --example observability --features tracing,metrics
//! ```

#[macro_use]
#[path = "common/print.rs"]
mod print;

use core::error::Error;
use core::time::Duration;
use std::io;

use hedge_tokio::telemetry::MetricsSink;
use hedge_tokio::{Attempt, Budget, Fixed, Hedger};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::time::sleep;
use tracing::{Level, info_span};
use tracing_subscriber::fmt::format::FmtSpan;

/// Upper bounds of the histogram of durations, in seconds. Without them there are quantiles, which cannot be
/// summed over servers.
const BUCKETS: [f64; 6] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The clock of tests, so that the numbers are always the same.
    tokio::time::pause();
    // First of all, for the sink makes its handles at the first request.
    let durations = Matcher::Suffix("_duration_seconds".into());
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)?
        .install_recorder()?;
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
    MetricsSink::gauges(&hedger.status(), &hedger.metrics());
    let scrape = prometheus.render();
    println!("\nWhat Prometheus reads after 200:\n\n{scrape}");

    check(&scrape)
}

/// That every metric which is documented is there, with its labels, and says what happened.
fn check(scrape: &str) -> Result<(), Box<dyn Error>> {
    // There is no control group that would show an effect.
    let names = MetricsSink::NAMES
        .into_iter()
        .filter(|name| *name != "hedge_effect_seconds");
    for name in names {
        let typed = |line: &str| line.starts_with(&format!("# TYPE {name} "));
        if !scrape.lines().any(typed) {
            return Err(format!("{name} is missing").into());
        }
    }
    let labels = r#"strategy="fixed",strategy_name="search""#;
    // Twenty were slow. Three tokens, and a twentieth of one for every request, paid for some of their hedges.
    for line in [
        format!(r#"hedge_requests_total{{{labels},result="ok"}} 200"#),
        format!("hedge_attempts_total{{{labels}}} 212"),
        format!("hedge_hedged_requests_total{{{labels}}} 12"),
        format!("hedge_wins_total{{{labels},cause=\"delay\"}} 12"),
        format!(r#"hedge_suppressed_total{{{labels},reason="budget_ratio"}} 8"#),
        format!("hedge_request_duration_seconds_count{{{labels}}} 200"),
    ] {
        if !scrape.lines().any(|found| found == line) {
            return Err(format!("not in the scrape: {line}").into());
        }
    }
    Ok(())
}

/// Every tenth primary is stuck for a while. The span is what an HTTP client would make.
async fn search(request: u32, attempt: Attempt) -> Result<&'static str, io::Error> {
    let _span = info_span!("http", replica = attempt.index());
    let stuck = request.is_multiple_of(10) && !attempt.is_hedge();
    sleep(Duration::from_millis(if stuck { 60 } else { 2 })).await;
    Ok("found")
}
