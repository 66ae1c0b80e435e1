//! A service over replicas.

use core::fmt;
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedge_core::replicas::{Choice, Lease, NoReplica, NoRoom, ReplicaId, SharedReplicas};
use hedge_core::{Attempt, BoxError};
use tokio::time::Instant;
use tower_service::Service;

use super::request::{self, Next};
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
/// found ready, and a hedge to a clone that is ready the moment the hedge is due. If none of the replicas that a request
/// may use ([`RequestOptions::among`](super::RequestOptions::among)) was found ready, its primary waits for one of them.
/// A service that fails when it is asked whether it is ready is removed.
///
/// # Discovery
///
/// [`HedgeDiscover`](super::HedgeDiscover) follows a `tower::discover::Discover`. For any other discovery, call
/// [`insert`](Self::insert) and [`remove`](Self::remove) on any clone: clones share their replicas.
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
    /// Creates a service that hedges the requests to `services` with `hedger`, as `policy` says.
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
            }),
            own: Vec::new(),
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
        Ok(id)
    }

    /// Removes a replica. What it works on may end. Returns whether it was there.
    pub fn remove(&self, id: ReplicaId) -> bool {
        self.shared.remove(id)
    }

    /// Returns the replicas, to drain one, to set its weight, or to look at them.
    pub fn replicas(&self) -> &SharedReplicas {
        &self.shared.replicas
    }

    /// Returns what is known about the replicas, which prints as a table.
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

    fn call(&mut self, mut request: Req) -> ResponseFuture<S::Response> {
        let shared = request::Shared::new(&self.hedger, &self.policy, &mut request);
        let hedger = self.hedger.clone();
        let clock = move || hedger.instant(Instant::now());
        let among = shared.limits.among;
        let ready = self.ready_mask() & among;
        if ready == 0 {
            self.refresh();
        }
        // If none of the replicas that it may use is ready, it waits for one of them.
        let choice = Choice::PRIMARY.among(if ready != 0 { ready } else { among });
        // If the response is dropped before it is polled, that is reported.
        let lease = match Lease::new(self.shared.replicas.clone(), choice, clock) {
            Ok(lease) => lease,
            Err(reason) => return ResponseFuture::new(async move { Err(reason.into()) }),
        };
        // The service that was found ready goes with this request; what takes its place has yet to be asked.
        let own = self
            .own
            .get_mut(lease.id().index())
            .and_then(Option::as_mut);
        let Some(own) = own.filter(|own| own.id == lease.id()) else {
            // It was added just now.
            return ResponseFuture::new(async move { Err(NoReplica::NotAllowed.into()) });
        };
        let is_ready = mem::take(&mut own.is_ready);
        let spare = own.service.clone();
        let primary = mem::replace(&mut own.service, spare);
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
