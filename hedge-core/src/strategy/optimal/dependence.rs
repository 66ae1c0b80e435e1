//! The dependence between the latencies of a primary and its hedge.
//!
//! If both were independent, a hedge would finish within y with chance F(y), however slow its primary is. But a request
//! may be slow wherever it runs, and a server that is slow for one attempt is slow for the next.

use core::iter;

use crate::strategy::{ReadColumns, RestoreError, WriteColumns};

/// How the latencies of a request's attempts depend on each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dependence {
    /// The factor by which the odds that a hedge exceeds a latency rise if its primary is slow; 1 if they are
    /// independent.
    pub(super) odds: f32,
    /// The share of slow primaries whose hedges are equally slow, so that they never help.
    pub(super) stuck: f32,
}

impl Dependence {
    /// Independent attempts.
    pub(super) const NONE: Self = Self {
        odds: 1.0,
        stuck: 0.0,
    };

    /// Returns the chance that the hedge of a slow primary finishes within the latency that a `share` of all attempts
    /// does not exceed.
    pub(super) fn in_time(self, share: f32) -> f32 {
        (1.0 - self.stuck) * share / (share + self.odds * (1.0 - share))
    }
}

/// A primary and its hedge, as the shares of attempts that take longer than each of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) primary: f32,
    pub(super) hedge: f32,
    pub(super) finished: Finished,
}

/// The attempt of a pair that finished; the other one would have taken longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finished {
    Primary,
    Hedge,
    Neither,
}

impl Pair {
    /// Returns the likelihood of the pair at the odds ratio `odds`, relative to independent attempts, by the
    /// distribution of Plackett (1965), whose odds ratio is constant.
    fn likelihood(self, odds: f32) -> f32 {
        let (u, v) = (self.primary, self.hedge);
        let more = odds - 1.0;
        let sum = 1.0 + more * (u + v);
        let root = libm::sqrtf((sum * sum - 4.0 * odds * more * u * v).max(f32::MIN_POSITIVE));
        // For the attempt that finished, take the density, which is the derivative. Both forms are equal in value; each
        // is exact where the other one subtracts nearly equal numbers.
        let dropped = |above: f32| {
            let rest = sum - 2.0 * odds * above;
            if rest > 0.0 {
                2.0 * odds * (1.0 - above) / (root * (root + rest))
            } else {
                (root - rest) / (2.0 * above * root)
            }
        };
        match self.finished {
            Finished::Primary => dropped(v),
            Finished::Hedge => dropped(u),
            Finished::Neither => 2.0 * odds / (sum + root),
        }
    }

    /// Returns the likelihood of the pair if a share `stuck` of hedges can only lose, relative to independent attempts.
    fn likelihood_stuck(self, stuck: f32) -> f32 {
        match self.finished {
            Finished::Hedge => 1.0 - stuck,
            Finished::Primary | Finished::Neither => 1.0 - stuck + stuck / self.hedge,
        }
    }

    /// Returns how informative the pair is, from 0 to 1: close to 0 if the hedge had little time.
    fn weight(self) -> f32 {
        match self.finished {
            Finished::Hedge => 1.0,
            Finished::Primary | Finished::Neither => 1.0 - self.hedge,
        }
    }
}

/// How well pairs fit a few hypotheses. A rough estimate must suffice, since the two latencies of a request are never
/// both known.
#[derive(Clone, Debug)]
pub(super) struct Hypotheses {
    /// The log-likelihoods, relative to that of the best hypothesis.
    fits: [f32; Self::COUNT],
    pairs: u32,
}

impl Hypotheses {
    const ODDS: [f32; 13] = [
        0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
    ];
    const STUCK: [f32; 8] = [0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97];
    const COUNT: usize = Self::ODDS.len() + Self::STUCK.len();

    /// How fast pairs are forgotten: about the last 125 informative ones count.
    const FORGETTING: f32 = 1.0 / 125.0;
    /// The lowest log-likelihood of a hypothesis, so that a few pairs can revive it.
    const DEEPEST: f32 = -8.0;

    pub(super) const fn new() -> Self {
        Self {
            fits: [0.0; Self::COUNT],
            pairs: 0,
        }
    }

    pub(super) fn export(&self, columns: &mut dyn WriteColumns) {
        columns.column("fits", &mut self.fits.iter().copied().map(f64::from));
        columns.column("pairs", &mut iter::once(self.pairs.into()));
    }

