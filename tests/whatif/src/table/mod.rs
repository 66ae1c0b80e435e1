//! The tables of decision quality, as Markdown.

mod delays;
mod guards;
mod learners;
mod limits;
mod seed;

use core::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What is claimed, what was measured, and whether that will do.
pub(crate) struct Claim {
    pub(crate) what: String,
    pub(crate) reference: &'static str,
    pub(crate) target: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
    /// Why it cannot be met, if it is not.
    pub(crate) reason: &'static str,
}

pub(crate) type Claims = Result<Vec<Claim>, String>;

/// Every table, in order.
pub(crate) fn print() -> Result<(), String> {
    let sections: [fn() -> Claims; 6] = [
        delays::hedge_rates,
        limits::optimum,
        delays::slowdown,
        limits::correlation,
        guards::queues,
        learners::adaptive,
    ];
    let bar = crate::progress(sections.len() as u64 + 1);
    println!("| what | reference | target | measured | met |");
    println!("|---|---|---|---|---|");
    let mut missed = Vec::new();
    for section in sections {
        let claims = section().unwrap_or_else(|error| {
            missed.push((format!("a section of this table ({error})"), ""));
            Vec::new()
        });
        for claim in claims {
            let Claim {
                what,
                reference,
                target,
                measured,
                met,
                reason,
            } = claim;
            let mark = if met { "yes" } else { "**no**" };
            bar.suspend(|| println!("| {what} | {reference} | {target} | {measured} | {mark} |"));
            if !met {
                missed.push((what, reason));
            }
        }
        bar.inc(1);
    }
    bar.suspend(|| {
        for (what, reason) in &missed {
            println!("\nNot met: {what}. {reason}");
        }
        println!();
    });
    seed::print(&bar)?;
    bar.finish_and_clear();
    Ok(())
}

/// Seeds that means are taken over.
pub(crate) const SEEDS: u64 = 20;
/// Requests of one run.
pub(crate) const REQUESTS: u64 = 20_000;

/// `run` for every seed, in order, on every processor.
pub(crate) fn each_seed<R: Send>(
    run: impl Fn(u64) -> Result<R, String> + Sync,
) -> Result<Vec<R>, String> {
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut results: Vec<(u64, Result<R, String>)> = thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= SEEDS {
                    return done;
                }
                done.push((seed, run(seed + 1)));
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .filter_map(|handle| handle.join().ok())
            .flatten()
            .collect()
    });
    results.sort_by_key(|(seed, _)| *seed);
    results.into_iter().map(|(_, result)| result).collect()
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

pub(crate) fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max)
}
