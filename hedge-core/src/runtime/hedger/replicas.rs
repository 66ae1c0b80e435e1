//! The replicas that belong to a hedger.

use std::vec::Vec;

use super::Hedger;
use crate::error::ConfigError;
use crate::replica_id::ReplicaId;
use crate::replicas::{ReplicaList, SharedReplicas};
use crate::runtime::Runtime;

impl<R: Runtime, const MAX: usize> Hedger<R, MAX> {
    /// Returns the replicas that belong to this hedger: those that its config [names](crate::HedgeConfig::replicas), with the
    /// same indices, and those that are added to the set. A config that changes in a [`Registry`](crate::runtime::Registry) changes
    /// the former, and is refused if it needs an index that one of the latter has. A replica of the config that was removed from
    /// the set comes back when the config changes its options.
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

    /// Changes the replicas in `configured`, which were added for the config `before`, to those of `after`. Replicas that
    /// were added or removed through a handle stay so: only an index that is new, or whose options changed, is added.
    ///
    /// # Errors
    ///
    /// Returns an error if a replica that is not in `configured` has the index of one to add. Nothing is changed in this
    /// case.
    pub(in crate::runtime) fn change_replicas(
        &self,
        configured: &mut Vec<ReplicaId>,
        before: &ReplicaList,
        after: &ReplicaList,
    ) -> Result<(), ConfigError> {
        if before == after {
            return Ok(());
        }
        let replicas = self.replicas();
        // A handle may have removed some.
        configured.retain(|id| replicas.contains(*id));
        let known = |index| configured.iter().find(|id| id.index() == index).copied();
        let new: Vec<_> = (after.iter().enumerate())
            .filter(|(index, options)| before.get(*index) != Some(options))
            .filter(|(index, _)| known(*index).is_none())
            .collect();
        let added = replicas.insert(&new)?;
        for (index, (options, before)) in after.iter().zip(before.iter()).enumerate() {
            let Some(id) = known(index) else { continue };
            // An option that was set through a handle stays unless the config changes it.
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
        configured.retain(|id| {
            let stays = id.index() < after.len();
            if !stays {
                replicas.remove(*id);
            }
            stays
        });
        configured.extend(added);
        Ok(())
    }
}
