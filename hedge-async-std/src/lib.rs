//! Request hedging for smol, async-std and browsers: when a request is slow, start another one and
//! use whichever succeeds first.
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
//! Create one [`Hedger`] for each backend, and clone or borrow it wherever that backend is called.
//! Attempts run inside the caller's task, may borrow from it, and are dropped as soon as another
//! one wins. **Only hedge idempotent requests**: more than one attempt may reach the backend.
//!
//! | to | use |
//! |---|---|
//! | choose a strategy, size a budget and test | [`_guide`] |
//! | decide when to hedge | [`strategy`]; [`Percentile`] unless there is a reason |
//! | limit the cost of hedges | [`Budget`], [`SharedBudget`] |
//! | read options from a file | [`HedgeConfig`], [`Hedger::from_config`](hedge_core::runtime::Hedger::from_config) |
//! | treat some `Ok` results as failures | [`Hedger::call`](hedge_core::runtime::Hedger::call), [`Call::classify`](hedge_core::Call::classify) |
//! | choose among replicas, by what each has shown | [`replicas`], [below](#replicas) |
//! | run attempts as tasks | [your executor's `spawn`](#tasks) |
//! | have a hedger for each of many backends | [`Registry`] |
//! | ask several providers in turn | [`cascade`] |
//! | run an experiment from a file | `experiment` (feature `serde`) |
//! | see what it did | [`Outcome`], [`Hedger::metrics`](hedge_core::runtime::Hedger::metrics) |
//!
//! # Replicas
//!
//! A set of replicas sends each attempt to the replica that is likely to answer first, in programs and in browsers. It
//! avoids replicas that are slow, silent or failing, and probes them from time to time.
//!
//! ```
//! use hedge_async_std::{Hedger, replicas::SharedReplicas};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
//! # let hedger = Hedger::builder().build()?;
//! let addresses = ["a", "b", "c"];
//! let replicas = SharedReplicas::<8>::of(addresses.len());
//! let hedged = hedger
//!     .request_on(&replicas, |attempt| fetch(addresses[attempt.replica().index()]))
//!     .await?;
//! println!("{} from {:?}", hedged.value, hedged.outcome.replica);
//! # Ok(())
//! # }) }
//! # async fn fetch(replica: &'static str) -> Result<&'static str, std::io::Error> { Ok(replica) }
//! ```
//!
//! # Runtimes
//!
//! On native targets the timer is that of async-io, which smol and async-std use too. This crate
//! therefore works with both and depends on neither. It also works with any other executor, since
//! the timers of async-io run on a separate thread.
//!
//! **async-std is discontinued** (RUSTSEC-2025-0052) and no longer maintained. Existing programs
//! can keep using it, but new programs should use smol, which its advisory recommends. A program
//! that moves to smol needs no change for this crate.
//!
//! # Browsers
//!
//! On `wasm32-unknown-unknown` the clock is `performance.now` and the timer is `setTimeout`, in a
//! page, a worker or Node. Attempts need not be `Send`, so they may hold JavaScript values.
//! Dropping a future of `fetch` does not stop the request in the browser: use a guard that aborts
//! it, since losers are dropped.
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
//! Browsers delay the timers of background pages, to a second or more. They also delay timers that
//! were started by other timers to at least 4 ms, so that a shorter hedge delay becomes 4 ms.
//!
//! # Tasks
//!
//! An attempt that computes a lot can be a task. `smol::spawn` returns a future, and dropping it
//! cancels the task, so this is sufficient:
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
//! Dropping a `JoinHandle` of async-std lets its task run on, which suits a write that should reach every replica.
//! [`call().keep_losers()`](hedge_core::Call::keep_losers) does this without tasks, for as long as its
//! [future](hedge_core::adapter::Request::drain) is kept. A hedge counts as in flight until its request has ended.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "serde")]
pub mod experiment;
mod hedger;
mod timer;

pub use hedger::{Builder, Call, Hedger, Registry, SharedBudget, request};
pub use timer::{AsyncStdTimer, Sleep};

#[doc(no_inline)]
pub use hedge_core::runtime::{
    BoxedSink, BoxedStrategy, Key, Keyed, RegistryError, RequestError, ServerState,
};

#[doc(inline)]
pub use hedge_core::_guide;
#[doc(no_inline)]
pub use hedge_core::{
    Adaptive, AnyStrategy, Attempt, BoxError, Budget, ByAttempt, ByResult, Cause, Classify,
    ConfigError, Error, Event, ExponentialBackoff, Fixed, HedgeConfig, Hedged, Hints, Instant,
    MetricsSnapshot, Name, Off, OnFailure, Optimal, Options, Outcome, Overrides, Percentile,
    Record, Sink, Strategy, StrategyKind, Suppressed, Timer, Verdict, WindowedPercentile,
    WorkloadAware, adapter, cascade, metrics, replicas, strategy, stream, telemetry,
};
