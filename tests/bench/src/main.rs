//! What a hedged request costs, beside the same by hand and in other libraries.
//!
//! Machines are shared and noisy. All cases are measured in one process, in rounds that alternate; the median counts
//! of those rounds that nothing disturbed (see [`rounds`]), and is best read as a ratio to what
//! an engineer would write by hand.

mod case;
mod cases;
mod chart;
mod contention;
mod growth;
mod in_flight;
mod instructions;
mod memory;
mod options;
mod overhead;
mod processor;
mod report;
mod rounds;
mod runtime;
mod script;
mod strategies;
mod streams;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    let result = run(&options).and_then(|text| hedge_terminal::print(&text));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be printed.
fn run(options: &Options) -> Result<String, String> {
    Ok(match &options.command {
        None => report::overhead(&overhead::measure(&options.overhead)?, &options.overhead),
        Some(Command::Contention(options)) => {
            report::contention(&contention::measure(options)?, options.json)
        }
        Some(Command::Memory(options)) => report::memory(&memory::measure(options)?, options.json),
        Some(Command::InFlight(options)) => {
            report::in_flight(&in_flight::measure(options)?, options.json)
        }
        Some(Command::Growth(options)) => report::growth(&growth::measure(options)?, options.json),
        Some(Command::Strategies(options)) => {
            report::strategies(&strategies::measure(options)?, options.json)
        }
        Some(Command::Streams(options)) => {
            report::streams(&streams::measure(options)?, options.json)
        }
        Some(Command::Instructions(options)) => {
            report::instructions(&instructions::measure(options)?, options.json)
        }
        Some(Command::Table(options)) => table::measure(options)?,
        Some(Command::Counted(options)) => {
            instructions::run(options)?;
            String::new()
        }
    })
}
