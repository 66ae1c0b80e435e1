//! Tests of the P99 of many requests, and of the cost of hedges.

use core::f64::consts::SQRT_2;

use super::*;

/// A distribution of latencies in ms, by the latency that a share of attempts exceeds.
type Quantile = fn(f64) -> f64;

fn exponential(above: f64) -> f64 {
    -100.0 * libm::log(above)
}

fn pareto(above: f64) -> f64 {
    10.0 * libm::pow(above, -1.0 / 1.1)
}

/// Returns the quantile of a distribution with 98 % around 10 ms and 2 % around 400 ms.
fn bimodal(above: f64) -> f64 {
    if above < 0.02 {
        400.0 + 10.0 * logit(above / 0.02)
    } else {
        10.0 + logit((above - 0.02) / 0.98)
    }
}

/// Returns the quantile of a logistic distribution that is about as wide as the standard normal one.
fn logit(above: f64) -> f64 {
    libm::log((1.0 - above) / above) / 1.7
}

/// Returns a primary and its hedge, whose latencies depend on each other by a Gaussian copula.
fn attempts(rng: &mut SplitMix, quantile: Quantile, correlation: f64) -> [f64; 2] {
    if correlation == 0.0 {
        return [quantile(rng.uniform()), quantile(rng.uniform())];
    }
    let (a, b) = (rng.normal(), rng.normal());
    let b = correlation * a + libm::sqrt(1.0 - correlation * correlation) * b;
    [a, b].map(|z| quantile(0.5 * libm::erfc(z / SQRT_2)))
}

/// Makes requests one after the other, like a hedger.
struct Requests {
    strategy: Optimal,
    rng: SplitMix,
    latencies: Vec<f64>,
    hedged: Vec<bool>,
}

impl Requests {
    fn new(strategy: Optimal, seed: u64) -> Self {
        Self {
            strategy,
            rng: SplitMix(seed),
            latencies: Vec::new(),
            hedged: Vec::new(),
        }
    }

    fn make(
        &mut self,
        requests: u32,
        mut draw: impl FnMut(&mut SplitMix) -> [f64; 2],
    ) -> &mut Self {
        for _ in 0..requests {
            let [primary, hedge] = draw(&mut self.rng).map(|millis| millis.max(0.0) / 1e3);
            let [primary, hedge] = [primary, hedge].map(Duration::from_secs_f64);
            let plan = self.strategy.plan(&Hints::NONE, Instant::ZERO);
            let drawn = self.rng.uniform() < plan.chance().into();
            let delay = plan.delay().unwrap_or(Duration::MAX);
            let report = report(
                primary,
                (drawn && delay < primary).then_some((delay, hedge)),
            )
            .planned(delay);
            self.latencies.push(report.total().as_secs_f64() * 1e3);
            self.hedged.push(report.hedged());
            self.strategy.record(&report);
        }
        self
    }

    fn percentile(&mut self, share: f64) -> f64 {
        percentile(&mut self.latencies, share)
    }

    /// Returns the share of the last requests that were hedged.
    fn rate(&self, last: usize) -> f64 {
        let hedged = self.hedged.iter().rev().take(last);
        hedged.filter(|hedged| **hedged).count() as f64 / last as f64
    }
}

fn percentile(latencies: &mut [f64], share: f64) -> f64 {
    latencies.sort_by(f64::total_cmp);
    latencies[(share * latencies.len() as f64) as usize]
}

/// Returns the lowest 99th percentile that this share of hedges can reach for independent attempts of a known
/// distribution.
fn lowest_p99(quantile: Quantile, share: f64) -> f64 {
    let above = |latency: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if quantile(middle) > latency {
                low = middle
            } else {
                high = middle
            }
        }
        low
    };
    let p99 = |due: f64| {
        let (delay, chance) = (quantile(due), (share / due).min(1.0));
        let (mut low, mut high) = (delay, quantile(1e-6));
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            let slower = above(middle) * (1.0 - chance * (1.0 - above(middle - delay)));
            if slower > 0.01 {
                low = middle
            } else {
                high = middle
            }
        }
        high
    };
    let dues = (0..200).map(|n| share * libm::pow(0.5, -f64::from(n) / 50.0));
    dues.take_while(|due| *due < 1.0)
        .map(p99)
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn the_target_is_close_to_what_full_knowledge_would_reach() {
    for (name, quantile) in [
        ("exponential", exponential as Quantile),
        ("pareto", pareto),
        ("bimodal", bimodal),
    ] {
        for budget in [2.0, 5.0] {
            let (mut latencies, mut share) = (Vec::new(), 0.0);
            for seed in 1..=4 {
                let strategy = Optimal::new(99.0, budget);
                let mut requests = Requests::new(strategy, seed);
                requests.make(10_000, |rng| attempts(rng, quantile, 0.0));
                share += requests.rate(10_000) / 4.0;
                latencies.append(&mut requests.latencies);
            }
            // Learn from four in ten requests, and measure the others.
            let ratio = percentile(&mut latencies, 0.99) / lowest_p99(quantile, share);
            assert!((0.94..1.08).contains(&ratio), "{name}, {budget} %: {ratio}");
            let of_budget = 100.0 * share / budget;
            assert!(
                (0.9..1.02).contains(&of_budget),
                "{name}, {budget} %: {of_budget}"
            );
        }
    }
}

