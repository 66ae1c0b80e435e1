//! What goes wrong: when requests come, and what each of their attempts gives.

use core::f64::consts::TAU;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::StandardNormal;

use crate::engine::{Answer, Ask};

/// An attempt that starts, as what answers it sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// The request, from 0.
    pub(super) request: usize,
    /// The attempt's index; 0 is the primary.
    pub(super) index: usize,
    /// When it starts, in milliseconds.
    pub(super) at: f64,
    seed: u64,
}

impl Attempt {
    pub(super) fn new(request: usize, index: usize, at: f64, seed: u64) -> Self {
        Self {
            request,
            index,
            at,
            seed,
        }
    }

    /// A separate generator: its draws do not depend on when it starts or on what else is drawn.
    pub(super) fn own(&self) -> SmallRng {
        self.draws(self.index as u64 + 1)
    }

    /// Draws that it shares with the request's other attempts.
    pub(super) fn shared(&self) -> SmallRng {
        self.draws(0)
    }

    /// One of `replicas`: any for the primary, the next ones for hedges.
    pub(super) fn replica(&self, replicas: usize) -> usize {
        (self.shared().random_range(0..replicas) + self.index) % replicas
    }

    fn draws(&self, which: u64) -> SmallRng {
        let request = (self.request as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        SmallRng::seed_from_u64(self.seed.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ request ^ which)
    }
}

/// Requests and what they meet.
pub(super) struct Scenario {
    pub(super) requests: usize,
    start: Box<dyn Fn(usize) -> f64 + Sync>,
    pub(super) answer: Box<dyn Fn(&Attempt) -> Answer + Sync>,
    pub(super) ask: fn(usize) -> Ask,
}

impl Scenario {
    /// So many requests, at so many a second, whose attempts give what `answer` says.
    pub(super) fn new(
        requests: usize,
        per_second: f64,
        answer: impl Fn(&Attempt) -> Answer + Sync + 'static,
    ) -> Self {
        Self {
            requests,
            start: Box::new(move |request| request as f64 * 1e3 / per_second),
            answer: Box::new(answer),
            ask: |_| Ask::PLAIN,
        }
    }

    /// What callers say about each request.
    pub(super) fn asking(mut self, ask: fn(usize) -> Ask) -> Self {
        self.ask = ask;
        self
    }

    /// When each request comes, in milliseconds; none before those with lower numbers.
    pub(super) fn starting(mut self, start: impl Fn(usize) -> f64 + Sync + 'static) -> Self {
        self.start = Box::new(start);
        self
    }

    /// When a request comes, in milliseconds.
    pub(super) fn start(&self, request: usize) -> f64 {
        (self.start)(request)
    }

    /// What the request's primary gives.
    pub(super) fn primary(&self, request: usize, seed: u64) -> Answer {
        (self.answer)(&Attempt::new(request, 0, self.start(request), seed))
    }
}

/// 10 + Exp(8) ms; 3 % take 100 to 300.
pub(super) fn healthy(rng: &mut impl Rng) -> f64 {
    if rng.random_bool(0.03) {
        rng.random_range(100.0..300.0)
    } else {
        10.0 - 8.0 * (1.0 - rng.random::<f64>()).ln()
    }
}

/// The 95th percentile of [`healthy`].
pub(super) fn healthy_p95() -> f64 {
    10.0 - 8.0 * (0.02_f64 / 0.97).ln()
}

/// A lognormal latency of this median, in milliseconds.
pub(super) fn lognormal(rng: &mut impl Rng, median: f64, sigma: f64) -> f64 {
    median * (sigma * rng.sample::<f64, _>(StandardNormal)).exp()
}

/// The 95th percentile of [`lognormal`].
pub(super) fn lognormal_p95(median: f64, sigma: f64) -> f64 {
    median * (1.644_854 * sigma).exp()
}

/// One of `replicas` never answers from request `from` on.
pub(super) fn hang(replicas: usize, requests: usize, from: usize) -> Scenario {
    Scenario::new(requests, 500.0, move |attempt| {
        if attempt.replica(replicas) == 0 && attempt.request >= from {
            return Answer::NEVER;
        }
        Answer::ok(healthy(&mut attempt.own()))
    })
}

/// One of `replicas` takes 2 s more from request `from` on.
pub(super) fn slow_replica(replicas: usize, requests: usize, from: usize) -> Scenario {
    Scenario::new(requests, 500.0, move |attempt| {
        let slow = attempt.replica(replicas) == 0 && attempt.request >= from;
        let more = if slow { 2000.0 } else { 0.0 };
        Answer::ok(lognormal(&mut attempt.own(), 10.0, 0.3) + more)
    })
}

/// A pause of one of ten replicas, another each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    /// In milliseconds, as is the time from one to the next.
    pub(super) length: f64,
    pub(super) every: f64,
    pub(super) per_second: f64,
}

pub(super) fn pauses(requests: usize, pause: Pause) -> Scenario {
    Scenario::new(requests, pause.per_second, move |attempt| {
        let (turn, within) = (
            (attempt.at / pause.every) as usize,
            attempt.at % pause.every,
        );
        let left = (pause.length - within).max(0.0);
        let paused = attempt.replica(10) == turn % 10;
        let wait = if paused { left } else { 0.0 };
        Answer::ok(lognormal(&mut attempt.own(), 10.0, 0.3) + wait)
    })
}

