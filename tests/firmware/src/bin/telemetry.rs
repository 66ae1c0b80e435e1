//! A hedger that tells by defmt what it does: one request that is hedged, and one that is not answered.
#![no_std]
#![no_main]

use core::future::pending;
use core::time::Duration;

use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_time::Timer;
use hedge_embassy::metrics::NoMetrics;
use hedge_embassy::{
    Attempt, Budget, DefmtSink, Fixed, Hedger, Logged, Name, Options, hedger_with,
};
use hedge_firmware::{clock, exit};
use panic_semihosting as _;

const OPTIONS: Options = {
    let mut options = Options::DEFAULT;
    options.timeout = Some(Duration::from_millis(50));
    options
};

static HEDGER: Hedger<Fixed, NoMetrics, DefmtSink> = hedger_with(
    Fixed::new(Duration::from_millis(20)),
    Budget::percent(10.0),
    OPTIONS,
    NoMetrics,
    DefmtSink,
)
.named(Name::truncated("sensor-hub"));

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Some(core) = cortex_m::Peripherals::take() else {
        exit(false);
    };
    clock::start(core.SYST);

    match HEDGER.request(stuck_at_first).await {
        Ok(hedged) => defmt::info!("{=str}: {}", hedged.value, Logged(&hedged.outcome)),
        Err(_) => exit(false),
    }
    match HEDGER
        .request(async |_| pending::<Result<(), u8>>().await)
        .await
    {
        Ok(_) => exit(false),
        Err(error) => defmt::warn!("{}", Logged(&error)),
    }
    exit(true);
}

async fn stuck_at_first(attempt: Attempt) -> Result<&'static str, u8> {
    if !attempt.is_hedge() {
        pending::<()>().await;
    }
    Timer::after_millis(5).await;
    Ok("21 degrees")
}
