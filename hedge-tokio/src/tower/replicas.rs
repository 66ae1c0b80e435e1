//! A service over replicas.

use core::fmt;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedge_core::replicas::{Choice, Lease, NoRoom, ReplicaId, SharedReplicas};
use hedge_core::{Attempt, BoxError};
use tokio::time::Instant;
use tower_service::Service;

use super::service::{answer, probe};
use super::{Policy, ResponseFuture};
use crate::Hedger;

/// A service over up to 64 replicas: each attempt goes to the one that is likely to answer first, and hedges go
/// elsewhere than their primaries.
///
/// It takes the place of a balancer with a [`HedgeLayer`](super::HedgeLayer) above it, whose hedges may meet the
/// replica that their primary waits for. How replicas are chosen is told in [`replicas`](hedge_core::replicas).
///
/// ```
/// use hedge_tokio::Hedger;
/// use hedge_tokio::tower::{Cloned, HedgeReplicas};
/// use tower::{Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let services = ["a", "b", "c"].map(|name| {
///     service_fn(move |query: String| async move { Ok::<_, std::io::Error>(format!("{query} at {name}")) })
/// });
/// let mut service = HedgeReplicas::new(services, Hedger::builder().build()?, Cloned)?;
/// let answer = service.ready().await?.call("hedge".to_owned()).await?;
/// println!("{answer}\n{}", service.stats());
/// # Ok(())
/// # }
/// ```
///
/// # Readiness
///
/// It is ready when one of the services is. Those that are not ready are left out: the primary goes to one that was
/// found ready, and a hedge to a clone that is ready the moment the hedge is due. A service that fails when it is
/// asked whether it is ready is removed.
///
/// # Discovery
///
/// Feed what a discovery tells to [`insert`](Self::insert) and [`remove`](Self::remove), on any clone: clones share
/// their replicas.
#[derive(Clone)]
pub struct HedgeReplicas<S, P> {
    hedger: Hedger,
    policy: P,
    shared: Arc<Shared<S>>,
    /// This clone's services, one for each replica that it has asked whether it is ready.
    own: Vec<Option<Own<S>>>,
}

/// What all clones share.
struct Shared<S> {
    replicas: SharedReplicas,
    /// Services that have not been asked whether they are ready, by index.
    services: Mutex<Vec<Option<(ReplicaId, S)>>>,
}

#[derive(Clone)]
struct Own<S> {
    id: ReplicaId,
    service: S,
    is_ready: bool,
}

impl<S, P> HedgeReplicas<S, P> {
    /// Hedges the requests to `services` by `hedger`, as `policy` says.
    ///
    /// # Errors
    ///
    /// If there are more than 64.
    pub fn new(
        services: impl IntoIterator<Item = S>,
        hedger: Hedger,
        policy: P,
    ) -> Result<Self, NoRoom> {
        let this = Self {
            hedger,
            policy,
            shared: Arc::new(Shared {
                replicas: SharedReplicas::empty(),
                services: Mutex::new(Vec::new()),
            }),
            own: Vec::new(),
        };
        for service in services {
            this.insert(service)?;
        }
        Ok(this)
    }

    /// Adds a replica, which is tried at once.
    ///
    /// # Errors
    ///
    /// If there are 64 already.
    pub fn insert(&self, service: S) -> Result<ReplicaId, NoRoom> {
        let mut services = self.shared.services();
        let id = self.shared.replicas.add()?;
        if services.len() <= id.index() {
            services.resize_with(id.index() + 1, || None);
        }
        services[id.index()] = Some((id, service));
        Ok(id)
    }

    /// Removes a replica. What it works on may end. Returns whether it was there.
    pub fn remove(&self, id: ReplicaId) -> bool {
        self.shared.remove(id)
    }

    /// The replicas, to drain one, to weigh them, or to look at them.
    pub fn replicas(&self) -> &SharedReplicas {
        &self.shared.replicas
    }

    /// What is known about the replicas. Prints as a table.
    pub fn stats(&self) -> hedge_core::replicas::ReplicasStats<64> {
        self.shared
            .replicas
            .stats(self.hedger.instant(Instant::now()))
    }

    /// The hedger.
    pub const fn hedger(&self) -> &Hedger {
        &self.hedger
    }
}

impl<S> Shared<S> {
    fn services(&self) -> MutexGuard<'_, Vec<Option<(ReplicaId, S)>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, id: ReplicaId) -> bool {
        let mut services = self.services();
        if let Some(place) = services.get_mut(id.index())
            && place.as_ref().is_some_and(|(other, _)| *other == id)
        {
            *place = None;
        }
        self.replicas.remove(id)
    }
}

