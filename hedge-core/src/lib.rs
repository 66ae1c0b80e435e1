//! Request hedging without a runtime: when an attempt is slow, start another and use whichever
//! succeeds first.
//!
//! `no_std`, no allocator, no `unsafe`. Servers use `hedge-tokio` or `hedge-async-std`, firmware uses
//! `hedge-embassy`; each names the types here for its runtime.
//!
//! ```
//! use core::time::Duration;
//! use hedge_core::manual::ManualTimer;
//! use hedge_core::{Budget, Hedger, Percentile};
//!
//! let clock = ManualTimer::<8>::new();
//! let hedger = Hedger::builder(&clock)
//!     .strategy(Percentile::new(95.0))
//!     .budget(Budget::percent(10.0))
//!     .build_local()?;
//! let hedged = clock.drive(hedger.request(|attempt| {
//!     let clock = &clock;
//!     async move {
//!         // The primary is stuck; the hedge is not.
//!         clock.sleep(Duration::from_millis(if attempt.is_hedge() { 5 } else { 900 })).await;
//!         Ok::<_, ()>("answer")
//!     }
//! })).unwrap();
//! assert!(hedged.outcome.hedge_won);
//! # Ok::<(), hedge_core::ConfigError>(())
//! ```
//!
//! Where to look:
//!
//! | module | for |
//! |---|---|
//! | [`_guide`] | choosing a strategy, sizing a budget, testing, firmware, browsers |
//! | [`strategy`] | when to hedge, and how to write a strategy |
//! | [`Budget`] | what hedges may cost |
//! | [`HedgeConfig`] | every option, from a file |
//! | [`manual`] | testing your own code on a virtual clock |
//! | [`cascade`] | several providers, one after the other |
//! | [`telemetry`] | events |
//! | [`FixedRegistry`], [`face::Registry`] | one hedger for each of many backends |
//! | `stage` (features `alloc`, `serde`) | experiments in a file, and pipelines that run them |
//! | [`reliability`] | what is promised, what is not, and which test holds it |
//! | [`race`](mod@race), [`ledger`] | how it works, and what a runtime adapter builds on |
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod _guide;
mod attempt;
#[cfg(feature = "alloc")]
mod boxed;
mod budget;
mod builder;
mod call;
pub mod cascade;
mod config;
mod contain;
mod dist;
mod error;
#[cfg(feature = "std")]
pub mod face;
mod gate;
mod guard;
mod hedger;
mod histogram;
pub mod ledger;
mod lock;
pub mod manual;
mod metrics;
mod name;
mod options;
mod outcome;
mod pace;
mod policy;
pub mod race;
mod registry;
#[doc = include_str!("reliability.md")]
pub mod reliability {}
mod report;
mod request;
#[cfg(feature = "std")]
mod sharded;
mod slots;
#[cfg(all(feature = "alloc", feature = "serde"))]
pub mod stage;
pub mod strategy;
#[cfg(feature = "std")]
mod sync;
pub mod telemetry;
mod terms;
mod time;
mod timer;
mod trace;
#[cfg(all(feature = "alloc", feature = "serde"))]
mod value;
mod window;

pub use attempt::{Attempt, ByResult, Cause, Classify, Verdict};
#[cfg(feature = "alloc")]
pub use boxed::BoxError;
pub use budget::{Budget, Charge};
pub use builder::Builder;
pub use call::Call;
pub use config::{HedgeConfig, Overrides, Settings};
pub use error::ConfigError;
pub use hedger::{Hedger, LocalHedger};
pub use histogram::Histogram;
pub use ledger::{Ledger, State};
pub use lock::Lock;
pub use metrics::{Metrics, MetricsSnapshot, NoMetrics, Recorder};
pub use name::Name;
pub use options::Options;
pub use outcome::{Error, Hedged, Outcome, StrategyKind, Suppressed};
pub use pace::Pace;
pub use policy::{Ask, Policy};
pub use registry::{FixedRegistry, InsertError};
pub use report::{Alone, End, Report, Sample};
pub use request::Request;
#[cfg(feature = "std")]
pub use sharded::{Sharded, SharedBudget};
pub use slots::{Capacity, Max, Nil, Slot, Slots};
pub use strategy::{
    Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Hints, Off, Optimal, Percentile, Strategy,
    WorkloadAware,
};
pub use telemetry::{Event, EventKind, NoSink, Sink};
pub use terms::{Standing, Terms};
pub use time::Instant;
pub use timer::Timer;
