//! What would hedging do to your service, and what would it cost?
//!
//! Runs every strategy in virtual time over latencies that you measured, or that a model draws, by the very
//! code that decides in production.

mod chart;
mod engine;
mod lab;
mod optimum;
mod queue;
mod report;
mod table;
mod trace;
mod workload;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::lab::{Candidate, Row, Terms};
use crate::workload::{Model, Source};

#[derive(Debug, Parser)]
#[command(
    about = "What would hedging do to your service, and what would it cost?",
    after_help = "Examples:\n  whatif latencies.txt --budget 5\n  whatif --workload bimodal \
                  --strategy percentile:percentile=98 --strategy fixed:delay_ms=15\n  whatif table"
)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Regenerate the tables of decision quality, as Markdown.
    Table,
}

#[derive(Args, Debug)]
struct Run {
    /// Latencies in milliseconds, one per line, or two with a comma between them for two attempts at the same
    /// request; `#` begins a comment, `-` is standard input.
    file: Option<PathBuf>,
    /// Draw latencies from a model: lognormal, pareto, bimodal, exponential, slowdown, correlated:RHO, queue:LOAD.
    #[arg(long, conflicts_with = "file")]
    workload: Option<Model>,
    /// A strategy to try, with options as in a config file: NAME[:option=value,...]. Repeatable. Default: all.
    #[arg(long, value_name = "NAME[:option=value,...]")]
    strategy: Vec<String>,
    /// The most that hedges may add, in percent of the requests.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT")]
    budget: f64,
    /// How many hedges a request may have.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    max_hedges: u8,
    /// How many requests to simulate.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    requests: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the trace's order, where latencies drift.
    #[arg(long)]
    in_order: bool,
    /// The percentile that matters.
    #[arg(long, default_value_t = 99.0)]
    target: f64,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    json: bool,
    /// Draw latency against extra load, a curve per strategy.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.command {
        Some(Command::Table) => table::print(),
        None => run(&options.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Run) -> Result<(), String> {
    if !(50.0..=99.99).contains(&options.target) {
        return Err(format!(
            "`--target` is {}, but must be 50 to 99.99",
            options.target
        ));
    }
    let source = source(options)?;
    let candidates = if options.strategy.is_empty() {
        lab::all(&source)
    } else {
        options
            .strategy
            .iter()
            .map(|text| Candidate::parse(text))
            .collect::<Result<_, _>>()?
    };
    let terms = Terms {
        budget: options.budget,
        max_hedges: options.max_hedges,
        requests: options.requests,
        seed: options.seed,
        target: options.target,
    };
    let known = lab::known(&source, 200_000);
    let bar = progress(candidates.len() as u64 * terms.requests);
    let rows = candidates
        .iter()
        .map(|candidate| {
            bar.set_message(candidate.name.clone());
            lab::run(candidate, &source, &terms, known.as_ref(), |n| bar.inc(n))
        })
        .collect::<Result<Vec<Row>, String>>()?;
    bar.finish_and_clear();
    if let Some(file) = &options.svg {
        chart::draw(file, &candidates, &source, &terms, known.as_ref())?;
    }
    if options.json {
        report::json(&rows);
    } else {
        report::table(&source, &terms, &candidates, &rows);
    }
    Ok(())
}

fn source(options: &Run) -> Result<Source, String> {
    if let Some(model) = options.workload {
        return Ok(Source::Model(model));
    }
    let Some(file) = &options.file else {
        if io::stdin().is_terminal() {
            return Err("no latencies: name a file, pipe them in, or choose a `--workload`".into());
        }
        return trace(io::stdin().lock(), "standard input", options.in_order);
    };
    if file.as_os_str() == "-" {
        return trace(io::stdin().lock(), "standard input", options.in_order);
    }
    let name = file.display().to_string();
    let opened = File::open(file).map_err(|error| format!("{name}: {error}"))?;
    trace(BufReader::new(opened), &name, options.in_order)
}

fn trace(input: impl io::BufRead, name: &str, in_order: bool) -> Result<Source, String> {
    Ok(Source::Trace {
        lines: trace::read(input, name)?,
        in_order,
    })
}

/// A bar on standard error, where somebody looks.
fn progress(length: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar
}
