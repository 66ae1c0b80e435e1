//! The options of a replica and its latency, as in a config file.

use core::num::NonZero;
use core::time::Duration;

use super::octaves::log2;
use super::record::Record;
use super::stats::ReplicaStats;
use crate::error::ConfigError;
use crate::time::{millis, nanos};

/// The options of a replica and its latency. With feature `serde`, they can be read from a config, or kept over a
/// restart.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::Instant;
/// use hedge_core::replicas::{AttemptEnd, Choice, ReplicaOptions, Replicas};
///
/// let mut replicas = Replicas::<2>::all();
/// let chosen = replicas.choose(Choice::PRIMARY, Instant::ZERO)?;
/// let later = Instant::ZERO + Duration::from_millis(8);
/// replicas.report(&chosen, AttemptEnd::Answered, later);
/// let kept = replicas.stats(later).iter().map(ReplicaOptions::from).collect::<Vec<_>>();
///
/// let mut restarted = Replicas::<2>::all();
/// let ids: Vec<_> = restarted.stats(Instant::ZERO).iter().map(|replica| replica.id).collect();
/// for (id, options) in ids.into_iter().zip(&kept) {
///     restarted.set_options(id, options)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ReplicaOptions {
    /// The share of the requests that the replica gets, relative to the weights of the others. Default: 1.
    pub weight: NonZero<u16>,
    /// How much less the replica is preferred, in 1/16 octaves, −128 to 127: with 16 it counts as twice as busy as it
    /// is. Default: 0.
    pub bias: i8,
    /// The latency of the replica, in ms, greater than 0. `None` if it is unknown, so that a learned latency stays.
    pub latency_ms: Option<f64>,
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            weight: NonZero::<u16>::MIN,
            bias: 0,
            latency_ms: None,
        }
    }
}

impl From<&ReplicaStats> for ReplicaOptions {
    fn from(stats: &ReplicaStats) -> Self {
        Self {
            weight: NonZero::new(stats.weight).unwrap_or(NonZero::<u16>::MIN),
            bias: stats.bias,
            latency_ms: stats.latency.map(millis),
        }
    }
}

impl ReplicaOptions {
    /// The longest latency, a year.
    const MAX_MS: f64 = 365.0 * 86_400_000.0;

    /// Validates the options, and returns a function that applies them to a record.
    pub(super) fn apply(&self) -> Result<impl Fn(Record) -> Record + use<>, ConfigError> {
        let latency = match self.latency_ms {
            None => None,
            Some(millis) => {
                ConfigError::check_range("latency_ms", millis, 1e-6, Self::MAX_MS)?;
                let latency = Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default();
                Some(log2(nanos(latency)))
            }
        };
        let (weight, bias) = (self.weight.get(), self.bias);
        Ok(move |record: Record| {
            let record = record.with_weight(weight).with_bias(bias);
            latency.map_or(record, |latency| record.with_latency(latency))
        })
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::replicas::{Choice, Replicas, SharedReplicas};
    use crate::time::Instant;

    #[test]
    fn what_is_kept_is_known_after_a_restart() {
        let shared = SharedReplicas::<3>::of(3);
        let mut alone = Replicas::<3>::all();
        let ids = shared.stats(Instant::ZERO);
        for (replica, millis) in ids.iter().zip([5.0, 80.0, 6.0]) {
            let options = ReplicaOptions {
                weight: NonZero::new(4).unwrap(),
                bias: -3,
                latency_ms: Some(millis),
            };
            assert_eq!(shared.set_options(replica.id, &options), Ok(true));
            assert_eq!(alone.set_options(replica.id, &options), Ok(true));
        }
        for stats in [shared.stats(Instant::ZERO), alone.stats(Instant::ZERO)] {
            for (replica, millis) in stats.iter().zip([5.0, 80.0, 6.0]) {
                let kept = ReplicaOptions::from(replica);
                assert_eq!((kept.weight.get(), kept.bias), (4, -3));
                let ratio = kept.latency_ms.unwrap() / millis;
                assert!((0.98..1.02).contains(&ratio), "{kept:?}");
            }
        }
        // The slow one is avoided from the first request on, and several attempts at a time go to the others.
        for _ in 0..8 {
            let chosen = shared.choose(Choice::hedge(0), Instant::ZERO).unwrap();
            assert_ne!(chosen.id().index(), 1);
        }
    }

    #[test]
    fn a_latency_that_is_none_is_refused() {
        let mut replicas = Replicas::<1>::all();
        let id = replicas.stats(Instant::ZERO).get(0).unwrap().id;
        for latency in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let options = ReplicaOptions {
                latency_ms: Some(latency),
                ..ReplicaOptions::default()
            };
            let error = replicas.set_options(id, &options).unwrap_err();
            assert_eq!(error.option(), "latency_ms");
        }
        assert_eq!(replicas.stats(Instant::ZERO).get(0).unwrap().latency, None);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn options_are_read_from_a_file() {
        let options: ReplicaOptions = serde_json::from_str(r#"{"weight": 3}"#).unwrap();
        assert_eq!((options.weight.get(), options.latency_ms), (3, None));
        for refused in [r#"{"weight": 0}"#, r#"{"wait": 1}"#] {
            assert!(serde_json::from_str::<ReplicaOptions>(refused).is_err());
        }
    }
}
