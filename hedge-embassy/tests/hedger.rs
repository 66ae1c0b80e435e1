//! A hedger in a `static`.

use core::time::Duration;

// Its timers are those of its tasks.
use embassy_executor as _;
use hedge_embassy::metrics::NoMetrics;
use hedge_embassy::telemetry::NoSink;
use hedge_embassy::{
    Budget, Fixed, Hedger, Metrics, Options, WindowedPercentile, hedger, hedger_with,
};

/// Room for two attempts.
static PARTS: [Hedger<WindowedPercentile<64>>; 3] = [
    hedger(WindowedPercentile::with_window(20.0), Budget::percent(10.0)),
    hedger(
        WindowedPercentile::with_window(95.0),
        Budget::percent(101.0),
    ),
    hedger_with(
        WindowedPercentile::with_window(95.0),
        Budget::percent(10.0),
        {
            let mut options = Options::DEFAULT;
            options.max_hedges = 2;
            options
        },
        NoMetrics,
        NoSink,
    ),
];

#[test]
fn what_nobody_checked_can_be_checked() {
    let wrong = PARTS.each_ref().map(|hedger| match hedger.validate() {
        Ok(()) => "",
        Err(error) => error.option(),
    });
    assert_eq!(wrong, ["percentile", "budget_percent", "max_hedges"]);
}

#[test]
fn tasks_and_interrupts_may_share_one() {
    static HEDGER: Hedger<Fixed, Metrics> = hedger_with(
        Fixed::new(Duration::from_secs(1)),
        Budget::percent(10.0),
        Options::DEFAULT,
        Metrics::new(),
        NoSink,
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let request = HEDGER.request(async |_| Ok::<_, ()>(()));
                    assert!(futures_lite::future::block_on(request).is_ok());
                }
            });
        }
    });
    assert_eq!(HEDGER.metrics().total_requests, 400);
}
