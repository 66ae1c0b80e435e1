//! Merging of what several instances have learned.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Learned;
use crate::outcome::StrategyKind;
use crate::strategy::memory::{LatencyMemory, merged};
use crate::strategy::{Optimal, ReadColumns, RestoreError, Strategy};
use crate::time::Instant;

/// The columns of a [`LatencyMemory`]: the lower bounds of buckets, and their weights.
const HISTOGRAMS: [[&str; 2]; 2] = [
    ["finished_from_ns", "finished_weights"],
    ["dropped_from_ns", "dropped_weights"],
];

/// Merges what the instances of a service have learned, so that a new instance starts with it.
///
/// The histograms of latencies are added up, each with a limited weight, so that no instance dominates. Everything else
/// that a strategy learns, such as the choices of `optimal`, is taken from the instance with the most samples. The
/// result weighs as much as about 4000 requests, so the new instance adapts to its own latencies as fast as any other.
/// Keys are merged by their names, and latencies of replicas are left out.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Learned, LearnedMerge, Percentile, Sample, Strategy};
/// use hedge_core::{Instant, Record, StrategyKind};
///
/// let learned = [10, 30].map(|base| {
///     let mut strategy = Percentile::new(95.0);
///     for ms in base..base + 100 {
///         strategy.record(&Record::new(Sample::Finished(Duration::from_millis(ms))));
///     }
///     Learned::of(&strategy, Instant::ZERO)
/// });
/// let mut merge = LearnedMerge::new(StrategyKind::Percentile);
/// for entry in &learned {
///     merge.add(entry)?;
/// }
/// let mut new = Percentile::new(95.0);
/// merge.finish().expect("there were entries").restore(&mut new, Instant::ZERO)?;
/// assert_eq!(new.stats().samples, 200);
/// # Ok::<(), hedge_core::strategy::RestoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LearnedMerge {
    kind: StrategyKind,
    entries: u32,
    /// For each column of weights, the sum of each bucket by its lower bound in nanoseconds.
    sums: [BTreeMap<u64, f64>; 2],
    samples: f64,
    /// The highest-ranking entry and its rank: whether it has samples, then whether `optimal` can restore it, and then the
    /// samples of its histogram.
    largest: Option<((bool, bool, f64), Learned)>,
    /// The merges of keys, by their names.
    keys: BTreeMap<String, Self>,
}

/// The parts that an entry adds to a merge.
struct Addition<'e> {
    entry: &'e Learned,
    restores_optimal: bool,
    samples: f64,
    histograms: [Vec<(f64, f64)>; 2],
}

impl LearnedMerge {
    /// Creates an empty merge for strategies of this kind: `percentile`, `optimal`, or `workload_aware` around one of
    /// them.
    pub const fn new(kind: StrategyKind) -> Self {
        Self {
            kind,
            entries: 0,
            sums: [const { BTreeMap::new() }; 2],
            samples: 0.0,
            largest: None,
            keys: BTreeMap::new(),
        }
    }

    /// Returns how many entries have been added.
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Adds an entry, which may be from an untrusted source.
    ///
    /// # Errors
    ///
    /// Returns an error if the entry is of another kind, has no latencies to merge, or contains an invalid number.
    /// Nothing is added in this case.
    pub fn add(&mut self, entry: &Learned) -> Result<(), RestoreError> {
        let addition = self.read(entry)?;
        let of_key = |(name, entry): (&'_ String, _)| match self.read(entry) {
            Ok(addition) => Ok((name.clone(), addition)),
            Err(error) => Err(error.of_key(name)),
        };
        let keys: Vec<_> = entry.keys.iter().map(of_key).collect::<Result<_, _>>()?;
        self.put(addition);
        for (name, addition) in keys {
            let merge = self.keys.entry(name);
            merge.or_insert_with(|| Self::new(self.kind)).put(addition);
        }
        Ok(())
    }

