//! Tests of the delay, with requests whose hedges are drawn from the same distribution.

use core::time::Duration;
use std::vec::Vec;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro128PlusPlus;

use super::Share;
use super::{LatencyMemory, NONE, Primary};
use crate::record::{Record, RequestEnd, Sample};
use crate::strategy::WriteColumns;
use crate::time::Instant;

/// Draws latencies in milliseconds from a seed.
struct Draw(Xoshiro128PlusPlus);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(Xoshiro128PlusPlus::seed_from_u64(seed))
    }

    /// Draws uniformly between 0 and 1, both excluded.
    fn uniform(&mut self) -> f64 {
        (f64::from(self.0.next_u32()) + 0.5) / 4_294_967_296.0
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(self.uniform())
    }

    fn normal(&mut self) -> f64 {
        // Box and Muller, 1958.
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(core::f64::consts::TAU * self.uniform())
    }

    fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// Draws latencies of which most are 10 to 30 ms, and 3 in 100 are 100 to 300 ms.
    fn healthy(&mut self) -> f64 {
        if self.uniform() < 0.03 {
            100.0 + 200.0 * self.uniform()
        } else {
            10.0 + self.exponential(8.0)
        }
    }

    fn bimodal(&mut self) -> f64 {
        if self.uniform() < 0.98 {
            10.0 + self.normal()
        } else {
            400.0 + 10.0 * self.normal()
        }
    }
}

/// A primary and its hedge, in milliseconds.
#[derive(Clone, Copy)]
struct Pair {
    primary: f64,
    hedge: f64,
}

/// A memory, and the results of its delays.
struct Trial {
    memory: LatencyMemory,
    passed: Vec<bool>,
    latencies: Vec<f64>,
    delays: Vec<f64>,
    /// The tokens of a budget; `None` if no hedge is refused.
    tokens: Option<f64>,
}

impl Trial {
    fn new(percent: f64) -> Self {
        Self {
            memory: LatencyMemory::new(Share::above(percent)),
            passed: Vec::new(),
            latencies: Vec::new(),
            delays: Vec::new(),
            tokens: None,
        }
    }

    /// Adds a budget of at most 80 tokens, to which every request adds a tenth.
    fn with_budget(mut self) -> Self {
        self.tokens = Some(80.0);
        self
    }

    fn delay(&self) -> Option<f64> {
        let delay = self.memory.delay().filter(|_| self.memory.is_warm());
        delay.map(|delay| delay.as_secs_f64() * 1e3)
    }

    fn request(&mut self, pair: Pair) {
        self.request_within(pair, f64::INFINITY);
    }

    /// Makes a request that its caller drops after `timeout`.
    fn request_within(&mut self, pair: Pair, timeout: f64) {
        let nanos = |millis: f64| (millis * 1e6) as u64;
        let delay = self.delay();
        self.tokens = self.tokens.map(|tokens| (tokens + 0.1).min(80.0));
        let passed = delay.is_some_and(|delay| pair.primary > delay);
        let hedged = passed && self.tokens.is_none_or(|tokens| tokens >= 1.0);
        if hedged {
            self.tokens = self.tokens.map(|tokens| tokens - 1.0);
        }
        let hedge = match delay {
            Some(delay) if hedged => delay + pair.hedge,
            _ => f64::INFINITY,
        };
        let total = pair.primary.min(hedge).min(timeout);
        let primary = if pair.primary <= total {
            Primary::Finished(nanos(total))
        } else {
            Primary::Dropped(nanos(total))
        };
        self.memory.add(primary, delay.map_or(NONE, nanos));
        self.passed.push(passed);
        self.latencies.push(total);
        self.delays.push(delay.unwrap_or(f64::INFINITY));
    }

    fn run(&mut self, requests: usize, mut latency: impl FnMut() -> f64) {
        for _ in 0..requests {
            let [primary, hedge] = [latency(), latency()];
            self.request(Pair { primary, hedge });
        }
    }

