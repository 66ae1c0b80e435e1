//! Where latencies come from: models, or a user's own.

use core::str::FromStr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal, Normal, StandardNormal};

use crate::order::{Draw, Order};
use crate::trace::{LONGEST, Line};

/// A model of a service's latencies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Model {
    /// 96.5 % LN(median 117, σ 0.55) + 3.5 % LN(median 1000, σ 0.30).
    Lognormal,
    /// 10 U^(−1/1.1).
    Pareto,
    /// Exponential, mean 100.
    Exponential,
    /// 98 % N(10, 1) + 2 % N(400, 10).
    Bimodal,
    /// Lognormal, ×10 in the middle fifth.
    Slowdown,
    /// Exponential, the attempts of a request joined by a Gaussian copula of this correlation.
    Correlated(f64),
    /// 8 servers, one queue, Poisson arrivals at this load, lognormal service; both attempts of a request
    /// take the same service time, a queued loser leaves, a running one finishes.
    Queue(f64),
}

impl Model {
    pub(crate) const STATIONARY: [Self; 4] = [
        Self::Lognormal,
        Self::Pareto,
        Self::Exponential,
        Self::Bimodal,
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Lognormal => "lognormal".into(),
            Self::Pareto => "pareto".into(),
            Self::Exponential => "exponential".into(),
            Self::Bimodal => "bimodal".into(),
            Self::Slowdown => "slowdown".into(),
            Self::Correlated(rho) => format!("correlated:{rho}"),
            Self::Queue(load) => format!("queue:{load}"),
        }
    }

    /// The latencies of a request's attempts, each drawn for itself or joined as the model says.
    pub(crate) fn draw(self, rng: &mut SmallRng) -> [f64; 2] {
        match self {
            Self::Correlated(rho) => {
                let (a, b): (f64, f64) = (rng.sample(StandardNormal), rng.sample(StandardNormal));
                let b = rho * a + (1.0 - rho * rho).sqrt() * b;
                [a, b].map(|z| -100.0 * upper_tail(z).ln())
            }
            _ => [self.one(rng), self.one(rng)],
        }
    }

    fn one(self, rng: &mut SmallRng) -> f64 {
        match self {
            Self::Pareto => 10.0 * (1.0 - rng.random::<f64>()).powf(-1.0 / 1.1),
            Self::Exponential | Self::Correlated(_) => {
                Exp::new(0.01).map_or(0.0, |d| d.sample(rng))
            }
            Self::Bimodal => {
                let (mean, deviation) = if rng.random_bool(0.98) {
                    (10.0_f64, 1.0)
                } else {
                    (400.0, 10.0)
                };
                Normal::new(mean, deviation)
                    .map_or(0.0, |d| d.sample(rng))
                    .max(0.001)
            }
            Self::Lognormal | Self::Slowdown | Self::Queue(_) => {
                let (median, sigma) = if rng.random_bool(0.965) {
                    (117.0_f64, 0.55)
                } else {
                    (1000.0, 0.30)
                };
                LogNormal::new(median.ln(), sigma).map_or(0.0, |d| d.sample(rng))
            }
        }
    }
}

/// P(Z > z) for a standard normal Z: Abramowitz and Stegun 7.1.26 would lose the tail, so by W. J. Cody's
/// rational form of erfc as in `libm`.
fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * core::f64::consts::FRAC_1_SQRT_2)
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once(':')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        let number = |what: &str, low: f64, high: f64| {
            let text = value.ok_or_else(|| format!("`{name}` needs {what}, as in `{name}:0.5`"))?;
            let number: f64 = text
                .parse()
                .map_err(|_| format!("{what} `{text}` is no number"))?;
            if (low..=high).contains(&number) {
                Ok(number)
            } else {
                Err(format!("{what} is {number}, but must be {low} to {high}"))
            }
        };
        let model = match name {
            "lognormal" => Self::Lognormal,
            "pareto" => Self::Pareto,
            "exponential" => Self::Exponential,
            "bimodal" => Self::Bimodal,
            "slowdown" => Self::Slowdown,
            "correlated" => return number("a correlation", 0.0, 1.0).map(Self::Correlated),
            "queue" => return number("a load", 0.01, 0.99).map(Self::Queue),
            _ => {
                return Err(format!(
                    "no workload `{name}`; there are lognormal, pareto, exponential, bimodal, slowdown, \
                     correlated:RHO and queue:LOAD"
                ));
            }
        };
        match value {
            Some(value) => Err(format!("`{name}` takes no `{value}`")),
            None => Ok(model),
        }
    }
}

/// Latencies of requests, one after the other: a pair for each, the primary's and the hedge's.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Model(Model),
    Trace { lines: Vec<Line>, order: Order },
}

impl Source {
    /// How many requests to simulate where nobody says: a trace is played to its end, as often as that takes.
    pub(crate) fn requests(&self) -> u64 {
        const ENOUGH: u64 = 100_000;
        match self {
            Self::Trace { lines, order } if !order.shuffled => {
                ENOUGH.next_multiple_of(lines.len().max(1) as u64)
            }
            _ => ENOUGH,
        }
    }

    /// A stream of `requests` pairs.
    pub(crate) fn stream(&self, requests: u64, seed: u64) -> Stream<'_> {
        Stream {
            source: self,
            requests,
            next: 0,
            line: 0,
            rng: SmallRng::seed_from_u64(seed),
            others: SmallRng::seed_from_u64(!seed),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Model(model) => model.name(),
            Self::Trace { lines, order } => {
                format!("trace of {} lines, {}", lines.len(), order.name())
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stream<'a> {
    source: &'a Source,
    requests: u64,
    next: u64,
    /// Where in the trace the last request is.
    line: usize,
    rng: SmallRng,
    others: SmallRng,
}

impl Stream<'_> {
    /// How long another hedge of the last request takes, in milliseconds.
    pub(crate) fn another(&mut self) -> f64 {
        let latency = match self.source {
            Source::Model(model) => model.draw(&mut self.others)[0],
            Source::Trace { lines, order } => {
                let draw = match order.draw {
                    Draw::Pair => Draw::Nearby,
                    draw => draw,
                };
                let order = Order { draw, ..*order };
                order.hedge(self.line, lines, &mut self.others)
            }
        };
        latency.min(LONGEST)
    }
}

impl Iterator for Stream<'_> {
    type Item = [f64; 2];

    fn next(&mut self) -> Option<[f64; 2]> {
        if self.next == self.requests {
            return None;
        }
        let n = self.next;
        self.next += 1;
        let pair: [f64; 2] = match self.source {
            Source::Model(Model::Slowdown) => {
                let slow = (self.requests * 2 / 5..self.requests * 3 / 5).contains(&n);
                Model::Lognormal
                    .draw(&mut self.rng)
                    .map(|ms| if slow { ms * 10.0 } else { ms })
            }
            Source::Model(model) => model.draw(&mut self.rng),
            Source::Trace { lines, order } => {
                self.line = order.line(n, lines, &mut self.rng);
                let first = lines[self.line][0].unwrap_or_default();
                [first, order.hedge(self.line, lines, &mut self.rng)]
            }
        };
        Some(pair.map(|ms| ms.min(LONGEST)))
    }
}
