//! Whether what a control group shows is true, where the truth is known.
//!
//! Each request's latencies are drawn before it is made, so that what a hedged request would have taken without its hedge
//! is known, too.

use core::cell::Cell;
use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::metrics::Interval;
use hedge_core::replicas::SharedReplicas;
use hedge_core::{Attempt, Budget, Cause, Fixed, Hedger, Options};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use crate::incidents::verdict::{self, As, Figure, Row};
use crate::lab::percentile;
use crate::options::Seeded;
use crate::seeds::Seeds;

const REQUESTS: usize = 40_000;
/// In milliseconds: about the 90th percentile. Not learned, so that all seeds have one truth.
const DELAY: f64 = 15.0;
const HOLDBACK: f64 = 20.0;
const SEEDS: usize = 100;
/// How many of 100 intervals must hold the truth, and how many of those of all workloads.
const LEAST: usize = 89;
const LEAST_OF_ALL: usize = 465;

#[derive(Clone, Copy, Debug)]
enum Workload {
    /// One request in twenty is slow, and another attempt at it seldom is.
    Help,
    /// Another attempt takes as long as the first.
    NoHelp,
    /// A hedge never wins, and slows down the primary.
    Harm,
    /// One attempt in twenty fails.
    Errors,
    /// Three replicas, one of which is slow.
    Replicas,
}

const WORKLOADS: [(&str, Workload); 5] = [
    ("help", Workload::Help),
    ("no_help", Workload::NoHelp),
    ("harm", Workload::Harm),
    ("errors", Workload::Errors),
    ("replicas", Workload::Replicas),
];

/// What one attempt does: how many milliseconds it takes, and whether it succeeds.
#[derive(Clone, Copy, Debug)]
struct Step {
    ms: f64,
    ok: bool,
}

/// What the attempts of a request do, by their cause.
#[derive(Clone, Copy, Debug)]
struct Script {
    primary: Step,
    hedge: Step,
    retry: Step,
}

impl Workload {
    fn draw(self, rng: &mut SmallRng) -> Script {
        let fast = LogNormal::new(10.0_f64.ln(), 0.3).ok();
        let slow = LogNormal::new(400.0_f64.ln(), 0.5).ok();
        let mut step = || {
            let of = if rng.random_bool(0.05) { slow } else { fast };
            let failing = matches!(self, Self::Errors) && rng.random_bool(0.05);
            Step {
                ms: of.map_or(0.0, |of| of.sample(rng)),
                ok: !failing,
            }
        };
        let (primary, hedge, retry) = (step(), step(), step());
        let hedge = match self {
            Self::NoHelp => primary,
            Self::Harm => Step {
                ms: 10.0 * primary.ms,
                ..primary
            },
            _ => hedge,
        };
        Script {
            primary,
            hedge,
            retry,
        }
    }
}

/// A request that was hedged: how long it took, and would have taken, in milliseconds, and whether it was answered.
#[derive(Clone, Copy, Debug)]
struct Hedged {
    took: f64,
    otherwise: f64,
    answered: [bool; 2],
}

/// What one seed shows, and what was true in it.
struct Trial {
    hedged: Vec<Hedged>,
    /// The mean, P50, P99, and the share within the target.
    shown: [Interval; 4],
}

const MEASURES: [&str; 4] = ["mean", "P50", "P99", "within 100 ms"];
const TARGET: f64 = 100.0;

fn trial(workload: Workload, seed: u64) -> Result<Trial, String> {
    let clock = ManualTimer::<16>::new();
    let mut options = Options::default();
    options.holdback_percent = HOLDBACK;
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(DELAY)))
        .budget(Budget::unlimited())
        .options(options)
        .seed(seed)
        .build_local()
        .map_err(|error| error.to_string())?;
    let set = SharedReplicas::<4>::of(3);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut hedged = Vec::new();
    for _ in 0..REQUESTS {
        let script = workload.draw(&mut rng);
        let start = clock.now();
        let hedge_start = Cell::new(None);
        let slowed = Cell::new(1.0);
        let launch = |attempt: Attempt| {
            let Script {
                primary,
                hedge,
                retry,
            } = script;
            let step = match attempt.cause() {
                Cause::Delay => hedge,
                Cause::Retry => retry,
                _ => primary,
            };
            // The last replica is slow, and seldom asked.
            let placed = matches!(workload, Workload::Replicas);
            let slow = placed && attempt.replica().index() == 2;
            let factor = if slow { 3.0 } else { 1.0 };
            let is_primary = !attempt.is_hedge();
            if is_primary {
                slowed.set(factor);
            }
            if attempt.cause() == Cause::Delay {
                hedge_start.set(Some(clock.now()));
            }
            let (clock, hedge_start) = (&clock, &hedge_start);
            async move {
                clock.sleep(ms(factor * step.ms)).await;
                if let (Workload::Harm, true, Some(start)) =
                    (workload, is_primary, hedge_start.get())
                {
                    clock.sleep(clock.now().since(start)).await;
                }
                if step.ok { Ok(()) } else { Err(()) }
            }
        };
        let ok = match workload {
            Workload::Replicas => clock.drive(hedger.request_on(&set, launch)).is_ok(),
            _ => clock.drive(hedger.request(launch)).is_ok(),
        };
        // Nearly all primaries at the slow replica are probes, which are in neither group: their hedges are never withheld.
        let is_probe = slowed.get() > 1.0;
        if hedge_start.get().is_some() && !is_probe {
            let Script { primary, retry, .. } = script;
            let retried = if primary.ok { 0.0 } else { retry.ms };
            hedged.push(Hedged {
                took: millis(clock.now().since(start)),
                otherwise: slowed.get() * primary.ms + retried,
                answered: [ok, primary.ok || retry.ok],
            });
        }
        // Think, so that replicas are idle in between.
        clock.advance(ms(1.0));
    }
    let metrics = hedger.metrics();
    let effect = metrics.effect().ok_or("too few requests had a group")?;
    let within = effect.within(ms(TARGET));
    let known = |quantile: Option<Interval>| quantile.ok_or("too few requests were answered");
    let (p50, p99) = (known(effect.p50())?, known(effect.p99())?);
    let shown = [effect.mean(), p50, p99, within];
    Ok(Trial { hedged, shown })
}

