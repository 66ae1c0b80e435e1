//! Each strategy in a few lines, with what it did.
//!
//! ```sh
//! cargo run -p hedge-tokio --example basic_usage
//! ```

#[macro_use]
#[path = "common/print.rs"]
mod print;

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::io;

use hedge_tokio::strategy::{ModelComplexity, TimeOfDay};
use hedge_tokio::{
    Attempt, Budget, ExponentialBackoff, Fixed, HedgeConfig, Hedger, Hints, Off, Outcome,
    Percentile, WorkloadAware,
};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn core::error::Error>> {
    // Not hedged: every twentieth call is slow, and its caller waits.
    let hedger = Hedger::builder().strategy(Off).build()?;
    show("off", slow(&hedger).await?);

    // A fixed delay, for tests and for latencies that never change.
    let hedger = Hedger::builder().strategy(Fixed::new(ms(30))).build()?;
    show("fixed, 30 ms", slow(&hedger).await?);

    // A percentile of the last 1000 latencies: the one to start with.
    let hedger = Hedger::builder()
        .strategy(Percentile::new(95.0).initial_delay(ms(50)))
        .budget(Budget::percent(10.0))
        .build()?;
    for _ in 0..39 {
        call(&hedger).await?;
    }
    show("percentile, after 40 calls", slow(&hedger).await?);

    // A delay that success shortens and failure lengthens, for callees with rate limits.
    let backoff = ExponentialBackoff::new()
        .base_delay(ms(40))
        .min_delay(ms(20));
    let hedger = Hedger::builder().strategy(backoff).build()?;
    show("exponential backoff", slow(&hedger).await?);

    // A delay that hints about the request scale: here × 1.5 × 2.0 × 0.7.
    let hedger = Hedger::builder()
        .strategy(WorkloadAware::base_delay(ms(10)))
        .build()?;
    let hints = Hints::NONE
        .prompt_length(1500)
        .model_complexity(ModelComplexity::Complex)
        .time_of_day(TimeOfDay::Peak);
    CALLS.store(19, Ordering::Relaxed);
    let hedged = hedger.call().hints(hints).request(service).await?;
    show("workload-aware", hedged.outcome);

    // From a config, as read from a file; one request, nothing kept.
    let config = HedgeConfig {
        max_hedges: 2,
        initial_delay: Some(20.0),
        ..HedgeConfig::default()
    };
    CALLS.store(19, Ordering::Relaxed);
    show(
        "from a config",
        hedge_tokio::request(service, &config).await?.outcome,
    );

    // A bad option says what would be right.
    let wrong = HedgeConfig {
        percentile: 120.0,
        ..HedgeConfig::default()
    };
    if let Err(error) = Hedger::from_config(&wrong) {
        println!("\na bad option: {error}");
    }
    Ok(())
}

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Takes 5 ms, and every twentieth time 300.
async fn service(_: Attempt) -> Result<&'static str, io::Error> {
    let slow = CALLS.fetch_add(1, Ordering::Relaxed) % 20 == 19;
    sleep(ms(if slow { 300 } else { 5 })).await;
    Ok("answer")
}

async fn call(hedger: &Hedger) -> Result<Outcome, hedge_tokio::Error<io::Error>> {
    Ok(hedger.request(service).await?.outcome)
}

/// A call whose primary is the slow one.
async fn slow(hedger: &Hedger) -> Result<Outcome, hedge_tokio::Error<io::Error>> {
    CALLS.store(19, Ordering::Relaxed);
    call(hedger).await
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn show(what: &str, outcome: Outcome) {
    let latency = outcome.total_latency;
    print!(
        "{what:<28} {latency:>8.1?}, {} attempt(s), cost {}",
        outcome.attempts, outcome.cost
    );
    match (outcome.hedge_delay, outcome.suppressed) {
        (_, Some(reason)) => println!(", not hedged: {reason}"),
        (Some(delay), None) => println!(
            ", hedged after {delay:.1?}, hedge won: {}",
            outcome.hedge_won
        ),
        (None, None) => println!(", hedged, hedge won: {}", outcome.hedge_won),
    }
}
