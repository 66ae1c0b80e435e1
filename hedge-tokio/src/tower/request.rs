//! One request of a hedge layer, whatever chooses the services of its attempts.

use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hedge_core::{Attempt, BoxError, Classify, Error, Hedged, Verdict};
use tokio::task::unconstrained;
use tower_service::Service;

use super::options::Limits;
use super::{Policy, RequestOptions, TimedOut};
use crate::{Call, Hedger, Key};

/// A request with its options, before any of it is sent.
pub(crate) struct Planned<P, Req> {
    pub(crate) hedger: Hedger,
    pub(super) limits: Limits,
    key: Key,
    policy: P,
    request: Req,
    /// The request for hedges; `None` if it must not be hedged.
    copy: Option<Req>,
}

impl<P, Req> Planned<P, Req> {
    pub(crate) fn new<Res, E>(hedger: &Hedger, policy: &P, mut request: Req) -> Self
    where
        P: Policy<Req, Res, E> + Clone,
    {
        let policy = policy.for_request(&mut request);
        let RequestOptions { limits, key } = policy.options(&request);
        // Found now, as its name may borrow from the request.
        let key = key.map_or(Key::NONE, |name| hedger.key(&name));
        let copy = if limits.hedge {
            policy.copy(&request)
        } else {
            None
        };
        Self {
            hedger: hedger.clone(),
            limits,
            key,
            policy,
            request,
            copy,
        }
    }

    /// Returns the parts of the request that its attempts share. The primary is sent through `primary`, and waits
    /// until that is ready unless it `is_ready`.
    pub(crate) fn into_shared<S, E>(self, primary: S, is_ready: bool) -> Shared<S, P, Req, E> {
        let Self {
            hedger,
            limits,
            key,
            policy,
            request,
            copy,
        } = self;
        Shared {
            hedger,
            may_hedge: copy.is_some(),
            limits,
            key,
            policy,
            parts: Mutex::new(Parts {
                copy,
                next: Some(Next {
                    request,
                    service: Ok(primary),
                    is_ready,
                }),
            }),
        }
    }
}

/// What the attempts of one request share.
pub(crate) struct Shared<S, P, Req, E> {
    hedger: Hedger,
    limits: Limits,
    key: Key,
    may_hedge: bool,
    policy: P,
    /// Never locked by two threads at once: requests and services need not be shared between threads.
    parts: Mutex<Parts<S, Req, E>>,
}

struct Parts<S, Req, E> {
    /// The request for hedges; `None` if it must not be hedged, or while it is copied.
    copy: Option<Req>,
    next: Option<Next<S, Req, E>>,
}

/// What the next attempt sends, and through what.
struct Next<S, Req, E> {
    request: Req,
    service: Result<S, E>,
    is_ready: bool,
}

impl<S, P, Req, E> Shared<S, P, Req, E> {
    pub(crate) fn call(&self) -> Call<'_, ByPolicy<'_, P, Req>> {
        let by_policy = ByPolicy(&self.policy, PhantomData);
        let call = self
            .limits
            .call(&self.hedger)
            .key(self.key)
            .classify(by_policy);
        if self.may_hedge {
            call
        } else {
            call.unhedged()
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts<S, Req, E>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, P, Req> Shared<S, P, Req, S::Error>
where
    S: Service<Req> + Clone,
    P: Policy<Req, S::Response, S::Error>,
{
    /// Returns whether a hedge can be sent through the service that `spare` returns, and keeps that for it.
    pub(crate) fn is_ready(&self, spare: impl FnOnce() -> Option<S>) -> bool {
        // Neither the service nor the policy is called under the lock.
        let Some(copy) = self.parts().copy.take() else {
            return false;
        };
        // Check the service before copying the request, which may be large.
        let next = spare().and_then(probe).and_then(|service| {
            Some(Next {
                request: self.policy.copy(&copy)?,
                service,
                is_ready: true,
            })
        });
        let is_ready = next.is_some();
        let mut parts = self.parts();
        parts.copy = Some(copy);
        parts.next = next;
        is_ready
    }

    /// Sends an attempt.
    pub(crate) fn launch(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<S::Response, S::Error>> + use<S, P, Req> {
        let next = self.parts().next.take();
        let next = next.map(|mut next| {
            self.policy.prepare(&mut next.request, attempt);
            next
        });
        async move {
            let Some(next) = next else {
                // Unreachable: a request is kept before each launch.
                return core::future::pending().await;
            };
            let mut service = next.service?;
            if !next.is_ready {
                poll_fn(|cx| service.poll_ready(cx)).await?;
            }
            service.call(next.request).await
        }
    }

    /// Waits for the result of `request`, and converts it to what the caller is given.
    pub(crate) async fn answer(
        &self,
        request: impl Future<Output = Result<Hedged<S::Response>, Error<S::Error>>>,
    ) -> Result<S::Response, BoxError>
    where
        S::Error: Into<BoxError>,
    {
        let mut request = pin!(request);
        let result = poll_fn(|cx| {
            let poll = request.as_mut().poll(cx);
            // If the budget refused the hedge, release the permit that its service may have
            // reserved.
            let _ = self.parts().next.take();
            poll
        });
        match result.await {
            Ok(mut hedged) => {
                self.policy.answered(&mut hedged.value, &hedged.outcome);
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
}

/// Returns `service` if it is ready now, or its error. One that is not ready is dropped, and so takes no
/// place in a queue.
fn probe<S: Service<Req>, Req>(mut service: S) -> Option<Result<S, S::Error>> {
    // Ignore tokio's cooperative budget, which may be used up: the service is polled only once, and
    // the answer must be correct.
    let mut ready = pin!(unconstrained(poll_fn(|cx| service.poll_ready(cx))));
    match ready.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Some(Ok(service)),
        Poll::Ready(Err(error)) => Some(Err(error)),
        Poll::Pending => None,
    }
}

/// Classifies results by a policy.
pub(crate) struct ByPolicy<'p, P, Req>(&'p P, PhantomData<fn(&Req)>);

impl<P, Req, Res, E> Classify<Res, E> for ByPolicy<'_, P, Req>
where
    P: Policy<Req, Res, E>,
{
    fn classify(&self, attempt: &Attempt, result: &Result<Res, E>) -> Verdict {
        self.0.classify_attempt(attempt, result)
    }
}
