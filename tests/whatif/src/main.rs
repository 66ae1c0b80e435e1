//! What would hedging do to your service, and what would it cost?
//!
//! Runs every strategy in virtual time over latencies that you measured, or that a model draws, by the very
//! code that decides in production.

mod candidate;
mod chart;
mod clustering;
mod effect;
mod engine;
mod fleet;
mod incidents;
mod lab;
mod optimum;
mod options;
mod order;
mod overload;
mod parallel;
mod picture;
mod queue;
mod recommend;
mod replicas;
mod report;
mod seeds;
mod speed;
mod table;
mod trace;
mod traces;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::candidate::Candidate;
use crate::lab::{Row, Terms};
use crate::options::{Command, Options, Run};

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.command {
        Some(Command::Table(seeds)) => table::print(*seeds),
        Some(Command::Overload(seeds)) => overload::print(*seeds),
        Some(Command::Replicas(options)) => replicas::print(options),
        Some(Command::Speed) => speed::print(),
        Some(Command::Traces(options)) => traces::print(options),
        Some(Command::Effect(options)) => effect::print(options),
        Some(Command::Fleet(options)) => fleet::print(options),
        Some(Command::Incidents(options)) => incidents::print(options),
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
    // What is wrong with the options is told before a trace is waited for.
    let aims = options.aims()?;
    let named = options
        .strategy
        .iter()
        .map(|text| Candidate::parse(text, &aims))
        .collect::<Result<Vec<_>, _>>()?;
    let (source, understood) = options.source()?;
    let candidates = if named.is_empty() {
        candidate::all(&source, &aims)?
    } else {
        named
    };
    let terms = Terms {
        requests: options.requests.unwrap_or_else(|| source.requests()),
        seed: options.seed,
        target: aims.target,
    };
    let known = lab::known(&source, &terms);

    let bar = hedge_terminal::progress((candidates.len() as u64 + 1) * terms.requests);
    let try_out = |candidate: &Candidate| -> Result<Row, String> {
        bar.set_message(candidate.name.clone());
        lab::run(candidate, &source, &terms, known.as_ref(), |n| bar.inc(n))
    };
    let unhedged = try_out(&Candidate::parse("off", &aims)?)?;
    let rows = candidates
        .iter()
        .map(try_out)
        .collect::<Result<Vec<_>, _>>()?;
    bar.finish_and_clear();

    if let Some(file) = &options.svg {
        chart::draw(file, &candidates, &source, &terms, known.as_ref())?;
    }
    let text = if options.json {
        report::json(&rows)?
    } else {
        let notes = report::notes(&source, &understood);
        let table = report::table(&source, &terms, &candidates, &rows);
        let advice = recommend::recommend(&source, &terms, &candidates, &rows, &unhedged);
        format!("{notes}{table}\n{advice}\n")
    };
    hedge_terminal::print(&text)
}