    pub(super) fn restore(columns: &dyn ReadColumns) -> Result<Self, RestoreError> {
        let fits = columns.exactly(Self::COUNT, "fits", Self::DEEPEST.into(), 0.0)?;
        let mut restored = Self::new();
        for (slot, fit) in restored.fits.iter_mut().zip(fits) {
            *slot = *fit as f32;
        }
        restored.pairs = columns.number("pairs", 0.0, u32::MAX.into())? as u32;
        Ok(restored)
    }

    /// Returns the number of pairs.
    pub(super) const fn pairs(&self) -> u32 {
        self.pairs
    }

    pub(super) fn learn(&mut self, pair: Pair) {
        /// The least likelihood, so that an outlier, which no hypothesis explains, counts little.
        const LEAST: f32 = 1e-6;

        let memory = 1.0 - Self::FORGETTING * pair.weight();
        let mut best = f32::MIN;
        for (fit, dependence) in self.fits.iter_mut().zip(Self::all()) {
            let likelihood = if dependence.stuck > 0.0 {
                pair.likelihood_stuck(dependence.stuck)
            } else {
                pair.likelihood(dependence.odds)
            };
            // `max` also replaces a NaN.
            *fit = *fit * memory + libm::logf(likelihood.max(LEAST));
            best = best.max(*fit);
        }
        for fit in &mut self.fits {
            *fit = (*fit - best).max(Self::DEEPEST);
        }
        self.pairs = self.pairs.saturating_add(1);
    }

    /// Returns the mean of the hypotheses, weighted by their probabilities. Before the first pair, independence has a
    /// probability of one half, and hypotheses closer to it have more of the rest.
    pub(super) fn mean(&self) -> Dependence {
        let (mut total, mut log_odds, mut stuck) = (0.0, 0.0, 0.0);
        for (fit, dependence) in self.fits.iter().zip(Self::all()) {
            let log = libm::log2f(dependence.odds);
            let prior = if dependence == Dependence::NONE {
                2.5
            } else {
                -0.2 * log.abs() - dependence.stuck
            };
            let weight = libm::expf(fit + prior);
            total += weight;
            log_odds += weight * log;
            stuck += weight * dependence.stuck;
        }
        Dependence {
            odds: libm::exp2f(log_odds / total),
            stuck: stuck / total,
        }
    }

