//! Whether hedging stops where it harms, and not where it helps.

use hedge_core::Budget;
use hedge_core::strategy::{Off, Percentile, Strategy};

use super::{Claim, Claims, REQUESTS, mean, worst};
use crate::lab::{self, percentile};
use crate::queue::{self, Backend, Queues};
use crate::seeds::Seeds;

/// P99 of a queue's requests, hedged over unhedged.
pub(super) fn queues(seeds: Seeds) -> Claims {
    let mut claims = Vec::new();
    for (load, reference) in [
        (0.7, "without the guard 1.11"),
        (0.9, "without the guard 1.40"),
    ] {
        let [guarded, unguarded] = ratios(seeds, Queues::One, load)?;
        claims.push(Claim {
            what: format!(
                "8 servers, one queue, load {load}, lognormal service, `percentile` at P95, budget 10 %: P99 over \
                 unhedged, mean / worst seed"
            ),
            reference,
            target: "≤ 1.02 / ≤ 1.10",
            measured: format!(
                "{:.3} / {:.3} (without the guard {:.2})",
                mean(&guarded),
                worst(&guarded),
                mean(&unguarded)
            ),
            met: mean(&guarded) <= 1.02 && worst(&guarded) <= 1.10,
        });
    }
    let [guarded, unguarded] = ratios(seeds, Queues::Each, 0.9)?;
    claims.push(Claim {
        what: "the same with a queue for each server, attempts sent anywhere, load 0.9".into(),
        reference: "without the guard 0.71",
        target: "≤ 0.80",
        measured: format!(
            "{:.3} (without the guard {:.2})",
            mean(&guarded),
            mean(&unguarded)
        ),
        met: mean(&guarded) <= 0.80,
    });
    Ok(claims)
}

/// With the guard and without, a ratio for each seed.
fn ratios(seeds: Seeds, queues: Queues, load: f64) -> Result<[Vec<f64>; 2], String> {
    let pairs = seeds.each(|seed| {
        let off = p99(Off, false, queues, load, seed)?;
        let hedged = |guard| p99(Percentile::new(95.0), guard, queues, load, seed);
        Ok((hedged(true)? / off, hedged(false)? / off))
    })?;
    let (guarded, unguarded) = pairs.into_iter().unzip();
    Ok([guarded, unguarded])
}

/// P99 of one run's requests.
pub(crate) fn p99(
    strategy: impl Strategy,
    guard: bool,
    queues: Queues,
    load: f64,
    seed: u64,
) -> Result<f64, String> {
    let hedger = lab::hedger(strategy, Budget::percent(10.0), Some(guard), None, seed)?;
    let backend = Backend::new(queues, load);
    let done = queue::run(&hedger, &backend, REQUESTS as usize, seed);
    let mut latencies: Vec<f64> = done.into_iter().map(|done| done.latency).collect();
    latencies.sort_by(f64::total_cmp);
    Ok(percentile(&latencies, 99.0))
}