    /// Returns the share of the requests from `start` on that passed their delay.
    fn rate_from(&self, start: usize) -> f64 {
        rate(&self.passed[start..])
    }
}

fn rate(passed: &[bool]) -> f64 {
    passed.iter().filter(|passed| **passed).count() as f64 / passed.len() as f64
}

/// Returns after how many requests from `start` on the delay first falls to `delay`.
fn back_after(trial: &Trial, start: usize, delay: f64) -> usize {
    let mut delays = trial.delays[start..].iter();
    delays.position(|found| *found <= delay).unwrap()
}

#[test]
fn the_share_that_was_asked_for_passes_whatever_the_distribution() {
    type Latency = fn(&mut Draw) -> f64;
    let shapes: [(&str, Latency); 5] = [
        ("lognormal", |draw| draw.lognormal(10.0, 1.0)),
        ("pareto", |draw| 10.0 / libm::pow(draw.uniform(), 1.0 / 1.1)),
        ("exponential", |draw| draw.exponential(100.0)),
        ("bimodal", Draw::bimodal),
        ("healthy", Draw::healthy),
    ];
    for (name, latency) in shapes {
        for (percent, tolerance) in [
            (50.0, 0.005),
            (75.0, 0.005),
            (90.0, 0.005),
            (95.0, 0.005),
            (99.0, 0.002),
            (99.9, 0.0005),
        ] {
            let mut draw = Draw::new(7);
            let mut trial = Trial::new(percent);
            trial.run(60_000, || latency(&mut draw));
            let found = trial.rate_from(0);
            let off = found - (1.0 - percent / 100.0);
            assert!(off.abs() < tolerance, "{name} {percent}: {found}");
        }
    }
}

/// If 2 in 100 requests are slow, there may be fewer among the first hundreds, so that the 99th percentile seems to be
/// fast.
#[test]
fn an_extreme_percentile_is_found_although_it_was_not_seen_at_first() {
    for seed in 0..10 {
        let mut draw = Draw::new(seed);
        let mut trial = Trial::new(99.0);
        trial.run(40_000, || draw.bimodal());
        let found = trial.rate_from(0);
        assert!((0.009..0.013).contains(&found), "{seed}: {found}");
    }
}

#[test]
fn a_stall_is_forgotten() {
    for percent in [95.0, 99.0] {
        for seed in 0..6 {
            let mut draw = Draw::new(seed);
            let mut trial = Trial::new(percent);
            trial.run(5000 + 500 * seed as usize, || draw.healthy());
            let normal = trial.delay().unwrap();
            // Ten requests a second wait for the end of a minute.
            for n in 0..600 {
                let left = 60_000.0 - 100.0 * f64::from(n);
                trial.request(Pair {
                    primary: left,
                    hedge: left,
                });
            }
            assert!(trial.delay().unwrap() > 20_000.0);
            let end = trial.delays.len();
            trial.run(4000, || draw.healthy());
            let back = back_after(&trial, end, 1.25 * normal);
            assert!(back < 1000, "{percent} {seed}: {back}");
        }
    }
}

#[test]
fn after_an_incident_of_any_length_as_many_pass_as_before() {
    let shapes: [fn(&mut Draw) -> f64; 3] = [Draw::healthy, Draw::bimodal, |draw| {
        draw.lognormal(10.0, 0.7)
    }];
    for length in [100, 300, 1000, 2000, 4000, 8000, 20_000] {
        for (seed, latency) in (0..).zip(shapes.into_iter().cycle().take(9)) {
            for (percent, expected) in [(95.0, 0.025..0.07), (99.0, 0.005..0.025)] {
                let mut draw = Draw::new(seed);
                let mut trial = Trial::new(percent);
                trial.run(8000, || latency(&mut draw));
                trial.run(length, || 10.0 * latency(&mut draw));
                let end = trial.delays.len();
                trial.run(3000, || latency(&mut draw));
                let found = rate(&trial.passed[end + 1000..]);
                assert!(
                    expected.contains(&found),
                    "{percent} {length} {seed}: {found}"
                );
            }
        }
    }
}

