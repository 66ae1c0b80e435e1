//! What a request costs, beside the same by hand. Alternating rounds in one process; medians.

mod hand;

use core::future::Future;
use core::hint::black_box;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use hedge_core::{LocalHedger, NoSink, Sharded, SharedBudget};
use hedge_tokio::{Budget, Fixed, Hedger, Percentile, TokioTimer};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

#[derive(Debug, Parser)]
#[command(about = "What a hedged request costs that is not hedged, beside the same by hand")]
struct Options {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Rounds of each case.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Requests in a round.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    requests: u32,
}

/// How the primary ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Ready,
    Pending,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Ready, Self::Pending];

    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Pending => "pending",
        }
    }
}

async fn call(kind: Kind) -> Result<u32, ()> {
    if kind == Kind::Pending {
        yield_now().await;
    }
    Ok(black_box(7))
}

type Case = (&'static str, Box<dyn Fn(&Runtime, Kind, u32) -> Duration>);

/// `requests` one after the other.
fn time<F, Fut>(runtime: &Runtime, requests: u32, request: F) -> Duration
where
    F: Fn() -> Fut,
    Fut: Future,
{
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..requests {
            black_box(request().await);
        }
        start.elapsed()
    })
}

fn case<F, Fut>(name: &'static str, request: F) -> Case
where
    F: Fn(Kind) -> Fut + 'static,
    Fut: Future,
{
    (
        name,
        Box::new(move |runtime, kind, requests| time(runtime, requests, || request(kind))),
    )
}

type Core<S, M> = hedge_core::Hedger<TokioTimer, Sharded<S, M>, SharedBudget, NoSink>;

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn cases() -> Vec<Case> {
    let hand: &hand::Learning = leak(hand::Learning::new());
    let percentile: &Hedger = leak(Hedger::builder().build().expect("defaults are valid"));
    let generic: &Core<Percentile, _> = leak(
        hedge_core::Hedger::builder(TokioTimer::new())
            .build_with(Sharded::new, SharedBudget::new)
            .expect("defaults are valid"),
    );
    let local: &LocalHedger<TokioTimer, Percentile> = leak(
        hedge_core::Hedger::builder(TokioTimer::new())
            .build_local()
            .expect("defaults are valid"),
    );
    let fixed: &Core<Fixed, _> = leak(
        hedge_core::Hedger::builder(TokioTimer::new())
            .strategy(Fixed::new(Duration::from_millis(100)))
            .without_metrics()
            .budget(Budget::percent(10.0))
            .build_with(Sharded::new, SharedBudget::new)
            .expect("defaults are valid"),
    );
    vec![
        case("bare", call),
        case("hand/learning", move |kind| {
            hand.request(move |_| call(kind))
        }),
        case("hedge/percentile", move |kind| {
            percentile.request(move |_| call(kind))
        }),
        case("hedge/percentile, generic", move |kind| {
            generic.request(move |_| call(kind))
        }),
        case("hedge/percentile, one thread", move |kind| {
            local.request(move |_| call(kind))
        }),
        case("hedge/fixed, no metrics", move |kind| {
            fixed.request(move |_| call(kind))
        }),
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let options = Options::parse();
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let cases = cases();
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let mut rounds = vec![Vec::new(); cases.len()];
        for _ in 0..options.rounds {
            for ((_, run), rounds) in cases.iter().zip(&mut rounds) {
                let took = run(&runtime, kind, options.requests);
                rounds.push(took.as_nanos() as f64 / f64::from(options.requests));
            }
        }
        let medians: Vec<f64> = rounds.into_iter().map(median).collect();
        let hand = medians[1];
        for ((name, _), ns) in cases.iter().zip(medians) {
            rows.push((*name, kind, ns, ns / hand));
        }
    }
    let contention = contention(&options);
    if options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(case, kind, ns, ratio)| {
                json!({"case": case, "kind": kind.name(), "runtime": "current_thread",
                       "median_ns": ns, "ratio_to_hand_learning": ratio})
            })
            .collect();
        println!("{}", json!({"cases": rows, "contention": contention}));
        return;
    }
    println!(
        "{:<30} {:<8} {:>9} {:>12}",
        "case", "kind", "ns", "× by hand"
    );
    for (case, kind, ns, ratio) in rows {
        println!("{case:<30} {:<8} {ns:>9.1} {ratio:>12.2}", kind.name());
    }
    for (tasks, throughput) in contention {
        println!("{tasks} tasks on one hedger: {throughput:.2} × the throughput of one");
    }
}

/// Throughput of several tasks on one hedger, in units of one task's.
fn contention(options: &Options) -> Vec<(u32, f64)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let hedger = Arc::new(Hedger::builder().build().expect("defaults are valid"));
    let round = |tasks: u32| {
        let requests = options.requests * 5;
        let start = Instant::now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..tasks)
                .map(|_| {
                    let hedger = Arc::clone(&hedger);
                    tokio::spawn(async move {
                        for _ in 0..requests {
                            black_box(hedger.request(|_| call(Kind::Ready)).await).ok();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
        });
        f64::from(tasks * requests) / start.elapsed().as_secs_f64()
    };
    let sizes = [1, 2, 8];
    let mut rounds = vec![Vec::new(); sizes.len()];
    for _ in 0..options.rounds {
        for (tasks, rounds) in sizes.iter().zip(&mut rounds) {
            rounds.push(round(*tasks));
        }
    }
    let medians: Vec<f64> = rounds.into_iter().map(median).collect();
    sizes
        .iter()
        .zip(&medians)
        .map(|(tasks, median)| (*tasks, median / medians[0]))
        .collect()
}
