//! When to hedge.
//!
//! A [`Strategy`] answers one question, [`plan`](Strategy::plan), and is given the record of every
//! request, [`record`](Strategy::record). It holds no clock, no lock and no future, so that the same code
//! decides in production, on a microcontroller and in a simulation.
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
//! A builder takes it like a built-in one. Its kind is [`Custom`](crate::StrategyKind::Custom). Mind the following:
//!
//! - A primary that was dropped, because its hedge won or its caller left, would have taken longer than its
//!   [`Sample::Dropped`] says. A strategy that leaves such samples out, or takes them for latencies, loses the slow end
//!   of the distribution. A primary that failed says little about how long an answer takes.
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

/// Decides when to hedge, and learns from what came of it.
///
/// Every method is called under the hedger's lock: it must be short, and must not call back into the
/// hedger.
pub trait Strategy {
    /// When to hedge the next request, given what its caller says about it. Asked once a request, and
    /// only if the primary is not ready at once.
    fn plan(&mut self, hints: &Hints, now: Instant) -> Plan;

    /// Learns from a request that has ended. Requests of other tasks may have been planned and recorded since
    /// this one was planned.
    fn record(&mut self, record: &Record) {
        let _ = record;
    }

    /// Learns from requests in the order in which they ended. Servers gather requests and call this; override it
    /// where that is cheaper than one [`record`](Self::record) after the other, to the same effect.
    fn record_batch(&mut self, records: &[Record]) {
        for record in records {
            self.record(record);
        }
    }

    /// Whether [`record`](Self::record) makes a difference. If it does not, requests need not be timed.
    fn learns(&self) -> bool {
        true
    }

    /// How long an attempt usually takes, if that is known. A hedge that would have less time than
    /// this is not started.
    fn typical_latency(&self) -> Option<Duration> {
        None
    }

    /// The share of hedges, 0 to 1, that would win if a hedge took as long as any attempt does, however slow
    /// its primary is; absent if that is not known. The guard takes it for what hedges promise.
    fn expected_win_rate(&self) -> Option<f32> {
        None
    }

    /// The share of requests, 0 to 1, that the strategy means to pass its delay; `None` if it does not aim at one. More
    /// than three times as many are taken for a backend that has become slow: see
    /// [`Budget`](crate::Budget#the-surge-gate).
    fn planned_pass_rate(&self) -> Option<f32> {
        None
    }

    /// Whether the guard watches hedges unless an option says otherwise. Not where the strategy itself sees
    /// to it that hedges which do not help fade out.
    fn guard_by_default(&self) -> bool {
        self.learns()
    }

    /// Forgets what was learned.
    fn reset(&mut self) {}

    /// Returns a strategy with the same options that has learned nothing, for the requests with another
    /// key of the same hedger. By default `None`: then all requests share this strategy, whatever their keys.
    ///
    /// A strategy that is `Clone` clones and resets itself.
    fn fresh(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Writes down what was learned, to be kept over a restart; all that [`restore`](Self::restore)
    /// needs.
    ///
    /// The columns of built-in strategies have units in their names. A latency that is negative is a
    /// bound: the attempt was dropped after so long.
    fn export(&self, columns: &mut dyn WriteColumns, now: Instant) {
        let _ = (columns, now);
    }

    /// Takes what was written down in place of what was learned. Options stay; where they differ from
    /// those of then, as much is taken as fits. All samples count as new.
    ///
    /// # Errors
    ///
    /// Names the first column that is missing or invalid; then nothing is changed.
    fn restore(&mut self, columns: &dyn ReadColumns, now: Instant) -> Result<(), RestoreError> {
        let _ = (columns, now);
        Ok(())
    }

    /// Which kind of strategy this is.
    fn kind(&self) -> StrategyKind {
        StrategyKind::Custom
    }

    /// Checks the options of the strategy. `build()` calls it.
    ///
    /// # Errors
    ///
    /// Names the first invalid option.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// The methods of a strategy that leaves them to another one, `$get` or by exclusive reference `$get_mut`. Methods
/// named after `except` are left out, for the caller to write.
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
        forward!($self => $get, $get_mut; except plan, kind, record);
    };
    ($self:ident => $get:expr, $get_mut:expr; except plan, kind, record) => {
        fn learns(&$self) -> bool {
            $get.learns()
        }
        fn typical_latency(&$self) -> Option<Duration> {
            $get.typical_latency()
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

/// [`Strategy::fresh`] of a strategy that is `Clone`.
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