#[test]
fn the_delay_follows_when_all_becomes_faster_for_good() {
    for factor in [3.0, 10.0] {
        for seed in 0..6 {
            let mut draw = Draw::new(seed);
            let mut trial = Trial::new(95.0);
            trial.run(10_000, || factor * draw.lognormal(10.0, 0.7));
            let slow = trial.delay().unwrap();
            trial.run(1000, || draw.lognormal(10.0, 0.7));
            let ratio = trial.delay().unwrap() * factor / slow;
            assert!((0.8..1.25).contains(&ratio), "{factor} {seed}: {ratio}");
        }
    }
}

/// If the slow half of every swing were forgotten, all requests of the next one would pass the delay.
#[test]
fn a_swing_is_no_series_of_incidents() {
    for (period, most) in [(500.0, 0.06), (2000.0, 0.075), (20_000.0, 0.1)] {
        let mut draw = Draw::new(1);
        let mut trial = Trial::new(95.0);
        let mut draws = 0.0;
        trial.run(60_000, || {
            draws += 0.5;
            let phase = draws / period * core::f64::consts::TAU;
            libm::pow(10.0, 0.5 * libm::sin(phase)) * draw.lognormal(10.0, 0.7)
        });
        let found = trial.rate_from(4000);
        assert!(found < most, "{period}: {found}");
    }
}

#[test]
fn the_delay_stays_while_a_replica_hangs() {
    for (replicas, extra, rescued_at_least) in [
        (16.0, f64::INFINITY, 0.99),
        // 13 or 35 of 100 requests pass the delay, and the budget pays for 10.
        (10.0, f64::INFINITY, 0.75),
        (3.0, f64::INFINITY, 0.2),
        (10.0, 2000.0, 0.75),
    ] {
        let mut draw = Draw::new(3);
        let mut trial = Trial::new(95.0).with_budget();
        trial.run(5000, || draw.healthy());
        let (normal, start) = (trial.delay().unwrap(), trial.delays.len());
        let mut hangs = Vec::new();
        for _ in 0..100_000 {
            let hung = draw.uniform() < 1.0 / replicas;
            let primary = draw.healthy() + if hung { extra } else { 0.0 };
            // The hedge goes to one of the others.
            let hung_too = !hung && draw.uniform() < 1.0 / (replicas - 1.0);
            let hedge = draw.healthy() + if hung_too { extra } else { 0.0 };
            hangs.push(hung);
            trial.request_within(Pair { primary, hedge }, 5000.0);
        }
        let hung = hangs.iter().zip(&trial.latencies[start..]);
        let hung: Vec<f64> = hung.filter(|(hung, _)| **hung).map(|(_, &l)| l).collect();
        let rescued = hung.iter().filter(|latency| **latency < 2000.0).count();
        let rescued = rescued as f64 / hung.len() as f64;
        assert!(rescued > rescued_at_least, "{replicas} {extra}: {rescued}");
        let highest = trial.delays[start..].iter().copied().fold(0.0, f64::max);
        // Slow replicas that finish raise the delay; replicas that hang do not.
        let most = if extra.is_finite() { 6.0 } else { 2.5 };
        assert!(highest < most * normal, "{replicas} {extra}: {highest}");
    }
}

#[test]
fn services_of_hours_are_hedged_when_they_are_late() {
    const HOUR: f64 = 3_600_000.0;

    let mut draw = Draw::new(2);
    let mut trial = Trial::new(95.0);
    trial.run(4000, || HOUR * (1.0 + draw.uniform()));
    let delay = trial.delay().unwrap() / HOUR;
    assert!((1.93..1.97).contains(&delay), "{delay}");
    // Latencies above the last bucket mean that no hedge is planned.
    let mut trial = Trial::new(95.0);
    trial.run(100, || 10.0 * HOUR);
    assert_eq!(trial.memory.delay(), Some(Duration::from_nanos(u64::MAX)));
}

