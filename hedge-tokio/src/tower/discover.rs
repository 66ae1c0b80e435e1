//! A service over replicas that a discovery finds.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use hedge_core::BoxError;
use hedge_core::replicas::{NoRoom, ReplicaId, ReplicasStats, SharedReplicas};
use hedge_core::telemetry::EventKind;
use tower::discover::{Change, Discover};
use tower_service::Service;

use super::replicas::Membership;
use super::{HedgeReplicas, Policy, ResponseFuture};
use crate::Hedger;

/// A [`HedgeReplicas`] over the services that a discovery finds.
///
/// ```
/// use hedge_tokio::Hedger;
/// use hedge_tokio::tower::{Cloned, HedgeDiscover};
/// use tower::discover::ServiceList;
/// use tower::{Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let services = ["a", "b", "c"].map(|name| {
///     service_fn(move |query: String| async move { Ok::<_, std::io::Error>(format!("{query} at {name}")) })
/// });
/// let discover = ServiceList::new::<String>(services);
/// let mut service = HedgeDiscover::new(discover, Hedger::builder().build()?, Cloned);
/// let answer = service.ready().await?.call("hedge".to_owned()).await?;
/// println!("{answer}\n{}", service.stats());
/// # Ok(())
/// # }
/// ```
///
/// `poll_ready` polls the discovery for changes. As long as the discovery may find more, this service is not ready
/// without a replica that is, even if all that were found were removed, drained or failed. A service that is found under
/// the key of another one replaces it, and starts without a history.
///
/// # Errors of the discovery
///
/// While there are replicas, an error of the discovery is kept, and the discovery is polled again at the next
/// `poll_ready`. `poll_ready` returns the error when there is no replica, unless the discovery has found one since. After
/// that, `tower::buffer` returns the error to every later request. Therefore let the discovery retry, and return no error
/// that may pass.
///
/// # Room
///
/// A set has room for 64 replicas. Each further service is dropped with the event
/// [`ReplicaRefused`](EventKind::ReplicaRefused), and is not used until it is found again.
///
/// # Beside `tower::balance`
///
/// `tower::balance` with peak EWMA and a [`HedgeLayer`](super::HedgeLayer) above it sends a hedge like any other
/// request, possibly to the replica that the primary waits for. It also treats a dropped loser as an answer, so that a
/// slow replica looks fast and idle and attracts more requests. This service sends a hedge to another replica, and a
/// dropped attempt counts as at least as slow as it was. Like `tower::balance`, this service cannot be cloned: put
/// `tower::buffer` above it to share it.
pub struct HedgeDiscover<D: Discover, P> {
    discover: Pin<Box<D>>,
    /// Whether the discovery may find more services.
    is_open: bool,
    /// The last error of the discovery, unless it was returned or a service was found since.
    error: Option<BoxError>,
    found: Vec<(D::Key, ReplicaId)>,
    service: HedgeReplicas<D::Service, P>,
}

/// The number of errors of a discovery after which it is not polled again until the next `poll_ready`.
const MAX_ERRORS: u8 = 16;

impl<D: Discover, P> HedgeDiscover<D, P> {
    /// Creates a service that hedges the requests to the services that `discover` finds.
    pub fn new(discover: D, hedger: Hedger, policy: P) -> Self {
        Self {
            discover: Box::pin(discover),
            is_open: true,
            error: None,
            found: Vec::new(),
            service: HedgeReplicas::empty(hedger, policy),
        }
    }

    /// Returns the replica that was found under `key`; `None` if it was not found, is gone, has failed or was refused.
    pub fn id(&self, key: &D::Key) -> Option<ReplicaId> {
        let found = self.found.iter().find(|(other, _)| other == key);
        found
            .map(|(_, id)| *id)
            .filter(|id| self.replicas().contains(*id))
    }

    /// Gives a replica no further attempts, until [`resume`](Self::resume). Returns whether it is there.
    pub fn drain(&self, id: ReplicaId) -> bool {
        self.service.drain(id)
    }

    /// Ends a [`drain`](Self::drain), and wakes tasks that wait for a replica. Returns whether it is there.
    pub fn resume(&self, id: ReplicaId) -> bool {
        self.service.resume(id)
    }

    /// Returns the replicas, to set weights or to look at them. [`resume`](Self::resume) of this service wakes tasks that
    /// wait; that of the set does not.
    pub fn replicas(&self) -> &SharedReplicas {
        self.service.replicas()
    }

    /// Returns statistics of the replicas, displayed as a table.
    pub fn stats(&self) -> ReplicasStats<64> {
        self.service.stats()
    }

    /// Returns the hedger.
    pub const fn hedger(&self) -> &Hedger {
        self.service.hedger()
    }

    /// Updates the replicas from the discovery.
    fn update(&mut self, cx: &mut Context<'_>)
    where
        D::Error: Into<BoxError>,
    {
        let mut errors = 0;
        // A discovery may return an error each time it is polled, and never be pending.
        while self.is_open && errors < MAX_ERRORS {
            match self.discover.as_mut().poll_discover(cx) {
                Poll::Ready(Some(Ok(Change::Insert(key, service)))) => {
                    self.error = None;
                    self.remove(&key);
                    match self.service.insert(service) {
                        Ok(id) => self.found.push((key, id)),
                        Err(NoRoom) => self.hedger().emit(EventKind::ReplicaRefused),
                    }
                }
                Poll::Ready(Some(Ok(Change::Remove(key)))) => self.remove(&key),
                Poll::Ready(Some(Err(error))) => {
                    self.error = Some(error.into());
                    // Poll again, so that the task is woken when there is a change.
                    errors += 1;
                }
                Poll::Ready(None) => self.is_open = false,
                Poll::Pending => break,
            }
        }
    }

    /// Returns whether there is a replica, ready or not.
    fn has_replicas(&self) -> bool {
        let mut found = self.found.iter();
        found.any(|(_, id)| self.replicas().contains(*id))
    }

    fn remove(&mut self, key: &D::Key) {
        if let Some(place) = self.found.iter().position(|(other, _)| other == key) {
            let (_, id) = self.found.swap_remove(place);
            self.service.remove(id);
        }
    }
}

impl<D, P, Req> Service<Req> for HedgeDiscover<D, P>
where
    D: Discover,
    D::Error: Into<BoxError>,
    D::Service: Service<Req> + Clone + Send + 'static,
    <D::Service as Service<Req>>::Future: Send,
    <D::Service as Service<Req>>::Response: Send + 'static,
    <D::Service as Service<Req>>::Error: Into<BoxError> + Send,
    P: Policy<Req, <D::Service as Service<Req>>::Response, <D::Service as Service<Req>>::Error>
        + Clone
        + Send
        + Sync
        + 'static,
    Req: Send + 'static,
{
    type Response = <D::Service as Service<Req>>::Response;
    type Error = BoxError;
    type Future = ResponseFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.update(cx);
        let membership = if self.is_open {
            Membership::Open
        } else {
            Membership::Settled
        };
        // This removes the replicas that have failed.
        let poll = self.service.poll_ready_as::<Req>(cx, membership);
        let is_over = self.error.is_some() && !self.has_replicas();
        match self.error.take_if(|_| is_over) {
            Some(error) => Poll::Ready(Err(error)),
            None => poll.map_err(Into::into),
        }
    }

    fn call(&mut self, request: Req) -> ResponseFuture<Self::Response> {
        self.service.call(request)
    }
}

impl<D: Discover, P: fmt::Debug> fmt::Debug for HedgeDiscover<D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeDiscover")
            .field("replicas", &self.found.len())
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
