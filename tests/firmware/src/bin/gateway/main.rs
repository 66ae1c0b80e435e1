//! A gateway that polls a sensor hub over two unreliable links: first over one at a time, then hedged.
//!
//! It needs no allocator, and ends with a report: what hedging cut, what it cost, and whether that is
//! what we promise.
#![no_std]
#![no_main]

#[cfg(feature = "hedging")]
mod hedged;
mod link;
mod plain;
mod report;

use cortex_m_semihosting::hprintln;
use embassy_executor::Spawner;
use hedge_firmware::{clock, exit};
use panic_semihosting as _;
#[cfg(not(feature = "hedging"))]
use plain as hedged;

use crate::report::{POLLS, Run, compare};

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Some(core) = cortex_m::Peripherals::take() else {
        exit(false);
    };
    clock::start(core.SYST);

    hprintln!("{} polls of a sensor hub over two links, in ms:\n", POLLS);
    hprintln!("           P50    P95    P99   failed   frames");
    let plain = Run::of(plain::poll).await;
    plain.print("plain");
    let hedged = Run::of(hedged::poll).await;
    hedged.print("hedged");
    exit(compare(&plain, &hedged, &hedged::costs()));
}