/// Latencies that share a bucket of the histogram, wherever they lie within it.
#[test]
fn latencies_that_hardly_differ_exceed_the_delay_as_often_as_others() {
    for spread in [0.0, 0.0005, 0.005, 0.02] {
        for nth in 0..12 {
            let mut draw = Draw::new(nth);
            let mut trial = Trial::new(95.0);
            let middle = 50.0 * (1.0 + 0.005 * nth as f64);
            trial.run(12_000, || middle * (1.0 + spread * draw.normal()));
            let found = trial.rate_from(4000);
            assert!(
                (0.045..0.055).contains(&found),
                "{spread} {middle}: {found}"
            );
        }
    }
}

/// What was rescued at the old delay lies below the new one.
#[test]
fn a_restored_memory_finds_a_higher_percentile_at_once() {
    for (before, after) in [(90.0, 99.0), (95.0, 99.0), (95.0, 98.0)] {
        let mut draw = Draw::new(4);
        let mut trial = Trial::new(before);
        trial.run(20_000, || draw.healthy());
        let start = trial.passed.len();
        trial.memory = restored(&trial.memory, after);
        assert!(trial.delay().is_some());
        trial.run(4000, || draw.healthy());
        let found = 100.0 * trial.rate_from(start);
        let planned = 100.0 - after;
        assert!((found - planned).abs() < 0.5, "{before} {after}: {found}");
        // A lower percentile keeps all that was learned.
        let samples = trial.memory.weight();
        assert_eq!(restored(&trial.memory, before).weight(), samples);
    }
}

/// Attempts that hang are dropped as those are whose hedge won, and say nothing about the percentile.
#[test]
fn a_restored_memory_keeps_its_delay_while_replicas_hang() {
    for hanging in [0.1, 0.2] {
        let mut draw = Draw::new(6);
        let mut trial = Trial::new(95.0);
        let mut run = |trial: &mut Trial, requests: usize| {
            for _ in 0..requests {
                let hangs = draw.uniform() < hanging;
                let primary = if hangs { f64::INFINITY } else { draw.healthy() };
                let hedge = draw.healthy();
                trial.request_within(Pair { primary, hedge }, 5000.0);
            }
        };
        run(&mut trial, 20_000);
        let before = trial.delay().unwrap();
        trial.memory = restored(&trial.memory, 95.0);
        let start = trial.delays.len();
        run(&mut trial, 2000);
        let highest = trial.delays[start..].iter().copied().fold(0.0, f64::max);
        assert!(highest < 1.25 * before, "{hanging}: {before} {highest}");
    }
}

