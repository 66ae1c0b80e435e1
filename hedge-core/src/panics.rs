//! Panics in user code that runs while another panic unwinds.

/// Runs `code`, which calls into user code. If the thread is already unwinding, a panic of `code`
/// is caught. A request that is dropped by a panic still reports its end, and a second panic at
/// that point would abort the program.
#[cfg(feature = "std")]
pub(crate) fn catch_nested_panic(code: impl FnOnce()) {
    use core::panic::AssertUnwindSafe;
    use std::{panic, thread};

    if thread::panicking() {
        let _ = panic::catch_unwind(AssertUnwindSafe(code));
    } else {
        code();
    }
}

/// Runs `code`. Without `std`, panics cannot be caught.
#[cfg(not(feature = "std"))]
pub(crate) fn catch_nested_panic(code: impl FnOnce()) {
    code();
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use core::cell::RefCell;
    use core::panic::AssertUnwindSafe;
    use core::time::Duration;
    use std::boxed::Box;
    use std::panic::{catch_unwind, resume_unwind};

    use crate::hedger::{
        Admitted, HedgeQuery, Hedger, HedgerFlags, Policy, Refusal, RequestPlan, SharedState,
    };
    use crate::manual::ManualTimer;
    use crate::metrics::MetricsSnapshot;
    use crate::record::{Group, Record};
    use crate::strategy::{Hints, Plan, Strategy};
    use crate::time::Instant;

    /// A strategy that panics on every record.
    struct PanickingStrategy;

    impl Strategy for PanickingStrategy {
        fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
            Plan::after(Duration::ZERO)
        }

        fn record(&mut self, _: &Record) {
            resume_unwind(Box::new("the strategy's"));
        }
    }

    /// A custom shared state.
    struct Custom<L>(L);

    impl<L: SharedState> SharedState for Custom<L> {
        type Strategy = L::Strategy;
        type Metrics = L::Metrics;

        fn flags(&self) -> HedgerFlags {
            self.0.flags()
        }

        fn limit(&self) -> u64 {
            self.0.limit()
        }

        fn max_pushback(&self) -> u64 {
            self.0.max_pushback()
        }

        fn request_plan(&self, hints: &Hints, now: Instant) -> RequestPlan {
            self.0.request_plan(hints, now)
        }

        fn may_hedge(&self, query: &HedgeQuery) -> Result<Admitted, Refusal> {
            self.0.may_hedge(query)
        }

        fn give_back_probe(&self, retry: bool) {
            self.0.give_back_probe(retry);
        }

        fn draw_group(&self) -> Option<Group> {
            self.0.draw_group()
        }

        fn record(&self, record: &Record) {
            self.0.record(record);
        }

        fn count(&self, record: &Record) {
            self.0.count(record);
        }

        fn next_id(&self) -> u64 {
            self.0.next_id()
        }

        fn edit<R>(&self, now: Instant, f: impl FnOnce(&mut Policy<Self::Strategy>) -> R) -> R {
            self.0.edit(now, f)
        }

        fn metrics(&self, now: Instant) -> MetricsSnapshot {
            self.0.metrics(now)
        }

        fn reset_metrics(&self, now: Instant) {
            self.0.reset_metrics(now);
        }
    }

    #[test]
    fn a_strategy_that_panics_in_a_panic_is_caught() {
        // This time is late enough that the shard flushes its pending records.
        let clock = ManualTimer::<4>::starting_at(Instant::from_epoch(Duration::from_secs(1)));
        let local = Hedger::builder(&clock)
            .strategy(PanickingStrategy)
            .build_local()
            .unwrap();
        let shared = Hedger::builder(&clock)
            .strategy(PanickingStrategy)
            .build_with(
                crate::runtime::sharded::Sharded::new,
                crate::runtime::sharded::SharedBudget::new,
            )
            .unwrap();
        macro_rules! fails_once {
            ($hedger:expr) => {
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    // This future is dropped while the panic unwinds.
                    let attempt = |_| async { resume_unwind(Box::new("the attempt's")) };
                    let _ = clock.drive($hedger.request::<_, _, (), ()>(attempt));
                }));
                let payload = unwound.unwrap_err();
                assert_eq!(payload.downcast_ref(), Some(&"the attempt's"));
                let metrics = $hedger.metrics();
                assert_eq!((metrics.total_requests, metrics.cancelled), (1, 1));
            };
        }
        let own = Hedger::builder(&clock)
            .strategy(PanickingStrategy)
            .build_with(|state| Custom(RefCell::new(state)), RefCell::new)
            .unwrap();
        fails_once!(local);
        fails_once!(shared);
        fails_once!(own);
    }
}
