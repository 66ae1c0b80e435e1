//! A gateway that polls a sensor hub over two unreliable links: first over one at a time, then hedged.
//!
//! With the feature `fading` it polls four sensors at a time, and the first link fades for a minute; with `replicas` it learns
//! which link to use. It needs no allocator, and ends with a report: what hedging cut, what it cost, and whether that is
//! what we promise.
#![no_std]
#![no_main]

#[cfg(all(feature = "hedging", not(feature = "replicas")))]
mod hedged;
mod link;
mod plain;
#[cfg(feature = "replicas")]
mod replicas;
mod report;

use cortex_m_semihosting::hprintln;
use embassy_executor::Spawner;
use hedge_firmware::{clock, exit};
use panic_semihosting as _;
#[cfg(not(feature = "hedging"))]
use plain as hedged;
#[cfg(feature = "replicas")]
use replicas as hedged;

use crate::link::Link;
use crate::report::{POLLS, Run, compare};

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Some(core) = cortex_m::Peripherals::take() else {
        exit(false);
    };
    clock::start(core.SYST);

    hprintln!("{} polls of a sensor hub over two links, in ms:\n", POLLS);
    hprintln!("           P50    P95    P99   failed   frames");
    let links = || [Link::new(1), Link::new(2)];
    let plain = Run::of(&links(), plain::poll).await;
    plain.print("plain");
    let links = links();
    let hedged = Run::of(&links, hedged::poll).await;
    hedged.print("hedged");
    let well = compare(&plain, &hedged, &hedged::costs());
    #[cfg(feature = "fading")]
    let well = {
        links[0].set_fading(true);
        let fading = Run::of(&links, hedged::poll).await;
        fading.print("fading");
        links[0].set_fading(false);
        let after = Run::of(&links, hedged::poll).await;
        after.print("after");
        report::compare_fading(&hedged, &fading, &after, &hedged::costs()) && well
    };
    exit(well);
}
