//! Tests of how well the strategy chooses. Each choice is scored by the true mean reward of its delay, 0 for the worst
//! delay and 1 for the best.

use std::vec::Vec;

use super::*;
use crate::attempt::Cause;
use crate::record::{RequestEnd, Sample};

type Rng<'r> = Draws<'r, Xoshiro128PlusPlus>;
/// A function that draws how long a primary and its hedge take, in milliseconds.
type Workload = fn(&mut Rng<'_>) -> [f32; 2];

const SEEDS: u64 = 20;
const BEFORE: usize = 2000;
const SHIFT: f32 = 5.0;
const DELAYS: [f32; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];

fn lognormal(rng: &mut Rng<'_>, median: f32, sigma: f32) -> f32 {
    median * libm::expf(sigma * rng.normal())
}

fn exponential(rng: &mut Rng<'_>) -> f32 {
    -100.0 * libm::logf(rng.uniform())
}

/// Draws from the exponential distribution with a Gaussian copula.
fn correlated(rng: &mut Rng<'_>, rho: f32) -> [f32; 2] {
    let x = rng.normal();
    let y = rho * x + libm::sqrtf(1.0 - rho * rho) * rng.normal();
    let above = |z: f32| 0.5 * libm::erfcf(z * core::f32::consts::FRAC_1_SQRT_2);
    [x, y].map(|z| -100.0 * libm::logf(above(z)))
}

fn independent(rng: &mut Rng<'_>, draw: fn(&mut Rng<'_>) -> f32) -> [f32; 2] {
    [draw(rng), draw(rng)]
}

fn lognormal_mix(rng: &mut Rng<'_>) -> f32 {
    if rng.uniform() < 0.965 {
        lognormal(rng, 117.0, 0.55)
    } else {
        lognormal(rng, 1000.0, 0.3)
    }
}

fn pareto(rng: &mut Rng<'_>) -> f32 {
    10.0 * libm::powf(rng.uniform(), -1.0 / 1.1)
}

fn bimodal(rng: &mut Rng<'_>) -> f32 {
    if rng.uniform() < 0.98 {
        10.0 + rng.normal()
    } else {
        400.0 + 10.0 * rng.normal()
    }
}

fn weibull(rng: &mut Rng<'_>) -> f32 {
    let z = -libm::logf(rng.uniform());
    50.0 * z * z
}

fn two_slow_modes(rng: &mut Rng<'_>) -> f32 {
    match rng.uniform() {
        ..0.9 => lognormal(rng, 20.0, 0.3),
        ..0.97 => lognormal(rng, 90.0, 0.1),
        _ => lognormal(rng, 600.0, 0.2),
    }
}

/// Draws requests of which about half hit a cache, so that the median alternates between two modes.
fn cached(rng: &mut Rng<'_>) -> f32 {
    if rng.uniform() < 0.54 {
        10.0 + rng.normal()
    } else {
        lognormal(rng, 60.0, 0.5)
    }
}

/// Returns the latency of a request with a hedge at `delay`, and whether it was hedged.
fn play([x, y]: [f32; 2], delay: f32) -> (f32, bool) {
    if x <= delay {
        (x, false)
    } else {
        (x.min(delay + y), true)
    }
}

/// Returns the record that a hedger would make.
fn report([x, y]: [f32; 2], delay: f32) -> Record {
    let time = |ms: f32| Duration::from_secs_f32(ms.max(0.0) * 1e-3);
    let (end, hedged) = play([x, y], delay);
    if !hedged {
        return Record::new(Sample::Finished(time(x)));
    }
    if end < x {
        Record::new(Sample::Dropped(time(end)))
            .with_hedge(Cause::Delay, time(delay), Sample::Finished(time(y)))
            .ended(RequestEnd::Won(1), time(end))
    } else {
        let dropped = Sample::Dropped(time(x - delay));
        Record::new(Sample::Finished(time(x))).with_hedge(Cause::Delay, time(delay), dropped)
    }
}

