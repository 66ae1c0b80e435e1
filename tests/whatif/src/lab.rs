//! Runs a strategy over latencies and says what came of it.

use core::time::Duration;

use hedge_core::{Budget, HedgeConfig, Hedger, Instant};
use serde::Serialize;

use crate::candidate::Candidate;
use crate::engine::{self, Still};
use crate::optimum::Known;
use crate::queue::{self, Backend, Queues};
use crate::workload::{Model, Source};

/// Room for every window that a strategy may ask for.
pub(crate) const WINDOW: usize = 4096;
const MAX: usize = 8;

/// What every candidate is run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) requests: u64,
    pub(crate) seed: u64,
    /// The percentile that matters.
    pub(crate) target: f64,
}

/// What one strategy did.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// In order of size, milliseconds.
    pub(crate) latencies: Vec<f64>,
    /// In order of the requests: which were hedged.
    pub(crate) hedged: Vec<bool>,
    pub(crate) hedge_rate: f64,
    pub(crate) extra_load: f64,
    pub(crate) cost: f64,
    /// The optimum at the same extra load; absent where none is known.
    pub(crate) optimum: Option<Optimum>,
}

/// A percentile over the one that the optimum reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Optimum {
    pub(crate) p99: f64,
    pub(crate) target: f64,
}

/// A row as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures<'a> {
    strategy: &'a str,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    hedge_rate: f64,
    extra_load: f64,
    cost: f64,
    p99_vs_optimum: Option<f64>,
}

impl Row {
    /// The `p`th percentile, 0 to 100, in milliseconds.
    pub(crate) fn percentile(&self, p: f64) -> f64 {
        percentile(&self.latencies, p)
    }

    pub(crate) fn figures(&self) -> Figures<'_> {
        Figures {
            strategy: &self.name,
            p50_ms: self.percentile(50.0),
            p95_ms: self.percentile(95.0),
            p99_ms: self.percentile(99.0),
            p999_ms: self.percentile(99.9),
            hedge_rate: self.hedge_rate,
            extra_load: self.extra_load,
            cost: self.cost,
            p99_vs_optimum: self.optimum.map(|optimum| optimum.p99),
        }
    }
}

/// The `p`th percentile of `sorted`, by rank.
pub(crate) fn percentile(sorted: &[f64], p: f64) -> f64 {
    let rank = (p / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or(f64::NAN)
}

/// What was drawn for the comparison with the optimum.
pub(crate) fn known(source: &Source, requests: u64) -> Option<Known> {
    // Fixed, and not the seed of any run.
    let stream = source.stream(requests, 0x0dd5_eed5);
    match source {
        Source::Model(Model::Queue(_) | Model::Slowdown) => None,
        // One delay is not the best for latencies that drift.
        Source::Trace { in_order: true, .. } => None,
        Source::Model(Model::Correlated(_)) => Some(Known::joint(stream)),
        Source::Trace { lines, .. } if lines.iter().all(|[_, second]| second.is_some()) => {
            Some(Known::joint(stream))
        }
        _ => Some(Known::independent(stream)),
    }
}

/// Runs `candidate`, telling `tick` of every thousand requests.
///
/// # Errors
///
/// Says which option cannot be right.
pub(crate) fn run(
    candidate: &Candidate,
    source: &Source,
    terms: &Terms,
    known: Option<&Known>,
    mut tick: impl FnMut(u64),
) -> Result<Row, String> {
    let mut config = candidate.config.clone();
    if !candidate.times_out {
        config.timeout_ms = HedgeConfig::MAX_MILLIS;
    }
    let failed = |error| format!("strategy `{}`: {error}", candidate.name);
    let settings = config.validate_for::<WINDOW>().map_err(failed)?;
    let hedger = Hedger::builder(Still)
        .settings(settings)
        .without_metrics()
        .seed(terms.seed)
        .attempts::<MAX>()
        .build_local()
        .map_err(failed)?;
    let mut tally = Tally::default();
    match source {
        Source::Model(Model::Queue(load)) => {
            let requests = terms.requests as usize;
            let backend = Backend::new(Queues::One, *load);
            for done in queue::run(&hedger, &backend, requests, terms.seed) {
                tally.add(done.latency, &done.outcome);
            }
            tick(terms.requests);
        }
        _ => {
            let mut now = Instant::ZERO;
            let mut others = source.stream(u64::MAX, !terms.seed);
            for (n, pair) in (1..).zip(source.stream(terms.requests, terms.seed)) {
                let (end, outcome) =
                    engine::request(&hedger, now, |attempt| match pair.get(attempt) {
                        Some(&latency) => ms(latency),
                        None => others
                            .next()
                            .map_or(Duration::MAX, |[latency, _]| ms(latency)),
                    });
                tally.add(end.since(now).as_secs_f64() * 1e3, &outcome);
                now = end;
                if n % 1000 == 0 {
                    tick(1000);
                }
            }
        }
    }
    Ok(tally.row(candidate.name.clone(), terms.target, known))
}

#[derive(Debug, Default)]
struct Tally {
    latencies: Vec<f64>,
    hedged: Vec<bool>,
    hedges: u64,
    cost: f64,
}

impl Tally {
    fn add(&mut self, latency: f64, outcome: &hedge_core::Outcome) {
        self.latencies.push(latency);
        self.hedged.push(outcome.hedged);
        self.hedges += u64::from(outcome.attempts - 1);
        self.cost += outcome.cost;
    }

    fn row(mut self, name: String, target: f64, known: Option<&Known>) -> Row {
        self.latencies.sort_by(f64::total_cmp);
        let requests = self.latencies.len().max(1) as f64;
        let extra_load = self.hedges as f64 / requests;
        let optimum = known.map(|known| {
            let over = |p| match (percentile(&self.latencies, p), known.best(p, extra_load)) {
                (reached, best) if reached == best => 1.0,
                (reached, best) => reached / best,
            };
            let p99 = over(99.0);
            let target = if target == 99.0 { p99 } else { over(target) };
            Optimum { p99, target }
        });
        Row {
            name,
            hedge_rate: self.hedged.iter().filter(|hedged| **hedged).count() as f64 / requests,
            extra_load,
            cost: self.cost / requests,
            optimum,
            hedged: self.hedged,
            latencies: self.latencies,
        }
    }
}

pub(crate) fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1e3)
}

/// A hedger around one strategy, for the tables.
pub(crate) fn hedger<S: hedge_core::Strategy>(
    strategy: S,
    budget: Budget,
    guard: Option<bool>,
    timeout: Option<Duration>,
    seed: u64,
) -> Result<engine::Lab<S, 2>, String> {
    let mut options = hedge_core::Options::default();
    options.guard = guard;
    options.timeout = timeout;
    Hedger::builder(Still)
        .strategy(strategy)
        .options(options)
        .budget(budget)
        .without_metrics()
        .seed(seed)
        .build_local()
        .map_err(|error| error.to_string())
}
