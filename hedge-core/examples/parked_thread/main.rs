//! A runtime made of std alone: `cargo run -p hedge-core --example parked_thread --features std`
//!
//! The timer is all that hedge asks of a runtime. `tests/conformance/tests/parked_thread.rs` runs the whole suite on this
//! one.

mod timer;

use core::time::Duration;

use futures_lite::future::block_on;
use hedge_core::{Fixed, Timer, runtime};
use timer::ParkedThread;

/// As `hedge-tokio` and `hedge-async-std` name it for their runtimes.
type Hedger<const MAX: usize = 4> = runtime::Hedger<ParkedThread, MAX>;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .build()?;
    let hedged = block_on(hedger.request(|attempt| async move {
        // The primary is stuck; the hedge is not.
        sleep(if attempt.is_hedge() { 5 } else { 500 }).await;
        Ok::<_, std::io::Error>("answer")
    }))?;
    println!("{} after {:?}", hedged.value, hedged.outcome.total_latency);
    Ok(())
}

async fn sleep(millis: u64) {
    let timer = ParkedThread::default();
    timer
        .sleep_until(timer.now() + Duration::from_millis(millis))
        .await;
}
