//! Plays random schedules until the time is up, and says what was broken.

mod report;

use core::num::NonZero;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use hedge_faults::invariants::{Broken, Invariant};
use hedge_faults::schedule::{Stage, Tally};
use hedge_terminal::println;

/// Tries to break what hedge promises, by schedules drawn at random.
#[derive(Debug, Parser)]
struct Options {
    /// For how long.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = seconds)]
    seconds: f64,
    /// Play so many schedules instead, however long that takes.
    #[arg(long, conflicts_with = "seconds")]
    schedules: Option<u64>,
    /// The first schedule; others follow. With `--schedules 1` plays one again that broke something.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many threads. Default: as many as there are processors.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Fail if fewer schedules were played in the time.
    #[arg(long, default_value_t = 0, value_name = "SCHEDULES")]
    at_least: u64,
    /// Succeed as soon as a schedule breaks this invariant, and fail if none does: for mutants.
    #[arg(long, value_name = "INVARIANT", value_parser = invariant)]
    breaks: Option<Invariant>,
}

fn invariant(name: &str) -> Result<Invariant, String> {
    Invariant::named(name).ok_or_else(|| {
        let names: Vec<_> = Invariant::ALL.iter().map(|i| i.name()).collect();
        format!("must be one of: {}", names.join(", "))
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1e9).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be 0 to 1e9".into())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let started = Instant::now();
    let (tally, broken) = play(&options, started);
    if let Some(invariant) = options.breaks {
        return match broken.first() {
            Some((seed, broken)) => {
                println!("seed {seed} breaks {broken}");
                ExitCode::SUCCESS
            }
            None => {
                println!(
                    "nothing breaks {invariant} in {} schedules",
                    tally.schedules
                );
                ExitCode::FAILURE
            }
        };
    }
    println!(
        "{}",
        report::table(&tally, started.elapsed(), &broken).trim_end()
    );
    let too_few = tally.schedules < options.at_least;
    if too_few {
        let least = options.at_least;
        println!("\nfewer schedules than {least}: a machine this slow needs a longer `--seconds`");
    }
    if broken.is_empty() && !too_few {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// So many schedules are handed out at a time.
const BATCH: u64 = 1024;
/// After so many that broke something there is enough to look at.
const ENOUGH: usize = 3;

/// Plays on all threads. Gives what was played, and what was broken by which seed.
fn play(options: &Options, started: Instant) -> (Tally, Vec<(u64, Broken)>) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = options.threads.map_or(processors, NonZero::get);
    let length = options
        .schedules
        .unwrap_or((1000.0 * options.seconds) as u64);
    let bar = hedge_terminal::progress(length);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let is_over = || match options.schedules {
        Some(_) => false,
        None => started.elapsed() >= Duration::from_secs_f64(options.seconds),
    };
    let worker = || {
        let (mut stage, mut tally, mut broken) = (Stage::new(), Tally::default(), Vec::new());
        while !stop.load(Ordering::Relaxed) && !is_over() {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let last = options.schedules.unwrap_or(u64::MAX).min(first + BATCH);
            if first >= last {
                break;
            }
            for n in first..last {
                let seed = options.seed.wrapping_add(n);
                if let Err(why) = stage.play(seed, &mut tally) {
                    if options.breaks.is_some_and(|only| only != why.invariant) {
                        continue;
                    }
                    broken.push((seed, why));
                    if options.breaks.is_some() || broken.len() >= ENOUGH {
                        stop.store(true, Ordering::Relaxed);
                        break;
                    }
                }
            }
            match options.schedules {
                Some(_) => bar.inc(last - first),
                None => bar.set_position(started.elapsed().as_millis() as u64),
            }
        }
        (tally, broken)
    };
    let (mut tally, mut broken) = (Tally::default(), Vec::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let (played, found) = match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            tally += &played;
            broken.extend(found);
        }
    });
    bar.finish_and_clear();
    broken.sort_by_key(|(seed, _)| *seed);
    (tally, broken)
}
