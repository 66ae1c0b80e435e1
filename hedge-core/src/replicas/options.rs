//! The options of a replica and its latency, as in a config file.

use core::num::NonZero;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

use heapless::Vec;

use super::octaves::{OCTAVE, Octaves, exp2, log2};
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
    /// The latency of the replica, in ms, 0.000001 to 31536000000, a year. `None` if it is unknown, so that a learned latency stays.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "text::latency",
            skip_serializing_if = "Option::is_none"
        )
    )]
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
    /// The shortest latency, a nanosecond.
    pub(crate) const MIN_MS: f64 = 1e-6;
    /// The longest latency, a year.
    pub(crate) const MAX_MS: f64 = 365.0 * 86_400_000.0;

    /// Checks every option.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.latency_ms.map_or(Ok(()), Self::check_latency)
    }

    fn check_latency(millis: f64) -> Result<(), ConfigError> {
        ConfigError::check_range("latency_ms", millis, Self::MIN_MS, Self::MAX_MS)
    }

    /// Validates the options, and returns a function that applies them to a record.
    pub(super) fn apply(&self) -> Result<impl Fn(Record) -> Record + use<>, ConfigError> {
        self.validate()?;
        let latency = self.latency_ms.map(octaves);
        let (weight, bias) = (self.weight.get(), self.bias);
        Ok(move |record: Record| {
            let record = record.with_weight(weight).with_bias(bias);
            latency.map_or(record, |latency| record.with_latency(latency))
        })
    }
}

/// Returns the logarithm of a latency in ms: that of a latency which was written before, so that it does not shrink with every
/// restart.
pub(super) fn octaves(millis: f64) -> Octaves {
    let latency = Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(Duration::MAX);
    let nanos = nanos(latency);
    let mut octaves = log2(nanos);
    // The two approximations differ by some steps.
    while octaves > 0 && exp2(octaves) > nanos {
        octaves -= 1;
    }
    while octaves < 64 * OCTAVE - 1 && exp2(octaves + 1) <= nanos {
        octaves += 1;
    }
    octaves
}

/// The options of up to 64 replicas, by index, as in a config: those of [`Hedger::replicas`] on servers.
///
/// It dereferences to a slice of its options. If it was made from more than 64, the slice holds the first 64, and
/// [`HedgeConfig::validate`](crate::HedgeConfig::validate) returns an error.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use hedge_core::HedgeConfig;
///
/// let config: HedgeConfig = serde_json::from_str(
///     r#"{ "replicas": [{ "weight": 2 }, {}, { "bias": 16, "latency_ms": 40 }] }"#,
/// )?;
/// assert_eq!((config.replicas.len(), config.replicas[0].weight.get()), (3, 2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Hedger::replicas`]: https://docs.rs/hedge-core/latest/hedge_core/runtime/struct.Hedger.html#method.replicas
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaList {
    options: Vec<ReplicaOptions, { Self::CAPACITY }>,
    /// The number of replicas that the list was made from. Those after the 64th are only counted.
    given: usize,
}

impl ReplicaList {
    /// The maximum number of replicas in a set.
    pub(crate) const CAPACITY: usize = 64;

    /// Checks how many replicas there are, and every option of each.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.given > Self::CAPACITY {
            let given = self.given as f64;
            return Err(ConfigError::number(
                "replicas",
                given,
                "at most 64 in number",
            ));
        }
        self.iter().try_for_each(ReplicaOptions::validate)
    }
}

impl Deref for ReplicaList {
    type Target = [ReplicaOptions];

    fn deref(&self) -> &[ReplicaOptions] {
        &self.options
    }
}

impl DerefMut for ReplicaList {
    fn deref_mut(&mut self) -> &mut [ReplicaOptions] {
        &mut self.options
    }
}

impl<const N: usize> From<[ReplicaOptions; N]> for ReplicaList {
    fn from(options: [ReplicaOptions; N]) -> Self {
        options.into_iter().collect()
    }
}

impl FromIterator<ReplicaOptions> for ReplicaList {
    fn from_iter<I: IntoIterator<Item = ReplicaOptions>>(options: I) -> Self {
        let mut list = Self::default();
        list.extend(options);
        list
    }
}

impl Extend<ReplicaOptions> for ReplicaList {
    fn extend<I: IntoIterator<Item = ReplicaOptions>>(&mut self, options: I) {
        for options in options {
            self.given = self.given.saturating_add(1);
            // An entry that does not fit is only counted, by `given`.
            let _ = self.options.push(options);
        }
    }
}

#[cfg(feature = "serde")]
mod text {
    use core::fmt;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{ReplicaList, ReplicaOptions};

    /// Reads a latency and checks it, so that an error names its place in the file.
    pub(super) fn latency<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<f64>, D::Error> {
        let latency = Option::deserialize(reader)?;
        latency
            .map_or(Ok(()), ReplicaOptions::check_latency)
            .map_err(D::Error::custom)?;
        Ok(latency)
    }

    impl Serialize for ReplicaList {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.iter())
        }
    }

    impl<'de> Deserialize<'de> for ReplicaList {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(List)
        }
    }

    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = ReplicaList;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tables, one for each replica")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ReplicaList, A::Error> {
            let mut replicas = ReplicaList::default();
            while let Some(options) = list.next_element()? {
                replicas.extend([options]);
            }
            replicas.validate().map_err(A::Error::custom)?;
            Ok(replicas)
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::replicas::octaves::duration;
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
    fn what_is_kept_again_and_again_stays() {
        for step in 300..12_000 {
            let latency = millis(duration(step));
            // Steps below 256 ns are less than a nanosecond.
            assert!(octaves(latency) == step || latency < 1e-3, "{step}");
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
