//! The choice of the policy.

use core::iter;

use super::curve::Cursor;
use super::dependence::Dependence;
use super::search::{Found, Search, latest};
use crate::strategy::{ReadColumns, RestoreError, WriteColumns};
use crate::window::Entry;

/// The goal of the choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// The percentile to lower, as a share.
    pub(super) target: f32,
    /// The share of requests that may be hedged.
    pub(super) budget: f32,
    /// The factor for the budget at present, which makes up for too many or too few hedges before.
    pub(super) correction: f32,
    /// How the latencies of a request's attempts depend on each other.
    pub(super) dependence: Dependence,
    /// Whether slow requests come in clusters.
    pub(super) clustered: bool,
    /// Whether hedging did not help so far, so that only probes start.
    pub(super) probing: bool,
}

/// A policy and its expected result. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SingleR {
    pub(super) delay: u64,
    /// The share of the requests past the delay that are hedged.
    pub(super) chance: f32,
    /// The expected target percentile.
    pub(super) predicted: u64,
    /// The target percentile without hedging, if enough of the tail was seen.
    pub(super) unhedged: Option<u64>,
    /// Whether only a few requests are hedged, as probes.
    pub(super) probing: bool,
}

/// The mean of the last ten delays. Each comes from a window of which a tenth is new, so the mean covers about twice
/// the window, which reduces the error.
#[derive(Clone, Copy, Debug)]
pub(super) struct DelayMean {
    mean: f64,
    delays: u8,
}

/// The number of samples above the target from which on delays can be compared.
const ENOUGH: f32 = 3.0;
/// The earliest delay that is considered is exceeded by this many times the budget, or by this many times the share
/// above the target. An earlier one would hedge too many requests that do not need it.
const EARLIEST: f32 = 4.0;

/// The reduction of the target percentile that hedging must achieve, relative to the extra load, and its lower and
/// upper bound.
const WORTH: f32 = 0.5;
const LEAST_WORTH: f32 = 0.01;
const MOST_WORTH: f32 = 0.1;
/// The benefit that hedges must have with too few samples to compare delays, relative to independent attempts.
const HELPFUL: f32 = 0.2;
/// The factor by which hedges must do better for hedging to resume.
const COME_BACK: f32 = 2.0;
/// The share of requests that are hedged as probes.
const PROBES: f32 = 0.0025;
/// The share of the slowest requests from which probes are drawn, since these are the most informative.
const PROBED: f32 = 0.05;

/// Returns the policy for a window's samples; `None` if there are none.
///
/// While there are too few samples above the target to compare delays, the policy hedges as late as the budget allows,
/// which helps with every tail.
///
/// The delay is at most 1.5 × `longest`, the latency of the longest attempt that finished. Otherwise it would grow
/// without bound if more attempts hang than may be slower than the target.
pub(super) fn choose(
    sorted: &[Entry],
    longest: u64,
    goal: Goal,
    delay_mean: &mut DelayMean,
) -> Option<SingleR> {
    let policy = uncapped(sorted, goal, delay_mean)?;
    let highest = longest.saturating_add(longest / 2).max(1);
    if policy.delay <= highest {
        return Some(policy);
    }
    // More requests pass the earlier delay than the budget pays for.
    let mut cursor = Cursor::top(sorted);
    cursor.down_past(highest.saturating_add(1));
    let chance = goal.budget * goal.correction / cursor.next_survival();
    Some(SingleR {
        delay: highest,
        chance: policy.chance.min(chance),
        ..policy
    })
}

fn uncapped(sorted: &[Entry], goal: Goal, delay_mean: &mut DelayMean) -> Option<SingleR> {
    let tail = 1.0 - goal.target;
    let few = (sorted.len() as f32) * tail < ENOUGH;
    let top = Cursor::top(sorted);
    let found = Search {
        exceed: tail,
        budget: goal.budget,
        most_due: if few {
            goal.budget
        } else {
            EARLIEST * goal.budget.max(tail)
        },
        dependence: goal.dependence,
    }
    .run(top)?;
    let policy = SingleR {
        delay: found.delay,
        chance: found.chance,
        predicted: found.predicted,
        unhedged: found.unhedged,
        probing: false,
    };

    let hurdle = if goal.probing { COME_BACK } else { 1.0 };
    let helps = if few {
        goal.dependence.in_time(0.5) >= 0.5 * HELPFUL * hurdle
    } else {
        let worth = (WORTH * goal.budget).clamp(LEAST_WORTH, MOST_WORTH) * hurdle;
        found.unhedged.is_none_or(|unhedged| {
            found.predicted as f64 <= unhedged as f64 * (1.0 - f64::from(worth))
        })
    };
    if helps
        && !few
        && found.chance < 1.0
        && !(goal.clustered && is_latest_nearly_as_good(top, goal, &found))
    {
        // The number of rescued requests is proportional to the chance, so its variations cancel out; only the delay is
        // averaged.
        let delay = delay_mean.mean(found.delay);
        let mut cursor = top;
        cursor.down_past(delay.saturating_add(1));
        let chance = goal.budget * goal.correction / cursor.next_survival();
        return Some(SingleR {
            delay,
            chance: chance.min(1.0),
            ..policy
        });
    }
    *delay_mean = DelayMean::new();
    if helps {
        // A chance below 1 would leave out most of the remaining tail, so correct the delay instead.
        let (delay, chance) = latest(top, goal.budget * goal.correction);
        return Some(SingleR {
            delay,
            chance,
            ..policy
        });
    }
    let pool = goal.budget.min(PROBED);
    let (delay, chance) = latest(top, pool);
    Some(SingleR {
        delay,
        chance: chance * (PROBES / pool).min(1.0),
        predicted: found.unhedged.unwrap_or(found.predicted),
        probing: true,
        ..policy
    })
}

