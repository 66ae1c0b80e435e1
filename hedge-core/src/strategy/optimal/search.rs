//! The delay and the chance that lower a percentile most.

use super::curve::Cursor;
use super::dependence::Dependence;

/// The parameters of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// The share of requests that may be slower than the target percentile.
    pub(super) exceed: f32,
    /// The share of requests that may be hedged.
    pub(super) budget: f32,
    /// The largest share of requests that may exceed the delay.
    pub(super) most_due: f32,
    /// How the latencies of a request's attempts depend on each other.
    pub(super) dependence: Dependence,
}

/// The result of a search. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) delay: u64,
    pub(super) chance: f32,
    /// The expected target percentile.
    pub(super) predicted: u64,
    /// The target percentile without hedging; `None` if too much of the tail is censored to estimate it.
    pub(super) unhedged: Option<u64>,
}

/// About the maximum number of delays that are tried.
const CANDIDATES: usize = 512;

impl Search {
    /// Finds the delay d and the chance q = min(1, B / P(X > d)) that lead to the lowest target t with P(X > t) (1 − q
    /// P(Y ≤ t − d | X > t)) ≤ `exceed`, where X is the primary's latency, Y the hedge's and B the budget (Kaler, He
    /// and Elnikety, 2017). Returns `None` without samples.
    ///
    /// As d increases, the lowest t so far can only decrease, and so does t − d. So each of the three cursors on the
    /// curve moves in one direction. The search ends at the delay whose chance is 1, since a later one would not spend
    /// the budget.
    pub(super) fn run(&self, top: Cursor<'_>) -> Option<Found> {
        let (mut target, unhedged) = self.unhedged(top)?;
        // Go below all entries that are as long as the target or longer.
        let mut at = top;
        at.down_past(target);
        // Go below all entries that a hedge has no time for.
        let mut rest = at;
        // Start above all entries that are no longer than the delay.
        let (mut delay, mut from) = first_delay(top, self.most_due);
        let skip = from.above() / CANDIDATES;

        let mut best = latest(top, self.budget);
        while delay < target {
            let chance = (self.budget / from.next_survival()).min(1.0);
            rest.down_past(target - delay);
            while let Some(lower) = at.lower() {
                let in_time = self.dependence.in_time(1.0 - rest.survival());
                if !self.allows(at.survival() * (1.0 - chance * in_time)) {
                    break;
                }
                let after_hedge = rest.lower().map_or(0, |rest| rest.saturating_add(delay));
                target = lower.max(after_hedge);
                best = (delay, chance);
                at.down_past(target);
                rest.down_past(target.saturating_sub(delay));
            }
            if chance >= 1.0 {
                break;
            }
            let Some(next) = from.higher(skip) else { break };
            delay = next;
            from.up_past(delay);
        }
        Some(Found {
            delay: best.0,
            chance: best.1,
            predicted: target,
            unhedged,
        })
    }

    /// Returns the target percentile without hedging: the smallest sample that few enough attempts exceed, and the same
    /// if that is certain in spite of censored samples.
    fn unhedged(&self, top: Cursor<'_>) -> Option<(u64, Option<u64>)> {
        let mut target = top.lower()?;
        let mut at = top;
        at.down_past(target);
        while self.allows(at.survival())
            && let Some(lower) = at.lower()
        {
            target = lower;
            at.down_past(target);
        }
        let mut longest = top;
        longest.down_to_finished();
        let seen = self.allows(longest.survival());
        Some((target, seen.then_some(target)))
    }

    fn allows(&self, share: f32) -> bool {
        /// Tolerates rounding errors, so that a curve that reaches the limit exactly counts.
        const SLACK: f32 = 1.0 + 1e-5;

        share <= self.exceed * SLACK
    }
}

/// Returns the shortest delay that no more than the budget exceeds, and the chance that keeps to the budget.
pub(super) fn latest(top: Cursor<'_>, budget: f32) -> (u64, f32) {
    let (delay, cursor) = first_delay(top, budget);
    (delay, (budget / cursor.next_survival()).min(1.0))
}

