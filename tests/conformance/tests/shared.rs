//! One hedger shared by a thousand tasks on several threads: everything is counted exactly once.

use core::future::pending;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use hedge_conformance::Draws;
use hedge_core::adapter::{BudgetHandle, Sharded, SharedBudget};
use hedge_core::telemetry::NoSink;
use hedge_core::{Attempt, Budget, Error, Hedger, Metrics, Options, Percentile, Suppressed};
use hedge_tokio::TokioTimer;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

const TASKS: u64 = 1_000;
const REQUESTS_PER_TASK: u64 = 100;
const HEDGES: u8 = 2;

type SharedHedger =
    Hedger<TokioTimer, Sharded<Percentile, Metrics>, SharedBudget, NoSink, { HEDGES as usize + 1 }>;

#[test]
fn counters_add_up() {
    // So many tokens that the bucket never runs full nor empty: what is left tells what was spent.
    const START: u32 = 500_000;
    let budget = SharedBudget::new(Budget::percent(50.0).burst(2 * START));
    // It begins with ten tokens; each request earns half of one.
    budget.edit(|budget| budget.deposit_many(2 * (START - Budget::START)));
    let (hedger, counts) = hammer(budget);

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let requests = count(&counts.won)
        + count(&counts.failed)
        + count(&counts.timed_out)
        + count(&counts.dropped);
    // Of every kind there were some, and some that were never polled.
    for counter in [
        &counts.won,
        &counts.failed,
        &counts.timed_out,
        &counts.dropped,
        &counts.hedge_wins,
    ] {
        assert!(count(counter) > 1_000, "{counts:?}");
    }
    assert!(requests < TASKS * REQUESTS_PER_TASK, "{counts:?}");

    let metrics = hedger.metrics();
    assert_eq!(metrics.total_requests, requests);
    assert_eq!(metrics.won, count(&counts.won));
    assert_eq!(metrics.failed, count(&counts.failed));
    assert_eq!(metrics.timed_out, count(&counts.timed_out));
    assert_eq!(metrics.cancelled, count(&counts.dropped));
    assert_eq!(metrics.sample_count, count(&counts.won));
    assert_eq!(metrics.hedge_wins, count(&counts.hedge_wins));
    assert_eq!(metrics.hedges, count(&counts.attempts) - requests);
    assert_eq!(metrics.total_cost, count(&counts.attempts) as f64);
    let refused: u64 = Suppressed::ALL
        .map(|reason| metrics.refused(reason))
        .iter()
        .sum();
    assert_eq!(metrics.hedged_requests + refused, requests);
    assert_eq!(hedger.in_flight(), 0);
    let tokens = hedger.budget().edit(|budget| budget.tokens());
    assert_eq!(
        tokens,
        f64::from(START) + 0.5 * requests as f64 - metrics.hedges as f64
    );
}

#[test]
fn limits_hold() {
    const BURST: u32 = 10;
    const IN_FLIGHT: u32 = 4;
    let budget = Budget::percent(5.0).burst(BURST).max_in_flight(IN_FLIGHT);
    let (hedger, counts) = hammer(SharedBudget::new(budget));
    let metrics = hedger.metrics();
    let most = f64::from(BURST) + 0.05 * metrics.total_requests as f64;
    assert!(
        metrics.hedges as f64 <= most,
        "{} hedges of {most}",
        metrics.hedges
    );
    assert!(metrics.hedges > 100, "{} hedges", metrics.hedges);
    let at_once = counts.most_hedges_at_once.load(Ordering::Relaxed);
    assert!(at_once <= IN_FLIGHT.into(), "{at_once} hedges at once");
    assert!(
        metrics.refused(Suppressed::BudgetRatio) + metrics.refused(Suppressed::InFlight) > 1_000
    );
    assert_eq!(hedger.in_flight(), 0);
}

/// What the test itself saw.
#[derive(Debug, Default)]
struct Counts {
    won: AtomicU64,
    hedge_wins: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    /// After they were polled.
    dropped: AtomicU64,
    attempts: AtomicU64,
    hedges_running: AtomicU64,
    most_hedges_at_once: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Sends all requests of all tasks through one hedger.
fn hammer(budget: SharedBudget) -> (Arc<SharedHedger>, Arc<Counts>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build();
    runtime.unwrap().block_on(async {
        let mut options = Options::default();
        options.max_hedges = HEDGES;
        options.guard = Some(false);
        options.max_delay = Some(Duration::from_millis(1));
        let hedger: SharedHedger = Hedger::builder(TokioTimer::new())
            .attempts::<{ HEDGES as usize + 1 }>()
            .options(options)
            .build_with(Sharded::new, |_| budget)
            .unwrap();
        let (hedger, counts) = (Arc::new(hedger), Arc::new(Counts::default()));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (hedger, counts) = (hedger.clone(), counts.clone());
            tasks.spawn(async move {
                let mut draws = Draws::new(task);
                for _ in 0..REQUESTS_PER_TASK {
                    request(&hedger, &counts, draws.below(100)).await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        (hedger, counts)
    })
}

/// One request of a kind drawn from a hundred.
async fn request(hedger: &SharedHedger, counts: &Counts, kind: u64) {
    let launch = |attempt: Attempt| {
        add(&counts.attempts);
        let running = attempt.is_hedge().then(|| HedgeRunning::new(counts));
        async move {
            let _running = running;
            match (kind, attempt.index()) {
                // Most are answered at once or soon.
                (0..60, _) => Ok(()),
                (60..80, _) => {
                    yield_now().await;
                    Ok(())
                }
                (80..84, 0) => {
                    sleep(Duration::from_millis(5)).await;
                    Ok(())
                }
                (80..84, _) => Ok(()),
                (84..88, _) => Err(()),
                (88..90, 0) => {
                    yield_now().await;
                    Err(())
                }
                (88..90, _) => Ok(()),
                _ => pending().await,
            }
        }
    };
    let time = if (90..93).contains(&kind) { 3 } else { 30_000 };
    let call = hedger.call().timeout(Duration::from_millis(time));
    // Counts as polled as soon as its first attempt is started, in its first poll.
    let request = call.request(launch);
    let result = match kind {
        98.. => return drop(request),
        93.. => timeout(Duration::from_millis(kind % 3), request).await,
        _ => Ok(request.await),
    };
    match result {
        Ok(Ok(hedged)) => {
            add(&counts.won);
            if hedged.outcome.hedge_won {
                add(&counts.hedge_wins);
            }
        }
        Ok(Err(Error::Failed { .. })) => add(&counts.failed),
        Ok(Err(_)) => add(&counts.timed_out),
        Err(_) => add(&counts.dropped),
    }
}

/// Counts a hedge while it runs.
struct HedgeRunning<'a>(&'a Counts);

impl<'a> HedgeRunning<'a> {
    fn new(counts: &'a Counts) -> Self {
        let now = counts.hedges_running.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most_hedges_at_once.fetch_max(now, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for HedgeRunning<'_> {
    fn drop(&mut self) {
        self.0.hedges_running.fetch_sub(1, Ordering::Relaxed);
    }
}