/// Returns whether the latest delay that spends the budget leads to less than twice the target percentile that was
/// found. If slow requests come in clusters, whole clusters pass an early delay at once, and it does not reach the
/// percentile that the samples predict.
fn is_latest_nearly_as_good(top: Cursor<'_>, goal: Goal, found: &Found) -> bool {
    let late = Search {
        exceed: 1.0 - goal.target,
        budget: goal.budget,
        most_due: goal.budget,
        dependence: goal.dependence,
    };
    let late = late.run(top);
    late.is_some_and(|late| late.predicted < found.predicted.saturating_mul(2))
}

impl DelayMean {
    const MOST: u8 = 10;

    pub(super) const fn new() -> Self {
        Self {
            mean: 0.0,
            delays: 0,
        }
    }

    pub(super) fn export(&self, columns: &mut dyn WriteColumns) {
        columns.column("mean_delay_us", &mut iter::once(self.mean));
        columns.column("delays", &mut iter::once(self.delays.into()));
    }

    pub(super) fn restore(columns: &dyn ReadColumns) -> Result<Self, RestoreError> {
        Ok(Self {
            mean: columns.number("mean_delay_us", 0.0, u64::MAX as f64)?,
            delays: columns.number("delays", 0.0, Self::MOST.into())? as u8,
        })
    }