/// The truth of all trials of a workload: with so many requests, it has no error that matters.
fn truth(trials: &[Trial]) -> [f64; 4] {
    let hedged: Vec<&Hedged> = trials.iter().flat_map(|trial| &trial.hedged).collect();
    let n = hedged.len() as f64;
    let mean = hedged
        .iter()
        .map(|one| one.otherwise - one.took)
        .sum::<f64>()
        / n;
    let sorted = |of: fn(&Hedged) -> (f64, bool)| {
        let answered = |one: &&Hedged| match of(one) {
            (latency, true) => latency,
            _ => f64::INFINITY,
        };
        let mut latencies: Vec<f64> = hedged.iter().map(answered).collect();
        latencies.sort_by(f64::total_cmp);
        latencies
    };
    let took = sorted(|one| (one.took, one.answered[0]));
    let otherwise = sorted(|one| (one.otherwise, one.answered[1]));
    let quantile = |p| percentile(&otherwise, p) - percentile(&took, p);
    let within = |latencies: &[f64]| latencies.partition_point(|ms| *ms <= TARGET) as f64 / n;
    [
        mean / 1e3,
        quantile(50.0) / 1e3,
        quantile(99.0) / 1e3,
        within(&took) - within(&otherwise),
    ]
}

/// How many intervals hold the truth, by measure.
struct Held {
    name: &'static str,
    truth: [f64; 4],
    held: [usize; 4],
    example: [Interval; 4],
}

fn held(name: &'static str, workload: Workload, seeds: Seeds) -> Result<Held, String> {
    let trials = seeds.each(|seed| trial(workload, seed))?;
    let truth = truth(&trials);
    let held = core::array::from_fn(|measure| {
        let holds = |trial: &&Trial| trial.shown[measure].contains(truth[measure]);
        trials.iter().filter(holds).count()
    });
    let example = trials.first().ok_or("no seeds")?.shown;
    Ok(Held {
        name,
        truth,
        held,
        example,
    })
}

fn rows(seeds: Seeds) -> Result<Vec<Row>, String> {
    let all = WORKLOADS
        .iter()
        .map(|(name, workload)| held(name, *workload, seeds))
        .collect::<Result<Vec<_>, _>>()?;
    let seeds = seeds.count() as usize;
    let mut rows = Vec::new();
    for Held {
        name,
        truth,
        held,
        example,
    } in &all
    {
        let least = (LEAST * seeds).div_ceil(SEEDS);
        let figures = (0..MEASURES.len()).map(|measure| {
            let scale = if measure == 3 { 100.0 } else { 1e3 };
            let Interval { low, high, .. } = example[measure];
            let unit = if measure == 3 { " %" } else { " ms" };
            let truth = scale * truth[measure];
            let beside = format!(
                "{truth:.1}{unit}, e.g. {:.1} to {:.1}",
                scale * low,
                scale * high
            );
            let what = format!("{} held of {seeds}", MEASURES[measure]);
            Figure::at_least(&what, As::Number(0), held[measure] as f64, least as f64)
                .beside(&beside)
        });
        rows.push(Row::new(*name, figures.collect()));
    }
    let figures = (0..MEASURES.len()).map(|measure| {
        let held: usize = all.iter().map(|held| held.held[measure]).sum();
        let least = (LEAST_OF_ALL * seeds).div_ceil(SEEDS);
        Figure::at_least(MEASURES[measure], As::Number(0), held as f64, least as f64)
    });
    rows.push(Row::new("all", figures.collect()));
    Ok(rows)
}

const HEAD: &str = "\
How often the interval of `metrics().effect()` holds the truth: 40 000 requests a seed, hedged after 15 ms, about
the 90th percentile, one hedge in five withheld. The truth is what the requests that were hedged would have taken without,
over all seeds. The mean, P50 and P99 are by how much they were shorter.
";

pub(crate) fn print(options: &Seeded) -> Result<(), String> {
    let rows = rows(options.seeds.or(SEEDS as u64))?;
    if options.json {
        return hedge_terminal::print(&verdict::json(&rows)?);
    }
    hedge_terminal::print(&format!("{HEAD}\n{}", verdict::table(&rows)))
}

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

fn millis(duration: Duration) -> f64 {
    1e3 * duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_truth_and_are_narrow() {
        for (name, workload) in WORKLOADS {
            let Held {
                truth,
                held,
                example,
                ..
            } = held(name, workload, Seeds::DEFAULT.or(8)).unwrap();
            assert!(
                held.iter().all(|held| *held >= 6),
                "{name}: {held:?} {truth:?}"
            );
            let mean = example[0];
            assert!(mean.high - mean.low < 0.06, "{name}: {mean:?}");
        }
    }
}
