//! What a strategy has learned, held in memory.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::{ReadColumns, RestoreError, Strategy, WriteColumns};
use crate::outcome::StrategyKind;
use crate::time::Instant;

mod merge;
#[cfg(all(test, feature = "serde"))]
mod tests;

pub use merge::LearnedMerge;

/// What a strategy has learned. For a hedger of servers, this includes what was learned for each key and about its
/// replicas.
///
/// With the `serde` feature it can be written to a file and read back after a restart. Its columns may change between
/// versions of this crate. A strategy returns an error for columns that it cannot read, and learns from the start.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Learned, Percentile, Strategy};
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Instant, Record};
///
/// let mut strategy = Percentile::new(95.0);
/// for millis in 1..=100 {
///     let primary = Sample::Finished(Duration::from_millis(millis));
///     strategy.record(&Record::new(primary));
/// }
/// let learned = Learned::of(&strategy, Instant::ZERO);
///
/// let mut restarted = Percentile::new(95.0);
/// learned.restore(&mut restarted, Instant::ZERO)?;
/// assert_eq!(restarted.stats().samples, strategy.stats().samples);
/// # Ok::<(), hedge_core::strategy::RestoreError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Learned {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "kind"))]
    strategy: StrategyKind,
    columns: BTreeMap<String, Vec<f64>>,
    /// What was learned for each key, by its name.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "keys",
            skip_serializing_if = "BTreeMap::is_empty"
        )
    )]
    keys: BTreeMap<String, Self>,
    /// The latencies of the hedger's replicas by index; 0 if unknown.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    replica_latency_ms: Vec<f64>,
}

impl Learned {
    /// Returns what `strategy` has learned up to `now`.
    pub fn of<S: Strategy + ?Sized>(strategy: &S, now: Instant) -> Self {
        let mut learned = Self {
            strategy: strategy.kind(),
            columns: BTreeMap::new(),
            keys: BTreeMap::new(),
            replica_latency_ms: Vec::new(),
        };
        strategy.export(&mut learned, now);
        learned
    }

    /// Restores this state into `strategy`, and replaces what it has learned.
    ///
    /// # Errors
    ///
    /// Returns an error if the state is that of another kind of strategy, or if a column is invalid. `strategy` is
    /// unchanged in this case.
    pub fn restore<S: Strategy + ?Sized>(
        &self,
        strategy: &mut S,
        now: Instant,
    ) -> Result<(), RestoreError> {
        let (found, expected) = (self.strategy, strategy.kind());
        if found != expected {
            return Err(RestoreError::other_strategy(found, expected));
        }
        strategy.restore(self, now)
    }

    /// Returns the kind of the strategy that learned this.
    pub fn strategy(&self) -> StrategyKind {
        self.strategy
    }

    /// Returns what was learned of the requests with each key, with the key's name.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.keys.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Returns the latencies of the hedger's replicas in ms, by index: 0 where nothing is known.
    pub fn replica_latency_ms(&self) -> &[f64] {
        &self.replica_latency_ms
    }

    #[cfg(feature = "std")]
    pub(crate) fn with_keys(self, keys: impl Iterator<Item = (String, Self)>) -> Self {
        let keys = keys.collect();
        Self { keys, ..self }
    }

    #[cfg(feature = "std")]
    pub(crate) fn with_replica_latency_ms(self, latencies: Vec<f64>) -> Self {
        let replica_latency_ms = latencies;
        Self {
            replica_latency_ms,
            ..self
        }
    }
}

/// Reads the states of keys, which have no keys themselves.
#[cfg(feature = "serde")]
fn keys<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Learned>, D::Error> {
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OfKey {
        #[serde(deserialize_with = "kind")]
        strategy: StrategyKind,
        columns: BTreeMap<String, Vec<f64>>,
    }

    let keys = BTreeMap::<String, OfKey>::deserialize(deserializer)?;
    let learned = |OfKey { strategy, columns }| Learned {
        strategy,
        columns,
        keys: BTreeMap::new(),
        replica_latency_ms: Vec::new(),
    };
    let keys = keys.into_iter();
    Ok(keys.map(|(name, state)| (name, learned(state))).collect())
}

/// Reads any kind, including `custom`, which a config cannot name.
#[cfg(feature = "serde")]
fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<StrategyKind, D::Error> {
    use serde::{Deserialize, de::Error};

    let text = String::deserialize(deserializer)?;
    let named = |kind: &StrategyKind| kind.as_str() == text;
    let kind = StrategyKind::ALL.into_iter().find(named);
    kind.ok_or_else(|| D::Error::custom(format_args!("no strategy is called {text:?}")))
}

impl WriteColumns for Learned {
    fn column(&mut self, name: &'static str, values: &mut dyn Iterator<Item = f64>) {
        self.columns.insert(name.to_owned(), values.collect());
    }
}

impl ReadColumns for Learned {
    fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns.get(name).map(Vec::as_slice)
    }
}
