//! The replicas that belong to a hedger.

use super::Hedger;
use crate::error::ConfigError;
use crate::replicas::{ReplicaList, SharedReplicas};
use crate::runtime::Runtime;

impl<R: Runtime, const MAX: usize> Hedger<R, MAX> {
    /// Returns the replicas that belong to this hedger: those that its config [names](crate::HedgeConfig::replicas), with the
    /// same indices, and those that are added to the set. A config that changes in a [`Registry`](crate::runtime::Registry) changes
    /// them.
    ///
    /// Their latencies are [exported](Self::export) with the hedger. A hedger whose requests go to several services
    /// needs a separate [`SharedReplicas`] for each.
    ///
    /// ```
    /// # use core::future::{Pending, pending};
    /// # use hedge_core::{Instant, Timer};
    /// # #[derive(Clone, Default)]
    /// # struct MyTimer;
    /// # impl Timer for MyTimer {
    /// #     type Sleep = Pending<()>;
    /// #     fn now(&self) -> Instant { Instant::ZERO }
    /// #     fn sleep_until(&self, _: Instant) -> Pending<()> { pending() }
    /// # }
    /// # impl hedge_core::runtime::Runtime for MyTimer {
    /// #     type Instant = Instant;
    /// #     fn instant(&self, instant: Instant) -> Instant { instant }
    /// # }
    /// # futures_lite::future::block_on(async {
    /// use hedge_core::HedgeConfig;
    /// use hedge_core::replicas::ReplicaOptions;
    /// use hedge_core::runtime::Hedger;
    ///
    /// let mut config = HedgeConfig::default();
    /// config.replicas = [ReplicaOptions::default(); 3].into();
    /// let hedger = Hedger::<MyTimer>::from_config(&config)?;
    /// let hosts = ["a", "b", "c"];
    /// let request = hedger.request_on(hedger.replicas(), |attempt| {
    ///     let host = hosts[attempt.replica().index()];
    ///     async move { Ok::<_, ()>(host) }
    /// });
    /// assert!(hosts.contains(&request.await.unwrap().value));
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// # }).unwrap();
    /// ```
    pub fn replicas(&self) -> &SharedReplicas {
        self.state().replicas()
    }

    /// Adds, changes and removes replicas as a config does that changes from `before` to `after`.
    pub(in crate::runtime) fn change_replicas(
        &self,
        before: &ReplicaList,
        after: &ReplicaList,
    ) -> Result<(), ConfigError> {
        if before == after {
            return Ok(());
        }
        let replicas = self.replicas();
        for index in after.len()..before.len() {
            replicas.id(index).map(|id| replicas.remove(id));
        }
        for (index, options) in after.iter().enumerate() {
            let id = match replicas.id(index) {
                Some(id) => id,
                None => replicas.add().map_err(|_| {
                    let expected = "few enough for a set of 64 that has others, too";
                    ConfigError::number("replicas", after.len() as f64, expected)
                })?,
            };
            // An option that was set through a handle stays unless the config changes it.
            let before = before.get(index).copied().unwrap_or_default();
            if options.weight != before.weight {
                replicas.set_weight(id, options.weight);
            }
            if options.bias != before.bias {
                replicas.set_bias(id, options.bias);
            }
            let has_changed = options.latency_ms != before.latency_ms;
            if let Some(millis) = options.latency_ms.filter(|_| has_changed) {
                replicas.set_latency_ms(id, millis);
            }
        }
        Ok(())
    }
}
