//! A hedger in a `static`: on a host here, and in the same words on a microcontroller.
use hedge_embassy::{Attempt, Budget, Hedger, WindowedPercentile, hedger};

static HEDGER: Hedger<WindowedPercentile<64>> =
    hedger(WindowedPercentile::with_window(95.0), Budget::percent(10.0));
async fn poll(link: Attempt) -> Result<usize, ()> {
    let stuck = !link.is_hedge();
    embassy_time::Timer::after_millis(if stuck { 900 } else { 5 }).await;
    Ok(link.index())
}
#[embassy_executor::main]
async fn main(_spawner: embassy_executor::Spawner) {
    println!("{:?}", HEDGER.request(poll).await);
    std::process::exit(0); // the executor would run for ever
}
