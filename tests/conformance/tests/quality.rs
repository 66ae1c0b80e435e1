//! How well hedging is decided: whole runs of requests, real futures on the virtual clock.

use core::time::Duration;

use hedge_conformance::Draws;
use hedge_core::manual::ManualTimer;
use hedge_core::{Budget, Fixed, Hedger, Percentile, Strategy};

const REQUESTS: usize = 20_000;
const SEEDS: core::ops::RangeInclusive<u64> = 1..=5;
/// Requests whose attempts take ten times as long, where a run has them.
const SLOW: core::ops::Range<usize> = 8_000..12_000;

/// Of steady traffic, the percentile strategy hedges the share that its name says.
#[test]
fn the_hedge_rate_is_what_the_percentile_says() {
    for seed in SEEDS {
        for (percent, range) in [(95.0, 4.5..=5.5), (99.0, 0.5..=1.5)] {
            let run = Run::new(seed, false, Percentile::new(percent), Budget::default());
            let due = run.hedges_due as f64 / REQUESTS as f64 * 100.0;
            assert!(
                range.contains(&due),
                "seed {seed}, P{percent}: {due:.2} % came due"
            );
        }
    }
}

/// When everything becomes slow, the budget bounds what hedges add, from the first requests on.
#[test]
fn a_slowdown_costs_no_more_than_the_budget() {
    let mut learned = 0.0;
    for seed in SEEDS {
        // A delay that does not learn: all requests come due for as long as the slowdown lasts.
        let fixed = Run::new(seed, true, Fixed::new(p95(seed)), Budget::percent(10.0));
        let (first, all) = fixed.extra_of_slowdown();
        assert!(
            first <= 25.0,
            "seed {seed}: {first:.2} % of the first hundred"
        );
        assert!(all <= 10.5, "seed {seed}: {all:.2} % of all");
        // A delay that learns ends the surge, after which requests may also spend what the bucket has saved.
        let run = Run::new(seed, true, Percentile::new(95.0), Budget::percent(10.0));
        let (_, all) = run.extra_of_slowdown();
        let bound = 10.0 + 100.0 * f64::from(Budget::BURST) / SLOW.len() as f64;
        assert!(all <= bound, "seed {seed}: {all:.2} % of all");
        learned += all / 5.0;
    }
    assert!(learned <= 10.5, "{learned:.2} % of all, in the mean");
}

/// The test above would not pass without a budget.
#[test]
fn without_a_budget_a_slowdown_costs_more() {
    for seed in SEEDS {
        let run = Run::new(seed, true, Fixed::new(p95(seed)), Budget::unlimited());
        let (first, all) = run.extra_of_slowdown();
        assert!(
            first > 80.0 && all > 80.0,
            "seed {seed}: {first:.2} %, {all:.2} %"
        );
    }
}

/// Some time after a slowdown the percentile strategy is as good as if there had been none.
#[test]
fn a_slowdown_is_forgotten() {
    for seed in SEEDS {
        let p99 = |slow| {
            let run = Run::new(seed, slow, Percentile::new(95.0), Budget::percent(10.0));
            quantile(&run.latencies[13_500..], 0.99)
        };
        let (after, without) = (p99(true), p99(false));
        let ratio = after.as_secs_f64() / without.as_secs_f64();
        assert!(
            ratio <= 1.02,
            "seed {seed}: {after:?} is {ratio:.3} times {without:?}"
        );
    }
}

/// What became of the requests of one client, one after another.
struct Run {
    latencies: Vec<Duration>,
    attempts: Vec<u8>,
    hedges_due: u64,
}

impl Run {
    fn new(seed: u64, slow: bool, strategy: impl Strategy, budget: Budget) -> Self {
        let clock = ManualTimer::<4>::new();
        let builder = Hedger::builder(&clock).strategy(strategy).budget(budget);
        let hedger = builder.build_local().unwrap();
        let mut run = Self {
            latencies: Vec::new(),
            attempts: Vec::new(),
            hedges_due: 0,
        };
        for (n, pair) in workload(seed).enumerate() {
            let factor = if slow && SLOW.contains(&n) { 10 } else { 1 };
            let hedged = clock.drive(hedger.request(|attempt| {
                let sleep = clock.sleep(pair[attempt.index()] * factor);
                async move {
                    sleep.await;
                    Ok::<_, ()>(())
                }
            }));
            let outcome = hedged.unwrap().outcome;
            run.latencies.push(outcome.total_latency);
            run.attempts.push(outcome.attempts);
        }
        run.hedges_due = hedger.metrics().hedges_due;
        run
    }

    /// Extra attempts per hundred requests, of the first hundred slow ones and of all.
    fn extra_of_slowdown(&self) -> (f64, f64) {
        let percent = |attempts: &[u8]| {
            let extra: u32 = attempts
                .iter()
                .map(|attempts| u32::from(attempts - 1))
                .sum();
            f64::from(extra) / attempts.len() as f64 * 100.0
        };
        let slow = &self.attempts[SLOW];
        (percent(&slow[..100]), percent(slow))
    }
}

/// The latencies of two independent attempts of each request: 96.5 % lognormal around 117 ms, and a
/// slow mode around a second.
fn workload(seed: u64) -> impl Iterator<Item = [Duration; 2]> {
    let mut draws = Draws::new(seed);
    let mut latency = move || {
        if draws.unit() < 0.965 {
            draws.lognormal(Duration::from_millis(117), 0.55)
        } else {
            draws.lognormal(Duration::from_millis(1000), 0.30)
        }
    };
    (0..REQUESTS).map(move |_| [latency(), latency()])
}

/// The 95th percentile of primaries before the slowdown.
fn p95(seed: u64) -> Duration {
    let primaries: Vec<_> = workload(seed)
        .take(SLOW.start)
        .map(|[primary, _]| primary)
        .collect();
    quantile(&primaries, 0.95)
}

fn quantile(latencies: &[Duration], q: f64) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
