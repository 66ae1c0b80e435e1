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
//! The primary is sent through the very service that was found ready. A hedge is sent through a clone that is
//! ready the moment the hedge is due. If none is, as when a limit of concurrency below is reached, there is no
//! hedge: nothing waits in a queue, takes a place that was reserved for another request, or is charged to the
//! budget, and the request runs on with
//! [`Suppressed::NotReady`](crate::Suppressed::NotReady). So a service whose clones become ready only after they
//! were asked for a while is not hedged.
//!
//! # Where in the stack
//!
//! Layers below are passed once per attempt, layers above once per request. A timeout for a request belongs
//! above (or is the hedger's own), one for an attempt below; a limit of concurrency or rate below counts
//! hedges too. Load that is shed below is a failure of that attempt. With a retry layer, put the hedge layer below it, and let both draw on one budget:
//! [`SharedBudget::try_charge`](crate::SharedBudget::try_charge), as the example `shared_budget` does.
//!
//! # Clients
//!
//! [`HttpPolicy`] fits the clients of hyper. One of reqwest has requests and responses of its own, and so has its
//! policy:
//!
//! ```
//! use hedge_tokio::Verdict;
//! use hedge_tokio::tower::{Policy, is_idempotent, verdict};
//! use reqwest::{Error, Request, Response};
//!
//! #[derive(Clone)]
//! struct Reqwest;
//!
//! impl Policy<Request, Response, Error> for Reqwest {
//!     fn copy(&self, request: &Request) -> Option<Request> {
//!         // Absent for a body that streams.
//!         is_idempotent(request.method()).then(|| request.try_clone())?
//!     }
//!
//!     fn classify(&self, result: &Result<Response, Error>) -> Verdict {
//!         result.as_ref().map_or(Verdict::Retry, |response| {
//!             verdict(response.status(), response.headers())
//!         })
//!     }
//! }
//! ```
//!
//! Every call of gRPC is a `POST`, which [`HttpPolicy`] does not hedge: which of them only read, you say by their paths.
//! And the body of tonic cannot be cloned, so a layer above has to collect it, such as tower's `filter_async` with
//! `http_body_util::BodyExt::collect`; a layer below makes it tonic's again.
//!
//! ```
//! use hedge_tokio::Verdict;
//! use hedge_tokio::tower::{HttpPolicy, Policy};
//! use http::{Request, Response};
//!
//! #[derive(Clone)]
//! struct Lookups;
//!
//! impl<B: Clone, C, E> Policy<Request<B>, Response<C>, E> for Lookups {
//!     fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
//!         request.uri().path().starts_with("/catalog.Lookup/").then(|| request.clone())
//!     }
//!
//!     fn classify(&self, result: &Result<Response<C>, E>) -> Verdict {
//!         Policy::<Request<B>, _, _>::classify(&HttpPolicy::new(), result)
//!     }
//! }
//! ```

mod http;
mod policy;
mod replicas;
mod service;

#[doc(no_inline)]
pub use hedge_core::BoxError;

pub use self::http::{HttpPolicy, is_idempotent, verdict};
pub use policy::{Cloned, Policy};
pub use replicas::HedgeReplicas;
pub use service::{HedgeLayer, HedgeService, ResponseFuture, TimedOut};
