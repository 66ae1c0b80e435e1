//! Whether `adaptive` finds the best of its candidates.

use core::time::Duration;

use hedge_core::{Budget, Instant};

use super::{Claim, Claims, mean};
use crate::candidate::{Aims, Candidate};
use crate::engine::{self, Ask};
use crate::lab::{self, ms, percentile};
use crate::seeds::Seeds;
use crate::workload::{Model, Source};

const ARMS: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];
const COST_WEIGHT: f64 = 0.25;

/// The reward of the chosen delays, 0 for always the worst candidate and 1 for always the best.
pub(super) fn adaptive(seeds: Seeds) -> Claims {
    let mut claims = Vec::new();
    for model in Model::STATIONARY {
        let world = World::new(model);
        let learned = seeds.each(|seed| world.learned(seed, 2000, 500, 1.0))?;
        let shifted = seeds.each(|seed| world.learned(seed, 4000, 3000, 5.0))?;
        let (learned, shifted) = (mean(&learned), mean(&shifted));
        claims.push(Claim {
            what: format!(
                "`adaptive`, {}, candidates 1 to 16 medians: expected reward, 0 for the worst candidate and 1 for \
                 the best, requests 500–2000 / 1000–2000 after all became ×5 slower",
                model.name()
            ),
            reference: "plain Thompson Sampling 0.5–0.7",
            target: "≥ 0.90 / ≥ 0.90",
            measured: format!("{learned:.3} / {shifted:.3}"),
            met: learned >= 0.90 && shifted >= 0.90,
        });
    }
    Ok(claims)
}

struct World {
    model: Model,
    median: f64,
    pairs: Vec<[f64; 2]>,
}

impl World {
    fn new(model: Model) -> Self {
        let pairs: Vec<_> = Source::Model(model).stream(200_000, 0xface).collect();
        let mut primaries: Vec<f64> = pairs.iter().map(|[x, _]| *x).collect();
        primaries.sort_by(f64::total_cmp);
        Self {
            model,
            median: percentile(&primaries, 50.0),
            pairs,
        }
    }

    /// The expected reward of hedging at `delay`, all latencies and the median multiplied by `scale`.
    fn reward(&self, delay: f64, scale: f64) -> f64 {
        let rewards = self.pairs.iter().map(|[x, y]| {
            let (x, y, median) = (x * scale, y * scale, self.median * scale);
            let (latency, hedges) = if x <= delay {
                (x, 0.0)
            } else {
                (x.min(delay + y), 1.0)
            };
            1.0 - ((latency / median + COST_WEIGHT * hedges) / 10.0).min(1.0)
        });
        rewards.sum::<f64>() / self.pairs.len() as f64
    }

    /// Runs `requests`, the second half of them slower by `shift`, and rates the delays chosen from `from` on.
    fn learned(&self, seed: u64, requests: u64, from: u64, shift: f64) -> Result<f64, String> {
        let delays = ARMS.map(|times| self.median * times);
        let texts = delays.map(|delay| format!("{delay:.6}")).join(",");
        let text = format!("adaptive:delay_candidates=[{texts}]");
        let candidate = Candidate::parse(&text, &Aims::DEFAULT)?;
        let settings = candidate
            .config
            .validate()
            .map_err(|error| error.to_string())?;
        let hedger = lab::hedger(
            settings.strategy,
            Budget::unlimited(),
            Some(false),
            None,
            seed,
        )?;
        let scale = |n: u64| if n * 2 >= requests { shift } else { 1.0 };
        let (mut now, mut chosen) = (Instant::ZERO, Vec::new());
        let source = Source::Model(self.model);
        for (n, pair) in (0..).zip(source.stream(requests, seed)) {
            let latency = |attempt: usize| ms(pair[attempt.min(1)] * scale(n));
            let (end, _, outcome) = engine::request(&hedger, &Ask::PLAIN, now, latency);
            now = end;
            if n >= from {
                chosen.push(outcome.hedge_delay.unwrap_or(Duration::MAX));
            }
        }
        let rewards = delays.map(|delay| self.reward(delay, scale(requests)));
        let best = rewards.iter().copied().fold(f64::MIN, f64::max);
        let least = rewards.iter().copied().fold(f64::MAX, f64::min);
        let rated: Vec<f64> = chosen
            .iter()
            .map(|delay| {
                // The candidate that is nearest: `initial_delay` is none.
                let delay = delay.as_secs_f64() * 1e3;
                let arm = (0..ARMS.len()).min_by(|a, b| {
                    (delays[*a] - delay)
                        .abs()
                        .total_cmp(&(delays[*b] - delay).abs())
                });
                (rewards[arm.unwrap_or(0)] - least) / (best - least)
            })
            .collect();
        Ok(mean(&rated))
    }
}
