//! Cut tail latency on smol, on async-std and in browsers: when a request is slow, start another and use
//! whichever succeeds first.
//!
//! ```
//! use hedge_async_std::{Budget, Hedger, Percentile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
//! let hedger = Hedger::builder()
//!     .strategy(Percentile::new(95.0)) // hedge the slowest 5 %,
//!     .budget(Budget::percent(10.0)) // and no more than 10 %, bursts aside
//!     .build()?;
//!
//! let replicas = ["a", "b"];
//! let hedged = hedger.request(|attempt| fetch(replicas[attempt.index() % 2])).await?;
//! println!("{} after {:?}", hedged.value, hedged.outcome.total_latency);
//! # Ok(())
//! # }) }
//! # async fn fetch(replica: &'static str) -> Result<&'static str, std::io::Error> { Ok(replica) }
//! ```
//!
//! A [`Hedger`] is made once for each backend, and cloned or borrowed wherever that is called. Attempts
//! run inside the caller's task, may borrow from it, and are dropped the moment another wins. **Hedge only
//! what is idempotent**: more than one attempt may reach the backend.
//!
//! | to | use |
//! |---|---|
//! | choose, size and test, page by page | [`_guide`] |
//! | decide when to hedge | [`strategy`]; [`Percentile`] unless there is a reason |
//! | bound what it costs | [`Budget`], [`SharedBudget`] |
//! | read options from a file | [`HedgeConfig`], [`Hedger::from_config`](hedge_core::runtime::Hedger::from_config) |
//! | treat some `Ok` as failures | [`Hedger::call`](hedge_core::runtime::Hedger::call), [`Call::classify`](hedge_core::Call::classify) |
//! | make attempts tasks of their own | [your executor's `spawn`](#tasks) |
//! | have a hedger for each of many backends | [`Registry`] |
//! | ask several providers in turn | [`cascade`] |
//! | run an experiment from a file | `stage` (feature `serde`) |
//! | see what it did | [`Outcome`], [`Hedger::metrics`](hedge_core::runtime::Hedger::metrics) |
//!
//! # Runtimes
//!
//! Natively the timer is async-io's. That is what smol and async-std sleep on, so this crate serves both,
//! and depends on neither; any other executor will do, for async-io's timers run on a thread of their own.
//!
//! **async-std is discontinued** (RUSTSEC-2025-0052): nobody mends it. It works, and what is written for
//! it may stay, but new programs should use smol, which its own advisory recommends. A program that moves to
//! smol changes nothing here.
//!
//! # Browsers
//!
//! On `wasm32-unknown-unknown` the clock is `performance.now` and the timer `setTimeout`, in a page, a
//! worker or Node. Attempts need not be `Send`, so they may hold JavaScript's values. A dropped future of
//! `fetch` goes on in the browser: let a guard abort it, as the losers of a request are dropped.
//!
//! ```
//! # struct AbortController;
//! # impl AbortController { fn abort(&self) {} }
//! struct AbortOnDrop(AbortController);
//!
//! impl Drop for AbortOnDrop {
//!     fn drop(&mut self) {
//!         self.0.abort(); // the server sees the connection close
//!     }
//! }
//! ```
//!
//! Browsers hold a timer of a page in the background back, to a second or more, and one that timers have
//! started to 4 ms: a delay below that is one of 4 ms.
//!
//! # Tasks
//!
//! An attempt may be a task, where it computes a lot. What `smol::spawn` returns is a future, and dropping
//! it ends the task: it needs no more than
//!
//! ```
//! # use hedge_async_std::Hedger;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
//! # let hedger = Hedger::builder().build()?;
//! let hedged = hedger.request(|attempt| smol::spawn(render(attempt.index()))).await?;
//! # Ok(())
//! # }) }
//! # async fn render(attempt: usize) -> Result<usize, std::io::Error> { Ok(attempt) }
//! ```
//!
//! Dropping a `JoinHandle` of async-std lets its task run on, as a write wants that should reach every
//! replica. So does [`call().keep_losers()`](hedge_core::Call::keep_losers), without tasks, for as long as
//! its [future](hedge_core::Request::drain) is kept. A hedge counts as in flight until its request has ended.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "serde")]
pub mod experiment;
mod hedger;
mod timer;

pub use hedger::{Builder, Call, Hedger, Registry, SharedBudget, request};
pub use timer::{AsyncStdTimer, Sleep};

#[doc(no_inline)]
pub use hedge_core::runtime::{BoxedSink, BoxedStrategy, RegistryError, RequestError, ServerState};

#[doc(inline)]
pub use hedge_core::_guide;
#[doc(no_inline)]
pub use hedge_core::{
    Adaptive, AnyStrategy, Attempt, BoxError, Budget, ByResult, Cause, Classify, ConfigError,
    Error, Event, ExponentialBackoff, Fixed, HedgeConfig, Hedged, Hints, Instant, MetricsSnapshot,
    Name, Off, OnFailure, Optimal, Options, Outcome, Overrides, Percentile, Record, Sink, Strategy,
    StrategyKind, Suppressed, Timer, Verdict, WorkloadAware, adapter, cascade, metrics, replicas,
    strategy, telemetry,
};
