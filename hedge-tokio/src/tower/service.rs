//! The hedge layer and its service.

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::mem;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use hedge_core::{BoxError, Error};
use tower_layer::Layer;
use tower_service::Service;

use super::Policy;
use super::request::{Next, Shared};
use crate::Hedger;

/// Wraps services in a [`HedgeService`]; see the [module](super).
#[derive(Clone, Debug)]
pub struct HedgeLayer<P, H = ()> {
    hedger: Hedger,
    policy: P,
    hedges_through: H,
}

/// The service that a [`HedgeLayer`] sends hedges through.
#[derive(Clone, Debug)]
pub struct Sibling<S>(S);

impl<P> HedgeLayer<P> {
    /// Creates a layer that hedges with `hedger` the requests that `policy` allows.
    ///
    /// The hedger must have room for the default of four attempts. Keep a clone of it to read its
    /// metrics.
    pub const fn new(hedger: Hedger, policy: P) -> Self {
        Self {
            hedger,
            policy,
            hedges_through: (),
        }
    }

    /// Sends hedges through `sibling`, as [`HedgeService::hedges_through`] does.
    pub fn hedges_through<S>(self, sibling: S) -> HedgeLayer<P, Sibling<S>> {
        HedgeLayer {
            hedger: self.hedger,
            policy: self.policy,
            hedges_through: Sibling(sibling),
        }
    }
}

impl<S, P: Clone> Layer<S> for HedgeLayer<P> {
    type Service = HedgeService<S, P>;

    fn layer(&self, inner: S) -> HedgeService<S, P> {
        HedgeService::new(inner, self.hedger.clone(), self.policy.clone())
    }
}

impl<S: Clone, P: Clone> Layer<S> for HedgeLayer<P, Sibling<S>> {
    type Service = HedgeService<S, P>;

    fn layer(&self, inner: S) -> HedgeService<S, P> {
        let Sibling(sibling) = self.hedges_through.clone();
        HedgeService::new(inner, self.hedger.clone(), self.policy.clone()).hedges_through(sibling)
    }
}

/// A service whose requests are hedged.
///
/// If every attempt failed, the error is that of the earliest attempt. If the request ran out of
/// time, the error is [`TimedOut`].
#[derive(Clone, Debug)]
pub struct HedgeService<S, P> {
    inner: S,
    /// The service for hedges; `None` to use clones of `inner`.
    sibling: Option<S>,
    hedger: Hedger,
    policy: P,
}

impl<S, P> HedgeService<S, P> {
    /// Creates a service that hedges the requests to `inner`, like [`HedgeLayer`].
    pub const fn new(inner: S, hedger: Hedger, policy: P) -> Self {
        Self {
            inner,
            sibling: None,
            hedger,
            policy,
        }
    }

    /// Sends hedges through `sibling` instead of a clone of the service. Primaries do not use it.
    ///
    /// A client that keeps one connection to each server, as with HTTP/2, sends a hedge through the connection that its
    /// primary waits for. If the connection is stuck, so is the hedge. A second client has a separate connection:
    ///
    /// ```
    /// use hedge_tokio::Hedger;
    /// use hedge_tokio::tower::{HedgeService, HttpPolicy};
    /// use http_body_util::Full;
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    ///
    /// let client = || Client::builder(TokioExecutor::new()).build_http::<Full<&'static [u8]>>();
    /// let hedger = Hedger::builder().build()?;
    /// let service = HedgeService::new(client(), hedger, HttpPolicy::new()).hedges_through(client());
    /// # Ok::<(), hedge_tokio::ConfigError>(())
    /// ```
    pub fn hedges_through(mut self, sibling: S) -> Self {
        self.sibling = Some(sibling);
        self
    }

    /// Returns the hedger.
    pub const fn hedger(&self) -> &Hedger {
        &self.hedger
    }
}

impl<S, P, Req> Service<Req> for HedgeService<S, P>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send + 'static,
    S::Error: Into<BoxError> + Send,
    P: Policy<Req, S::Response, S::Error> + Clone + Send + Sync + 'static,
    Req: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Req) -> ResponseFuture<S::Response> {
        let shared = Shared::new(&self.hedger, &self.policy, &mut request);
        // Send the request through the service that was polled ready. The clone that replaces it
        // has not been polled.
        let spare = self.inner.clone();
        let ready = mem::replace(&mut self.inner, spare);
        let spare = self.sibling.as_ref().unwrap_or(&self.inner);
        let mut spare = shared.if_hedged(|| spare.clone());
        let mut primary = Some(Next::primary(request, ready, true));
        ResponseFuture::new(async move {
            // Borrow and pin these values instead of moving them: a moved value would take space in the future twice.
            let (attempts, spare, primary) = (&shared, &mut spare, &mut primary);
            let request = pin!(attempts.call().request_if(
                move |_| attempts.is_ready(|| spare.clone()),
                |attempt| attempts.launch(attempt, primary.take()),
            ));
            attempts.answer(request).await
        })
    }
}

/// The error of a request that ran out of time.
#[derive(Debug)]
#[non_exhaustive]
pub struct TimedOut {
    /// How long the request had been running.
    pub elapsed: Duration,
    /// The number of attempts that were started.
    pub attempts: u8,
    /// The error of the earliest attempt that had failed by then; `None` if none had.
    pub(super) error: Option<BoxError>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (elapsed, attempts) = (self.elapsed, self.attempts);
        let error = None::<Infallible>;
        Error::Timeout {
            elapsed,
            attempts,
            error,
        }
        .fmt(f)
    }
}

impl core::error::Error for TimedOut {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.as_deref().map(|error| error as _)
    }
}

/// The response future of a [`HedgeService`].
pub struct ResponseFuture<Res> {
    inner: Pin<Box<dyn Future<Output = Result<Res, BoxError>> + Send>>,
}

impl<Res> ResponseFuture<Res> {
    #[inline]
    pub(super) fn new(
        response: impl Future<Output = Result<Res, BoxError>> + Send + 'static,
    ) -> Self {
        Self {
            inner: Box::pin(response),
        }
    }
}

impl<Res> Future for ResponseFuture<Res> {
    type Output = Result<Res, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl<Res> fmt::Debug for ResponseFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
