//! One request of a hedge layer, independent of how the services of its attempts are chosen.

use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hedge_core::{Attempt, BoxError, Classify, Error, Hedged, Verdict};
use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tower_service::Service;

use super::options::Limits;
use super::{Policy, RequestOptions, TimedOut};
use crate::{Call, Hedger, Key};

/// The state that the attempts of one request share.
pub(crate) struct Shared<S, P, Req, E> {
    pub(crate) hedger: Hedger,
    pub(super) limits: Limits,
    key: Key,
    may_hedge: bool,
    policy: P,
    /// Whether there is a hedge in `parts`. Most requests end without one, and need not take the lock.
    is_kept: AtomicBool,
    /// A mutex that is never contended. It is there because requests and services need not be `Sync`.
    parts: Mutex<Parts<S, Req, E>>,
}

struct Parts<S, Req, E> {
    /// The request for hedges; `None` if it must not be hedged, or while it is copied.
    copy: Option<Req>,
    /// The hedge that is due.
    hedge: Option<Next<S, Req, E>>,
}

/// The request of the next attempt, and its service.
pub(crate) struct Next<S, Req, E> {
    request: Req,
    service: Result<S, E>,
    is_ready: bool,
}

impl<S, Req, E> Next<S, Req, E> {
    /// Returns the request and the service of the primary, which waits until `service` is ready, unless it `is_ready`.
    pub(crate) const fn primary(request: Req, service: S, is_ready: bool) -> Self {
        Self {
            request,
            service: Ok(service),
            is_ready,
        }
    }
}

impl<S, P, Req, E> Shared<S, P, Req, E> {
    /// Asks the policy about `request`, which it may modify, before the request is sent.
    pub(crate) fn new<Res>(hedger: &Hedger, policy: &P, request: &mut Req) -> Self
    where
        P: Policy<Req, Res, E> + Clone,
    {
        let policy = policy.for_request(request);
        let RequestOptions { limits, key } = policy.options(request);
        // Look the key up now, since its name may borrow from the request.
        let key = key.map_or(Key::NONE, |name| hedger.key(&name));
        let copy = if limits.hedge {
            policy.copy(request)
        } else {
            None
        };
        Self {
            hedger: hedger.clone(),
            limits,
            key,
            may_hedge: copy.is_some(),
            policy,
            is_kept: AtomicBool::new(false),
            parts: Mutex::new(Parts { copy, hedge: None }),
        }
    }

    /// Returns the result of `spare` if the request may be hedged.
    pub(crate) fn if_hedged<V>(&self, spare: impl FnOnce() -> V) -> Option<V> {
        self.may_hedge.then(spare)
    }

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

    /// Takes the hedge that is due.
    fn take_hedge(&self) -> Option<Next<S, Req, E>> {
        // All attempts run in one task.
        if !self.is_kept.load(Ordering::Relaxed) {
            return None;
        }
        self.is_kept.store(false, Ordering::Relaxed);
        self.parts().hedge.take()
    }
}

impl<S, P, Req> Shared<S, P, Req, S::Error>
where
    S: Service<Req> + Clone,
    P: Policy<Req, S::Response, S::Error>,
{
    /// Returns whether a hedge can be sent through the service that `spare` returns, and keeps that service for it.
    pub(crate) fn is_ready(&self, spare: impl FnOnce() -> Option<S>) -> bool {
        // Neither the service nor the policy is called under the lock.
        let Some(copy) = self.parts().copy.take() else {
            return false;
        };
        // Check the service before copying the request, which may be large.
        let hedge = spare().and_then(probe).and_then(|service| {
            Some(Next {
                request: self.policy.copy(&copy)?,
                service,
                is_ready: true,
            })
        });
        let is_ready = hedge.is_some();
        let mut parts = self.parts();
        parts.copy = Some(copy);
        parts.hedge = hedge;
        self.is_kept.store(is_ready, Ordering::Relaxed);
        is_ready
    }

    /// Sends an attempt: `primary`, or the hedge that is due if `primary` is `None`.
    pub(crate) fn launch(
        &self,
        attempt: Attempt,
        primary: Option<Next<S, Req, S::Error>>,
    ) -> Sent<S, Req> {
        let Some(next) = primary.or_else(|| self.take_hedge()) else {
            // This is unreachable: a request is kept before each launch.
            return Sent::Nothing;
        };
        let mut request = next.request;
        self.policy.prepare(&mut request, attempt);
        match next.service {
            Ok(mut service) if next.is_ready => Sent::Called {
                response: service.call(request),
            },
            Ok(service) => Sent::Waits {
                waiting: Some((service, request)),
            },
            Err(error) => Sent::Failed { error: Some(error) },
        }
    }

    /// Waits for the result of `request`, and converts it to the result for the caller.
    pub(crate) fn answer<F>(
        &self,
        mut request: Pin<&mut F>,
    ) -> impl Future<Output = Result<S::Response, BoxError>>
    where
        F: Future<Output = Result<Hedged<S::Response>, Error<S::Error>>>,
        S::Error: Into<BoxError>,
    {
        poll_fn(move |cx| {
            let poll = request.as_mut().poll(cx);
            // If the budget refused the hedge, release the permit that its service may have
            // reserved.
            drop(self.take_hedge());
            poll.map(|result| match result {
                Ok(mut hedged) => {
                    self.policy.answered(&mut hedged.value, &hedged.outcome);
                    Ok(hedged.value)
                }
                Err(error) => Err(boxed(error)),
            })
        })
    }
}

/// Converts the error of a request to the error for the caller.
#[cold]
fn boxed<E: Into<BoxError>>(error: Error<E>) -> BoxError {
    match error {
        Error::Failed { error, .. } => error.into(),
        Error::Timeout {
            elapsed,
            attempts,
            error,
        } => Box::new(TimedOut {
            elapsed,
            attempts,
            error: error.map(Into::into),
        }),
        Error::NoReplica(reason) => reason.into(),
        // Other errors cannot occur.
        error => error.to_string().into(),
    }
}

pin_project! {
    /// An attempt.
    #[project = SentProj]
    pub(crate) enum Sent<S, Req>
    where
        S: Service<Req>,
    {
        Called {
            #[pin]
            response: S::Future,
        },
        /// The service is not ready yet.
        Waits { waiting: Option<(S, Req)> },
        /// The service has failed.
        Failed { error: Option<S::Error> },
        Nothing,
    }
}

impl<S: Service<Req>, Req> Future for Sent<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let response = match self.as_mut().project() {
                SentProj::Called { response } => return response.poll(cx),
                SentProj::Waits { waiting } => {
                    let Some((service, _)) = waiting else {
                        return Poll::Pending;
                    };
                    ready!(service.poll_ready(cx))?;
                    let Some((mut service, request)) = waiting.take() else {
                        return Poll::Pending;
                    };
                    service.call(request)
                }
                SentProj::Failed { error } => {
                    return error
                        .take()
                        .map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                SentProj::Nothing => return Poll::Pending,
            };
            self.set(Self::Called { response });
        }
    }
}

/// Returns `service` if it is ready now, or its error. A service that is not ready is dropped, so that it takes no
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

    fn blames_replica(&self, attempt: &Attempt, result: &Result<Res, E>, verdict: Verdict) -> bool {
        self.0.blames_replica(attempt, result, verdict)
    }
}
