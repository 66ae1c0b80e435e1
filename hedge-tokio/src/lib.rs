//! Request hedging for tokio: when a request is slow, start another one and use whichever succeeds
//! first.
//!
//! ```
//! use hedge_tokio::{Budget, Hedger, Percentile};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hedger = Hedger::builder()
//!     .strategy(Percentile::new(95.0)) // hedge the slowest 5 %,
//!     .budget(Budget::percent(10.0)) // and no more than 10 %, bursts aside
//!     .build()?;
//!
//! let replicas = ["a", "b"];
//! let hedged = hedger.request(|attempt| fetch(replicas[attempt.index() % 2])).await?;
//! println!("{} after {:?}", hedged.value, hedged.outcome.total_latency);
//! # Ok(())
//! # }
//! # async fn fetch(replica: &'static str) -> Result<&'static str, std::io::Error> { Ok(replica) }
//! ```
//!
//! Create one [`Hedger`] for each backend, and clone or borrow it wherever that backend is called.
//! Attempts run inside the caller's task, may borrow from it, and are dropped as soon as another
//! one wins. **Only hedge idempotent requests**: more than one attempt may reach the backend.
//!
//! | to | use |
//! |---|---|
//! | choose a strategy, size a budget, test and migrate | [`_guide`] |
//! | decide when to hedge | [`strategy`]; [`Percentile`] unless there is a reason |
//! | limit the cost of hedges | [`Budget`], [`SharedBudget`] |
//! | read options from a file | [`HedgeConfig`], [`Hedger::from_config`] |
//! | treat some `Ok` results as failures | [`Hedger::call`], [`Call::classify`](hedge_core::Call::classify) |
//! | let losers run to completion | [`Hedger::request_detached`] |
//! | spread computation over threads | [`Hedger::request_spawned`] |
//! | use it in a tower stack | [`tower::HedgeLayer`](tower/struct.HedgeLayer.html) (feature `tower`) |
//! | have the usual stack over replicas, with limits and retries | [`standard`](tower/fn.standard.html) (feature `tower`) |
//! | hedge gRPC calls of tonic and other clients | [`grpc::GrpcLayer`](grpc/struct.GrpcLayer.html) (feature `grpc`) |
//! | hedge the requests of a reqwest client | [`reqwest::HedgeMiddleware`](reqwest/index.html) (feature `reqwest-middleware`) |
//! | read from S3 and other object stores | [`object_store::HedgedStore`](object_store/index.html) (feature `object_store`) |
//! | have a hedger for each of many backends | [`Registry`] |
//! | hedge on the first item of a stream, such as a language model's | [`stream`], [`Hedger::stream`], [an example](_guide/clients/index.html#a-language-model); `HttpPolicy::first_byte` in a tower stack |
//! | choose among replicas, by how each has performed | [`replicas`], [`Hedger::request_on`] |
//! | learn the latencies of each route separately | [`Hedger::key`] |
//! | ask several providers in turn | [`cascade`] |
//! | run an experiment from a file | [`experiment`](experiment/index.html) (feature `serde`) |
//! | use an error type such as `anyhow::Error` | [`Error::boxed`] |
//! | find out why no hedges start | [`_guide::operating`] |
//! | see what it did | [`Outcome`], [`Hedger::metrics`] |
//! | measure whether it helps | [`MetricsSnapshot::effect`] |
//!
//! # Features
//!
//! None is on by default. `hedge-tokio` alone depends on 10 crates, and with a feature on as many as the table says.
//! Crates of hedge are not counted. `cargo doc --all-features` documents what they add.
//!
//! | feature | crates | adds |
//! |---|---|---|
//! | `grpc` | 27 | `grpc`, for tonic 0.14 and other clients of gRPC; includes `tower` |
//! | `metrics` | 13 | `telemetry::MetricsSink`, for the facade of the crate `metrics` |
//! | `object_store` | 66 | `object_store::HedgedStore`, for S3 and other stores of object_store 0.14 |
//! | `reqwest-middleware` | 81 | `reqwest::HedgeMiddleware`, for clients of reqwest 0.13 through reqwest-middleware 0.5; includes `tower` |
//! | `schemars` | 27 | the JSON Schema of [`HedgeConfig`] and of experiments; includes `serde` |
//! | `serde` | 17 | configs in files, what was learned in files, and `experiment` |
//! | `tower` | 23 | `tower`, for services of tower 0.5, over HTTP and others, and `standard` |
//! | `tracing` | 13 | a span for every request, and its events |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod _guide;
#[cfg(feature = "serde")]
pub mod experiment;
#[cfg(feature = "grpc")]
pub mod grpc;
mod hedger;
#[cfg(feature = "object_store")]
pub mod object_store;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest;
mod spawn;
mod timer;
#[cfg(feature = "tower")]
pub mod tower;

pub use hedger::{Builder, Call, Hedger, Registry, SharedBudget, request};
pub use spawn::Spawned;
pub use timer::TokioTimer;
#[cfg(feature = "tower")]
pub use tower::standard;

#[doc(no_inline)]
pub use hedge_core::runtime::{
    BoxedSink, BoxedStrategy, Key, Keyed, RegistryError, RequestError, ServerState,
};

#[doc(no_inline)]
pub use hedge_core::{
    Adaptive, AnyStrategy, Attempt, BoxError, Budget, ByAttempt, ByResult, Cause, Classify,
    ConfigError, Error, Event, ExponentialBackoff, Fixed, HedgeConfig, Hedged, Hints, Instant,
    MetricsSnapshot, Name, Off, OnFailure, Optimal, Options, Outcome, Overrides, Percentile,
    Record, Sink, Strategy, StrategyKind, Suppressed, Timer, Verdict, WindowedPercentile,
    WorkloadAware, adapter, cascade, metrics, replicas, strategy, stream, telemetry,
};
