//! Options that name a strategy.

use core::str::FromStr;

use crate::error::ConfigError;
use crate::outcome::StrategyKind;

/// An option that names a strategy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    option: &'static str,
    pub(super) expected: &'static str,
    nests: bool,
}

impl Choice {
    /// The option `strategy`.
    pub(super) const STRATEGY: Self = Self {
        option: "strategy",
        expected: "off, on_failure, fixed, percentile, adaptive, workload_aware, exponential_backoff or optimal",
        nests: true,
    };

    /// The option `workload_inner`, which cannot be `workload_aware` itself.
    pub(super) const INNER: Self = Self {
        option: "workload_inner",
        expected: "off, on_failure, fixed, percentile, adaptive, exponential_backoff or optimal",
        nests: false,
    };

    /// Returns `kind` if the option may name it.
    pub(super) fn check(self, kind: StrategyKind) -> Result<StrategyKind, ConfigError> {
        match kind {
            StrategyKind::Custom => Err(self.error(kind.as_str())),
            StrategyKind::WorkloadAware if !self.nests => Err(self.error(kind.as_str())),
            _ => Ok(kind),
        }
    }

    /// Returns the kind that `text` names.
    pub(super) fn parse(self, text: &str) -> Result<StrategyKind, ConfigError> {
        let named = |kind: &StrategyKind| kind.as_str() == text;
        let kind = StrategyKind::ALL.into_iter().find(named);
        self.check(kind.ok_or_else(|| self.error(text))?)
    }

    /// Returns the error that lists what the option may name.
    pub(super) fn error(self, text: &str) -> ConfigError {
        ConfigError::text(self.option, text, self.expected)
    }
}

/// Parses the kinds that a config can name, which excludes `custom`.
impl FromStr for StrategyKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Choice::STRATEGY.parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_in_its_order() {
        let places = StrategyKind::ALL.map(|kind| kind as usize);
        assert!(places.into_iter().eq(0..=StrategyKind::Custom as usize));
    }

    #[test]
    fn every_kind_that_may_be_named_is_in_the_message() {
        for choice in [Choice::STRATEGY, Choice::INNER] {
            let told = choice
                .expected
                .split(", ")
                .flat_map(|rest| rest.split(" or "));
            let told: std::vec::Vec<_> = told.collect();
            for kind in StrategyKind::ALL {
                let may_be = choice.check(kind).is_ok();
                assert_eq!(
                    told.contains(&kind.as_str()),
                    may_be,
                    "{kind} in {choice:?}"
                );
            }
        }
    }
}
