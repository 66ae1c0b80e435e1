//! The hedge layer and its service.

use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use hedge_core::{Attempt, BoxError, ByAttempt, Error, Hedged};
use tokio::task::unconstrained;
use tower_layer::Layer;
use tower_service::Service;

use super::Policy;
use crate::Hedger;

/// Wraps services in a [`HedgeService`]; see the [module](super).
#[derive(Clone, Debug)]
pub struct HedgeLayer<P> {
    hedger: Hedger,
    policy: P,
}

impl<P> HedgeLayer<P> {
    /// Creates a layer that hedges with `hedger` the requests that `policy` allows.
    ///
    /// The hedger must have room for the default of four attempts. Keep a clone of it to read its
    /// metrics.
    pub const fn new(hedger: Hedger, policy: P) -> Self {
        Self { hedger, policy }
    }
}

impl<S, P: Clone> Layer<S> for HedgeLayer<P> {
    type Service = HedgeService<S, P>;

    fn layer(&self, inner: S) -> HedgeService<S, P> {
        HedgeService {
            inner,
            hedger: self.hedger.clone(),
            policy: self.policy.clone(),
        }
    }
}

/// A service whose requests are hedged.
///
/// If every attempt failed, the error is that of the earliest attempt. If the request ran out of
/// time, the error is [`TimedOut`].
#[derive(Clone, Debug)]
pub struct HedgeService<S, P> {
    inner: S,
    hedger: Hedger,
    policy: P,
}

impl<S, P> HedgeService<S, P> {
    /// Creates a service that hedges the requests to `inner`, like [`HedgeLayer`].
    pub const fn new(inner: S, hedger: Hedger, policy: P) -> Self {
        Self {
            inner,
            hedger,
            policy,
        }
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

    fn call(&mut self, request: Req) -> ResponseFuture<S::Response> {
        // Send the request through the service that was polled ready. The clone that replaces it
        // has not been polled.
        let spare = self.inner.clone();
        let ready = mem::replace(&mut self.inner, spare.clone());
        let call = Called {
            hedger: self.hedger.clone(),
            policy: self.policy.clone(),
            copy: self.policy.copy(&request),
            spare,
        };
        ResponseFuture::new(call.response(ready, request))
    }
}

/// The parts of one request.
struct Called<S, P, Req> {
    hedger: Hedger,
    policy: P,
    /// The request for hedges; `None` if it must not be hedged.
    copy: Option<Req>,
    spare: S,
}

impl<S, P, Req> Called<S, P, Req>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: Policy<Req, S::Response, S::Error> + Clone,
{
    async fn response(self, ready: S, request: Req) -> Result<S::Response, BoxError> {
        let Self {
            hedger,
            policy,
            copy,
            spare,
        } = self;
        let by_policy = |attempt: &_, result: &_| policy.classify_attempt(attempt, result);
        let call = hedger.call().classify(ByAttempt(by_policy));
        let call = if copy.is_some() {
            call
        } else {
            call.unhedged()
        };
        let mut primary = Some((ready, request));
        // The request and the service of the next hedge.
        let next = Mutex::new(None);
        let set_next = |found| *next.lock().unwrap_or_else(PoisonError::into_inner) = found;
        let (judge, set) = (&policy, &set_next);
        // Move everything that need not be shared between threads into the closure.
        let is_ready = move || {
            // Check the service before copying the request, which may be large.
            let found = copy.as_ref().and_then(|copy| {
                let service = probe(&spare)?;
                Some((judge.copy(copy)?, service))
            });
            let is_ready = found.is_some();
            set(found);
            is_ready
        };
        let launch = |attempt: Attempt| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let first = primary.take().map(|(ready, request)| (request, Ok(ready)));
            let sent = first.or_else(|| next.take()).map(|(mut request, service)| {
                policy.prepare(&mut request, attempt);
                (request, service)
            });
            async move {
                match sent {
                    Some((request, service)) => service?.call(request).await,
                    // Unreachable: a request was stored before each launch.
                    None => core::future::pending().await,
                }
            }
        };
        let mut hedged = pin!(call.request_if(is_ready, launch));
        let result = poll_fn(|cx| {
            let poll = hedged.as_mut().poll(cx);
            // If the budget refused the hedge, release the permit that its service may have
            // reserved.
            set_next(None);
            poll
        });
        answer(&policy, result.await)
    }
}

/// What the caller is given.
pub(super) fn answer<P, Req, Res, E>(
    policy: &P,
    result: Result<Hedged<Res>, Error<E>>,
) -> Result<Res, BoxError>
where
    P: Policy<Req, Res, E>,
    E: Into<BoxError>,
{
    match result {
        Ok(mut hedged) => {
            policy.answered(&mut hedged.value, &hedged.outcome);
            Ok(hedged.value)
        }
        Err(Error::Failed { error, .. }) => Err(error.into()),
        Err(Error::Timeout {
            elapsed,
            attempts,
            error,
        }) => Err(Box::new(TimedOut {
            elapsed,
            attempts,
            error: error.map(Into::into),
        })),
        Err(Error::NoReplica(reason)) => Err(reason.into()),
        // There is no other.
        Err(error) => Err(error.to_string().into()),
    }
}

/// Returns a clone of `spare` if it is ready now, or its error. A clone that is not ready is
/// dropped, and so takes no place in a queue.
pub(super) fn probe<S, Req>(spare: &S) -> Option<Result<S, S::Error>>
where
    S: Service<Req> + Clone,
{
    let mut service = spare.clone();
    // Ignore tokio's cooperative budget, which may be used up: the service is polled only once, and
    // the answer must be correct.
    let mut ready = pin!(unconstrained(poll_fn(|cx| service.poll_ready(cx))));
    match ready.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Some(Ok(service)),
        Poll::Ready(Err(error)) => Some(Err(error)),
        Poll::Pending => None,
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
    error: Option<BoxError>,
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