/// What a memory for another percentile restores of this one.
fn restored(memory: &LatencyMemory, percent: f64) -> LatencyMemory {
    struct Columns(Vec<(&'static str, Vec<f64>)>);

    impl WriteColumns for Columns {
        fn column(&mut self, name: &'static str, values: &mut dyn Iterator<Item = f64>) {
            self.0.push((name, values.collect()));
        }
    }

    let mut columns = Columns(Vec::new());
    memory.export(&mut columns, Instant::ZERO);
    let columns: Vec<_> = columns.0.iter().map(|(n, c)| (*n, c.as_slice())).collect();
    let mut restored = LatencyMemory::new(Share::above(percent));
    restored
        .restore(&columns.as_slice(), Instant::ZERO)
        .unwrap();
    restored
}

fn with_min_samples(samples: u32) -> LatencyMemory {
    let mut memory = LatencyMemory::new(Share::above(95.0));
    memory.start.min_samples = Some(samples);
    memory
}

#[test]
fn what_its_caller_drops_before_the_delay_is_left_out() {
    let mut memory = with_min_samples(10);
    let millis = Duration::from_millis;
    let dropped = |after| Record::new(Sample::Dropped(after));
    assert!(!memory.record(&dropped(Duration::ZERO)));
    (0..20).for_each(|_| _ = memory.record(&Record::new(Sample::Finished(millis(10)))));
    assert!(!memory.record(&dropped(millis(5)).planned(millis(12))));
    assert!(!memory.record(&Record::new(Sample::Failed(millis(50)))));
    assert_eq!((memory.samples(), memory.dropped()), (20, 0));
    // A primary is recorded if it was dropped after the delay, or by a hedge that won.
    assert!(memory.record(&dropped(millis(13)).planned(millis(12))));
    let won = dropped(millis(5)).ended(RequestEnd::Won(1), millis(5));
    assert!(memory.record(&won));
    assert_eq!((memory.samples(), memory.dropped()), (22, 2));
}

#[test]
fn samples_that_are_too_old_do_not_count() {
    let max_age = Duration::from_secs(8);
    let mut memory = with_min_samples(10).with_max_age(max_age);
    let at = |seconds| Instant::from_epoch(Duration::from_secs(seconds));
    let finished = |millis| Record::new(Sample::Finished(Duration::from_millis(millis)));
    (0..500).for_each(|_| _ = memory.record(&finished(1000).at(at(0))));
    (0..500).for_each(|_| _ = memory.record(&finished(600).at(at(5))));
    assert!(memory.delay() > Some(Duration::from_millis(900)));
    // The next half of the maximum age begins.
    assert!(memory.expire(at(8)));
    assert!(memory.delay() < Some(Duration::from_millis(650)));
    assert_eq!(memory.samples(), 500);
    assert!(!memory.expire(at(11)));
    assert!(memory.expire(at(12)));
    assert_eq!((memory.samples(), memory.is_warm()), (0, false));
    // Samples that arrive after an idle hour.
    (0..20).for_each(|_| _ = memory.record(&finished(10).at(at(13))));
    assert!(memory.is_warm() && memory.expire(at(3613)));
    assert_eq!((memory.samples(), memory.delay()), (0, None));
}

#[test]
fn it_is_warm_after_so_many_samples_until_it_is_cleared() {
    let mut memory = with_min_samples(10);
    assert_eq!((memory.delay(), memory.median()), (None, None));
    for n in 0..10 {
        assert!(!memory.is_warm(), "{n}");
        memory.add(Primary::Finished(10_000_000), NONE);
    }
    assert!(memory.is_warm());
    let median = memory.median().unwrap().as_nanos();
    assert!((9_900_000..10_500_000).contains(&median), "{median}");
    memory.clear();
    assert!(!memory.is_warm());
    assert_eq!((memory.samples(), memory.weight()), (0, 0));
    // The configured window stays.
    (0..10).for_each(|_| _ = memory.add(Primary::Finished(5), NONE));
    assert!(memory.is_warm());
}

#[test]
fn old_latencies_fade_with_the_window() {
    for (window, longest) in [(200, 1500), (1000, 5000), (8000, 40_000)] {
        let mut memory = LatencyMemory::new(Share::above(95.0)).with_window(window as usize);
        (0..3 * window).for_each(|_| _ = memory.add(Primary::Finished(20_000_000), NONE));
        assert!(memory.weight() <= 2 * memory.window());
        // Latencies of half the length are not enough for a restart.
        let mut requests = 0;
        while memory.delay().unwrap() > Duration::from_millis(16) {
            memory.add(Primary::Finished(12_000_000), NONE);
            requests += 1;
        }
        assert!(
            (window..longest).contains(&requests),
            "{window}: {requests}"
        );
    }
}

#[test]
fn it_is_small_and_can_be_a_static() {
    static MEMORY: LatencyMemory = LatencyMemory::new(Share::above(99.0)).with_window(1000);
    assert_eq!(MEMORY.window(), 1000);
    assert!(size_of::<LatencyMemory>() <= 3300);
}
