//! The seeds that figures are taken over.

use clap::{Args, value_parser};

use crate::parallel;

/// So many seeds, from the first on. What is true of those that were printed should be true of any others.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Seeds {
    /// The first seed of the draws. Equal seeds give equal output.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds figures are taken over. Default: 20, but 5 for `traces` and `fleet`, and 100 for `effect`
    /// and for the queues and brown-outs of `incidents`.
    #[arg(long, value_parser = value_parser!(u64).range(1..=10_000), value_name = "COUNT")]
    seeds: Option<u64>,
}

impl Seeds {
    const USUAL: u64 = 20;

    /// Those that are taken unless told otherwise.
    #[cfg(test)]
    pub(crate) const DEFAULT: Self = Self {
        seed: 1,
        seeds: None,
    };

    /// As many as were asked for, else `count`.
    pub(crate) fn or(self, count: u64) -> Self {
        Self {
            seeds: Some(self.seeds.unwrap_or(count)),
            ..self
        }
    }

    pub(crate) fn count(self) -> u64 {
        self.seeds.unwrap_or(Self::USUAL)
    }

    pub(crate) fn first(self) -> u64 {
        self.seed
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u64> {
        (0..self.count()).map(move |index| self.seed.wrapping_add(index))
    }

    /// `run` for every seed, in order, on every processor.
    pub(crate) fn each<R: Send>(
        self,
        run: impl Fn(u64) -> Result<R, String> + Sync,
    ) -> Result<Vec<R>, String> {
        let seed = |index: usize| self.seed.wrapping_add(index as u64);
        let results = parallel::map(self.count() as usize, |index| run(seed(index)));
        results.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_in_a_row() {
        let of = |seeds: Seeds| seeds.each(Ok).unwrap();
        assert_eq!(of(Seeds::DEFAULT), (1..=20).collect::<Vec<_>>());
        let some = Seeds {
            seed: 7,
            seeds: Some(3),
        };
        assert_eq!(of(some), [7, 8, 9]);
        assert_eq!(of(some.or(100)), [7, 8, 9]);
        assert_eq!(of(Seeds::DEFAULT.or(2)), [1, 2]);
        assert_eq!(Seeds::DEFAULT.or(100).count(), 100);
    }
}
