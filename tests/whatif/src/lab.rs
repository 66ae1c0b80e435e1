//! Runs a strategy over latencies and says what came of it.

use core::time::Duration;

use hedge_core::{AnyStrategy, Budget, Hedger, Instant};
use serde::Serialize;

use crate::candidate::Candidate;
pub(crate) use crate::engine::ms;
use crate::engine::{self, Ask, Ended, Still};
use crate::optimum::Known;
use crate::order::Draw;
use crate::queue::{self, Backend, Queues};
use crate::workload::{Model, Source};

const MAX: usize = 8;

/// A hedger made of a config.
pub(crate) type Configured = engine::Lab<AnyStrategy, MAX>;

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
    /// In order of size, milliseconds. A request that was not answered counts as infinitely slow: it is no latency,
    /// and no percentile may profit from it.
    pub(crate) latencies: Vec<f64>,
    /// In order of the requests: which were hedged.
    pub(crate) hedged: Vec<bool>,
    pub(crate) hedge_rate: f64,
    pub(crate) extra_load: f64,
    pub(crate) cost: f64,
    /// Shares of the requests.
    pub(crate) failed: f64,
    pub(crate) timed_out: f64,
    /// The optimum at the same extra load; absent where none is known.
    pub(crate) optimum: Option<Optimum>,
}

/// A percentile over the one that the optimum reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Optimum {
    pub(crate) p99: f64,
    pub(crate) target: f64,
    /// Of what the optimum takes off the target percentile, the share that was taken; absent if that is nothing.
    pub(crate) share: Option<f64>,
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
    share_of_possible: Option<f64>,
    failed: f64,
    timed_out: f64,
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
            share_of_possible: self.optimum.and_then(|optimum| optimum.share),
            failed: self.failed,
            timed_out: self.timed_out,
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

/// What the rows are compared with. Of a trace in its order, that is the very pairs that are run: one delay for all of
/// it, known beforehand.
pub(crate) fn known(source: &Source, terms: &Terms) -> Option<Known> {
    // Fixed, and not the seed of any run.
    let stream = || source.stream(200_000, 0x0dd5_eed5);
    match source {
        Source::Model(Model::Queue(_) | Model::Slowdown) => None,
        Source::Model(Model::Correlated(_)) => Some(Known::joint(stream())),
        Source::Trace { order, .. } if order.shuffled && order.draw == Draw::Iid => {
            Some(Known::independent(stream()))
        }
        Source::Trace { .. } => Some(Known::joint(source.stream(terms.requests, terms.seed))),
        Source::Model(_) => Some(Known::independent(stream())),
    }
}

/// Runs `candidate`, and calls `tick` for every thousand requests.
///
/// # Errors
///
/// Names the option that is invalid.
pub(crate) fn run(
    candidate: &Candidate,
    source: &Source,
    terms: &Terms,
    known: Option<&Known>,
    mut tick: impl FnMut(u64),
) -> Result<Row, String> {
    let hedger = hedger_of(candidate, terms.seed)?;
    let mut tally = Tally::default();
    match source {
        Source::Model(Model::Queue(load)) => {
            let requests = terms.requests as usize;
            let backend = Backend::new(Queues::One, *load);
            for done in queue::run(&hedger, &backend, requests, terms.seed) {
                let ended = if done.answered {
                    Ended::Answered
                } else {
                    Ended::TimedOut
                };
                tally.add(done.latency, ended, &done.outcome);
            }
            tick(terms.requests);
        }
        _ => {
            let mut now = Instant::ZERO;
            let mut stream = source.stream(terms.requests, terms.seed);
            let mut n = 0;
            while let Some(pair) = stream.next() {
                let (end, ended, outcome) = engine::request(&hedger, &Ask::PLAIN, now, |attempt| {
                    match pair.get(attempt) {
                        Some(&latency) => ms(latency),
                        None => ms(stream.another()),
                    }
                });
                tally.add(end.since(now).as_secs_f64() * 1e3, ended, &outcome);
                now = end;
                n += 1;
                if n % 1000 == 0 {
                    tick(1000);
                }
            }
        }
    }
    Ok(tally.row(candidate.name.clone(), terms.target, known))
}

/// The hedger that a candidate's config makes.
///
/// # Errors
///
/// Names the option that is invalid.
pub(crate) fn hedger_of(candidate: &Candidate, seed: u64) -> Result<Configured, String> {
    let mut config = candidate.config.clone();
    if !candidate.times_out {
        config.timeout_ms = None;
    }
    let failed = |error| format!("strategy `{}`: {error}", candidate.name);
    let settings = config.validate().map_err(failed)?;
    Hedger::builder(Still)
        .settings(settings)
        .without_metrics()
        .seed(seed)
        .attempts::<MAX>()
        .build_local()
        .map_err(failed)
}

#[derive(Debug, Default)]
struct Tally {
    latencies: Vec<f64>,
    hedged: Vec<bool>,
    hedges: u64,
    cost: f64,
    failed: u64,
    timed_out: u64,
}

impl Tally {
    fn add(&mut self, latency: f64, ended: Ended, outcome: &hedge_core::Outcome) {
        self.latencies.push(match ended {
            Ended::Answered => latency,
            Ended::Failed | Ended::TimedOut => f64::INFINITY,
        });
        self.failed += u64::from(ended == Ended::Failed);
        self.timed_out += u64::from(ended == Ended::TimedOut);
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
            let unhedged = known.percentile(target);
            let possible = unhedged - known.best(target, extra_load);
            let taken = unhedged - percentile(&self.latencies, target);
            let target = if target == 99.0 { p99 } else { over(target) };
            let share = (possible > 0.01 * unhedged).then_some(taken / possible);
            Optimum { p99, target, share }
        });
        Row {
            name,
            hedge_rate: self.hedged.iter().filter(|hedged| **hedged).count() as f64 / requests,
            extra_load,
            cost: self.cost / requests,
            failed: self.failed as f64 / requests,
            timed_out: self.timed_out as f64 / requests,
            optimum,
            hedged: self.hedged,
            latencies: self.latencies,
        }
    }
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