/// Returns the median and the score of each delay, for latencies that are `scale` times as long as when the delays were
/// chosen.
fn truth(workload: Workload, scale: f32) -> (f32, [f32; 5]) {
    const N: usize = 60_000;
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(1 << 40);
    let mut draws = Draws::new(&mut rng);
    let pairs: Vec<[f32; 2]> = (0..N).map(|_| workload(&mut draws)).collect();
    let mut primaries: Vec<f32> = pairs.iter().map(|pair| pair[0]).collect();
    primaries.sort_by(f32::total_cmp);
    let median = primaries[N / 2];
    let mean = DELAYS.map(|delay| {
        let rewards = pairs.iter().map(|&pair| {
            let (latency, hedged) = play(pair, delay * median / scale);
            let loss = latency / median + if hedged { 0.25 } else { 0.0 };
            1.0 - f64::from(loss / 10.0).min(1.0)
        });
        rewards.sum::<f64>() / N as f64
    });
    let worst = mean.iter().copied().fold(f64::INFINITY, f64::min);
    let best = mean.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (
        median,
        mean.map(|mean| ((mean - worst) / (best - worst)) as f32),
    )
}

/// Returns the mean score of requests 500 to 2000, and of requests 1000 to 2000 after all latencies have become five
/// times as long.
fn scores(workload: Workload, seeds: u64) -> [f32; 2] {
    let (median, before) = truth(workload, 1.0);
    let (_, after) = truth(workload, SHIFT);
    for scores in [before, after] {
        // The scores must differ: between similar delays any choice would pass.
        assert!(scores.iter().sum::<f32>() / 5.0 < 0.8);
    }
    let delays = DELAYS.map(|delay| Duration::from_secs_f32(delay * median * 1e-3));
    let mut sums = [0.0; 2];
    for seed in 1..=seeds {
        let mut rng = Xoshiro128PlusPlus::seed_from_u64(seed << 32);
        let mut draws = Draws::new(&mut rng);
        let mut strategy = Adaptive::new().candidates(&delays).seed(seed);
        strategy = strategy
            .initial_delay(Duration::from_millis(100))
            .min_samples(10);
        for request in 0..2 * BEFORE {
            let delay = strategy.plan(&Hints::NONE, Instant::ZERO).delay().unwrap();
            // During warm-up the delay is none of the candidates.
            let arm = delays.iter().position(|&candidate| candidate == delay);
            match request {
                500..BEFORE => sums[0] += before[arm.unwrap()] / 1500.0,
                3000.. => sums[1] += after[arm.unwrap()] / 1000.0,
                _ => {}
            }
            let scale = if request < BEFORE { 1.0 } else { SHIFT };
            let pair = workload(&mut draws).map(|latency| latency * scale);
            strategy.record(&report(pair, delay.as_secs_f32() * 1e3));
        }
    }
    sums.map(|sum| sum / seeds as f32)
}

#[track_caller]
fn assert_scores(workload: Workload, seeds: u64) {
    let scores = scores(workload, seeds);
    assert!(scores.iter().all(|&score| score >= 0.9), "{scores:?}");
}

#[test]
fn it_chooses_well_from_a_lognormal_mix() {
    assert_scores(|rng| independent(rng, lognormal_mix), SEEDS);
}

#[test]
fn it_chooses_well_from_a_pareto_distribution() {
    assert_scores(|rng| independent(rng, pareto), SEEDS);
}

#[test]
fn it_chooses_well_from_an_exponential_distribution() {
    assert_scores(|rng| independent(rng, exponential), SEEDS);
}

#[test]
fn it_chooses_well_from_two_modes() {
    assert_scores(|rng| independent(rng, bimodal), SEEDS);
}

#[test]
fn it_was_not_made_for_those_four_only() {
    let others: [Workload; 5] = [
        |rng| independent(rng, weibull),
        |rng| independent(rng, two_slow_modes),
        |rng| independent(rng, cached),
        |rng| correlated(rng, 0.3),
        |rng| correlated(rng, 0.6),
    ];
    for workload in others {
        assert_scores(workload, 4);
    }
}

/// If hedges are as slow as their primaries, the latest delay is the best one, while a strategy that only knows
/// primaries would choose the earliest.
#[test]
fn hedges_that_cannot_win_are_found_out() {
    let [before, _] = scores(|rng| correlated(rng, 0.9), 4);
    assert!(before >= 0.8, "{before}");
}