impl<S: Clone, P> HedgeReplicas<S, P> {
    /// Brings this clone's services up to date.
    fn refresh(&mut self) {
        let services = self.shared.services();
        self.own.resize_with(services.len(), || None);
        for (own, service) in self.own.iter_mut().zip(services.iter()) {
            let same = own.as_ref().map(|own| own.id) == service.as_ref().map(|(id, _)| *id);
            if !same {
                *own = service.as_ref().map(|(id, service)| Own {
                    id: *id,
                    service: service.clone(),
                    is_ready: false,
                });
            }
        }
    }

    fn ready_mask(&self) -> u64 {
        let ready = self.own.iter().flatten().filter(|own| own.is_ready);
        ready.fold(0, |mask, own| mask | own.id.mask())
    }
}

impl<S, P, Req> Service<Req> for HedgeReplicas<S, P>
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
        self.refresh();
        let mut error = None;
        let mut waits = false;
        for place in &mut self.own {
            let Some(own) = place.as_mut().filter(|own| !own.is_ready) else {
                continue;
            };
            match own.service.poll_ready(cx) {
                Poll::Ready(Ok(())) => own.is_ready = true,
                Poll::Ready(Err(failed)) => {
                    error = Some(failed);
                    self.shared.remove(own.id);
                    *place = None;
                }
                Poll::Pending => waits = true,
            }
        }
        match error {
            _ if self.ready_mask() != 0 => Poll::Ready(Ok(())),
            _ if waits => Poll::Pending,
            Some(error) => Poll::Ready(Err(error.into())),
            // The request fails, and says why.
            None => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Req) -> ResponseFuture<S::Response> {
        let hedger = self.hedger.clone();
        let clock = move || hedger.instant(Instant::now());
        let choice = Choice::PRIMARY.among(self.ready_mask());
        // If the response is dropped before it is polled, that is reported.
        let lease = match Lease::new(self.shared.replicas.clone(), choice, clock) {
            Ok(lease) => lease,
            Err(reason) => return ResponseFuture::new(async move { Err(reason.into()) }),
        };
        // The service that was found ready goes with this request; what takes its place has yet to be asked.
        let own = self.own.get_mut(lease.id().index());
        let service = own.and_then(Option::as_mut).map(|own| {
            own.is_ready = false;
            let spare = own.service.clone();
            mem::replace(&mut own.service, spare)
        });
        let call = Called {
            hedger: self.hedger.clone(),
            copy: self.policy.copy(&request),
            policy: self.policy.clone(),
            shared: self.shared.clone(),
        };
        ResponseFuture::new(call.response(lease, service, request))
    }
}

/// What one request needs.
struct Called<S, P, Req> {
    hedger: Hedger,
    policy: P,
    /// For hedges; `None` if there may be none.
    copy: Option<Req>,
    shared: Arc<Shared<S>>,
}

impl<S, P, Req> Called<S, P, Req>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: Policy<Req, S::Response, S::Error> + Clone,
{
    fn response(
        self,
        lease: Lease<SharedReplicas, impl Fn() -> hedge_core::Instant>,
        service: Option<S>,
        request: Req,
    ) -> impl Future<Output = Result<S::Response, BoxError>> {
        let Self {
            hedger,
            policy,
            copy,
            shared,
        } = self;
        async move {
            let mut primary = service.map(|service| (request, Ok(service)));
            // What the next hedge will be sent through, and what it will send.
            let next = Mutex::new(None);
            let set_next = |found| *next.lock().unwrap_or_else(PoisonError::into_inner) = found;
            let (judge, set, pool) = (&policy, &set_next, &shared);
            let may_hedge = copy.is_some();
            let is_ready = move |id: ReplicaId| {
                let spare = pool.services().get(id.index()).and_then(|place| {
                    let (other, service) = place.as_ref()?;
                    (*other == id).then(|| service.clone())
                });
                // In this order, for a copy may be large.
                let found = copy.as_ref().and_then(|copy| {
                    let service = probe(&spare?)?;
                    Some((judge.copy(copy)?, service))
                });
                let is_ready = found.is_some();
                set(found);
                is_ready
            };
            let launch = |attempt: Attempt| {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let sent = primary.take().or_else(|| next.take());
                let sent = sent.map(|(mut request, service)| {
                    policy.prepare(&mut request, attempt);
                    (request, service)
                });
                async move {
                    match sent {
                        Some((request, service)) => service?.call(request).await,
                        // There is always something.
                        None => core::future::pending().await,
                    }
                }
            };
            let call = hedger.call().classify(|result: &_| policy.classify(result));
            let call = if may_hedge { call } else { call.unhedged() };
            let call = call
                .on_ready(&shared.replicas, is_ready)
                .starting_at(lease.into_chosen());
            let mut hedged = pin!(call.request(launch));
            let result = poll_fn(|cx| {
                let poll = hedged.as_mut().poll(cx);
                // A place that was found for a hedge which the budget then refused is others' to take.
                set_next(None);
                poll
            });
            answer(&policy, result.await)
        }
    }
}

impl<S, P: fmt::Debug> fmt::Debug for HedgeReplicas<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeReplicas")
            .field("hedger", &self.hedger)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
