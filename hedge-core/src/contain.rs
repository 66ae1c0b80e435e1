//! A panic in code of the user's while another one unwinds.

/// Runs `code`, which the user wrote. A request that some other panic drops tells of its end too; if the code
/// panics at that, it is caught: two panics at once end the program.
#[cfg(feature = "std")]
pub(crate) fn contain(code: impl FnOnce()) {
    use core::panic::AssertUnwindSafe;
    use std::{panic, thread};

    if thread::panicking() {
        let _ = panic::catch_unwind(AssertUnwindSafe(code));
    } else {
        code();
    }
}

/// Without std nothing can be caught.
#[cfg(not(feature = "std"))]
pub(crate) fn contain(code: impl FnOnce()) {
    code();
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use core::panic::AssertUnwindSafe;
    use core::time::Duration;
    use std::boxed::Box;
    use std::panic::{catch_unwind, resume_unwind};

    use crate::manual::ManualTimer;
    use crate::strategy::Plan;
    use crate::{Hedger, Hints, Instant, Report, Strategy};

    /// Fails over every report.
    struct Fails;

    impl Strategy for Fails {
        fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
            Plan::after(Duration::ZERO)
        }

        fn record(&mut self, _: &Report, _: Instant) {
            resume_unwind(Box::new("the strategy's"));
        }
    }

    #[test]
    fn a_strategy_that_panics_in_a_panic_is_caught() {
        // So late that what gathers in a shard is handed on.
        let clock = ManualTimer::<4>::starting_at(Instant::from_epoch(Duration::from_secs(1)));
        let local = Hedger::builder(&clock)
            .strategy(Fails)
            .build_local()
            .unwrap();
        let shared = Hedger::builder(&clock)
            .strategy(Fails)
            .build_with(crate::Sharded::new, crate::SharedBudget::new)
            .unwrap();
        macro_rules! fails_once {
            ($hedger:expr) => {
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    // Dropped while this unwinds.
                    let attempt = |_| async { resume_unwind(Box::new("the attempt's")) };
                    let _ = clock.drive($hedger.request::<_, _, (), ()>(attempt));
                }));
                let payload = unwound.unwrap_err();
                assert_eq!(payload.downcast_ref(), Some(&"the attempt's"));
                let metrics = $hedger.metrics();
                assert_eq!((metrics.total_requests, metrics.cancelled), (1, 1));
            };
        }
        fails_once!(local);
        fails_once!(shared);
    }
}
