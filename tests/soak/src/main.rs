//! Hedgers at work for as long as is asked, with everything that can go wrong going wrong: attempts that fail, panic,
//! hang and are judged anew, callers that give up, tasks that are aborted, options that change under way, states that
//! are exported and restored. Afterwards every counter has to be what the callers counted, no hedge may be in flight,
//! and the memory has to be what it was.
//!
//! ```text
//! bash tests/soak/run        # a minute
//! bash tests/soak/run 1800   # half an hour
//! ```

mod memory;
mod tally;
mod work;

use core::time::Duration;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use hedge_terminal::println;
use hedge_tokio::{
    Adaptive, Budget, ExponentialBackoff, Fixed, Hedger, Optimal, Percentile, SharedBudget,
    WorkloadAware,
};
use tokio::time::sleep;

use crate::tally::Tally;
use crate::work::Backend;

/// Tasks that make one request after the other, for each hedger.
const TASKS: u64 = 16;

type Failure = Box<dyn core::error::Error + Send + Sync>;

fn main() -> ExitCode {
    // Panics are part of the load: they are told by the counters.
    std::panic::set_hook(Box::new(|_| {}));
    let seconds = std::env::args().nth(1).map_or(Ok(60), |text| text.parse());
    let result = seconds
        .map_err(|_| "usage: soak [SECONDS]".into())
        .and_then(|seconds| run(Duration::from_secs(seconds)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(time: Duration) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()?;
    runtime.block_on(soak(time))
}

async fn soak(time: Duration) -> Result<(), Failure> {
    let budget = SharedBudget::new(Budget::percent(20.0).min_per_second(5.0).max_in_flight(200));
    let backends = backends(&budget)?;
    let start = Instant::now();
    // Windows, histograms, queues of tasks: all have grown to their size after a while.
    let warm = time / 5;
    let mut tasks = Vec::new();
    for backend in &backends {
        for task in 0..TASKS {
            let backend = backend.clone();
            tasks.push(tokio::spawn(work::requests(backend, task, start + time)));
        }
        tasks.push(tokio::spawn(work::changes(backend.clone(), start + time)));
    }

    sleep(warm).await;
    let before = memory::resident()?;
    let mut most = before;
    while start.elapsed() < time {
        sleep(Duration::from_millis(500)).await;
        most = most.max(memory::resident()?);
    }
    let after = memory::resident()?;
    for task in tasks {
        task.await?;
    }
    // Losers that were left to run on end by themselves.
    for _ in 0..100 {
        // Primaries are not in flight, so that the budget does not count them.
        let ended = backends.iter().all(|backend| backend.tally.is_quiet());
        if ended && budget.edit(|budget| budget.in_flight()) == 0 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }

    let mut wrong = Vec::new();
    println!("{}", Tally::HEAD);
    for backend in &backends {
        println!("{}", backend.tally.line(backend.name));
        wrong.extend(
            backend
                .tally
                .compare(backend.name, &backend.hedger.metrics()),
        );
    }
    let in_flight = budget.edit(|budget| budget.in_flight());
    if in_flight != 0 {
        wrong.push(format!("{in_flight} hedges are in flight for ever"));
    }
    let grown = after.saturating_sub(before);
    println!(
        "\nmemory: {before} KiB after {:.0} s, {after} KiB at the end, {most} KiB at most",
        warm.as_secs_f64()
    );
    // Allocators keep what tasks once needed, by the page and by the thread; a leak of one byte for each request would
    // be more than this within the minute.
    if grown > memory::TOLERANCE {
        wrong.push(format!("memory grew by {grown} KiB"));
    }
    if wrong.is_empty() {
        println!("ok: counters exact, no hedge in flight, memory flat");
        Ok(())
    } else {
        Err(wrong.join("\n        ").into())
    }
}

/// A hedger with each strategy, on one budget.
fn backends(budget: &SharedBudget) -> Result<Vec<Arc<Backend>>, Failure> {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    let builder = || {
        Hedger::builder()
            .shared_budget(budget.clone())
            .max_hedges(2)
            .timeout(MS(50))
    };
    Ok([
        ("fixed", builder().strategy(Fixed::new(MS(3)))),
        (
            "percentile",
            builder().strategy(Percentile::new(90.0).max_age(MS(5_000))),
        ),
        (
            "adaptive",
            builder().strategy(Adaptive::new().candidates(&[MS(1), MS(3), MS(10)])),
        ),
        ("optimal", builder().strategy(Optimal::new(95.0, 10.0))),
        (
            "backoff",
            builder().strategy(ExponentialBackoff::new().base_delay(MS(12))),
        ),
        (
            "workload",
            builder().strategy(WorkloadAware::over(Percentile::new(95.0))),
        ),
    ]
    .into_iter()
    .map(|(name, builder)| {
        builder
            .build()
            .map(|hedger| Arc::new(Backend::new(name, hedger)))
    })
    .collect::<Result<_, _>>()?)
}
