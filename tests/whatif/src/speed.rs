//! How many requests a second are simulated.

use std::time::Instant;

use crate::candidate::{self, Aims};
use crate::lab::{self, Terms};
use crate::workload::{Model, Source};

const REQUESTS: u64 = 1_000_000;
const ROUNDS: u64 = 5;

/// Prints a row for each strategy: the median of some rounds on one core, the drawing and sorting of latencies
/// included.
pub(crate) fn print() -> Result<(), String> {
    let source = Source::Model(Model::Lognormal);
    hedge_terminal::print(
        "| strategy | requests per second and core | at least |\n|---|---:|---:|\n",
    )?;
    for candidate in candidate::all(&source, &Aims::DEFAULT)? {
        let mut rates = Vec::new();
        for seed in 1..=ROUNDS {
            let terms = Terms {
                requests: REQUESTS,
                seed,
                target: 99.0,
            };
            let start = Instant::now();
            lab::run(&candidate, &source, &terms, None, |_| {})?;
            rates.push(REQUESTS as f64 / start.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        let least = match candidate.name.as_str() {
            "fixed" => "1.0 million",
            "optimal" => "0.3 million",
            _ => "",
        };
        hedge_terminal::print(&format!(
            "| `{}` | {:.1} million | {least} |\n",
            candidate.name,
            lab::percentile(&rates, 50.0) / 1e6
        ))?;
    }
    Ok(())
}