    /// Returns the mean with this delay. A delay that differs by a factor of two is a real change, so the mean starts
    /// again from it.
    fn mean(&mut self, delay: u64) -> u64 {
        let delay = delay as f64;
        if delay > 2.0 * self.mean || self.mean > 2.0 * delay {
            *self = Self::new();
        }
        self.delays = (self.delays + 1).min(Self::MOST);
        self.mean += (delay - self.mean) / f64::from(self.delays);
        self.mean as u64
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::vec::Vec;

    use super::*;
    use crate::record::Sample;

    const GOAL: Goal = Goal {
        target: 0.99,
        budget: 0.03,
        correction: 1.0,
        dependence: Dependence::NONE,
        clustered: false,
        probing: false,
    };

    const LONG: u64 = u64::MAX;

    /// Returns the quantiles of the exponential distribution with a mean of 100 ms.
    fn exponential(samples: u32) -> Vec<Entry> {
        let quantile = |n| -0.1 * libm::log((f64::from(n) + 0.5) / f64::from(samples));
        let latency = |n| Entry::of(Sample::Finished(Duration::from_secs_f64(quantile(n))));
        (0..samples).rev().filter_map(latency).collect()
    }

    fn chosen(goal: Goal, samples: u32) -> SingleR {
        choose(&exponential(samples), LONG, goal, &mut DelayMean::new()).unwrap()
    }

    #[test]
    fn it_finds_what_is_known_of_the_exponential_distribution() {
        // By minimising the closed form: 405 ms with d = 336 ms, q = 0.86; 439 with d = 369, q = 0.40.
        for (budget, target, delay, chance) in [(0.03, 405, 336, 0.86), (0.01, 438, 369, 0.40)] {
            let policy = chosen(Goal { budget, ..GOAL }, 4000);
            let near = |micros: u64, millis: u64| micros.abs_diff(1000 * millis);
            assert!(near(policy.predicted, target) < 4_000, "{policy:?}");
            assert!(near(policy.delay, delay) < 15_000, "{policy:?}");
            assert!((policy.chance - chance).abs() < 0.1, "{policy:?}");
            assert!(near(policy.unhedged.unwrap(), 461) < 5_000, "{policy:?}");
        }
    }

    #[test]
    fn a_low_chance_is_corrected_and_otherwise_the_delay() {
        let less = |budget| {
            let goal = Goal { budget, ..GOAL };
            let corrected = Goal {
                correction: 0.5,
                ..goal
            };
            (chosen(goal, 4000), chosen(corrected, 4000))
        };
        let (plain, corrected) = less(0.01);
        assert_eq!(plain.delay, corrected.delay);
        assert!((corrected.chance / plain.chance - 0.5).abs() < 1e-3);
        let (plain, corrected) = less(0.1);
        assert_eq!((plain.chance, corrected.chance), (1.0, 1.0));
        // A delay that is longer by ln 2 times the mean is exceeded half as often.
        let later = (corrected.delay - plain.delay) as f32 / 1e5;
        assert!((later - core::f32::consts::LN_2).abs() < 0.03, "{later}");
    }

    #[test]
    fn an_early_delay_is_the_mean_of_the_last() {
        let goal = Goal {
            budget: 0.01,
            ..GOAL
        };
        let [first, second] = [1000, 3000].map(|samples| chosen(goal, samples));
        assert!(first.delay.abs_diff(second.delay) > 100);
        let mut delay_mean = DelayMean::new();
        let [again, mean] = [1000, 3000]
            .map(|samples| choose(&exponential(samples), LONG, goal, &mut delay_mean).unwrap());
        assert_eq!(again, first);
        assert_eq!(mean.delay, first.delay.midpoint(second.delay));
        // Both policies hedge equally often.
        let due = |delay: u64| libm::exp(delay as f64 / -1e5) as f32;
        let rates = [second, mean].map(|policy| policy.chance * due(policy.delay));
        assert!((rates[0] / rates[1] - 1.0).abs() < 0.03, "{rates:?}");
    }

    #[test]
    fn with_few_samples_it_hedges_as_late_as_it_can() {
        let policy = chosen(GOAL, 200);
        let of_200 = exponential(200);
        // Six samples lie above this percentile, and the next draw counts as one more.
        assert_eq!(policy.delay, of_200[194].micros());
        assert_eq!((policy.chance, policy.probing), (1.0, false));
        let policy = chosen(GOAL, 10);
        assert_eq!(policy.delay, exponential(10)[9].micros());
        assert!((policy.chance - 0.33).abs() < 1e-3, "{policy:?}");
    }

    #[test]
    fn it_probes_when_hedges_do_not_help_and_comes_back_when_they_clearly_do() {
        for samples in [100, 4000] {
            let with = |odds, probing| {
                let dependence = Dependence { odds, stuck: 0.0 };
                chosen(
                    Goal {
                        dependence,
                        probing,
                        ..GOAL
                    },
                    samples,
                )
            };
            assert!(!with(1.0, false).probing && !with(1.0, true).probing);
            let policy = with(1000.0, false);
            assert!(policy.probing);
            assert_eq!(policy.predicted, policy.unhedged.unwrap());
            // The policy hedges one in 12 of the slowest 3 %.
            assert!((policy.chance - 0.0025 / 0.03).abs() < 1e-3, "{policy:?}");
            let helping = (0..200).map(|n| 1.0 + 0.25 * n as f32);
            let edge = helping.take_while(|&odds| !with(odds, false).probing);
            let edge = edge.fold(1.0, f32::max);
            assert!(edge > 2.0 && with(edge, true).probing, "{samples}: {edge}");
        }
    }

    #[test]
    fn where_all_take_the_same_time_hedging_does_not_help() {
        let entry = Entry::of(Sample::Finished(Duration::from_millis(50))).unwrap();
        let policy = choose(&[entry; 1000], LONG, GOAL, &mut DelayMean::new()).unwrap();
        assert!(policy.probing);
        assert_eq!((policy.delay, policy.predicted), (50_000, 50_000));
    }

    #[test]
    fn where_more_hang_than_the_budget_pays_for_it_is_kept_to_all_the_same() {
        // One in ten never answers, and a hedge takes 50 ms after its delay.
        let dropped = |n: u64| Entry::of(Sample::Dropped(Duration::from_millis(500 + n)));
        let finished = |n: u64| Entry::of(Sample::Finished(Duration::from_millis(10 + n % 90)));
        let mut entries: Vec<_> = (0..900)
            .filter_map(finished)
            .chain((0..100).filter_map(dropped))
            .collect();
        entries.sort();
        let goal = Goal {
            budget: 0.05,
            ..GOAL
        };
        let policy = choose(&entries, 100_000, goal, &mut DelayMean::new()).unwrap();
        assert_eq!(policy.delay, 150_000, "{policy:?}");
        assert!((policy.chance - 0.5).abs() < 0.01, "{policy:?}");
    }

    #[test]
    fn a_mean_of_equal_delays_is_that_delay_and_a_jump_begins_anew() {
        let mut delay_mean = DelayMean::new();
        for delay in [0, 1, u64::from(u32::MAX >> 1), 20_000_001] {
            (0..20).for_each(|_| assert_eq!(delay_mean.mean(delay), delay));
        }
        assert_eq!(delay_mean.mean(20_000_011), 20_000_002);
        (0..200).for_each(|_| _ = delay_mean.mean(30_000_000));
        assert_eq!(delay_mean.mean(30_000_000), 29_999_999);
    }
}
