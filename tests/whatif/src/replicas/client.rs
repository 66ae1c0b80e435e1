//! What a client does beside choosing: a P95 delay and a budget of 10 %.

use std::collections::VecDeque;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::chooser::{Chooser, Rule};
use super::scenario::Millis;

const WINDOW: usize = 200;
const ENOUGH: usize = 10;
const DEPOSIT: f64 = 0.1;
const BURST: f64 = 10.0;

/// One process that sends requests.
pub(crate) struct Client {
    pub(crate) chooser: Chooser,
    latencies: Window,
    tokens: f64,
    rng: SmallRng,
}

impl Client {
    pub(crate) fn new(rule: Rule, replicas: usize, seed: u64) -> Self {
        Self {
            chooser: Chooser::new(rule, replicas, seed),
            latencies: Window::default(),
            tokens: BURST,
            rng: SmallRng::seed_from_u64(!seed),
        }
    }

    /// A request begins. Returns its hedge delay.
    pub(crate) fn request(&mut self, patience: Option<Millis>) -> Option<Millis> {
        self.tokens = (self.tokens + DEPOSIT).min(BURST);
        let delay = self.latencies.quantile(0.95)?;
        // A request that tries a suspect must not pay for that.
        Some(patience.map_or(delay, |patience| delay.min(patience)))
    }

    /// Whether a hedge may be sent.
    pub(crate) fn withdraw(&mut self) -> bool {
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// A primary that was no probe ended, or was given up.
    pub(crate) fn learn(&mut self, latency: Millis, completed: bool) {
        let latency = if completed {
            latency
        } else {
            self.latencies.longer(latency, &mut self.rng)
        };
        self.latencies.push(latency);
    }
}

/// The latest latencies.
#[derive(Default)]
struct Window {
    latest: VecDeque<Millis>,
    sorted: Vec<Millis>,
}

impl Window {
    fn push(&mut self, latency: Millis) {
        if self.latest.len() == WINDOW
            && let Some(oldest) = self.latest.pop_front()
        {
            let index = self.sorted.partition_point(|other| *other < oldest);
            self.sorted.remove(index);
        }
        self.latest.push_back(latency);
        let index = self.sorted.partition_point(|other| *other < latency);
        self.sorted.insert(index, latency);
    }

    /// A guess at what an attempt would have taken that was given up: as long as one that took longer.
    fn longer(&self, latency: Millis, rng: &mut SmallRng) -> Millis {
        let index = self.sorted.partition_point(|other| *other <= latency);
        if index < self.sorted.len() {
            self.sorted[rng.random_range(index..self.sorted.len())]
        } else {
            latency * 1.5
        }
    }

    fn quantile(&self, share: f64) -> Option<Millis> {
        let index = (share * self.sorted.len() as f64) as usize;
        if self.sorted.len() < ENOUGH {
            return None;
        }
        self.sorted.get(index).copied()
    }
}
