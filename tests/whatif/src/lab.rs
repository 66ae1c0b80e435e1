//! Runs a strategy over latencies and says what came of it.

use core::time::Duration;

use hedge_core::{Budget, HedgeConfig, Hedger, Instant};
use serde_json::{Value, json};

use crate::engine::{self, Still};
use crate::optimum::Known;
use crate::queue::{self, Queues};
use crate::workload::{Model, Source};

/// Room for every window that a strategy may ask for.
pub(crate) const WINDOW: usize = 4096;
const MAX: usize = 8;

/// A strategy as named on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// As given.
    pub(crate) name: String,
    pub(crate) config: HedgeConfig,
}

impl Candidate {
    /// `NAME[:option=value,...]`: options as in a config file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut fields = serde_json::Map::new();
        fields.insert("strategy".into(), json!(name));
        for option in split(options) {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| format!("`{option}` in `{text}` is not of the form option=value"))?;
            // A number, a list or a boolean as in JSON, else a word.
            let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            fields.insert(key.trim().into(), value);
        }
        let config = serde_json::from_value(Value::Object(fields))
            .map_err(|error| format!("strategy `{text}`: {error}"))?;
        Ok(Self {
            name: text.into(),
            config,
        })
    }
}

/// Splits at commas outside brackets.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let comma = move |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    options.split(comma).filter(|option| !option.is_empty())
}

/// What every candidate is run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) budget: f64,
    pub(crate) max_hedges: u8,
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
    /// The target percentile over the optimum's at the same extra load; absent where none is known.
    pub(crate) vs_optimum: Option<f64>,
}

impl Row {
    /// The `p`th percentile, 0 to 100, in milliseconds.
    pub(crate) fn percentile(&self, p: f64) -> f64 {
        percentile(&self.latencies, p)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "strategy": self.name,
            "p50_ms": self.percentile(50.0),
            "p95_ms": self.percentile(95.0),
            "p99_ms": self.percentile(99.0),
            "p999_ms": self.percentile(99.9),
            "hedge_rate": self.hedge_rate,
            "extra_load": self.extra_load,
            "cost": self.cost,
            "p99_vs_optimum": self.vs_optimum,
        })
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
    config.budget_percent = terms.budget;
    config.max_hedges = terms.max_hedges;
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
            for (latency, outcome) in queue::run(&hedger, Queues::One, *load, requests, terms.seed)
            {
                tally.add(latency, &outcome);
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
        let reached = percentile(&self.latencies, target);
        Row {
            name,
            hedge_rate: self.hedged.iter().filter(|hedged| **hedged).count() as f64 / requests,
            extra_load,
            cost: self.cost / requests,
            vs_optimum: known.map(|known| reached / known.best(target, extra_load)),
            hedged: self.hedged,
            latencies: self.latencies,
        }
    }
}

pub(crate) fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1e3)
}

/// The strategies to try when none is named, the plainest first.
pub(crate) fn all(source: &Source) -> Vec<Candidate> {
    let mut sample: Vec<f64> = source
        .stream(10_000, 1)
        .map(|[latency, _]| latency)
        .collect();
    sample.sort_by(f64::total_cmp);
    let p95 = percentile(&sample, 95.0);
    let median = percentile(&sample, 50.0).max(0.001);
    let arms = [1.0, 2.0, 4.0, 8.0, 16.0]
        .map(|times| format!("{:.3}", median * times))
        .join(",");
    let texts = [
        "off".to_owned(),
        format!("fixed:delay_ms={p95:.3}"),
        "percentile".to_owned(),
        format!(
            "exponential_backoff:exponential_base_delay={p95:.3},exponential_min_delay={:.3},\
                 exponential_max_delay={:.3}",
            median / 10.0,
            p95 * 100.0
        ),
        format!("adaptive:delay_candidates=[{arms}]"),
        "optimal".to_owned(),
    ];
    // What is not built in is not tried.
    let usable = |candidate: &Candidate| candidate.config.validate_for::<WINDOW>().is_ok();
    texts
        .iter()
        .filter_map(|text| Candidate::parse(text).ok())
        .filter(usable)
        .collect()
}

/// A hedger around one strategy, for the tables.
pub(crate) fn hedger<S: hedge_core::Strategy>(
    strategy: S,
    budget: Budget,
    guard: Option<bool>,
    seed: u64,
) -> Result<engine::Lab<S, 2>, String> {
    let mut options = hedge_core::Options::default();
    options.guard = guard;
    options.timeout = None;
    Hedger::builder(Still)
        .strategy(strategy)
        .options(options)
        .budget(budget)
        .without_metrics()
        .seed(seed)
        .build_local()
        .map_err(|error| error.to_string())
}