    /// Reads and checks an entry.
    fn read<'e>(&self, entry: &'e Learned) -> Result<Addition<'e>, RestoreError> {
        if entry.strategy != self.kind {
            return Err(RestoreError::other_strategy(entry.strategy, self.kind));
        }
        let restores_optimal = Self::check(entry)?;
        let columns: &dyn ReadColumns = entry;
        let samples = columns.number("samples", 0.0, u16::MAX.into())?;
        let mut histograms = [const { Vec::new() }; 2];
        for (histogram, [from, weights]) in histograms.iter_mut().zip(HISTOGRAMS) {
            let from = columns.numbers(from, 0.0, f64::MAX)?;
            let weights = columns.exactly(from.len(), weights, 0.0, u16::MAX.into())?;
            *histogram = from.iter().copied().zip(weights.iter().copied()).collect();
        }
        Ok(Addition {
            entry,
            restores_optimal,
            samples,
            histograms,
        })
    }

    fn put(&mut self, addition: Addition<'_>) {
        let Addition {
            entry,
            restores_optimal,
            samples,
            histograms,
        } = addition;
        let each = [1.0, merged::GROUP];
        let of = |(histogram, each): (&Vec<(f64, f64)>, f64)| {
            each * histogram.iter().map(|(_, weight)| weight).sum::<f64>()
        };
        let weight: f64 = histograms.iter().zip(each).map(of).sum();
        let scale = (merged::MOST_WEIGHT / weight).min(1.0);
        for (sums, histogram) in self.sums.iter_mut().zip(histograms) {
            for (from, weight) in histogram {
                *sums.entry(from as u64).or_default() += scale * weight;
            }
        }
        // An entry may state more samples than its histogram holds, since the number stops growing at its maximum.
        let samples = samples.min(libm::ceil(weight / merged::SAMPLE));
        self.samples += samples;
        self.entries = self.entries.saturating_add(1);
        let rank = (weight > 0.0, restores_optimal, samples);
        let is_largest = self.largest.as_ref().is_none_or(|(most, _)| rank > *most);
        if is_largest {
            let own = Learned {
                strategy: entry.strategy,
                columns: entry.columns.clone(),
                keys: BTreeMap::new(),
                replica_latency_ms: Vec::new(),
            };
            self.largest = Some((rank, own));
        }
    }

    /// Checks everything that a new instance reads, and returns whether `optimal` can restore the entry. The kind
    /// `workload_aware` does not name the inner strategy, so the columns decide.
    fn check(entry: &Learned) -> Result<bool, RestoreError> {
        LatencyMemory::check(entry)?;
        let is_of_optimal =
            entry.strategy == StrategyKind::Optimal || entry.columns.contains_key("probing");
        if is_of_optimal {
            Optimal::default().restore(entry, Instant::ZERO)?;
        }
        Ok(is_of_optimal)
    }

    /// Returns the merged state; `None` if no entry had samples, with a key or without.
    pub fn finish(self) -> Option<Learned> {
        let keys = self.keys.into_iter();
        let keys: BTreeMap<_, _> = keys
            .filter_map(|(name, merge)| Some((name, merge.finish()?)))
            .collect();
        let ((has_samples, ..), mut learned) = self.largest?;
        if !has_samples && keys.is_empty() {
            return None;
        }
        learned.keys = keys;
        let [finished, dropped] = &self.sums;
        // A dropped attempt adds the same weight to each bucket of its group.
        let each = [1.0, merged::GROUP];
        let weight: f64 = finished.values().sum::<f64>() + each[1] * dropped.values().sum::<f64>();
        let scale = (merged::MOST_WEIGHT / weight).min(1.0);
        for (sums, [from, weights]) in self.sums.iter().zip(HISTOGRAMS) {
            let (starts, scaled) = scaled(sums, scale);
            learned.columns.insert(from.to_owned(), starts);
            learned.columns.insert(weights.to_owned(), scaled);
        }
        let median = median(finished);
        for (name, value) in [
            ("samples", self.samples.min(u16::MAX.into())),
            ("since_halving", 0.0),
            // It was learned for another bucket.
            ("bucket_offset", 0.0),
            ("median_fast_ns", median),
            ("median_slow_ns", median),
        ] {
            learned.columns.insert(name.to_owned(), vec![value]);
        }
        Some(learned)
    }
}

/// Returns scaled whole weights. The rounding error of each bucket is added to the next one, so that the sparse buckets
/// of the tail keep their share.
fn scaled(sums: &BTreeMap<u64, f64>, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let mut owed = 0.5;
    let whole = sums.iter().map(|(from, weight)| {
        owed += scale * weight;
        let given = libm::floor(owed).clamp(0.0, u16::MAX.into());
        owed -= given;
        (*from as f64, given)
    });
    whole.filter(|(_, weight)| *weight > 0.0).unzip()
}

