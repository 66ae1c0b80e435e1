//! A service over replicas that a discovery finds.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use hedge_core::replicas::{NoRoom, ReplicaId, ReplicasStats, SharedReplicas};
use hedge_core::telemetry::EventKind;
use hedge_core::{BoxError, Instant};
use tower::discover::{Change, Discover};
use tower_service::Service;

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
/// The discovery is asked for changes whenever the service is asked whether it is ready. Until it has found a
/// service, this one is not ready. A service that is found under the key of another replaces it, and nothing is known
/// about it. An error of the discovery is an error of this service.
///
/// A set has room for 64 replicas. Further services are dropped, each with the event
/// [`ReplicaRefused`](EventKind::ReplicaRefused), and are not used until they are found again.
///
/// # Beside `tower::balance`
///
/// `tower::balance` with peak EWMA and a [`HedgeLayer`](super::HedgeLayer) above it sends a hedge where it would send
/// any request, which may be the replica that the primary waits for. It takes a loser that was dropped for an answer, so
/// that a slow replica which is hedged around looks fast and idle, and attracts more. Here a hedge goes elsewhere, and a
/// dropped attempt counts as at least as slow as it was. Like `tower::balance`, this service cannot be cloned: put
/// `tower::buffer` above it to share it.
pub struct HedgeDiscover<D: Discover, P> {
    discover: Pin<Box<D>>,
    /// The discovery may find more.
    is_open: bool,
    found: Vec<(D::Key, ReplicaId)>,
    service: HedgeReplicas<D::Service, P>,
}

impl<D: Discover, P> HedgeDiscover<D, P> {
    /// Creates a service that hedges the requests to the services that `discover` finds.
    pub fn new(discover: D, hedger: Hedger, policy: P) -> Self {
        Self {
            discover: Box::pin(discover),
            is_open: true,
            found: Vec::new(),
            service: HedgeReplicas::empty(hedger, policy),
        }
    }

    /// Returns the replica that was found under `key`; `None` if it was not found, is gone, has failed or was refused.
    pub fn id(&self, key: &D::Key) -> Option<ReplicaId> {
        let found = self.found.iter().find(|(other, _)| other == key);
        found
            .map(|(_, id)| *id)
            .filter(|id| self.service.contains(*id))
    }

    /// Returns the replicas, to drain one, to set its weight, or to look at them.
    pub fn replicas(&self) -> &SharedReplicas {
        self.service.replicas()
    }

    /// Returns what is known about the replicas. Prints as a table.
    pub fn stats(&self) -> ReplicasStats<64> {
        self.service.stats()
    }

    /// Returns the hedger.
    pub const fn hedger(&self) -> &Hedger {
        self.service.hedger()
    }

    /// Brings the replicas up to date.
    fn update(&mut self, cx: &mut Context<'_>) -> Result<(), D::Error> {
        while self.is_open {
            match self.discover.as_mut().poll_discover(cx) {
                Poll::Ready(Some(Ok(Change::Insert(key, service)))) => {
                    self.remove(&key);
                    match self.service.insert(service) {
                        Ok(id) => self.found.push((key, id)),
                        Err(NoRoom) => self.hedger().emit(EventKind::ReplicaRefused),
                    }
                }
                Poll::Ready(Some(Ok(Change::Remove(key)))) => self.remove(&key),
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(None) => self.is_open = false,
                Poll::Pending => break,
            }
        }
        Ok(())
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
        self.update(cx).map_err(Into::into)?;
        if self.is_open && self.replicas().stats(Instant::ZERO).iter().next().is_none() {
            return Poll::Pending;
        }
        self.service.poll_ready(cx)
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
