//! The command line.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::candidate::Aims;
use crate::trace;
use crate::workload::{Model, Source};

#[derive(Debug, Parser)]
#[command(
    about = "What would hedging do to your service, and what would it cost?",
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  whatif latencies.txt --budget 5\n  whatif --workload bimodal \
                  --strategy percentile:percentile=98 --strategy fixed:delay_ms=15\n  whatif table"
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure how well every strategy decides, as Markdown.
    Table,
    /// Measure what hedging does to a backend that browns out, as Markdown.
    Overload,
    /// Measure how many requests a second are simulated.
    Speed,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Latencies in milliseconds, one per line, or two with a comma between them for two attempts at the same
    /// request; `#` begins a comment, `-` is standard input. Several files count as one.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Draw latencies from a model: lognormal, pareto, bimodal, exponential, slowdown, correlated:RHO, queue:LOAD.
    #[arg(long, conflicts_with = "files")]
    workload: Option<Model>,
    /// A strategy to try, with options as in a config file; repeatable. Default: all, with delays that suit the
    /// latencies. NAME is off, fixed, percentile, adaptive, workload_aware, exponential_backoff or optimal.
    #[arg(long, value_name = "NAME[:option=value,...]")]
    pub(crate) strategy: Vec<String>,
    /// The most that hedges may add, in percent of the requests. `optimal` aims at it, as do all strategies if none
    /// is named. Default: 10, to aim at 5.
    #[arg(long, value_name = "PERCENT")]
    budget: Option<f64>,
    /// How many hedges a request may have.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    max_hedges: u8,
    /// How many requests to simulate. Default: 100000; with `--in-order`, the trace as often as that takes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub(crate) requests: Option<u64>,
    /// The same seed, the same output.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep the trace's order, where latencies drift. A hedge then takes as long as a request soon after.
    #[arg(long)]
    in_order: bool,
    /// The percentile that matters, 50 to 99.9.
    #[arg(long, default_value_t = 99.0)]
    target: f64,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw latency against extra load, a curve per strategy.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl Run {
    /// What every strategy is to do where its own options do not say.
    pub(crate) fn aims(&self) -> Result<Aims, String> {
        let within = |option: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(format!(
                "`--{option}` is {value}, but must be {low} to {high}"
            ))
        };
        within("target", self.target, 50.0, 99.9)?;
        if let Some(budget) = self.budget {
            within("budget", budget, 0.0, 100.0 * f64::from(self.max_hedges))?;
        }
        Ok(Aims {
            budget: self.budget,
            max_hedges: self.max_hedges,
            target: self.target,
        })
    }

    pub(crate) fn source(&self) -> Result<Source, String> {
        if let Some(model) = self.workload {
            return Ok(Source::Model(model));
        }
        if self.files.is_empty() && io::stdin().is_terminal() {
            return Err("no latencies: name a file, pipe them in, or choose a `--workload`".into());
        }
        let mut trace = trace::Reader::default();
        if self.files.is_empty() {
            read(Path::new("-"), &mut trace)?;
        }
        for file in &self.files {
            read(file, &mut trace)?;
        }
        if trace.longer > 0 {
            let (longest, count) = (trace::LONGEST, trace.longer);
            eprintln!("note: latencies above {longest} ms count as that: {count}");
        }
        Ok(Source::Trace {
            lines: trace.lines,
            in_order: self.in_order,
        })
    }
}

fn read(file: &Path, trace: &mut trace::Reader) -> Result<(), String> {
    if file.as_os_str() == "-" {
        return trace.read(io::stdin().lock(), "standard input");
    }
    let name = file.display().to_string();
    let opened = File::open(file).map_err(|error| format!("{name}: {error}"))?;
    trace.read(BufReader::new(opened), &name)
}
