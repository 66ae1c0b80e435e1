//! Request hedging without a runtime: when an attempt is slow, start another one and use whichever
//! succeeds first.
//!
//! This crate is `no_std`, needs no allocator and has no `unsafe` code. Servers use `hedge-tokio`
//! or `hedge-async-std`, and firmware uses `hedge-embassy`: those crates provide the types of this
//! one with a timer for their runtime.
//!
//! ```
//! use core::time::Duration;
//! use hedge_core::manual::ManualTimer;
//! use hedge_core::{Budget, Hedger, Percentile};
//!
//! let clock = ManualTimer::<8>::new();
//! let hedger = Hedger::builder(&clock)
//!     .strategy(Percentile::new(95.0).initial_delay(Duration::from_millis(100)))
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
//! | [`_guide`] | choosing a strategy, sizing a budget, replicas, streams, testing, firmware, browsers |
//! | [`strategy`] | when to hedge, and how to write a strategy |
//! | [`Budget`] | what hedges may cost |
//! | [`HedgeConfig`] | every option, from a file |
//! | [`replicas`] | which replica each attempt goes to |
//! | [`manual`] | testing your own code on a virtual clock |
//! | [`stream`] | attempts that open streams: the first item wins |
//! | [`cascade`] | several providers, one after the other |
//! | [`metrics`] | counters, latencies, and the effect of hedging |
//! | [`telemetry`] | events |
//! | [`FixedRegistry`], [`runtime::Registry`] | one hedger for each of many backends |
//! | `experiment` (features `alloc`, `serde`) | experiments in a file, and pipelines that run them |
//! | [`reliability`] | what is promised, what is not, and which test holds it |
//! | [`adapter`] | what a runtime adapter, a simulation or a custom recorder builds on |
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod _guide;
pub mod adapter;
mod attempt;
#[cfg(feature = "alloc")]
mod boxed;
pub mod cascade;
mod config;
mod error;
#[cfg(all(feature = "alloc", feature = "serde"))]
pub mod experiment;
mod hedger;
mod lock;
pub mod manual;
pub mod metrics;
mod name;
mod outcome;
mod panics;
mod race;
mod random;
mod record;
mod replica_id;
#[doc = include_str!("_guide/reliability.md")]
pub mod reliability {}
pub mod replicas;
mod request;
#[cfg(feature = "std")]
pub mod runtime;
pub mod strategy;
pub mod stream;
#[cfg(feature = "std")]
mod sync;
pub mod telemetry;
mod time;
mod window;

pub use attempt::{Attempt, ByAttempt, ByResult, Cause, Classify, Verdict};
#[cfg(feature = "alloc")]
pub use boxed::BoxError;
pub use config::{HedgeConfig, Overrides};
pub use error::ConfigError;
pub use hedger::{Budget, Builder, FixedRegistry, Hedger, InsertError, LocalHedger, Options};
pub use metrics::{Metrics, MetricsSnapshot};
pub use name::Name;
pub use outcome::{Error, Hedged, Outcome, StrategyKind, Suppressed};
pub use record::Record;
pub use request::Call;
pub use strategy::{
    Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Hints, Off, OnFailure, Optimal, Percentile,
    Strategy, WindowedPercentile, WorkloadAware,
};
pub use telemetry::{Event, Sink};
pub use time::{Instant, Timer};
