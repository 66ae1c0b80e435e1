//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::runtime::Flavour;
use crate::script::Kind;

#[derive(Debug, Parser)]
#[command(
    about = "What a hedged request costs, beside the same by hand and in other libraries",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) overhead: Overhead,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the throughput of 1, 2, 4 and 8 tasks that share a hedger.
    Contention(Contention),
    /// Measure the memory of hedgers and of requests in flight.
    Memory(Memory),
    /// Have a great many requests in flight at the same time, on one hedger, and check their answers.
    InFlight(InFlight),
    /// Measure whether a request costs more when there is more of something.
    Growth(Growth),
    /// Measure what an item of a hedged stream costs over an item of the bare stream.
    Streams(Streams),
    /// Measure the parts of decisions alone.
    Strategies(Strategies),
    /// Count instructions, under valgrind.
    Instructions(Instructions),
    /// Measure overhead and contention, as Markdown for the README.
    Table(Table),
    /// What is counted.
    #[command(hide = true)]
    Counted(Counted),
}

#[derive(Args, Debug)]
pub(crate) struct Overhead {
    /// Rounds that count, for each case.
    #[arg(long, default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Requests in a round, where they do not wait for hedges.
    #[arg(long, default_value_t = Self::REQUESTS, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) requests: u32,
    /// Only cases whose names contain this; repeatable.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Only this kind of request; repeatable.
    #[arg(long)]
    kind: Vec<Kind>,
    /// Only this runtime; repeatable.
    #[arg(long)]
    runtime: Vec<Flavour>,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Overhead {
    pub(crate) fn all(rounds: u32) -> Self {
        Self {
            rounds,
            requests: Self::REQUESTS,
            case: Vec::new(),
            kind: Vec::new(),
            runtime: Vec::new(),
            json: false,
        }
    }

    const REQUESTS: u32 = 3000;

    pub(crate) fn wants(&self, case: &str) -> bool {
        matches(&self.case, case)
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(|kind| self.kind.is_empty() || self.kind.contains(kind))
            .collect()
    }

    pub(crate) fn flavours(&self) -> Vec<Flavour> {
        let all = Flavour::ALL.into_iter();
        all.filter(|flavour| self.runtime.is_empty() || self.runtime.contains(flavour))
            .collect()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Contention {
    /// Rounds that count, for each number of tasks.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Requests in a round, all tasks together.
    #[arg(long, default_value_t = Self::REQUESTS, value_parser = clap::value_parser!(u32).range(8..=100_000_000))]
    pub(crate) requests: u32,
    /// Only cases whose names contain this; repeatable.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Contention {
    pub(crate) fn all(rounds: u32) -> Self {
        Self {
            rounds,
            requests: Self::REQUESTS,
            case: Vec::new(),
            json: false,
        }
    }

    const REQUESTS: u32 = 20_000;

    pub(crate) fn wants(&self, case: &str) -> bool {
        matches(&self.case, case)
    }
}

#[derive(Args, Debug)]
pub(crate) struct Memory {
    /// Only cases whose names contain this; repeatable.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Print an object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Memory {
    pub(crate) fn wants(&self, case: &str) -> bool {
        matches(&self.case, case)
    }
}

#[derive(Args, Debug)]
pub(crate) struct InFlight {
    /// How many requests.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) requests: u64,
    /// After how many seconds hedges are due. All requests have to be out before.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) delay: u64,
    /// Print an object instead of a sentence.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Streams {
    /// Rounds that count, for each way to read a stream.
    #[arg(long, default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Items of a stream.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) items: u64,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Growth {
    /// Rounds that count, for each size.
    #[arg(long, default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Requests in a round.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) requests: u32,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw it.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Strategies {
    /// Rounds that count, for each part.
    #[arg(long, default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Instructions {
    /// Only cases whose names contain this; repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) case: Vec<String>,
    /// Only this kind of request; repeatable. Default: ready and pending.
    #[arg(long)]
    pub(crate) kind: Vec<Kind>,
    /// Print an array of objects instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Table {
    /// Rounds that count, for each case.
    #[arg(long, default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Counted {
    #[arg(long)]
    pub(crate) case: String,
    #[arg(long)]
    pub(crate) kind: Kind,
    #[arg(long)]
    pub(crate) requests: u32,
}

fn matches(parts: &[String], name: &str) -> bool {
    parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
}
