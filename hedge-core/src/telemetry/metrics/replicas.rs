//! Gauges of the replicas of a set.

use core::sync::atomic::{AtomicU64, Ordering};

use metrics::gauge;

use super::handles::replica_labels;
use super::names::{REPLICA_IN_FLIGHT, REPLICA_LATENCY, REPLICA_SUSPECT, describe_replica_gauges};
use crate::name::Name;
use crate::replicas::ReplicasStats;

/// Records gauges of the replicas of a set with the `metrics` crate: whether each is suspect, how many attempts it is
/// working on, and its latency. [`MetricsSink`](super::MetricsSink) has their names.
///
/// ```
/// use hedge_core::Instant;
/// use hedge_core::replicas::SharedReplicas;
/// use hedge_core::telemetry::ReplicaGauges;
///
/// let replicas = SharedReplicas::<64>::of(3);
/// let gauges = ReplicaGauges::new("search");
/// // Before each scrape, or every few seconds:
/// gauges.record(&replicas.stats(Instant::ZERO));
/// ```
#[derive(Debug)]
pub struct ReplicaGauges {
    name: Name,
    /// The replicas whose gauges were set: bit i stands for index i.
    set: AtomicU64,
}

impl ReplicaGauges {
    /// Creates the gauges of a set. Pass the `strategy_name` of its hedger, so that gauges and counters have the same
    /// label; at most 32 bytes of it are used.
    pub const fn new(strategy_name: &str) -> Self {
        Self {
            name: Name::truncated(strategy_name),
            set: AtomicU64::new(0),
        }
    }

    /// Sets the gauges of every replica. Those of replicas that have been removed become 0.
    pub fn record<const N: usize>(&self, replicas: &ReplicasStats<N>) {
        describe_replica_gauges();
        let present = replicas
            .iter()
            .fold(0, |mask, replica| mask | replica.id.mask());
        let set = self.set.fetch_or(present, Ordering::Relaxed);
        for index in 0..N {
            let labels = || replica_labels(self.name, index);
            let values = match replicas.get(index) {
                Some(replica) => [
                    f64::from(u8::from(replica.is_suspect)),
                    replica.in_flight.into(),
                    replica.latency.unwrap_or_default().as_secs_f64(),
                ],
                None if set >> index & 1 == 1 => [0.0; 3],
                None => continue,
            };
            let names = [REPLICA_SUSPECT, REPLICA_IN_FLIGHT, REPLICA_LATENCY];
            for (name, value) in names.into_iter().zip(values) {
                gauge!(name, labels()).set(value);
            }
        }
    }
}