/// Returns the shortest delay that no more than a `share` of the requests exceeds, or else the longest one, with a
/// cursor above all entries of at most this length.
fn first_delay(top: Cursor<'_>, share: f32) -> (u64, Cursor<'_>) {
    let most = top.survival_before_next(share);
    let mut cursor = top;
    while let Some(delay) = cursor.lower() {
        let mut before = cursor;
        before.down_past(delay);
        if before.survival() > most {
            return (delay, cursor);
        }
        cursor = before;
    }
    (0, cursor)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::record::Sample;
    use crate::window::Entry;

    fn entries(samples: impl IntoIterator<Item = Sample>) -> Vec<Entry> {
        let mut entries: Vec<_> = samples.into_iter().filter_map(Entry::of).collect();
        entries.sort();
        entries
    }

    fn ms(millis: u64) -> Sample {
        Sample::Finished(Duration::from_millis(millis))
    }

    fn survival(entries: &[Entry], t: i64) -> f32 {
        let mut cursor = Cursor::new(entries);
        if let Ok(t) = u64::try_from(t) {
            cursor.up_past(t);
        }
        cursor.survival()
    }

    /// Returns the lowest target of all delays, by trying each.
    fn lowest_target(search: Search, entries: &[Entry]) -> u64 {
        let times = || entries.iter().map(|entry| entry.micros());
        let mut lowest = u64::MAX;
        for delay in times().chain([0]) {
            let mut from = Cursor::new(entries);
            from.up_past(delay);
            let due = from.next_survival();
            let chance = if due <= search.most_due && delay < u64::MAX {
                (search.budget / due).min(1.0)
            } else {
                0.0
            };
            for target in times().chain(times().map(|time| time + delay)) {
                let in_time = 1.0 - survival(entries, target as i64 - delay as i64);
                let hedged = chance * search.dependence.in_time(in_time);
                let slower = survival(entries, target as i64) * (1.0 - hedged);
                if search.allows(slower) {
                    lowest = lowest.min(target);
                }
            }
        }
        lowest
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn nothing_better_can_be_found(
            samples in prop::collection::vec((1_u64..300, 0..4), 1..60),
            exceed in 0.0_f32..0.6,
            budget in 0.01_f32..1.0,
            due in 1.0_f32..8.0,
            odds in 0.25_f32..20.0,
            stuck in 0.0_f32..0.9,
        ) {
            let sample = |(millis, kind)| match kind {
                0 => Sample::Dropped(Duration::from_millis(millis)),
                // Keep this far from the others, so that sums lie between them.
                1 => ms(millis + 5_000),
                _ => ms(millis),
            };
            let entries = entries(samples.into_iter().map(sample));
            let search = Search { exceed, budget, most_due: due * budget, dependence: Dependence { odds, stuck } };
            let found = search.run(Cursor::top(&entries)).unwrap();
            // Rounding may move a share across the limit.
            let near = |slack: f32| {
                lowest_target(Search { exceed: exceed * slack, ..search }, &entries)
            };
            prop_assert!(near(1.0 + 1e-4) <= found.predicted, "{} {found:?}", near(1.0));
            prop_assert!(found.predicted <= near(1.0 - 1e-4), "{} {found:?}", near(1.0));
        }
    }

    #[test]
    fn the_target_may_lie_where_no_sample_is() {
        let slow = (0..20).map(|_| ms(400));
        let entries = entries((0..980).map(|n| ms(8 + n % 5)).chain(slow));
        let search = Search {
            exceed: 0.01,
            budget: 0.02,
            most_due: 1.0,
            dependence: Dependence::NONE,
        };
        let found = search.run(Cursor::top(&entries)).unwrap();
        assert_eq!(found.unhedged, Some(400_000));
        // The delay of 12 ms plus 10 ms, within which enough hedges answer.
        assert_eq!((found.delay, found.predicted), (12_000, 22_000));
        assert!((0.9..=1.0).contains(&found.chance), "{found:?}");
    }

    #[test]
    fn a_hidden_tail_is_not_taken_for_a_short_one() {
        let dropped = (0..30).map(|_| Sample::Dropped(Duration::from_millis(20)));
        let entries = entries((0..970).map(|_| ms(10)).chain(dropped));
        let search = Search {
            exceed: 0.01,
            budget: 0.05,
            most_due: 0.05,
            dependence: Dependence::NONE,
        };
        let found = search.run(Cursor::top(&entries)).unwrap();
        assert_eq!((found.delay, found.chance), (10_000, 1.0));
        assert_eq!((found.predicted, found.unhedged), (20_000, None));
    }

    #[test]
    fn many_delays_are_skipped_but_not_the_best_by_far() {
        // Returns the quantiles of the exponential distribution with a mean of 100 ms.
        let quantile = |n: u32| -100.0 * libm::log((f64::from(n) + 0.5) / 20_000.0);
        let latency = |n| Sample::Finished(Duration::from_secs_f64(quantile(n) / 1e3));
        let entries = entries((0..20_000).map(latency));
        let search = Search {
            exceed: 0.01,
            budget: 0.03,
            most_due: 1.0,
            dependence: Dependence::NONE,
        };
        let found = search.run(Cursor::top(&entries)).unwrap();
        assert!((404_000..406_500).contains(&found.predicted), "{found:?}");
        assert!((320_000..350_000).contains(&found.delay), "{found:?}");
    }

    #[test]
    fn no_samples_no_search() {
        let search = Search {
            exceed: 0.01,
            budget: 0.05,
            most_due: 1.0,
            dependence: Dependence::NONE,
        };
        assert_eq!(search.run(Cursor::top(&[])), None);
    }
}