#[test]
fn half_of_a_slow_mode_is_rescued_by_a_budget_as_large() {
    // Every hedge after the 98th percentile would come too late.
    let mut requests = Requests::new(Optimal::new(99.0, 2.0), 1);
    requests.make(10_000, |rng| attempts(rng, bimodal, 0.0));
    assert!(requests.percentile(0.99) < 26.0);
    let stats = requests.strategy.stats();
    assert!(
        stats.predicted < Some(ms(26)) && stats.unhedged > Some(ms(350)),
        "{stats:?}"
    );
    assert!(stats.pairs > 100 && stats.censored > 5, "{stats:?}");
}

#[test]
fn a_small_budget_is_kept_too() {
    for seed in 1..=3 {
        let mut requests = Requests::new(Optimal::new(99.0, 1.0), seed);
        requests.make(12_000, |rng| attempts(rng, pareto, 0.0));
        let rate = requests.rate(12_000);
        assert!((0.0085..0.0108).contains(&rate), "{seed}: {rate}");
    }
}

#[test]
fn hedges_that_cannot_win_fade_out_and_come_back_when_they_can() {
    for seed in 1..=2 {
        let mut requests = Requests::new(Optimal::new(99.0, 5.0), seed);
        requests.make(5_000, |rng| attempts(rng, exponential, 0.9));
        assert!(
            requests.rate(5_000) < 0.025,
            "{seed}: {}",
            requests.rate(5_000)
        );
        requests.make(5_000, |rng| attempts(rng, exponential, 0.9));
        assert!(
            requests.rate(5_000) < 0.006,
            "{seed}: {}",
            requests.rate(5_000)
        );
        let strategy = &requests.strategy;
        assert!(strategy.learned.rate.correction(strategy.budget(), false) <= 1.0);
        requests.make(8_000, |rng| attempts(rng, exponential, 0.0));
        let rate = requests.rate(2_000);
        assert!((0.04..0.06).contains(&rate), "{seed}: {rate}");
    }
}

#[test]
fn hedges_that_win_less_often_are_still_used_well() {
    let mut requests = Requests::new(Optimal::new(99.0, 10.0), 1);
    requests.make(20_000, |rng| attempts(rng, exponential, 0.3));
    // The lowest possible is 384 ms, by a Monte Carlo of a million pairs; without hedging, it is 461.
    let p99 = requests.percentile(0.985);
    assert!(p99 < 1.05 * 384.0, "{p99}");
    assert!((0.09..0.102).contains(&requests.rate(20_000)));
}

#[test]
fn a_change_of_pace_is_followed_within_the_budget() {
    let mut requests = Requests::new(Optimal::new(99.0, 5.0), 1);
    requests.make(4_000, |rng| attempts(rng, exponential, 0.0));
    let slow = |rng: &mut SplitMix| attempts(rng, exponential, 0.0).map(|millis| 5.0 * millis);
    requests.make(300, slow);
    assert!(requests.rate(300) < 0.35, "{}", requests.rate(300));
    // For a while, a slowdown looks like a large cluster; the hedger's budget limits the cost of that mistake.
    requests.make(2_700, slow);
    assert!(requests.rate(3_000) < 0.16, "{}", requests.rate(3_000));
    requests.make(12_000, slow);
    assert!(requests.rate(8_000) < 0.052, "{}", requests.rate(8_000));
    let stats = requests.strategy.stats();
    assert!(
        stats.unhedged > Some(ms(1800)) && stats.delay > Some(ms(1000)),
        "{stats:?}"
    );
    requests.make(3_000, |rng| attempts(rng, exponential, 0.0));
    let stats = requests.strategy.stats();
    assert!(stats.delay < Some(ms(400)) && !stats.probing, "{stats:?}");
}

#[test]
fn when_all_of_a_sudden_every_request_is_slow_hedging_stops_soon() {
    // This is long before the policy is chosen again.
    let mut requests = Requests::new(Optimal::new(99.0, 5.0), 1);
    requests.make(4_100, |rng| attempts(rng, exponential, 0.0));
    requests.make(200, |_| [10_000.0, 10_000.0]);
    assert!(requests.rate(200) < 0.35, "{}", requests.rate(200));
}

#[test]
fn latencies_of_a_few_lengths_are_no_obstacle() {
    let steps = |above: f64| match above {
        ..0.03 => 100.0,
        ..0.1 => 20.0,
        _ => 10.0,
    };
    // Hedges after 10 ms end at the same time as primaries of 20 ms, which does not count as a loss.
    let mut requests = Requests::new(Optimal::new(99.0, 11.0), 1);
    requests.make(6_000, |rng| attempts(rng, steps, 0.0));
    let p99 = requests.percentile(0.985);
    // The delay of 10 ms is exact to within a sixteenth.
    assert!((20.0..21.0).contains(&p99), "{p99}");
    // Their place in the bucket is unknown, so part of the budget stays unused.
    assert!(requests.rate(4_000) > 0.08, "{}", requests.rate(4_000));
}

#[test]
fn equal_latencies_and_the_smallest_window_are_survived() {
    let mut requests = Requests::new(Optimal::new(99.0, 5.0), 1);
    requests.make(500, |_| [50.0, 50.0]);
    assert_eq!(requests.rate(400), 0.0);
    requests.make(2_000, |rng| attempts(rng, bimodal, 0.0));
    assert!(requests.rate(2_000) < 0.07, "{}", requests.rate(2_000));
}