/// A share of the keys takes eight times as long wherever it is asked for, and a share of the attempts is stuck for 2 s.
pub(super) fn keys(requests: usize, slow: f64, stuck: f64) -> Scenario {
    Scenario::new(requests, 500.0, move |attempt| {
        let times = if attempt.shared().random_bool(slow) {
            8.0
        } else {
            1.0
        };
        let mut own = attempt.own();
        let wait = if own.random_bool(stuck) { 2000.0 } else { 0.0 };
        Answer::ok(times * lognormal(&mut own, 10.0, 0.3) + wait)
    })
}

/// Attempts that take what `draw` says, each for itself.
pub(super) fn independent(
    requests: usize,
    per_second: f64,
    draw: impl Fn(&mut SmallRng) -> f64 + Sync + 'static,
) -> Scenario {
    Scenario::new(requests, per_second, move |attempt| {
        Answer::ok(draw(&mut attempt.own()))
    })
}

/// Attempts of a request take the same time: a hedge never wins.
pub(super) fn alike(requests: usize) -> Scenario {
    Scenario::new(requests, 500.0, |attempt| {
        Answer::ok(lognormal(&mut attempt.shared(), 10.0, 0.3))
    })
}

/// For a while, attempts of a request are alike and ten times slower; hedges help before and after.
pub(super) fn useless_for_a_while(per_second: f64, requests: usize) -> Scenario {
    Scenario::new(requests, per_second, |attempt| {
        if USELESS.contains(&attempt.request) {
            return Answer::ok(10.0 * lognormal(&mut attempt.shared(), 10.0, 0.5));
        }
        Answer::ok(healthy(&mut attempt.own()))
    })
}

/// When hedges are useless in [`useless_for_a_while`].
pub(super) const USELESS: core::ops::Range<usize> = 1000..1600;

/// Latencies change by a factor that depends on the request's number.
pub(super) fn changing(
    requests: usize,
    sigma: f64,
    factor: impl Fn(usize) -> f64 + Sync + 'static,
) -> Scenario {
    Scenario::new(requests, 100.0, move |attempt| {
        let latency = lognormal(&mut attempt.own(), 10.0, sigma);
        Answer::ok(latency * factor(attempt.request))
    })
}

/// Ten times slower for `length` requests from `from` on.
pub(super) fn incident(requests: usize, sigma: f64, from: usize, length: usize) -> Scenario {
    changing(requests, sigma, move |request| {
        if (from..from + length).contains(&request) {
            10.0
        } else {
            1.0
        }
    })
}

/// Latencies swing by a factor of ten.
pub(super) fn sinusoid(requests: usize, period: usize) -> Scenario {
    changing(requests, 0.7, move |request| {
        let turns = request as f64 / period as f64;
        10f64.powf(0.5 * (TAU * turns).sin())
    })
}

/// Nothing answers from one time to another, in milliseconds; what waits is answered then.
pub(super) fn stall(requests: usize, per_second: f64, from: f64, to: f64) -> Scenario {
    Scenario::new(requests, per_second, move |attempt| {
        let stalled = (from..to).contains(&attempt.at);
        let wait = if stalled { to - attempt.at } else { 0.0 };
        Answer::ok(healthy(&mut attempt.own()) + wait)
    })
}

/// A hundred primaries in a row hang, every 30 s.
pub(super) fn bursts(requests: usize) -> Scenario {
    Scenario::new(requests, 500.0, |attempt| {
        if attempt.index == 0 && in_burst(attempt.request) {
            return Answer::NEVER;
        }
        Answer::ok(healthy(&mut attempt.own()))
    })
}

/// Whether a request's primary hangs in [`bursts`].
pub(super) fn in_burst(request: usize) -> bool {
    request >= 15_000 && request % 15_000 < 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_is_as_its_percentile_says() {
        let mut rng = SmallRng::seed_from_u64(1);
        let above = (0..100_000)
            .filter(|_| healthy(&mut rng) > healthy_p95())
            .count();
        assert!((4800..5200).contains(&above), "{above}");
        assert!((healthy_p95() - 41.05).abs() < 0.1, "{}", healthy_p95());
        let above = (0..100_000)
            .filter(|_| lognormal(&mut rng, 10.0, 0.7) > lognormal_p95(10.0, 0.7))
            .count();
        assert!((4800..5200).contains(&above), "{above}");
    }

    #[test]
    fn an_attempt_draws_the_same_whenever_it_starts() {
        let draw = |index, at: f64| Attempt::new(7, index, at, 1).own().random::<u64>();
        assert_eq!(draw(1, 0.0), draw(1, 55.0));
        assert_ne!(draw(0, 0.0), draw(1, 0.0));
        let shared = |index| Attempt::new(7, index, 0.0, 1).shared().random::<u64>();
        assert_eq!(shared(0), shared(1));
    }

    #[test]
    fn hedges_go_to_the_next_replica() {
        for request in 0..100 {
            let at = |index| Attempt::new(request, index, 0.0, 3).replica(10);
            assert_eq!(at(1), (at(0) + 1) % 10);
        }
        let dead = (0..16_000)
            .filter(|request| hang(16, 0, 0).primary(*request, 1) == Answer::NEVER)
            .count();
        assert!((900..1100).contains(&dead), "{dead}");
    }
}