    fn all() -> impl Iterator<Item = Dependence> {
        let odds = Self::ODDS.map(|odds| Dependence {
            odds,
            ..Dependence::NONE
        });
        let stuck = Self::STUCK.map(|stuck| Dependence {
            stuck,
            ..Dependence::NONE
        });
        odds.into_iter().chain(stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(primary: f32, hedge: f32, finished: Finished) -> Pair {
        Pair {
            primary,
            hedge,
            finished,
        }
    }

    /// Returns the share of pairs that exceed both, computed from the definition of the odds ratio.
    fn both(u: f64, v: f64, odds: f64) -> f64 {
        let (mut low, mut high) = ((u + v - 1.0).max(0.0), u.min(v));
        for _ in 0..100 {
            let both = 0.5 * (low + high);
            let ratio = both * (1.0 - u - v + both) / ((u - both) * (v - both));
            if ratio < odds {
                low = both;
            } else {
                high = both;
            }
        }
        low
    }

    #[test]
    fn likelihoods_are_those_of_a_constant_odds_ratio() {
        const STEP: f64 = 1e-4;
        for odds in [0.25, 0.5, 2.0, 64.0] {
            for (u, v) in [(0.5, 0.5), (0.02, 0.6), (0.3, 0.05), (0.9, 0.97)] {
                let (u32, v32, odds32) = (u as f32, v as f32, odds as f32);
                let check = |finished, expected: f64| {
                    let likelihood = f64::from(pair(u32, v32, finished).likelihood(odds32));
                    let off = (likelihood / expected - 1.0).abs();
                    assert!(
                        off < 1e-2,
                        "{finished:?} {odds} {u} {v}: {likelihood} {expected}"
                    );
                };
                // For an attempt that finished, the density is known: the derivative of the joint share.
                let slope_u = both(u + STEP, v, odds) - both(u - STEP, v, odds);
                let slope_v = both(u, v + STEP, odds) - both(u, v - STEP, odds);
                check(Finished::Neither, both(u, v, odds) / (u * v));
                check(Finished::Primary, slope_u / (2.0 * STEP) / v);
                check(Finished::Hedge, slope_v / (2.0 * STEP) / u);
            }
        }
        for finished in [Finished::Primary, Finished::Hedge, Finished::Neither] {
            assert_eq!(pair(0.1, 0.3, finished).likelihood(1.0), 1.0);
        }
    }

    #[test]
    fn at_first_attempts_have_little_to_do_with_each_other() {
        let dependence = Hypotheses::new().mean();
        assert!((0.8..2.0).contains(&dependence.odds), "{dependence:?}");
        assert!(dependence.stuck < 0.15, "{dependence:?}");
    }

    #[test]
    fn a_hedge_that_had_no_time_teaches_nothing() {
        let mut hypotheses = Hypotheses::new();
        for _ in 0..5 {
            hypotheses.learn(pair(0.01, 0.4, Finished::Primary));
        }
        let before = hypotheses.mean();
        for _ in 0..1000 {
            hypotheses.learn(pair(0.05, 1.0, Finished::Primary));
        }
        let after = hypotheses.mean();
        assert!((after.odds - before.odds).abs() < 1e-3, "{after:?}");
        assert!((after.stuck - before.stuck).abs() < 1e-3, "{after:?}");
        assert_eq!(hypotheses.pairs(), 1005);
    }

    /// Adds hedges of slow primaries that take as long as any attempt, with as much time as a share 1 − `left` of
    /// attempts need.
    fn independent(hypotheses: &mut Hypotheses, pairs: u32, left: f32) {
        for n in 0..pairs {
            // This sequence fills the range evenly (Weyl, 1916).
            let v = libm::fmodf(0.618_034 * (n + 1) as f32, 1.0);
            hypotheses.learn(if v > left {
                pair(0.02, v, Finished::Hedge)
            } else {
                pair(0.02, left, Finished::Primary)
            });
        }
    }

    #[test]
    fn independent_attempts_are_recognised() {
        for left in [0.05, 0.5] {
            let mut hypotheses = Hypotheses::new();
            independent(&mut hypotheses, 300, left);
            let dependence = hypotheses.mean();
            assert!(
                (0.7..1.4).contains(&dependence.odds),
                "{left}: {dependence:?}"
            );
            assert!(dependence.stuck < 0.06, "{left}: {dependence:?}");
        }
    }

    #[test]
    fn hedges_that_only_lose_are_given_up_soon_and_come_back_soon() {
        let mut hypotheses = Hypotheses::new();
        for _ in 0..20 {
            hypotheses.learn(pair(0.01, 0.4, Finished::Primary));
        }
        assert!(
            hypotheses.mean().in_time(0.5) < 0.05,
            "{:?}",
            hypotheses.mean()
        );
        for _ in 0..200 {
            hypotheses.learn(pair(0.01, 0.4, Finished::Primary));
        }
        independent(&mut hypotheses, 12, 0.5);
        assert!(
            hypotheses.mean().in_time(0.5) > 0.25,
            "{:?}",
            hypotheses.mean()
        );
    }

    #[test]
    fn hedges_that_help_are_distinguished_from_those_that_help_a_little() {
        // Six in ten hedges are as slow as their primaries, and the others are as fast as usual.
        let mut stuck = Hypotheses::new();
        for n in 0..300 {
            let v = libm::fmodf(0.618_034 * (n + 1) as f32, 1.0);
            stuck.learn(if n % 5 < 3 || v < 0.02 {
                pair(0.01, 0.02, Finished::Primary)
            } else {
                pair(0.01, v, Finished::Hedge)
            });
        }
        let dependence = stuck.mean();
        assert!((0.5..0.7).contains(&dependence.stuck), "{dependence:?}");
        assert!((0.8..1.3).contains(&dependence.odds), "{dependence:?}");
    }

    #[test]
    fn outliers_and_extremes_are_survived() {
        let mut hypotheses = Hypotheses::new();
        for finished in [Finished::Primary, Finished::Hedge, Finished::Neither] {
            for u in [f32::MIN_POSITIVE, 1e-5, 1.0] {
                for v in [f32::MIN_POSITIVE, 1e-5, 1.0] {
                    hypotheses.learn(pair(u, v, finished));
                    let dependence = hypotheses.mean();
                    assert!(
                        dependence.odds.is_finite() && dependence.odds > 0.0,
                        "{dependence:?}"
                    );
                    assert!((0.0..1.0).contains(&dependence.stuck), "{dependence:?}");
                }
            }
        }
    }
}
