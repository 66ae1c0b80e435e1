//! When to hedge.
//!
//! A [`Strategy`] plans each request ([`plan`](Strategy::plan)) and receives the record of each one that has ended
//! ([`record`](Strategy::record)). It holds no clock, no lock and no future, so that the same code decides in
//! production, on a microcontroller and in a simulation.
//!
//! | strategy | hedges | use it |
//! |---|---|---|
//! | [`Off`] | never | to switch hedging off by config |
//! | [`Fixed`] | after a set delay | in tests, or where the latency is known and steady |
//! | [`Percentile`] | at a percentile of recent latencies | by default |
//! | [`WindowedPercentile`] | at a percentile of exactly the last latencies | on microcontrollers, and in tests |
//! | [`Adaptive`] | after the best of a few delays, found by trying | where a hedge has a price and traffic changes |
//! | [`Optimal`] | after the delay, and with the chance, that lower one percentile most | where a tail matters and its price is set |
//! | [`WorkloadAware`] | after a delay scaled by hints about the request | where requests differ by size |
//! | [`ExponentialBackoff`] | after a delay that success shortens and failure lengthens | against rate limits |
//! | [`OnFailure`] | only when an attempt has failed | for retries alone |
//!
//! A custom strategy is a struct with two methods:
//!
//! ```
//! use core::time::Duration;
//! use hedge_core::strategy::{Plan, Strategy};
//! use hedge_core::strategy::Sample;
//! use hedge_core::{Hints, Instant, Record};
//!
//! /// Hedges at twice the smallest latency seen.
//! #[derive(Debug, Default)]
//! struct TwiceTheBest(Option<Duration>);
//!
//! impl Strategy for TwiceTheBest {
//!     fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
//!         Plan::after(self.0.map_or(Duration::from_millis(100), |best| best * 2))
//!     }
//!
//!     fn record(&mut self, record: &Record) {
//!         if let Sample::Finished(latency) = record.primary() {
//!             self.0 = Some(self.0.map_or(latency, |best| best.min(latency)));
//!         }
//!     }
//! }
//!
//! // A strategy can be tested without a hedger.
//! let mut strategy = TwiceTheBest::default();
//! strategy.record(&Record::new(Sample::Finished(Duration::from_millis(8))));
//! let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
//! assert_eq!(plan.delay(), Some(Duration::from_millis(16)));
//! ```
//!
//! A builder accepts it like a built-in one. Its kind is [`Custom`](crate::StrategyKind::Custom). Note the following:
//!
//! - A primary that was dropped, because its hedge won or its caller left, would have taken longer than its
//!   [`Sample::Dropped`] states. A strategy that omits such samples, or treats them as latencies, loses the tail of the
//!   distribution. A primary that failed says little about how long an answer takes.
//! - While there are too few samples, return [`Plan::never`] with
//!   [`Suppressed::WarmingUp`](crate::Suppressed::WarmingUp).
//! - If a plan changes only with what is recorded, make it [`reusable`](Plan::reusable): servers then plan without the
//!   hedger's lock.
//! - The other methods of the trait have defaults. Implement [`export`](Strategy::export) and
//!   [`restore`](Strategy::restore) to keep what was learned over a restart, and [`reset`](Strategy::reset) to forget it.

use core::time::Duration;

mod adaptive;
mod any;
mod backoff;
mod choice;
mod columns;
mod fixed;
mod hints;
#[cfg(feature = "alloc")]
mod learned;
mod memory;
mod optimal;
mod percentile;
mod plan;
mod recent;
mod warmup;
mod window;
mod workload;

pub use adaptive::{Adaptive, AdaptiveStats, ArmStats, DelayCandidates};
pub use any::{AnyInner, AnyStrategy};
pub use backoff::{BackoffStats, ExponentialBackoff};
pub use columns::{ReadColumns, RestoreError, WriteColumns};
pub use fixed::{Fixed, Off, OnFailure};
pub(crate) use hints::HintsClass;
pub use hints::{Hints, ModelComplexity, Priority, TimeOfDay};
#[cfg(feature = "alloc")]
pub use learned::{Learned, LearnedMerge};
pub use optimal::{Optimal, OptimalStats};
pub use percentile::{Percentile, PercentileStats, WindowedPercentile};
pub use plan::Plan;
pub use warmup::Warmup;
pub use workload::WorkloadAware;

pub use crate::record::{RequestEnd, Sample};

use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::record::Record;
use crate::time::Instant;

/// Decides when to hedge, and learns from the results.
///
/// Every method is called under the hedger's lock: it must be short, and must not call back into the
/// hedger.
pub trait Strategy {
    /// Returns the plan of the next request, given its caller's hints. Called at most once per request, and only if the
    /// primary is not ready when first polled.
    fn plan(&mut self, hints: &Hints, now: Instant) -> Plan;

    /// Learns from a request that has ended. Requests of other tasks may have been planned and recorded since
    /// this one was planned.
    fn record(&mut self, record: &Record) {
        let _ = record;
    }

