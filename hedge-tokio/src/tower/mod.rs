//! Hedging as a layer of [tower](https://docs.rs/tower), for hyper, reqwest, tonic and every other
//! `Service`.
//!
//! ```
//! use hedge_tokio::Hedger;
//! use hedge_tokio::tower::{Cloned, HedgeLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let hedger = Hedger::builder().max_hedges(1).build()?;
//! let mut service = ServiceBuilder::new()
//!     .layer(HedgeLayer::new(hedger.clone(), Cloned))
//!     .service(service_fn(|query: String| async move { Ok::<_, std::io::Error>(query.len()) }));
//!
//! assert_eq!(service.ready().await?.call("hedge".into()).await?, 5);
//! assert_eq!(hedger.metrics().total_requests, 1);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Policy`] decides which requests may be hedged and with which [options](RequestOptions), copies the
//! request for each hedge, and classifies responses. [`HttpPolicy`] does so for HTTP: it hedges idempotent methods, and treats
//! 5xx and 429 as failures.
//!
//! # First byte, first token
//!
//! A response whose head comes immediately may have a body that comes late. A layer below the hedge layer holds
//! responses back until their first data has come: [`HttpPolicy::first_byte`], [`HttpPolicy::first_event`] for
//! server-sent events, and [`HttpPolicy::first_data`] for a custom rule.
//!
//! # Readiness
//!
//! The primary is sent through the service that was polled ready. A hedge is sent through a clone of the service if
//! that clone is ready when the hedge is due. If it is not, for example because a concurrency limit below is reached,
//! no hedge is started. So hedges never wait in a queue, take a permit that another request has reserved, or spend
//! budget in vain. The request continues with [`Suppressed::NotReady`](crate::Suppressed::NotReady). A service whose
//! clones become ready only after some time is therefore never hedged.
//!
//! # Position in the stack
//!
//! Layers below the hedge layer see each attempt, and layers above see each request. Put a timeout
//! for requests above (or use the hedger's timeout), and a timeout for attempts below. Limits of
//! concurrency or rate below count hedges too. If a layer below sheds load, that attempt fails.
//!
//! The hedger retries failed attempts within the budget, if the policy classifies them as
//! [`Verdict::Retry`](crate::Verdict::Retry). [`standard`](fn@standard) is a complete stack of this kind, over
//! replicas. A retry layer above the hedge layer multiplies its attempts with those of the hedger, so let both use one
//! budget with [`SharedBudget::try_withdraw`](crate::SharedBudget::try_withdraw), as the example `shared_budget` does.
//!
//! # Clients
//!
//! [`HttpPolicy`] works with the clients of hyper. [`ReplayLayer`] reads request bodies that are streams into memory, so
//! that they can be sent again.
//!
//! | client | use |
//! |---|---|
//! | hyper, and others over the types of the crate `http` | [`HttpPolicy`] |
//! | gRPC: tonic | `GrpcLayer` in the module `grpc` (feature `grpc`) |
//! | reqwest | `HedgeMiddleware` in the module `reqwest` (feature `reqwest-middleware`) |
//! | S3 and other object stores | `HedgedStore` in the module `object_store` (feature `object_store`) |

mod discover;
mod first_data;
mod http;
mod idempotency;
mod options;
mod policy;
mod replay;
mod replicas;
pub(crate) mod request;
mod retry_after;
mod service;
mod size_hint;
mod standard;

#[doc(no_inline)]
pub use hedge_core::BoxError;

#[cfg(feature = "reqwest-middleware")]
pub(crate) use self::http::blames_server;
pub use self::http::{HttpPolicy, is_idempotent, may_hedge, verdict};
pub use discover::HedgeDiscover;
pub use first_data::{FirstDataBody, FirstDataFuture, FirstDataLayer, FirstDataService};
pub use options::RequestOptions;
pub use policy::{Cloned, Policy};
#[cfg(feature = "grpc")]
pub(crate) use replay::Stage;
pub use replay::{ReplayBody, ReplayFuture, ReplayLayer, ReplayService};
pub use replicas::HedgeReplicas;
pub use service::{HedgeLayer, HedgeService, ResponseFuture, Sibling, TimedOut};
#[cfg(feature = "grpc")]
pub(crate) use size_hint::size_hint;
pub use standard::{Standard, standard};