fn median(sums: &BTreeMap<u64, f64>) -> f64 {
    let half = sums.values().sum::<f64>() / 2.0;
    let mut below = 0.0;
    let at = sums.iter().find(|(_, weight)| {
        below += **weight;
        below >= half
    });
    at.map_or(0.0, |(from, _)| *from as f64)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::random::SplitMix;
    use crate::record::{Record, Sample};
    use crate::strategy::{Adaptive, Percentile, WindowedPercentile, WorkloadAware};

    #[cfg(feature = "std")]
    #[test]
    fn keys_are_kept_if_no_request_was_without_one() {
        let key = (String::from("a"), learned(Percentile::new(95.0), 300, 1));
        let entry = learned(Percentile::new(95.0), 0, 1).with_keys(core::iter::once(key));
        let mut merge = LearnedMerge::new(StrategyKind::Percentile);
        merge.add(&entry).unwrap();
        assert_eq!(merge.entries(), 1);
        let merged = merge.finish().unwrap();
        let samples = |learned: &Learned| {
            let mut strategy = Percentile::new(95.0);
            learned.restore(&mut strategy, Instant::ZERO).unwrap();
            strategy.stats().samples
        };
        let keys: Vec<_> = merged
            .keys()
            .map(|(name, of)| (name, samples(of)))
            .collect();
        assert_eq!((samples(&merged), keys), (0, vec![("a", 300)]));
    }

    #[cfg(feature = "std")]
    #[test]
    fn keys_are_merged_by_name() {
        let entry = |keys: &[&str], seed| {
            let of_key = |name: &&str| {
                (
                    String::from(*name),
                    learned(Percentile::new(95.0), 300, seed),
                )
            };
            let whole = learned(Percentile::new(95.0), 100, seed);
            whole.with_keys(keys.iter().map(of_key))
        };
        let mut merge = LearnedMerge::new(StrategyKind::Percentile);
        merge.add(&entry(&["a", "b"], 1)).unwrap();
        merge.add(&entry(&["b"], 2)).unwrap();
        let other = entry(&["a"], 3).with_keys(core::iter::once((
            String::from("c"),
            learned(Adaptive::new(), 50, 4),
        )));
        let error = std::string::ToString::to_string(&merge.add(&other).unwrap_err());
        assert!(error.starts_with("key `c`: "), "{error}");
        assert_eq!(merge.entries(), 2);
        let merged = merge.finish().unwrap();
        let samples = |learned: &Learned| {
            let mut strategy = Percentile::new(95.0);
            learned.restore(&mut strategy, Instant::ZERO).unwrap();
            strategy.stats().samples
        };
        let keys: Vec<_> = merged
            .keys()
            .map(|(name, of)| (name, samples(of)))
            .collect();
        assert_eq!(
            (samples(&merged), keys),
            (200, vec![("a", 300), ("b", 600)])
        );
    }

    fn learned(mut strategy: impl Strategy, requests: u64, seed: u64) -> Learned {
        let mut rng = SplitMix(seed);
        for _ in 0..requests {
            let micros = 1000 + rng.next() % 100_000;
            let primary = Sample::Finished(Duration::from_micros(micros));
            strategy.record(&Record::new(primary));
        }
        Learned::of(&strategy, Instant::ZERO)
    }

    fn merge(entries: &[Learned]) -> Percentile {
        let mut merge = LearnedMerge::new(StrategyKind::Percentile);
        for entry in entries {
            merge.add(entry).unwrap();
        }
        let mut strategy = Percentile::new(95.0);
        let merged = merge.finish().unwrap();
        merged.restore(&mut strategy, Instant::ZERO).unwrap();
        strategy
    }

    fn delay(strategy: &Percentile) -> f64 {
        1e3 * strategy.stats().delay.unwrap().as_secs_f64()
    }

    #[test]
    fn many_that_know_little_know_much_together() {
        let entries: Vec<_> = (0..100)
            .map(|seed| learned(Percentile::new(95.0), 40, seed))
            .collect();
        let strategy = merge(&entries);
        assert_eq!(strategy.stats().samples, 4000);
        assert!(
            (delay(&strategy) - 96.0).abs() < 2.0,
            "{}",
            delay(&strategy)
        );
    }

    #[test]
    fn the_tail_keeps_its_share_however_many_there_are() {
        for instances in [1, 3, 1000] {
            let entries: Vec<_> = (0..instances)
                .map(|seed| learned(Percentile::new(95.0), 5000, seed))
                .collect();
            let strategy = merge(&entries);
            assert!(strategy.stats().samples <= 8000, "{instances}");
            assert!(
                (delay(&strategy) - 96.0).abs() < 2.0,
                "{}",
                delay(&strategy)
            );
        }
    }

    #[test]
    fn nobody_counts_for_more_than_a_share() {
        let mut loud = learned(Percentile::new(95.0), 10, 0);
        let numbers = |values: [f64; 2]| Vec::from(values);
        loud.columns
            .insert("finished_from_ns".into(), numbers([9e12, 8e12]));
        loud.columns
            .insert("finished_weights".into(), numbers([65535.0; 2]));
        let mut entries: Vec<_> = (0..40)
            .map(|seed| learned(Percentile::new(95.0), 4000, seed))
            .collect();
        entries.push(loud);
        // One slow sample in 41 is less than the 5 % that lie above the delay.
        assert!(delay(&merge(&entries)) < 110.0);
    }

    #[test]
    fn what_is_wrong_is_refused_and_changes_nothing() {
        let mut merge = LearnedMerge::new(StrategyKind::Percentile);
        let good = learned(Percentile::new(95.0), 500, 1);
        let bad = |name: &str, values: &[f64]| {
            let mut bad = good.clone();
            bad.columns.insert(name.into(), values.to_vec());
            bad
        };
        for entry in [
            learned(Optimal::new(99.0, 5.0), 500, 1),
            learned(Adaptive::new(), 500, 1),
            learned(WindowedPercentile::new(95.0), 500, 1),
            bad("finished_weights", &[1.0]),
            bad("finished_from_ns", &[f64::NAN]),
            bad("samples", &[-1.0]),
            bad("median_fast_ns", &[f64::INFINITY]),
            bad("restarts", &[]),
            bad("latencies_us", &[1.0]),
        ] {
            assert!(merge.add(&entry).is_err(), "{entry:?}");
        }
        assert_eq!(merge.entries(), 0);
        assert!(merge.clone().finish().is_none());
        merge.add(&learned(Percentile::new(95.0), 0, 1)).unwrap();
        assert!(merge.clone().finish().is_none());
        merge.add(&good).unwrap();
        assert!(merge.finish().is_some());
    }

    #[test]
    fn what_optimal_cannot_restore_is_refused() {
        let complete = learned(Optimal::new(99.0, 5.0), 500, 1);
        let largest = learned(Optimal::new(99.0, 5.0), 900, 1);
        let own = |name: &&String| {
            !learned(Percentile::new(95.0), 9, 1)
                .columns
                .contains_key(*name)
        };
        for name in largest.columns.keys().filter(own) {
            let mut merge = LearnedMerge::new(StrategyKind::Optimal);
            merge.add(&complete).unwrap();
            let mut missing = largest.clone();
            missing.columns.remove(name);
            assert!(merge.add(&missing).is_err(), "{name}");
            let mut invalid = largest.clone();
            invalid.columns.insert(name.clone(), vec![f64::NAN]);
            assert!(merge.add(&invalid).is_err(), "{name}");
            let mut strategy = Optimal::new(99.0, 5.0);
            let merged = merge.finish().unwrap();
            merged.restore(&mut strategy, Instant::ZERO).unwrap();
        }
    }

    #[test]
    fn around_another_strategy_the_columns_say_which() {
        let mut merge = LearnedMerge::new(StrategyKind::WorkloadAware);
        let optimal = learned(WorkloadAware::over(Optimal::new(99.0, 5.0)), 500, 1);
        merge.add(&optimal).unwrap();
        let percentile = learned(WorkloadAware::over(Percentile::new(95.0)), 900, 1);
        merge.add(&percentile).unwrap();
        let mut invalid = optimal.clone();
        invalid.columns.remove("surplus");
        assert!(merge.add(&invalid).is_err());
        let merged = merge.finish().unwrap();
        let mut strategy = WorkloadAware::over(Optimal::new(99.0, 5.0));
        merged.restore(&mut strategy, Instant::ZERO).unwrap();
        let mut strategy = WorkloadAware::over(Percentile::new(95.0));
        merged.restore(&mut strategy, Instant::ZERO).unwrap();
    }

    #[test]
    fn samples_are_what_the_histogram_shows() {
        let mut boastful = learned(Percentile::new(95.0), 1, 1);
        boastful.columns.insert("samples".into(), vec![65535.0]);
        let mut strategy = Percentile::new(95.0);
        boastful.restore(&mut strategy, Instant::ZERO).unwrap();
        assert!(strategy.stats().warming_up);
        assert!(merge(&[boastful]).stats().warming_up);

        // Both state the maximum number of samples, but one has forgotten most of them.
        let mut old = learned(Optimal::new(99.0, 5.0), 3000, 1);
        let mut young = learned(Optimal::new(99.0, 5.0), 500, 2);
        for entry in [&mut old, &mut young] {
            entry.columns.insert("samples".into(), vec![65535.0]);
        }
        old.columns.insert("surplus".into(), vec![7.0]);
        let mut merge = LearnedMerge::new(StrategyKind::Optimal);
        merge.add(&young).unwrap();
        merge.add(&old).unwrap();
        assert_eq!(
            merge.finish().unwrap().columns.get("surplus"),
            Some(&vec![7.0])
        );
    }

    #[test]
    fn of_optimal_the_most_experienced_goes_first() {
        let mut merge = LearnedMerge::new(StrategyKind::Optimal);
        for seed in 0..4 {
            merge
                .add(&learned(Optimal::new(99.0, 5.0), 500 + seed, seed))
                .unwrap();
        }
        let mut strategy = Optimal::new(99.0, 5.0);
        let merged = merge.finish().unwrap();
        merged.restore(&mut strategy, Instant::ZERO).unwrap();
        assert!(
            strategy
                .plan(&crate::Hints::NONE, Instant::ZERO)
                .delay()
                .is_some()
        );
    }
}
