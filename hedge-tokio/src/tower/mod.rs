//! Hedging as a layer of [tower](https://docs.rs/tower): for hyper, reqwest, tonic and whatever else is a
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
//! A [`Policy`] says which requests may be hedged, makes the request that a hedge sends, and judges
//! responses. [`HttpPolicy`] does so for HTTP: it hedges idempotent methods, and takes 5xx and 429 for
//! failures.
//!
//! # Readiness
//!
//! The primary is sent through the very service that was found ready. A hedge is sent through a clone,
//! which has to become ready by itself: it takes no place that was reserved for another request, and if
//! there is none, because a concurrency limit below is reached, it waits while the primary runs on.
//!
//! # Where in the stack
//!
//! Layers below are passed once per attempt, layers above once per request. A timeout for a request belongs
//! above (or is the hedger's own), one for an attempt below; a limit of concurrency or rate below counts
//! hedges too. With a retry layer, put the hedge layer below it, and let both draw on one budget:
//! [`SharedBudget::try_charge`](crate::SharedBudget::try_charge).

mod http;
mod policy;
mod service;

pub use self::http::{HttpPolicy, is_idempotent, verdict};
pub use policy::{Cloned, Policy};
pub use service::{BoxError, HedgeLayer, HedgeService, ResponseFuture, TimedOut};
