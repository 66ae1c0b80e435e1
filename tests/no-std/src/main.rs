//! Links `hedge-core` with neither `std` nor an allocator, and runs it: a dependency that pulls in either
//! one fails here ("duplicate lang item", "no global memory allocator").
#![no_std]
#![no_main]

use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::{Budget, Hedger, WindowedPercentile};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The prebuilt `core` refers to the unwinder's entry point; with `panic = "abort"` nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[link(name = "c")]
unsafe extern "C" {}

/// 0 if hedging works: every tenth primary is stuck, and once there are samples no request takes long.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let clock = ManualTimer::<8>::new();
    let builder = Hedger::builder(&clock)
        .strategy(
            WindowedPercentile::with_window::<64>(80.0).initial_delay(Duration::from_millis(20)),
        )
        .budget(Budget::percent(20.0))
        .attempts::<3>()
        .max_hedges(2);
    let Ok(hedger) = builder.build_local() else {
        return 1;
    };
    for n in 0..1000_u64 {
        let hedged = clock.drive(hedger.request(|attempt| {
            let stuck = n % 10 == 9 && !attempt.is_hedge();
            let latency = Duration::from_millis(if stuck { 900 } else { 10 + n % 5 });
            let clock = &clock;
            async move {
                clock.sleep(latency).await;
                Ok::<_, ()>(attempt.index())
            }
        }));
        let Ok(hedged) = hedged else { return 2 };
        if n > 100 && hedged.outcome.total_latency > Duration::from_millis(100) {
            return 3;
        }
    }
    let metrics = hedger.metrics();
    i32::from(metrics.hedge_wins != 100 || hedger.in_flight() != 0)
}