    /// Learns from requests in the order in which they ended. Servers collect requests in batches and call this method.
    /// Override it if that is cheaper than calling [`record`](Self::record) for each request; the effect must be the
    /// same.
    fn record_batch(&mut self, records: &[Record]) {
        for record in records {
            self.record(record);
        }
    }

    /// Returns whether [`record`](Self::record) has any effect. If not, requests need not be timed.
    fn learns(&self) -> bool {
        true
    }

    /// Returns how long an attempt of a request with these hints usually takes, if that is known. A hedge with less time
    /// than this before its deadline is not started.
    ///
    /// The length of the prompt is rounded down to the steps of [`Hints::prompt_length`].
    fn typical_latency(&self, hints: &Hints) -> Option<Duration> {
        let _ = hints;
        None
    }

    /// Returns the share of hedges, 0 to 1, that would win if a hedge took as long as any other attempt, however slow
    /// its primary is; `None` if that is unknown. The guard compares the results of hedges with it.
    fn expected_win_rate(&self) -> Option<f32> {
        None
    }

    /// Returns the share of requests, 0 to 1, that the strategy plans to pass its delay; `None` if it plans none. If
    /// more than three times as many pass, the backend counts as slow: see [`Budget`](crate::Budget#the-surge-gate).
    fn planned_pass_rate(&self) -> Option<f32> {
        None
    }

    /// Returns whether the guard is on unless the option `guard` is set. Return false if the strategy itself hedges
    /// less when hedges do not help.
    fn guard_by_default(&self) -> bool {
        self.learns()
    }

    /// Forgets what was learned.
    fn reset(&mut self) {}

    /// Returns a strategy with the same options that has learned nothing, for another key of the same hedger. The
    /// default is `None`, so that requests with all keys share this strategy.
    ///
    /// If the strategy is `Clone`, return a clone that was reset.
    fn fresh(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Writes what was learned, in the form that [`restore`](Self::restore) reads after a restart.
    ///
    /// The columns of built-in strategies have units in their names. A negative latency is a lower bound: the attempt
    /// was dropped after this time.
    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        let _ = (columns, now);
    }

    /// Replaces what was learned by what was exported. Options do not change; if they differ from those at the export,
    /// as much as fits is restored. All samples count as new.
    ///
    /// # Errors
    ///
    /// Returns the first column that is missing or invalid. Nothing is changed in this case.
    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        let _ = (columns, now);
        Ok(())
    }

    /// Returns the kind of the strategy.
    fn kind(&self) -> StrategyKind {
        StrategyKind::Custom
    }

    /// Validates the options of the strategy. Builders call this.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// Implements the methods of a strategy by forwarding them to another one: `$get`, or `$get_mut` for exclusive access.
/// Methods listed after `except` are left out.
macro_rules! forward {
    ($self:ident => $get:expr, $get_mut:expr) => {
        fn plan(&mut $self, hints: &Hints, now: Instant) -> Plan {
            $get_mut.plan(hints, now)
        }
        fn kind(&$self) -> StrategyKind {
            $get.kind()
        }
        fn record(&mut $self, record: &Record) {
            $get_mut.record(record);
        }
        fn record_batch(&mut $self, records: &[Record]) {
            $get_mut.record_batch(records);
        }
        fn typical_latency(&$self, hints: &Hints) -> Option<Duration> {
            $get.typical_latency(hints)
        }
        forward!($self => $get, $get_mut; except plan, kind, record, typical_latency);
    };
    ($self:ident => $get:expr, $get_mut:expr; except plan, kind, record, typical_latency) => {
        fn learns(&$self) -> bool {
            $get.learns()
        }
        fn expected_win_rate(&$self) -> Option<f32> {
            $get.expected_win_rate()
        }
        fn planned_pass_rate(&$self) -> Option<f32> {
            $get.planned_pass_rate()
        }
        fn guard_by_default(&$self) -> bool {
            $get.guard_by_default()
        }
        fn reset(&mut $self) {
            $get_mut.reset();
        }
        fn export(&$self, columns: &mut dyn WriteColumns, now: Instant) {
            $get.export(columns, now);
        }
        fn restore(&mut $self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
            $get_mut.restore(columns, now)
        }
        fn validate(&$self) -> Result<(), ConfigError> {
            $get.validate()
        }
    };
}

pub(crate) use forward;

/// Implements [`Strategy::fresh`] for a strategy that is `Clone`.
macro_rules! fresh_clone {
    () => {
        fn fresh(&self) -> Option<Self> {
            let mut strategy = self.clone();
            strategy.reset();
            Some(strategy)
        }
    };
}

pub(crate) use fresh_clone;

impl<S: Strategy + ?Sized> Strategy for &mut S {
    forward!(self => (**self), (**self));
}

#[cfg(feature = "alloc")]
impl<S: Strategy + ?Sized> Strategy for alloc::boxed::Box<S> {
    forward!(self => (**self), (**self));
}
