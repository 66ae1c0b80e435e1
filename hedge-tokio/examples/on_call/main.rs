//! Five incidents, as somebody on call sees them: their metrics, the alerts that fire, and the panels of the dashboard.
//!
//! ```sh
//! cargo run -p hedge-tokio --example on_call --features metrics -- record FOLDER
//! ```
//!
//! `record` plays the incidents in virtual time and writes what Prometheus would have scraped, for `promtool`. `serve`
//! shows the metrics of a hedger at work on a port of loopback. `check` evaluates every panel of the dashboard in a
//! Prometheus that has one or the other, and `draw` draws what it found. `tests/real/observability` does all of that.

#[macro_use]
#[path = "../common/print.rs"]
mod print;
#[path = "../common/cli.rs"]
#[allow(dead_code)]
mod cli;
mod incident;
mod panels;
mod picture;
mod record;
#[path = "../common/serve.rs"]
mod serve;

use core::convert::Infallible;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use clap::{Parser, Subcommand};
use hedge_tokio::replicas::SharedReplicas;
use hedge_tokio::telemetry::{MetricsSink, ReplicaGauges};
use hedge_tokio::{Attempt, Fixed, Hedger};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::time::{Instant, sleep};

use crate::cli::Failure;

/// Upper bounds of the histogram of durations, in seconds.
const BUCKETS: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play the incidents, and write `incidents.om` and `rules.test.yml`.
    Record { folder: PathBuf },
    /// Serve the metrics of a hedger at work, and print the address.
    Serve,
    /// Evaluate every panel in the Prometheus at this address, for each incident, or as they are now.
    Check {
        address: String,
        /// As they are now.
        #[arg(long)]
        live: bool,
    },
    /// Draw a panel for each incident.
    Draw { address: String, folder: PathBuf },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Record { folder } => record::write(&folder),
        Command::Serve => serve().await,
        Command::Check { address, live } => panels::check(&address, live).await,
        Command::Draw { address, folder } => panels::draw(&address, &folder).await,
    };
    cli::exit(result)
}

/// The folder of the dashboard and its rules.
fn observability() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability")
}

/// A hedger in real time: one request in twenty is slow.
async fn serve() -> Result<(), Failure> {
    let durations = Matcher::Suffix("_duration_seconds".into());
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)?
        .install_recorder()?;
    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .strategy_name("search")
        .holdback_percent(20.0)
        .sink(MetricsSink::new())
        .build()?;
    let (observed, replicas) = (hedger.clone(), SharedReplicas::<1>::of(1));
    let gauges = Arc::new(ReplicaGauges::new("search"));
    let scrape = move || {
        MetricsSink::gauges(&observed.status(), &observed.metrics());
        gauges.record(&replicas.stats(observed.instant(Instant::now())));
        let text = prometheus.render();
        async move { text }
    };
    let address = serve::serve(Router::new().route("/metrics", get(scrape))).await?;
    println!("{address}");
    for request in 0_u64.. {
        let slow = move |attempt: Attempt| request.is_multiple_of(20) && !attempt.is_hedge();
        let hedged = hedger.request(|attempt| async move {
            sleep(Duration::from_millis(if slow(attempt) { 80 } else { 1 })).await;
            Ok::<_, Infallible>(())
        });
        hedged.await?;
    }
    Ok(())
}
