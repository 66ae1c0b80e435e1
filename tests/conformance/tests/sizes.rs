//! How large things are: firmware counts bytes, and servers hold a request for every task.

use core::mem::{size_of, size_of_val};
use core::time::Duration;

use hedge_core::adapter::{Sharded, SharedBudget};
use hedge_core::manual::ManualTimer;
use hedge_core::metrics::NoMetrics;
use hedge_core::{Fixed, Hedger, LocalHedger, WindowedPercentile};
use hedge_tokio::TokioTimer;

#[test]
fn a_small_hedger_fits_in_a_kibibyte() {
    type Small<'c> = LocalHedger<&'c ManualTimer<4>, WindowedPercentile<64>, NoMetrics>;
    assert!(
        size_of::<Small<'_>>() <= 1024,
        "{} bytes",
        size_of::<Small<'_>>()
    );
}

/// An attempt of 200 bytes.
async fn attempt() -> Result<u64, u64> {
    let held = [0_u8; 199];
    core::future::pending::<()>().await;
    Ok(held.len() as u64)
}

/// Two attempts and what surrounds them.
const MOST: usize = 2 * 200 + 256;

#[test]
fn the_attempts_measured_are_large_enough() {
    assert!(
        (193..=200).contains(&size_of_val(&attempt())),
        "{}",
        size_of_val(&attempt())
    );
}

#[test]
fn a_request_is_little_more_than_its_attempts() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock).build_local().unwrap();
    let size = size_of_val(&hedger.request(|_| attempt()));
    assert!(size <= MOST, "{size} bytes");
}

#[test]
fn a_request_on_tokio_is_little_more_than_its_attempts() {
    let hedger = Hedger::builder(TokioTimer::new())
        .strategy(Fixed::new(Duration::ZERO))
        .build_with(Sharded::new, SharedBudget::new)
        .unwrap();
    let size = size_of_val(&hedger.request(|_| attempt()));
    // A sleep of tokio is 88 bytes longer than one of the virtual clock.
    let most = MOST + size_of::<tokio::time::Sleep>();
    assert!(size <= most, "{size} bytes");
}
