//! What the parts of a decision cost, alone.

use core::hint::black_box;
use core::time::Duration;
use std::time;

use hdrhistogram::Histogram as HdrHistogram;
use hedge_core::Record;
use hedge_core::metrics::Histogram;
use hedge_core::strategy::Sample;
use hedge_tokio::replicas::{AttemptEnd, Choice, SharedReplicas};
use hedge_tokio::{
    Adaptive, ExponentialBackoff, Fixed, Hedger, Hints, Instant, Optimal, Percentile, Strategy,
    WorkloadAware,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, Distribution, LogNormal};

use crate::options::Strategies;
use crate::processor;
use crate::rounds::{Judge, Patience, Round, Rounds, alternate};

/// How many samples a window holds.
const WINDOW: usize = 1000;

/// How long undisturbed rounds are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// One part, measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) part: &'static str,
    pub(crate) median_ns: f64,
    pub(crate) undisturbed: usize,
    pub(crate) tried: usize,
}

pub(crate) fn measure(options: &Strategies) -> Result<Vec<Row>, String> {
    let mut parts = parts();
    let judge = Judge::new();
    let patience = Patience {
        wanted: options.rounds,
        time: PATIENCE,
    };
    let bar = hedge_terminal::progress(1);
    let rounds = alternate(&judge, parts.len(), patience, |part| {
        Ok::<_, String>((parts[part].round)())
    })?;
    bar.finish_and_clear();
    let row = |(part, rounds): (&Part, Rounds)| Row {
        part: part.name,
        median_ns: rounds.median(patience),
        undisturbed: rounds.undisturbed(),
        tried: rounds.tried(),
    };
    Ok(parts.iter().zip(rounds).map(row).collect())
}

struct Part {
    name: &'static str,
    round: Box<dyn FnMut() -> Round>,
}

impl Part {
    /// The mean time of an operation, of many in a row.
    fn new(name: &'static str, mut operation: impl FnMut() + 'static) -> Self {
        const OPERATIONS: u32 = 2000;
        Self::timed(name, OPERATIONS, move || {
            let start = time::Instant::now();
            for _ in 0..OPERATIONS {
                operation();
            }
            start.elapsed()
        })
    }

    fn timed(
        name: &'static str,
        operations: u32,
        mut operate: impl FnMut() -> Duration + 'static,
    ) -> Self {
        let round = move || {
            let waited = processor::thread_waited();
            let took = operate();
            Round {
                value: took.as_nanos() as f64 / f64::from(operations),
                took,
                waited: processor::since(waited, processor::thread_waited()),
            }
        };
        Self {
            name,
            round: Box::new(round),
        }
    }
}

fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    parts.extend(strategy(
        "fixed: plan",
        None,
        Fixed::new(Duration::from_millis(50)),
    ));
    let percentile = || Percentile::new(95.0);
    parts.extend(strategy(
        "percentile: plan",
        Some("percentile: record"),
        percentile(),
    ));
    parts.push(record_and_plan("percentile: record and plan", percentile()));
    parts.extend(strategy(
        "adaptive: plan, a Thompson pick of 5 arms",
        Some("adaptive: record"),
        Adaptive::new(),
    ));
    parts.push(thompson());
    parts.extend(strategy(
        "workload_aware: plan",
        Some("workload_aware: record"),
        WorkloadAware::over(percentile()),
    ));
    parts.extend(strategy(
        "exponential_backoff: plan",
        Some("exponential_backoff: record"),
        ExponentialBackoff::new(),
    ));
    parts.extend(strategy(
        "optimal: plan",
        Some("optimal: record, a solve in 100 included"),
        Optimal::new(99.0, 5.0),
    ));
    parts.push(solve());
    parts.push(pick("replicas: a pick of 8", 8));
    parts.push(pick("replicas: a pick of 32", 32));
    parts.push(key());
    parts.extend(histograms());
    parts.push(clone_and_sort());
    parts
}

/// A choice among replicas that have all answered. Reports are not in the time.
fn pick(name: &'static str, replicas: usize) -> Part {
    const PICKS: u32 = 64;
    let set: SharedReplicas = SharedReplicas::of(replicas);
    let mut chosen = Vec::with_capacity(PICKS as usize);
    let mut now = Instant::ZERO;
    Part::timed(name, 4 * PICKS, move || {
        let mut took = Duration::ZERO;
        for _ in 0..4 {
            let start = time::Instant::now();
            for _ in 0..PICKS {
                now = now + Duration::from_micros(20);
                chosen.extend(black_box(set.choose(Choice::PRIMARY, now)));
            }
            took += start.elapsed();
            for chosen in chosen.drain(..) {
                now = now + Duration::from_micros(300);
                set.report(&chosen, AttemptEnd::Answered, now);
            }
        }
        took
    })
}

/// A key among 64.
fn key() -> Part {
    let hedger = Hedger::builder().build().expect("valid options");
    let names: Vec<String> = (0..64).map(|n| format!("GET /users/{n}")).collect();
    let mut next = 0;
    Part::new("keys: one of 64 found", move || {
        next = (next + 1) % names.len();
        black_box(hedger.key(black_box(&names[next])));
    })
}

