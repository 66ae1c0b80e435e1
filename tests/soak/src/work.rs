//! The load.

use core::future::pending;
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use hedge_tokio::{Attempt, Budget, Error, Hedger, Hints, Verdict};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

use crate::tally::Tally;

/// A hedger, and what its callers counted.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) hedger: Hedger,
    pub(crate) tally: Tally,
}

impl Backend {
    pub(crate) fn new(name: &'static str, hedger: Hedger) -> Self {
        Self {
            name,
            hedger,
            tally: Tally::default(),
        }
    }
}

/// One request after the other until it is time.
pub(crate) async fn requests(backend: Arc<Backend>, task: u64, until: Instant) {
    let mut rng = SmallRng::seed_from_u64(task);
    while Instant::now() < until {
        let (caller, seed) = (rng.random_range(0..100), rng.random());
        let one = one(backend.clone(), seed, caller);
        // A separate task, since attempts panic and callers are aborted.
        let request = tokio::spawn(one);
        let given_up = (caller < 3).then(|| request.abort_handle());
        if let Some(abort) = given_up {
            sleep(Duration::from_micros(rng.random_range(0..4_000))).await;
            abort.abort();
        }
        let _ = request.await;
    }
}

/// A request, counted by whatever becomes of it.
async fn one(backend: Arc<Backend>, seed: u64, caller: u32) {
    let mut counted = Counted {
        backend: backend.clone(),
        ended: false,
    };
    let Backend { hedger, .. } = &*backend;
    let runs_on = (6..10).contains(&caller);
    let launch = |attempt: Attempt| attempt_of(backend.clone(), seed, attempt, runs_on);
    let judge = |result: &Result<u32, u32>| match result {
        Ok(0) => Verdict::RetryAfter(Duration::from_millis(1)),
        Ok(1) | Err(1) => Verdict::Retry,
        Ok(_) => Verdict::Accept,
        Err(2) => Verdict::Fatal,
        Err(_) => Verdict::Retry,
    };
    // The hedger's own limit does not apply while hedging is off.
    let call = || hedger.call().timeout(Duration::from_millis(50));
    let result = match caller {
        // A caller that gives up.
        3..6 => match timeout(Duration::from_millis(2), hedger.request(launch)).await {
            Ok(result) => result,
            Err(_) => return,
        },
        _ if runs_on => call().request_detached(launch).await,
        10..14 => call().request_spawned(launch).await,
        14..18 => {
            let call = hedger.call().unhedged().timeout(Duration::from_millis(5));
            call.request(launch).await
        }
        18..30 => {
            let hints = Hints::NONE.prompt_length(seed as u32 % 6_000);
            call().hints(hints).classify(judge).request(launch).await
        }
        _ => call().classify(judge).request(launch).await,
    };
    counted.end(&result);
}

/// Counts a request as dropped unless its end is heard of.
struct Counted {
    backend: Arc<Backend>,
    ended: bool,
}

impl Counted {
    fn end(&mut self, result: &Result<hedge_tokio::Hedged<u32>, Error<u32>>) {
        self.ended = true;
        let tally = &self.backend.tally;
        Tally::count(match result {
            Ok(hedged) if hedged.outcome.accepted => {
                if hedged.outcome.hedge_won {
                    Tally::count(&tally.hedge_wins);
                }
                &tally.won
            }
            Err(Error::Timeout { .. }) => &tally.timed_out,
            _ => &tally.failed,
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.ended {
            Tally::count(&self.backend.tally.dropped);
        }
    }
}

/// An attempt: quick, slow, stuck, failing, panicking.
fn attempt_of(
    backend: Arc<Backend>,
    seed: u64,
    attempt: Attempt,
    runs_on: bool,
) -> impl Future<Output = Result<u32, u32>> + Send + 'static {
    let mut rng = SmallRng::seed_from_u64(seed ^ attempt.index() as u64);
    Tally::count(&backend.tally.started);
    let alive = Alive(backend);
    async move {
        // Moved in, so that it is dropped with the attempt.
        let alive = alive;
        match rng.random_range(0..1_000) {
            0..300 => {}
            300..900 => {
                let micros = (-1_000.0 * rng.random::<f64>().max(1e-9).ln()) as u64;
                sleep(Duration::from_micros(micros)).await;
            }
            900..970 => sleep(Duration::from_millis(rng.random_range(5..30))).await,
            // What nobody drops has to end by itself.
            970..990 if runs_on => sleep(Duration::from_millis(200)).await,
            970..990 => pending().await,
            990..993 => {
                Tally::count(&alive.0.tally.panics);
                panic!("as planned");
            }
            _ => tokio::task::yield_now().await,
        }
        let value = rng.random_range(0..60);
        if rng.random_bool(0.05) {
            Err(value)
        } else {
            Ok(value)
        }
    }
}

/// Counts the end of an attempt, finished or dropped.
struct Alive(Arc<Backend>);

impl Drop for Alive {
    fn drop(&mut self) {
        Tally::count(&self.0.tally.ended);
    }
}

/// Changes options, budget and state while requests are made.
pub(crate) async fn changes(backend: Arc<Backend>, until: Instant) {
    let mut rng = SmallRng::seed_from_u64(backend.name.len() as u64);
    let hedger = &backend.hedger;
    while Instant::now() < until {
        sleep(Duration::from_millis(rng.random_range(1..100))).await;
        let change = AssertUnwindSafe(|| match rng.random_range(0..5) {
            0 => {
                let mut options = hedger.options();
                options.max_hedges = rng.random_range(1..=3);
                options.enabled = rng.random_bool(0.9);
                options.observe_only = rng.random_bool(0.1);
                hedger.set_options(options).is_ok()
            }
            1 => {
                let budget = Budget::percent(rng.random_range(5.0..50.0)).min_per_second(5.0);
                hedger.set_budget(budget.max_in_flight(200)).is_ok()
            }
            2 => hedger.restore(&hedger.export()).is_ok(),
            3 => {
                hedger.reset();
                true
            }
            // Invalid options change nothing.
            _ => {
                let mut options = hedger.options();
                options.max_hedges = 200;
                hedger.set_options(options).is_err()
            }
        });
        if std::panic::catch_unwind(change).unwrap_or(false) {
            Tally::count(&backend.tally.changes);
        }
    }
}
