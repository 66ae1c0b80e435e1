//! The command line.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::candidate::Aims;
use crate::order::{Draw, Order};
use crate::replicas;
use crate::seeds::Seeds;
use crate::trace::{self, Format, Unit};
use crate::workload::{Model, Source};

#[derive(Debug, Parser)]
#[command(
    about = "What would hedging do to your service, and what would it cost?",
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  whatif latencies.txt --budget 5\n  whatif --workload bimodal \
                  --strategy percentile:percentile=98 --strategy fixed:delay_ms=15\n  whatif traces FOLDER\n  \
                  whatif incidents"
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
    Table(Seeds),
    /// Measure what hedging does to a backend that browns out, as Markdown.
    Overload(Seeds),
    /// Try which replica to ask on simulated incidents, and check the targets.
    Replicas(replicas::Options),
    /// Measure how many requests a second are simulated.
    Speed,
    /// Measure hedge, and two other rules, on every trace of a folder, in the traces' order.
    Traces(Traces),
    /// Check what a control group shows against the truth.
    Effect(Seeded),
    /// Measure what hedging does in a fleet of clients, and whether a start with shared knowledge helps.
    Fleet(Seeded),
    /// Measure what hedging does when something goes wrong.
    Incidents(Incidents),
}

#[derive(Args, Debug)]
pub(crate) struct Traces {
    /// The folder: a file of latencies each, as `whatif FILE` reads them. Files named README and those that begin with
    /// a dot are left out.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What hedges may add, in percent of the requests: `percentile` hedges at 100 less this, with a budget of twice as
    /// much.
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    budget: f64,
    #[command(flatten)]
    format: ReadAs,
    /// How long hedges take. Default: as the second column, else as another line nearby.
    #[arg(long)]
    pub(crate) draw: Option<Draw>,
    #[command(flatten)]
    pub(crate) seeds: Seeds,
    /// Draw a picture: P99 ÷ best over extra load, one point per rule and trace.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Traces {
    /// In percent.
    pub(crate) fn budget(&self) -> Result<f64, String> {
        within("budget", self.budget, 0.1, 50.0).map(|()| self.budget)
    }

    pub(crate) fn format(&self) -> Format {
        self.format.format()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Seeded {
    #[command(flatten)]
    pub(crate) seeds: Seeds,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Incidents {
    /// Only the rows whose name contains this.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) seeds: Seeds,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How files are to be read, where that does not go without saying.
#[derive(Args, Debug)]
struct ReadAs {
    /// What the numbers in the files count: s, ms, us or ns. Default: what the column's name or a comment says, else ms.
    #[arg(long)]
    unit: Option<Unit>,
    /// Which column holds the latencies, by name or number; two with a comma between them for two attempts at the same
    /// request. Default: the one that is named like it.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', num_args = 1)]
    column: Vec<String>,
}

impl ReadAs {
    fn format(&self) -> Format {
        Format {
            unit: self.unit,
            columns: self.column.iter().take(2).cloned().collect(),
        }
    }
}

fn within(option: &str, value: f64, low: f64, high: f64) -> Result<(), String> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "`--{option}` is {value}, but must be {low} to {high}"
    ))
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Latencies in the order of the requests, one per line, or two with a comma between them for two attempts at the
    /// same request, or a table with a header; `#` begins a comment, `-` is standard input. Several files count as one.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Draw latencies from a model: lognormal, pareto, bimodal, exponential, slowdown, correlated:RHO, queue:LOAD.
    #[arg(long, conflicts_with = "files")]
    workload: Option<Model>,
    /// A strategy to try, with options as in a config file; repeatable. Default: all, with delays that suit the
    /// latencies. NAME is off, on_failure, fixed, percentile, adaptive, workload_aware, exponential_backoff or optimal.
    #[arg(long, value_name = "NAME[:option=value,...]")]
    pub(crate) strategy: Vec<String>,
    /// The most that hedges may add, in percent of the requests. `optimal` aims at it, as do all strategies if none
    /// is named. Default: 10, to aim at 5.
    #[arg(long, value_name = "PERCENT")]
    budget: Option<f64>,
    /// How many hedges a request may have.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    max_hedges: u8,
    /// How many requests to simulate. Default: 100000, and a trace in its order to its end, as often as that takes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub(crate) requests: Option<u64>,
    /// Seed of all draws. Equal seeds give equal output.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    format: ReadAs,
    /// How long a trace's hedges take. Default: as the second column, else as another line nearby.
    #[arg(long, conflicts_with = "workload")]
    draw: Option<Draw>,
    /// Draw a trace's requests at random, as if each were independent of the one before. Hedges then take as long as any
    /// line, unless told otherwise. Real services seldom are like that.
    #[arg(long, conflicts_with = "workload")]
    shuffle: bool,
    /// Keep the trace's order, as is done by default.
    #[arg(long, conflicts_with = "shuffle", hide = true)]
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

    /// Where latencies come from, and what was understood of the files.
    pub(crate) fn source(&self) -> Result<(Source, Vec<String>), String> {
        if let Some(model) = self.workload {
            let note = "Every request is drawn independently of the one before. Real requests mostly are not: what holds \
                        for a model need not hold for a service. A trace of it shows.";
            return Ok((Source::Model(model), vec![note.into()]));
        }
        if self.files.is_empty() && io::stdin().is_terminal() {
            return Err("no latencies: name a file, pipe them in, or choose a `--workload`".into());
        }
        let mut trace = trace::Reader {
            format: self.format.format(),
            ..trace::Reader::default()
        };
        if self.files.is_empty() {
            trace.read(io::stdin().lock(), "standard input")?;
        }
        for file in &self.files {
            if file.as_os_str() == "-" {
                trace.read(io::stdin().lock(), "standard input")?;
            } else {
                trace.read_file(file)?;
            }
        }
        if trace.longer > 0 {
            let (longest, count) = (trace::LONGEST, trace.longer);
            eprintln!("note: latencies above {longest} ms count as that: {count}");
        }
        let order = Order::of(&trace.lines, self.shuffle, self.draw)?;
        let lines = trace.lines;
        Ok((Source::Trace { lines, order }, trace.understood))
    }
}