/// Both halves of a strategy that has seen a window of requests.
fn strategy<S>(plan: &'static str, record: Option<&'static str>, strategy: S) -> Vec<Part>
where
    S: Strategy + Clone + 'static,
{
    let mut planning = warm(strategy.clone());
    let mut parts = vec![Part::new(plan, move || {
        black_box(planning.plan(black_box(&Hints::NONE), Instant::ZERO));
    })];
    parts.extend(record.map(|record| {
        let mut recording = warm(strategy);
        let mut reports = Reports::new();
        Part::new(record, move || recording.record(reports.next()))
    }));
    parts
}

fn record_and_plan(name: &'static str, strategy: impl Strategy + 'static) -> Part {
    let mut strategy = warm(strategy);
    let mut reports = Reports::new();
    Part::new(name, move || {
        strategy.record(reports.next());
        black_box(strategy.plan(&Hints::NONE, Instant::ZERO));
    })
}

/// The one record in 100 that chooses anew.
fn solve() -> Part {
    let mut strategy = warm(Optimal::new(99.0, 5.0));
    let mut reports = Reports::new();
    Part::timed("optimal: a SingleR solve", 1, move || {
        let mut record = || {
            let start = time::Instant::now();
            strategy.record(reports.next());
            start.elapsed()
        };
        (0..WINDOW / 10).map(|_| record()).max().unwrap_or_default()
    })
}

/// What the draws of a Thompson pick take elsewhere.
fn thompson() -> Part {
    let mut rng = StdRng::seed_from_u64(1);
    let arms = [1.5, 3.0, 20.0, 5.0, 2.5].map(|alpha| Beta::new(alpha, 30.0 - alpha));
    let arms = arms.map(|arm| arm.expect("valid parameters"));
    Part::new("for comparison: rand_distr, 5 Beta draws", move || {
        let best = arms
            .iter()
            .map(|arm| arm.sample(&mut rng))
            .fold(0.0, f64::max);
        black_box(best);
    })
}

fn histograms() -> [Part; 4] {
    let (mut ours, mut reports) = (Histogram::new(), Reports::new());
    let hdr = || HdrHistogram::<u64>::new_with_bounds(1, 3_600_000_000, 2).expect("valid bounds");
    let (mut other, mut others) = (hdr(), Reports::new());
    let (mut full, mut other_full) = (Histogram::new(), hdr());
    for _ in 0..10 * WINDOW {
        let latency = reports.next().total();
        full.record(latency);
        other_full.saturating_record(latency.as_micros() as u64);
    }
    [
        Part::new("histogram: record", move || {
            ours.record(reports.next().total())
        }),
        Part::new("for comparison: HdrHistogram, record", move || {
            other.saturating_record(others.next().total().as_micros() as u64);
        }),
        Part::new("histogram: quantile", move || {
            black_box(full.quantile(black_box(0.95)));
        }),
        Part::new("for comparison: HdrHistogram, quantile", move || {
            black_box(other_full.value_at_quantile(black_box(0.95)));
        }),
    ]
}

/// What a percentile of a window takes where it is sorted for every request.
fn clone_and_sort() -> Part {
    let mut reports = Reports::new();
    let window: Vec<u64> = (0..WINDOW)
        .map(|_| reports.next().total().as_micros() as u64)
        .collect();
    Part::timed(
        "for comparison: a window of 1000, cloned and sorted",
        20,
        move || {
            let start = time::Instant::now();
            for _ in 0..20 {
                let mut sorted = black_box(&window).clone();
                sorted.sort_unstable();
                black_box(sorted[WINDOW * 95 / 100]);
            }
            start.elapsed()
        },
    )
}

fn warm<S: Strategy>(mut strategy: S) -> S {
    let mut reports = Reports::new();
    for _ in 0..WINDOW {
        strategy.record(reports.next());
    }
    strategy
}

/// Reports of requests, drawn beforehand, again and again.
struct Reports {
    reports: Vec<Record>,
    next: usize,
}

impl Reports {
    /// A power of two.
    const MANY: usize = 8192;

    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(7);
        // LN(median 117 ms, σ 0.55), and 3.5 % LN(1000, 0.30).
        let usual = LogNormal::new(117_f64.ln(), 0.55).expect("valid parameters");
        let slow = LogNormal::new(1000_f64.ln(), 0.30).expect("valid parameters");
        let report = |_| {
            let from = if rng.random::<f64>() < 0.035 {
                slow
            } else {
                usual
            };
            let ms: f64 = from.sample(&mut rng);
            Record::new(Sample::Finished(Duration::from_secs_f64(ms / 1000.0)))
        };
        Self {
            reports: (0..Self::MANY).map(report).collect(),
            next: 0,
        }
    }

    fn next(&mut self) -> &Record {
        self.next += 1;
        &self.reports[self.next % Self::MANY]
    }
}
