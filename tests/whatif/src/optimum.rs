//! The limit: the best that one hedge can do for a percentile at a given extra load, the whole distribution
//! known.
//!
//! SingleR (Kaler, He and Elnikety, "Optimal Reissue Policies for Reducing Tail Latency", SPAA 2017): hedge
//! after d with probability q. A request is slower than t > d with probability
//! P(X > t) × (1 − q P(Y ≤ t − d | X > t)), and costs q P(X > d) extra attempts.

/// Many pairs of latencies, of a request's primary and its hedge, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// By the primary's latency.
    pairs: Vec<[f64; 2]>,
    /// The hedges' latencies in order; absent if they depend on the primaries'.
    hedges: Option<Vec<f64>>,
}

impl Known {
    /// Attempts that know nothing of each other.
    pub(crate) fn independent(pairs: impl Iterator<Item = [f64; 2]>) -> Self {
        let mut known = Self::joint(pairs);
        // Each of the two is a sample of the same distribution.
        let mut hedges: Vec<f64> = known.pairs.iter().map(|[_, second]| *second).collect();
        hedges.sort_by(f64::total_cmp);
        known.hedges = Some(hedges);
        known
    }

    /// Attempts that may be slow together.
    pub(crate) fn joint(pairs: impl Iterator<Item = [f64; 2]>) -> Self {
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by(|[a, _], [b, _]| a.total_cmp(b));
        Self {
            pairs,
            hedges: None,
        }
    }

    /// How many primaries take longer than `t`.
    fn slower(&self, t: f64) -> usize {
        self.pairs.len() - self.pairs.partition_point(|[x, _]| *x <= t)
    }

    /// The share of hedges within `left` of those whose primary takes longer than `t`.
    fn saved(&self, t: f64, left: f64) -> f64 {
        if let Some(hedges) = &self.hedges {
            return hedges.partition_point(|y| *y <= left) as f64 / hedges.len() as f64;
        }
        let slow = &self.pairs[self.pairs.len() - self.slower(t)..];
        let saved = slow.iter().filter(|[_, y]| *y <= left).count();
        saved as f64 / slow.len().max(1) as f64
    }

    /// The `target` percentile, 0 to 100, without hedging.
    pub(crate) fn percentile(&self, target: f64) -> f64 {
        let rank = (target / 100.0 * self.pairs.len() as f64).ceil() as usize;
        self.pairs[rank.clamp(1, self.pairs.len()) - 1][0]
    }

    /// The least `target` percentile that any (d, q) reaches whose extra load is at most `extra`, a share of
    /// the requests.
    pub(crate) fn best(&self, target: f64, extra: f64) -> f64 {
        let unhedged = self.percentile(target);
        if extra <= 0.0 {
            return unhedged;
        }
        // Delays by rank, so that every shape of distribution is covered: evenly, and the tail more finely.
        let n = self.pairs.len();
        let evenly = (0..400).map(|step| step * n / 400);
        let tail = (0..400).map(|step| n - n / 10 + step * (n / 10) / 401);
        let delays = evenly.chain(tail).map(|rank| self.pairs[rank][0]);
        [0.0].into_iter().chain(delays).fold(unhedged, |best, d| {
            best.min(self.reached(d, target, extra, best))
        })
    }

    /// The target percentile when hedging after `d` as often as `extra` allows, or `best` if that is no more.
    fn reached(&self, d: f64, target: f64, extra: f64, best: f64) -> f64 {
        let n = self.pairs.len() as f64;
        let past = self.slower(d) as f64 / n;
        if past == 0.0 || d >= best {
            return best;
        }
        let q = (extra / past).min(1.0);
        let allowed = 1.0 - target / 100.0;
        let slower = |t: f64| self.slower(t) as f64 / n * (1.0 - q * self.saved(t, t - d));
        // Most delays are not better, which is soon known.
        if slower(best) > allowed {
            return best;
        }
        let (mut low, mut high) = (d, best);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if slower(middle) <= allowed {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_mode_of_two_percent_is_cut_by_a_budget_of_two() {
        let grid = || (0..100_000).map(|i| if i % 50 == 0 { 400.0 } else { 10.0 });
        // Every hedge of a slow primary is fast but for one in fifty.
        let known = Known::independent(grid().zip(grid().skip(1)).map(<[f64; 2]>::from));
        assert_eq!(known.percentile(99.0), 400.0);
        let best = known.best(99.0, 0.02);
        assert!((10.0..=20.1).contains(&best), "{best}");
        assert_eq!(known.best(99.0, 0.0), 400.0);
    }

    #[test]
    fn hedges_that_are_as_slow_as_their_primaries_help_nothing() {
        let known = Known::joint((1..=10_000).map(|i| [f64::from(i); 2]));
        assert!(known.best(99.0, 0.10) >= 9_890.0);
    }

    #[test]
    fn of_exponentials_it_is_what_the_formula_says() {
        // With d = 0 and q = 1 the faster of two exponentials answers: half the percentile.
        let at = |u: f64| -100.0 * (1.0 - u).ln();
        let known = Known::independent((0..200_000).map(|i| {
            let u = (f64::from(i) + 0.5) / 200_000.0;
            [at(u), at(u)]
        }));
        let best = known.best(99.0, 1.0);
        assert!((best / (at(0.99) / 2.0) - 1.0).abs() < 0.01, "{best}");
    }
}
