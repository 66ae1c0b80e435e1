//! What a hedger has learned, to be kept over a restart.

use std::string::String;
use std::vec::Vec;

use super::Hedger;
use crate::hedger::SharedState;
use crate::replicas::{ReplicaList, ReplicaOptions};
use crate::runtime::Runtime;
use crate::runtime::sharded::Key;
use crate::strategy::{Learned, RestoreError, Strategy};
use crate::time::millis;

impl<R: Runtime, const MAX: usize> Hedger<R, MAX> {
    /// Returns what the hedger has learned, so that it can be restored after a restart: of requests without a key, of
    /// those with each key, and the latencies of its [replicas](Self::replicas).
    ///
    /// The state of the guard, which takes 24 hedges to recover, and the metrics are not included.
    pub fn export(&self) -> Learned {
        let of_key = |(key, name)| (String::from(name), self.of(key).export());
        let learned = self.core.export().with_keys(self.keys().map(of_key));
        let Some(replicas) = self.state().used_replicas() else {
            return learned;
        };
        let mut latencies = Vec::new();
        for replica in replicas.stats(self.core.timer().now()).iter() {
            latencies.resize(replica.id.index(), 0.0);
            let latency = replica.latency.map_or(0.0, millis);
            latencies.push(latency.min(ReplicaOptions::MAX_MS));
        }
        learned.with_replica_latency_ms(latencies)
    }

    /// Restores what was learned before, and replaces what has been learned since.
    ///
    /// Keys for which there is no room are left out, and so are replicas that are not in the set.
    ///
    /// # Errors
    ///
    /// Returns an error if `learned` is of another kind of strategy or contains an invalid value, which may be of a key.
    /// Nothing is changed in this case.
    pub fn restore(&self, learned: &Learned) -> Result<(), RestoreError> {
        let latencies = replica_latencies(learned)?;
        let now = self.core.timer().now();
        // Check all before anything is changed. Keys have separate strategies, unless the strategy is a custom one that
        // cannot be created afresh.
        let new = self.state().edit(now, |policy| {
            policy.strategy.fresh().zip(policy.strategy.fresh())
        });
        if let Some((mut own, mut of_key)) = new {
            learned.restore(&mut own, now)?;
            for (name, learned) in learned.keys() {
                let restored = learned.restore(&mut of_key, now);
                restored.map_err(|error| error.of_key(name))?;
            }
        }
        self.core.restore(learned)?;
        for (name, learned) in learned.keys() {
            let key = self.key(name);
            if key != Key::NONE && (key != Key::OTHER || name == Key::OTHER_NAME) {
                let restored = self.of(key).restore(learned);
                restored.map_err(|error| error.of_key(name))?;
            }
        }
        for (index, latency) in latencies.iter().enumerate() {
            let id = self.replicas().id(index).filter(|_| *latency > 0.0);
            id.map(|id| self.replicas().set_latency_ms(id, *latency));
        }
        Ok(())
    }
}

/// Checks the latencies of replicas, which may come from anybody.
fn replica_latencies(learned: &Learned) -> Result<&[f64], RestoreError> {
    const NAME: &str = "replica_latency_ms";
    let (latencies, most) = (learned.replica_latency_ms(), ReplicaList::CAPACITY);
    if latencies.len() > most {
        return Err(RestoreError::too_long(NAME, latencies.len(), most));
    }
    let range = [ReplicaOptions::MIN_MS, ReplicaOptions::MAX_MS];
    let is_valid = |latency: &f64| *latency == 0.0 || (range[0]..=range[1]).contains(latency);
    match latencies.iter().position(|latency| !is_valid(latency)) {
        None => Ok(latencies),
        Some(at) => {
            let value = latencies.get(at).copied().unwrap_or(f64::NAN);
            Err(RestoreError::value(NAME, at, value, [0.0, range[1]]))
        }
    }
}
