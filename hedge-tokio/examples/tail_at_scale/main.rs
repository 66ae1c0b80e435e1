//! Cuts the tail of a real HTTP client, and counts what that costs.
//!
//! Two replicas on loopback answer now and then very late. An HTTP client sends them the same requests
//! twice: first plainly, then hedged at a percentile of the latencies it sees, under a budget. The
//! client measures the latencies; the servers count the load.
//!
//! With `--slow-replica` there are three, the first of which is ten times slower all the time. A budget does not pay for
//! a hedge of every third request, so the client does it a third time, and chooses whom to ask.
//!
//! ```text
//! cargo run --release -p hedge-tokio --example tail_at_scale
//! cargo run --release -p hedge-tokio --example tail_at_scale -- --svg tail.svg --dark
//! cargo run --release -p hedge-tokio --example tail_at_scale -- --json
//! cargo run --release -p hedge-tokio --example tail_at_scale -- --slow-replica
//! ```

#[macro_use]
#[path = "../common/print.rs"]
mod print;
mod chart;
#[path = "../common/cli.rs"]
mod cli;
mod client;
mod load;
mod replica;
mod report;
#[path = "../common/serve.rs"]
mod serve;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hdrhistogram::Histogram;
use hedge_tokio::{Budget, Hedger, Percentile};

use crate::cli::{Failure, exit, number_in};
use crate::client::{Client, Way};
use crate::load::Load;
use crate::replica::{Replica, ServiceTime};
use crate::report::{Cost, Hedged, Report};

/// Sends the same HTTP requests plainly and hedged, and compares the latencies.
#[derive(Debug, Parser)]
#[command(name = "tail_at_scale")]
struct Options {
    /// Requests to send in each of the phases.
    #[arg(long, default_value_t = 10_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    requests: u64,

    /// Requests in flight at any time.
    #[arg(long, default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,

    /// Hedge a request that is slower than this percentile.
    #[arg(long, default_value_t = 95.0, value_name = "P",
          value_parser = |text: &str| number_in(text, 50.0..=99.9))]
    percentile: f64,

    /// Hedges allowed, in percent of the requests.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT",
          value_parser = |text: &str| number_in(text, 0.0..=100.0))]
    budget: f64,

    /// Seed of the service times.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,

    /// Three replicas, the first of which is ten times slower.
    #[arg(long, conflicts_with = "svg")]
    slow_replica: bool,

    /// Scale of the service times: at 1 most are around 50 ms, and 3.5 % around 500 ms.
    #[arg(long, default_value_t = 1.0, value_name = "X",
          value_parser = |text: &str| number_in(text, 0.1..=10.0))]
    time_scale: f64,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,

    /// Draw both latency distributions into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Draw for a dark background.
    #[arg(long, requires = "svg")]
    dark: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit(run(&Options::parse()).await)
}

async fn run(options: &Options) -> Result<(), Failure> {
    // Opened first: a path that cannot be written should not cost half a minute.
    let mut svg = match &options.svg {
        Some(path) => {
            Some(File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?)
        }
        None => None,
    };

    let service_time = ServiceTime::new(options.seed, options.time_scale, options.slow_replica)?;
    let mut replicas = Vec::new();
    for index in 0..if options.slow_replica { 3 } else { 2 } {
        replicas.push(Replica::start(index, service_time).await?);
    }
    let load = Load {
        requests: options.requests,
        concurrency: options.concurrency.into(),
    };

    let plain = load
        .run("plain", Client::new(&replicas, Way::Plain)?)
        .await?;
    let (hedged, cost) = hedged(options, load, &replicas, "hedged", Way::Hedged).await?;
    let mut report = Report::new(&plain, Hedged::new(&hedged, &cost));
    if options.slow_replica {
        let name = "over replicas";
        let (latencies, cost) =
            self::hedged(options, load, &replicas, name, Way::OverReplicas).await?;
        report.over_replicas = Some(Hedged::new(&latencies, &cost));
    }
    if let Some(file) = &mut svg {
        let picture = chart::draw(&plain, &hedged, &report, options)?;
        file.write_all(picture.as_bytes())?;
    }
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table(options));
    }
    Ok(())
}

/// Sends every request hedged, and gives their latencies in microseconds and what that took.
async fn hedged(
    options: &Options,
    load: Load,
    replicas: &[Replica],
    name: &'static str,
    way: fn(Hedger) -> Way,
) -> Result<(Histogram<u64>, Cost), Failure> {
    let hedger = Hedger::builder()
        .strategy(Percentile::new(options.percentile))
        .max_hedges(1)
        .budget(Budget::percent(options.budget))
        .build()?;
    let before = replica::settled(replicas).await?;
    let before_first = replica::settled(&replicas[..1]).await?;
    let client = Client::new(replicas, way(hedger.clone()))?;
    let latencies = load.run(name, client).await?;
    let cost = Cost {
        metrics: hedger.metrics(),
        served: replica::settled(replicas).await? - before,
        served_by_first: replica::settled(&replicas[..1]).await? - before_first,
    };
    Ok((latencies, cost))
}
