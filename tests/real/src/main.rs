//! Hedges reads from servers that nobody here wrote, while one of two stalls, or one of three stalls, dies or
//! refuses.
//!
//! Each of [`servers`] is started on loopback, in a separate folder, and stopped afterwards. The same
//! reads are made plainly and hedged: what they took is compared, every reply is checked to be that of its
//! request, and the servers say what became of the attempts that lost and of the connections.
//!
//! `bash tests/real/run` installs the servers, builds this and runs it.

mod incident;
mod load;
mod process;
mod report;
mod servers;

use core::error::Error;
use core::time::Duration;
use std::process::ExitCode;

use hedge_tokio::{Budget, ConfigError, Fixed, Hedger, Off};

use crate::process::Folder;
use crate::report::Report;

/// Whatever stops a run.
type Failure = Box<dyn Error + Send + Sync>;

/// After which a read is hedged: long for a server that is well, short beside [`load::STALL`].
const DELAY: Duration = Duration::from_millis(30);

/// After which a run is given up.
const PATIENCE: Duration = Duration::from_secs(900);

const NAMES: [&str; 10] = [
    "redis",
    "redis-replicas",
    "fleet",
    "nginx",
    "nginx-replicas",
    "http2",
    "grpc",
    "grpc-npm",
    "s3",
    "postgres",
];

/// What the command line asks for.
struct Options {
    names: Vec<String>,
    /// One JSON object on stdout, and all else on stderr.
    json: bool,
    /// Does not hedge where it should, and does not choose between replicas: to see the checks fail.
    unhedged: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            names: Vec::new(),
            json: false,
            unhedged: false,
        };
        for argument in arguments {
            match argument.as_str() {
                "--json" => options.json = true,
                "--unhedged" => options.unhedged = true,
                name if NAMES.contains(&name) => options.names.push(argument),
                other => {
                    let known = NAMES.join(", ");
                    return Err(format!("{other:?} is none of --json, --unhedged, {known}").into());
                }
            }
        }
        if options.names.is_empty() {
            options.names = NAMES.map(Into::into).to_vec();
        }
        Ok(options)
    }

    /// As the reads need it: half of them have to be hedged, and as many at once as are sent in one stall.
    fn hedger(&self) -> Result<Hedger, ConfigError> {
        let builder = Hedger::builder().budget(Budget::percent(100.0).burst(load::READS as u32));
        if self.unhedged {
            builder.strategy(Off).build()
        } else {
            builder.strategy(Fixed::new(DELAY)).build()
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(options.json);
    let run = tokio::time::timeout(PATIENCE, run(&options, &mut report)).await;
    if run.is_err() {
        report.check(false, format_args!("done within {} s", PATIENCE.as_secs()));
    }
    report.finish()
}

async fn run(options: &Options, report: &mut Report) {
    for name in &options.names {
        if let Err(error) = one(name, options, report).await {
            report.check(false, format_args!("{name}: {}", chain(&*error)));
        }
    }
}

/// Children die with the thread that started them: this runs on the main thread, which is the last to end.
async fn one(name: &str, options: &Options, report: &mut Report) -> Result<(), Failure> {
    let folder = Folder::new(name)?;
    match name {
        "redis" => servers::redis::run(&folder, options, report).await,
        "redis-replicas" => servers::redis::three::run(&folder, options, report).await,
        "fleet" => servers::fleet::run(&folder, options, report).await,
        "nginx" => servers::nginx::run(&folder, options, report).await,
        "nginx-replicas" => servers::nginx::three::run(&folder, options, report).await,
        "http2" => servers::http2::run(&folder, report).await,
        "grpc" => servers::grpc::run(options, report).await,
        "grpc-npm" => servers::grpc_npm::run(&folder, report).await,
        "s3" => servers::s3::run(&folder, report).await,
        _ => servers::postgres::run(&folder, options, report).await,
    }
}

/// The error, and what it was caused by.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
