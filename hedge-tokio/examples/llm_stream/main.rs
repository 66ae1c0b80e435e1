//! Hedges a language model that streams its answer, on the time to its first token.
//!
//! Two providers serve an OpenAI-style streaming endpoint on loopback. Both accept a request at once, but now and then
//! take long to begin with the answer. `hedger.stream` resolves to the stream whose first token comes first
//! (`client.rs`); the other's connection is closed.
//!
//! All requests are made plainly, hedged on their first token, and hedged on the heads of their responses. Heads come
//! at once, so that hedging on them cuts nothing and learns nonsense. Every stream is checked to be one provider's answer
//! to its request, whole and in order.
//!
//! ```text
//! cargo run --release -p hedge-tokio --example llm_stream
//! cargo run --release -p hedge-tokio --example llm_stream -- --percentile 90
//! cargo run --release -p hedge-tokio --example llm_stream -- --json
//! ```

#[macro_use]
#[path = "../common/print.rs"]
mod print;
#[path = "../common/cli.rs"]
mod cli;
mod client;
mod completion;
mod load;
mod provider;
mod report;
#[path = "../common/serve.rs"]
mod serve;

use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use futures_lite::StreamExt;
use hedge_tokio::{Budget, ConfigError, Hedger, Off, Percentile};

use crate::cli::{Failure, exit, number_in};
use crate::client::{AnsweredBy, Client};
use crate::load::Load;
use crate::provider::{FirstToken, Provider};
use crate::report::Report;

/// Streams answers of a language model plainly and hedged, and compares the time to the first token.
#[derive(Debug, Parser)]
#[command(name = "llm_stream")]
struct Options {
    /// Requests to send in each of the three phases.
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

    let phases = [
        ("plain", plain()?, AnsweredBy::FirstToken),
        ("hedged", hedged(options)?, AnsweredBy::FirstToken),
        ("heads", hedged(options)?, AnsweredBy::Head),
    ];
    let load = Load {
        requests: options.requests,
        concurrency: options.concurrency.into(),
        tokens: options.tokens,
    };
    let mut measured = Vec::new();
    for (name, hedger, answered_by) in phases {
        let client = Client::new(&providers, hedger)?;
        let before = provider::counted(&providers).await?;
        let phase = load.run(name, &client, answered_by).await?;
        let after = provider::counted(&providers).await?;
        measured.push((phase, client.hedger().metrics(), before, after));
    }

    let report = Report::new(&measured)?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table(options));
    }
    measured.iter().try_for_each(|(phase, ..)| phase.check())
}

/// Counts, and does not hedge.
fn plain() -> Result<Hedger, ConfigError> {
    Hedger::builder().strategy(Off).build()
}

/// The defaults, unless told otherwise.
fn hedged(options: &Options) -> Result<Hedger, ConfigError> {
    Hedger::builder()
        .strategy(Percentile::new(options.percentile))
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
    // A hedger that has seen no requests yet does not hedge.
    let delay = Duration::from_millis(250);
    let hedger =
        Hedger::builder().strategy(Percentile::new(options.percentile).initial_delay(delay));
    let client = Client::new(providers, hedger.build()?)?;
    println!(
        "One request. Its first provider would take {} ms to begin.\n",
        first_token
            .draw(client.provider(request, 0), request)
            .as_millis(),
    );

    let start = Instant::now();
    let mut tokens = client
        .complete(request, u32::MAX, AnsweredBy::FirstToken)
        .await?;
    let first = start.elapsed();
    let mut winner = String::new();
    while let Some(token) = tokens.next().await.transpose()? {
        print!("{}", token.text);
        winner = token.stream;
    }
    println!(
        "\n\nStream {winner} began {} ms after the request. Streams closed early, as the providers saw it: {}.\n",
        first.as_millis(),
        provider::counted(providers).await?.aborted,
    );
    Ok(())
}
