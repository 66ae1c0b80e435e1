//! A service over replicas.

use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedge_core::replicas::{Lease, NoReplica, NoRoom, ReplicaId, SharedReplicas};
use hedge_core::{Attempt, BoxError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_service::Service;

use super::request::{self, Next};
use super::{Policy, ResponseFuture};
use crate::Hedger;

/// A service over up to 64 replicas: each attempt goes to the one that is likely to answer first, and hedges go
/// elsewhere than their primaries.
///
/// It takes the place of `tower::balance` with a [`HedgeLayer`](super::HedgeLayer) above it. A balancer does not know which
/// attempts belong to one request, so that a hedge may meet the replica that its primary waits for; and dropped attempts
/// leave a slow replica with few in flight and short times, which draws more requests to it. Here hedges go elsewhere, and
/// a dropped attempt counts as a lower bound. [`replicas`](hedge_core::replicas) describes how replicas are chosen.
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
/// It is ready when one of the services is. The primary goes to a service that was polled ready, and a hedge to a clone
/// that is ready when the hedge is due. If none of the replicas that a request may use
/// ([`RequestOptions::among`](super::RequestOptions::among)) was ready, its primary waits for one of them. A service
/// whose `poll_ready` fails is removed. Drained replicas are not polled.
///
/// Reservations that the services make in `poll_ready`, such as a place below a concurrency limit, are kept until the
/// next call or until this clone is dropped. A clone of this service starts without reservations.
///
/// # Discovery
///
/// [`HedgeDiscover`](super::HedgeDiscover) follows a `tower::discover::Discover`. For any other discovery, call
/// [`insert`](Self::insert) and [`remove`](Self::remove) on any clone: clones share their replicas.
pub struct HedgeReplicas<S, P> {
    hedger: Hedger,
    policy: P,
    shared: Arc<Shared<S>>,
    /// The services that this clone has polled for readiness, one per replica.
    own: Vec<Option<Own<S>>>,
    /// A future that is ready when a replica was added or removed; `None` unless this clone waits.
    changed: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl<S, P: Clone> Clone for HedgeReplicas<S, P> {
    fn clone(&self) -> Self {
        Self {
            hedger: self.hedger.clone(),
            policy: self.policy.clone(),
            shared: self.shared.clone(),
            // The readiness of a service does not carry over to its clone.
            own: Vec::new(),
            changed: None,
        }
    }
}

/// The state that all clones share.
struct Shared<S> {
    replicas: SharedReplicas,
    /// The services by index, which are never polled for readiness.
    services: Mutex<Vec<Option<(ReplicaId, S)>>>,
    /// Notified when a replica was added or removed.
    changed: Arc<Notify>,
}

/// Whether a service over replicas waits for a replica if it has none that it could wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Membership {
    /// No: nobody may ever add one. Requests fail.
    Settled,
    /// Yes: a discovery may find one.
    Open,
}

struct Own<S> {
    id: ReplicaId,
    /// The service, which is never polled for readiness, so that it reserves nothing.
    service: S,
    /// A clone that was polled for readiness since the last call.
    asked: Option<S>,
    is_ready: bool,
}

impl<S, P> HedgeReplicas<S, P> {
    /// Creates a service that hedges requests to `services` with `hedger` and `policy`.
    ///
    /// # Errors
    ///
    /// Returns an error if there are more than 64.
    pub fn new(
        services: impl IntoIterator<Item = S>,
        hedger: Hedger,
        policy: P,
    ) -> Result<Self, NoRoom> {
        let this = Self::empty(hedger, policy);
        for service in services {
            this.insert(service)?;
        }
        Ok(this)
    }

    /// Creates a service without replicas.
    pub(super) fn empty(hedger: Hedger, policy: P) -> Self {
        Self {
            hedger,
            policy,
            shared: Arc::new(Shared {
                replicas: SharedReplicas::empty(),
                services: Mutex::new(Vec::new()),
                changed: Arc::new(Notify::new()),
            }),
            own: Vec::new(),
            changed: None,
        }
    }

    /// Adds a replica, which is tried at once.
    ///
    /// # Errors
    ///
    /// Returns an error if there are 64 already.
    pub fn insert(&self, service: S) -> Result<ReplicaId, NoRoom> {
        let mut services = self.shared.services();
        let id = self.shared.replicas.add()?;
        if services.len() <= id.index() {
            services.resize_with(id.index() + 1, || None);
        }
        services[id.index()] = Some((id, service));
        drop(services);
        self.shared.changed.notify_waiters();
        Ok(id)
    }

    /// Removes a replica. Its attempts in flight may finish. Returns whether it was there.
    pub fn remove(&self, id: ReplicaId) -> bool {
        self.shared.remove(id)
    }

    /// Gives a replica no further attempts, until [`resume`](Self::resume). Those in flight are still counted. Returns
    /// whether it is there.
    pub fn drain(&self, id: ReplicaId) -> bool {
        self.shared.replicas.drain(id)
    }

    /// Ends a [`drain`](Self::drain), and wakes tasks that wait for a replica. Returns whether it is there.
    pub fn resume(&self, id: ReplicaId) -> bool {
        let is_there = self.shared.replicas.resume(id);
        self.shared.changed.notify_waiters();
        is_there
    }

    /// Returns the replicas, to set weights or to look at them. [`resume`](Self::resume) of this service wakes tasks that
    /// wait; that of the set does not.
    pub fn replicas(&self) -> &SharedReplicas {
        &self.shared.replicas
    }

    /// Returns statistics of the replicas, displayed as a table.
    pub fn stats(&self) -> hedge_core::replicas::ReplicasStats<64> {
        self.shared
            .replicas
            .stats(self.hedger.instant(Instant::now()))
    }

    /// Returns the hedger.
    pub const fn hedger(&self) -> &Hedger {
        &self.hedger
    }
}

impl<S> Shared<S> {
    fn services(&self) -> MutexGuard<'_, Vec<Option<(ReplicaId, S)>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: ReplicaId) -> Option<S>
    where
        S: Clone,
    {
        let services = self.services();
        let (other, service) = services.get(id.index())?.as_ref()?;
        (*other == id).then(|| service.clone())
    }

    fn remove(&self, id: ReplicaId) -> bool {
        let mut services = self.services();
        if let Some(place) = services.get_mut(id.index())
            && place.as_ref().is_some_and(|(other, _)| *other == id)
        {
            *place = None;
        }
        let was_there = self.replicas.remove(id);
        drop(services);
        self.changed.notify_waiters();
        was_there
    }
}

impl<S: Clone, P> HedgeReplicas<S, P> {
    /// Updates this clone's services from the shared ones.
    fn refresh(&mut self) {
        let services = self.shared.services();
        self.own.resize_with(services.len(), || None);
        for (own, service) in self.own.iter_mut().zip(services.iter()) {
            let same = own.as_ref().map(|own| own.id) == service.as_ref().map(|(id, _)| *id);
            if !same {
                *own = service.as_ref().map(|(id, service)| Own {
                    id: *id,
                    service: service.clone(),
                    asked: None,
                    is_ready: false,
                });
            }
        }
    }

    /// Returns the replicas that are ready and may be given attempts.
    fn ready_mask(&self) -> u64 {
        let replicas = &self.shared.replicas;
        let is_ready = |own: &&Own<S>| own.is_ready && replicas.is_active(own.id);
        let ready = self.own.iter().flatten().filter(is_ready);
        ready.fold(0, |mask, own| mask | own.id.mask())
    }

    /// Returns the service at a replica, and whether it is ready; `None` if the replica is gone.
    fn service_at(&mut self, id: ReplicaId) -> Option<(S, bool)> {
        let own = self.own.get_mut(id.index()).and_then(Option::as_mut);
        let Some(own) = own.filter(|own| own.id == id) else {
            // The replica was added after `poll_ready`.
            return Some((self.shared.get(id)?, false));
        };
        // The request takes the service that was polled ready; its replacement has not been polled.
        let asked = own.asked.take();
        Some((asked.unwrap_or_else(|| own.service.clone()), own.is_ready))
    }

    /// Polls the services for readiness.
    fn poll_services<Req>(
        &mut self,
        cx: &mut Context<'_>,
        membership: Membership,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        self.refresh();
        let active = self.shared.replicas.active();
        let mut error = None;
        let mut waits = false;
        for place in &mut self.own {
            let is_asked = |own: &&mut Own<S>| !own.is_ready && own.id.mask() & active != 0;
            let Some(own) = place.as_mut().filter(is_asked) else {
                continue;
            };
            let asked = own.asked.get_or_insert_with(|| own.service.clone());
            match asked.poll_ready(cx) {
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
            _ if membership == Membership::Open => Poll::Pending,
            Some(error) => Poll::Ready(Err(error)),
            // Report ready: the request then fails with the reason.
            None => Poll::Ready(Ok(())),
        }
    }

    /// Is ready when one of the services is. Without any, `membership` says what to do.
    pub(super) fn poll_ready_as<Req>(
        &mut self,
        cx: &mut Context<'_>,
        membership: Membership,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        let mut is_registered = false;
        loop {
            let poll = self.poll_services(cx, membership);
            if poll.is_ready() {
                self.changed = None;
                return poll;
            }
            if is_registered {
                return Poll::Pending;
            }
            let changed = self.changed.get_or_insert_with(|| {
                let changed = self.shared.changed.clone();
                Box::pin(async move { changed.notified().await })
            });
            is_registered = changed.as_mut().poll(cx).is_pending();
            if !is_registered {
                self.changed = None;
            }
            // Replicas may have been added or removed before this task was registered, so the services are polled
            // again.
        }
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
        self.poll_ready_as::<Req>(cx, Membership::Settled)
            .map_err(Into::into)
    }

    fn call(&mut self, mut request: Req) -> ResponseFuture<S::Response> {
        let shared = request::Shared::new(&self.hedger, &self.policy, &mut request);
        let among = shared.limits.among;
        let choice = shared.call().choice();
        let mut ready = self.ready_mask() & among;
        // Once, unless a replica is removed meanwhile.
        let (lease, primary, is_ready) = loop {
            // If none of the allowed replicas is ready, the request waits for one of them.
            let choice = choice.among(if ready != 0 { ready } else { among });
            let hedger = self.hedger.clone();
            let clock = move || hedger.instant(Instant::now());
            // Take the lease now, so that a response that is dropped before it is polled is reported.
            let lease = match Lease::new(self.shared.replicas.clone(), choice, clock) {
                Ok(lease) => lease,
                Err(NoReplica::NotAllowed) if core::mem::take(&mut ready) != 0 => continue,
                Err(reason) => return ResponseFuture::new(async move { Err(reason.into()) }),
            };
            if let Some((service, is_ready)) = self.service_at(lease.id()) {
                break (lease, service, is_ready);
            }
        };
        // This clone may stay idle, so release the ready services that other clones may wait for.
        for own in self.own.iter_mut().flatten() {
            own.asked = None;
            own.is_ready = false;
        }
        let replicas = self.shared.clone();
        let mut primary = Some(Next::primary(request, primary, is_ready));
        ResponseFuture::new(async move {
            let (attempts, services, primary) = (&shared, &replicas, &mut primary);
            let request = pin!(
                attempts
                    .call()
                    .on_ready(&services.replicas, |hedge: Attempt| {
                        attempts.is_ready(|| services.get(hedge.replica()))
                    })
                    .among(among)
                    .starting_at(lease.into_chosen())
                    .request(|attempt| attempts.launch(attempt, primary.take()))
            );
            attempts.answer(request).await
        })
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
