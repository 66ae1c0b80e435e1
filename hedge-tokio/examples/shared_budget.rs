//! One budget for hedges and retries. When a backend breaks, a retry layer and a hedge layer multiply: three tries
//! of two attempts each are six calls for one request. With one budget for both, whatever is sent besides the requests
//! themselves is a share of them.
//!
//! ```sh
//! cargo run -p hedge-tokio --example shared_budget --features tower
//! ```

#[macro_use]
#[path = "common/print.rs"]
mod print;

use core::future::{Ready, ready};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use hedge_tokio::tower::{BoxError, Cloned, HedgeLayer};
use hedge_tokio::{Budget, Fixed, Hedger, MetricsSnapshot, SharedBudget};
use tower::retry::Policy;
use tower::{Service, ServiceBuilder, ServiceExt};

const REQUESTS: u64 = 2_000;
const RETRIES: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!(
        "{REQUESTS} requests to a backend that has broken down, retried twice, each try hedged:\n"
    );
    println!("                     calls  hedges  retries  calls per request");

    // Each layer may do as it likes.
    let apart = run(Budget::unlimited(), Budget::unlimited(), false).await?;
    // 10 % for hedges and 10 % for retries.
    let own = run(ten_percent(), ten_percent(), false).await?;
    // 10 % for both. To the hedge layer a retry is a request, which deposits as well.
    let shared = run(ten_percent(), ten_percent(), true).await?;
    for (what, run) in [
        ("no budget", &apart),
        ("a budget each", &own),
        ("one budget", &shared),
    ] {
        let Run {
            calls,
            retries,
            metrics,
        } = run;
        let ratio = *calls as f64 / REQUESTS as f64;
        println!(
            "{what:>15} {calls:>10} {:>7} {retries:>8} {ratio:>18.3}",
            metrics.hedges
        );
    }
    check(&apart, &own, &shared)
}

fn ten_percent() -> Budget {
    Budget::percent(10.0)
}

/// What happened.
struct Run {
    calls: u64,
    retries: u64,
    metrics: MetricsSnapshot,
}

/// Makes all requests through a retry layer above a hedge layer.
async fn run(hedging: Budget, retrying: Budget, share: bool) -> Result<Run, BoxError> {
    let hedging = SharedBudget::new(hedging);
    let retrying = if share {
        hedging.clone()
    } else {
        SharedBudget::new(retrying)
    };
    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .shared_budget(hedging)
        .build()?;
    let (calls, retries) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let policy = Budgeted {
        budget: retrying,
        deposits: !share,
        left: RETRIES,
        retries: retries.clone(),
    };
    let backend = {
        let calls = calls.clone();
        tower::service_fn(move |_: u64| {
            calls.fetch_add(1, Ordering::Relaxed);
            ready(Err::<u64, BoxError>("broken down".into()))
        })
    };
    let mut service = ServiceBuilder::new()
        .retry(policy)
        .layer(HedgeLayer::new(hedger.clone(), Cloned))
        .service(backend);
    for request in 0..REQUESTS {
        if service.ready().await?.call(request).await.is_ok() {
            return Err("it has not broken down".into());
        }
    }
    Ok(Run {
        calls: calls.load(Ordering::Relaxed),
        retries: retries.load(Ordering::Relaxed),
        metrics: hedger.metrics(),
    })
}

/// Retries what failed, twice, as far as the budget goes. There is a clone for every request.
#[derive(Clone)]
struct Budgeted {
    budget: SharedBudget,
    deposits: bool,
    left: u8,
    retries: Arc<AtomicU64>,
}

impl Policy<u64, u64, BoxError> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, BoxError>) -> Option<Ready<()>> {
        if result.is_ok() || self.left == 0 || self.budget.try_withdraw().is_err() {
            return None;
        }
        // A retry is a request of the layer below, which knows when it ends: no place in flight is held for it.
        self.budget.give_back(1);
        self.left -= 1;
        self.retries.fetch_add(1, Ordering::Relaxed);
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        // Asked for every try, and this is the first.
        if self.deposits && self.left == RETRIES {
            self.budget.deposit();
        }
        Some(*request)
    }
}

/// That the numbers are what they have to be.
fn check(apart: &Run, own: &Run, shared: &Run) -> Result<(), BoxError> {
    for run in [apart, own, shared] {
        if run.calls != REQUESTS + run.retries + run.metrics.hedges {
            return Err("calls are not requests, retries and hedges".into());
        }
    }
    let extra = |run: &Run| (run.calls - REQUESTS) as f64 / REQUESTS as f64;
    // Three tries of two attempts.
    let holds = apart.calls == 6 * REQUESTS && extra(own) > 0.2 && extra(shared) <= 0.12;
    if holds {
        Ok(())
    } else {
        Err("the budget does not hold".into())
    }
}
