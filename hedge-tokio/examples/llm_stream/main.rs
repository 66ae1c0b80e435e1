//! Hedges a language model that streams its answer, on the time to its first token.
//!
//! Two providers serve an OpenAI-style streaming endpoint on loopback. Both accept a request at once, but
//! now and then take long to begin with the answer. An attempt is over when its first token is there: the
//! stream that has begun first is read on, with that token put back, and the other's connection is closed.
//! Then the same requests are made plainly and hedged, and the time to the first token is compared. Every
//! stream is checked to be one provider's answer to its request, whole and in order.
//!
//! ```text
//! cargo run --release -p hedge-tokio --example llm_stream
//! cargo run --release -p hedge-tokio --example llm_stream -- --percentile 90
//! cargo run --release -p hedge-tokio --example llm_stream -- --json
//! ```

#[path = "../common/cli.rs"]
mod cli;
mod client;
mod completion;
mod events;
mod load;
mod provider;
mod report;
#[path = "../common/serve.rs"]
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use hedge_tokio::{Budget, ConfigError, Hedger, Percentile};

use crate::cli::{Failure, exit, number_in};
use crate::client::Client;
use crate::load::Load;
use crate::provider::{FirstToken, Provider};
use crate::report::Report;

/// Streams answers of a language model plainly and hedged, and compares the time to the first token.
#[derive(Debug, Parser)]
#[command(name = "llm_stream")]
struct Options {
    /// Requests to send in each of the two phases.
    #[arg(long, default_value_t = 2_500, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    requests: u64,

    /// Streams read at any time.
    #[arg(long, default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=200))]
    concurrency: u16,

    /// Hedge a request whose first token is later than this percentile.
    #[arg(long, default_value_t = 95.0, value_name = "P",
          value_parser = |text: &str| number_in(text, 50.0..=99.9))]
    percentile: f64,

    /// Hedges allowed, in percent of the requests.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT",
          value_parser = |text: &str| number_in(text, 0.0..=100.0))]
    budget: f64,

    /// Tokens of an answer, at most.
    #[arg(long, default_value_t = 12, value_name = "N",
          value_parser = clap::value_parser!(u32).range(2..=1_000))]
    tokens: u32,

    /// Seed of the times to the first token.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,

    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit(run(&Options::parse()).await)
}

async fn run(options: &Options) -> Result<(), Failure> {
    let first_token = FirstToken::new(options.seed)?;
    let providers = [
        Provider::start(0, first_token).await?,
        Provider::start(1, first_token).await?,
    ];
    if !options.json {
        show_one(options, &first_token, &providers).await?;
    }

    let load = Load {
        requests: options.requests,
        concurrency: options.concurrency.into(),
        tokens: options.tokens,
    };
    let plain = load.run("plain", Client::new(&providers, None)?).await?;
    let before = provider::aborted(&providers).await?;
    let hedger = hedger(options)?;
    let hedged = load
        .run("hedged", Client::new(&providers, Some(hedger.clone()))?)
        .await?;
    let aborted = provider::aborted(&providers).await? - before;

    let report = Report::new(&plain, &hedged, &hedger.metrics(), aborted);
    let mut stdout = io::stdout().lock();
    if options.json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(stdout, "{}", report.table(options))?;
    }
    plain.check()?;
    hedged.check()
}

fn hedger(options: &Options) -> Result<Hedger, ConfigError> {
    Hedger::builder()
        .strategy(Percentile::new(options.percentile))
        .max_hedges(1)
        .budget(Budget::percent(options.budget))
        .build()
}

/// Prints the answer to one request as it arrives: one whose first provider is known to be slow.
async fn show_one(
    options: &Options,
    first_token: &FirstToken,
    providers: &[Provider; 2],
) -> Result<(), Failure> {
    let request = first_token.slow_at_first();
    let client = Client::new(providers, Some(hedger(options)?))?;
    let mut stdout = io::stdout();
    println!(
        "One request. Its first provider would take {} ms to begin.\n",
        first_token
            .draw(client.provider(request, 0), request)
            .as_millis(),
    );

    let start = Instant::now();
    let mut answer = client.complete(request, u32::MAX).await?;
    let first = start.elapsed();
    let mut winner = String::new();
    while let Some(token) = answer.tokens.next().await? {
        write!(stdout, "{}", token.text)?;
        stdout.flush()?;
        winner = token.stream;
    }
    println!("\n");
    match answer.outcome {
        Some(outcome) if outcome.hedged => println!(
            "The second provider was asked too after {} ms.",
            outcome.hedge_delay.unwrap_or_default().as_millis()
        ),
        _ => println!("It was not hedged."),
    }
    println!(
        "Stream {winner} began {} ms after the request. Streams closed early, say the providers: {}.\n",
        first.as_millis(),
        provider::aborted(providers).await?,
    );
    Ok(())
}
