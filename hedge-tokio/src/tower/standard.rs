//! The standard stack.

use core::time::Duration;

use hedge_core::BoxError;
// This is the crate `tower`, not the module of the same name.
use ::tower::limit::ConcurrencyLimit;
use tokio::sync::Semaphore;

use super::{HedgeReplicas, HttpPolicy};
use crate::{Builder, ConfigError, Hedger};

/// Returns a builder for the standard stack over `services`, which are replicas of one backend.
///
/// ```text
///                 request
///                    │
///        ┌───────────┴────────────┐   timeout: over all attempts (none unless set)
///        │         hedging        │   a hedge when an attempt is slow,
///        │                        │   a retry when it has failed: one budget pays for both
///        │   choice of a replica  │   the one likely to answer first; hedges and retries go elsewhere
///        └───┬────────┬───────┬───┘   attempt timeout (none unless set)
///            │        │       │
///         ┌──┴──┐  ┌──┴──┐ ┌──┴──┐    requests in flight at each replica: at most 128
///         │ 128 │  │ 128 │ │ 128 │
///         └──┬──┘  └──┬──┘ └──┬──┘
///         replica  replica replica
/// ```
///
/// Retries are hedges, too: if the policy returns [`Retry`](crate::Verdict::Retry), the next attempt starts. There is
/// no retry layer above, whose attempts would multiply with those of the hedger.
///
/// ```
/// use core::time::Duration;
/// use hedge_tokio::tower::Cloned;
/// use hedge_tokio::{Budget, standard};
/// use tower::{Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let services = ["a", "b", "c"].map(|name| {
///     service_fn(move |query: String| async move { Ok::<_, std::io::Error>(format!("{query} at {name}")) })
/// });
/// let mut service = standard(services)
///     .policy(Cloned)
///     .timeout(Duration::from_secs(2))
///     .hedger(|builder| builder.budget(Budget::percent(5.0)))
///     .build()?;
/// let answer = service.ready().await?.call("hedge".to_owned()).await?;
/// # Ok(())
/// # }
/// ```
pub fn standard<S>(services: impl IntoIterator<Item = S>) -> Standard<S> {
    Standard {
        services: services.into_iter().collect(),
        policy: HttpPolicy::new(),
        builder: Hedger::builder().max_hedges(2),
        in_flight: Some(128),
    }
}

/// A builder for the [standard] stack. Every part can be changed.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Standard<S, P = HttpPolicy> {
    services: Vec<S>,
    policy: P,
    builder: Builder,
    in_flight: Option<usize>,
}

impl<S, P> Standard<S, P> {
    /// Sets which requests may be hedged, and which responses are answers. Default: [`HttpPolicy`].
    pub fn policy<Q>(self, policy: Q) -> Standard<S, Q> {
        Standard {
            services: self.services,
            policy,
            builder: self.builder,
            in_flight: self.in_flight,
        }
    }

    /// Sets options of the hedger, such as strategy, budget and sink. The defaults are those of [`Hedger::builder`]
    /// with up to two hedges, one of which may be needed as a retry.
    pub fn hedger(mut self, set: impl FnOnce(Builder) -> Builder) -> Self {
        self.builder = set(self.builder);
        self
    }

    /// Sets the maximum number of requests in flight at each replica; `None` for no limit. Default: 128.
    ///
    /// Must be at least 1. An attempt is in flight until its service returns: a body that is still streaming is not counted.
    pub fn in_flight(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.in_flight = limit.into();
        self
    }

    /// Sets the time limit of a request that may be hedged, over all its attempts. Default: none.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.hedger(|builder| builder.timeout(timeout))
    }

    /// Sets the time limit of each attempt of a request that may be hedged. The next one starts when it has passed.
    /// Default: none.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        self.hedger(|builder| builder.attempt_timeout(timeout))
    }

    /// Builds the service.
    ///
    /// # Errors
    ///
    /// Returns an error if an option of the hedger or [`in_flight`](Self::in_flight) is invalid, or if there are more
    /// than 64 services.
    pub fn build(self) -> Result<HedgeReplicas<ConcurrencyLimit<S>, P>, BoxError> {
        let limit = self.in_flight.unwrap_or(Semaphore::MAX_PERMITS);
        if limit == 0 {
            let expected = "at least 1, or `None` for no limit";
            return Err(ConfigError::number("in_flight", 0.0, expected).into());
        }
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let services = self.services.into_iter();
        let services = services.map(|service| ConcurrencyLimit::new(service, limit));
        Ok(HedgeReplicas::new(
            services,
            self.builder.build()?,
            self.policy,
        )?)
    }
}
