//! What hedging does to a backend that browns out: a real HTTP server with a bounded pool of workers, under a load that
//! does not wait for answers.
//!
//! After ten seconds everything takes four times as long, for ten seconds, and callers that give up leave the queue.
//! Three such servers get the same requests: unhedged, hedged at P95 within a budget of 10 % and under the guard, and
//! hedged after a set delay without either. Both attempts of a request take the same service time, and a loser that is
//! running finishes, so that a hedge is nothing but load.
//!
//! ```text
//! cargo run --release -p hedge-tokio --example overload
//! cargo run --release -p hedge-tokio --example overload -- --load 0.9
//! ```
//!
//! `cargo run --release -p whatif -- overload` runs many more of these, in virtual time.

#[macro_use]
#[path = "../common/print.rs"]
mod print;
mod backend;
mod callers;
#[path = "../common/cli.rs"]
mod cli;
mod report;
#[path = "../common/serve.rs"]
mod serve;

use core::time::Duration;
use std::process::ExitCode;

use clap::Parser;
use hedge_tokio::{Budget, Fixed, Hedger, Off, Options as HedgeOptions, Percentile};
use tokio::time::Instant;

use crate::backend::{Backend, Plan};
use crate::cli::{Failure, exit, number_in};
use crate::report::Mode;

/// Sends the same load to three servers, hedged and not, through a brown-out.
#[derive(Debug, Parser)]
#[command(name = "overload")]
struct Options {
    /// The work that arrives over the work that the servers can do, hedges apart.
    #[arg(long, default_value_t = 0.8, value_name = "LOAD",
          value_parser = |text: &str| number_in(text, 0.1..=1.2))]
    load: f64,

    /// Seed of service times and arrivals.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// The time that callers give a request.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// About the P95 before the brown-out.
const FIXED: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> ExitCode {
    exit(run(&Options::parse()).await)
}

async fn run(options: &Options) -> Result<(), Failure> {
    let mut bounded = HedgeOptions::default();
    bounded.timeout = Some(TIMEOUT);
    let mut unbounded = bounded;
    unbounded.guard = Some(false);
    let hedgers = [
        ("unhedged", Hedger::builder().strategy(Off).options(bounded)),
        (
            "P95, budget 10 %, guard",
            Hedger::builder()
                .strategy(Percentile::new(95.0))
                .budget(Budget::percent(10.0))
                .options(bounded),
        ),
        (
            "300 ms, no budget, no guard",
            Hedger::builder()
                .strategy(Fixed::new(FIXED))
                .budget(Budget::unlimited())
                .options(unbounded),
        ),
    ];

    let plan = Plan::new(options.seed, options.load, Instant::now())?;
    eprintln!(
        "{:.0} s at a load of {} …",
        Plan::END.as_secs_f64(),
        options.load
    );
    let mut running = Vec::new();
    for (name, hedger) in hedgers {
        let backend = Backend::start(plan).await?;
        let callers = callers::run(plan, backend, hedger.build()?);
        running.push((name, tokio::spawn(callers)));
    }
    let mut modes = Vec::new();
    for (name, callers) in running {
        modes.push(Mode::new(name, &callers.await??));
    }
    println!("{}", report::table(&modes));
    Ok(())
}
