//! What one cascade did.

use core::fmt;
use core::time::Duration;

use super::{TierEnd, TierReport};
use crate::error::ConfigError;
use crate::name::Name;

/// An answer, and what it took to get it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cascaded<V, const N: usize> {
    /// What the tier answered.
    pub value: V,
    /// What the cascade did.
    pub outcome: CascadeOutcome<N>,
}

impl<V, const N: usize> Cascaded<V, N> {
    /// Only the answer.
    pub fn into_inner(self) -> V {
        self.value
    }
}

/// What one cascade did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CascadeOutcome<const N: usize> {
    /// Whether the answer met its tier's threshold. If not, it is the best there was.
    pub accepted: bool,
    /// Whether the cascade's time was up.
    pub timed_out: bool,
    /// Which tier gave the answer, from 0; absent if none did.
    pub tier: Option<usize>,
    /// How many tiers were asked besides the first.
    pub hedges_fired: u8,
    /// From the start of the cascade to its end.
    pub total_latency: Duration,
    /// What all tiers cost that were asked: for providers that bill a call that its caller gives up.
    pub total_cost: f64,
    /// What those tiers cost that answered: for providers that bill what they complete.
    pub completed_cost: f64,
    pub(super) tiers: [TierReport; N],
    pub(super) len: usize,
}

impl<const N: usize> CascadeOutcome<N> {
    /// What became of each tier, in order.
    pub fn tiers(&self) -> &[TierReport] {
        self.tiers.get(..self.len).unwrap_or_default()
    }

    /// The name of the tier that gave the answer; empty if none did.
    pub fn tier_name(&self) -> Name {
        let tier = self.tier.and_then(|tier| self.tiers.get(tier));
        tier.map_or(Name::EMPTY, |tier| tier.name)
    }
}

/// Why a cascade has no answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CascadeError<E, const N: usize> {
    /// There are not as many requests as tiers; nothing was asked.
    Invalid(ConfigError),
    /// Every tier failed.
    Failed(Failures<E, N>),
    /// The time was up before any tier had answered.
    Timeout(Failures<E, N>),
}

/// What each tier failed with.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures<E, const N: usize> {
    pub(super) errors: [Option<E>; N],
    pub(super) outcome: CascadeOutcome<N>,
}

impl<E, const N: usize> Failures<E, N> {
    /// The tiers that failed, in order, and their errors.
    pub fn errors(&self) -> impl Iterator<Item = (Name, &E)> {
        let names = self.outcome.tiers.iter().map(|tier| tier.name);
        let errors = names.zip(&self.errors);
        errors.filter_map(|(name, error)| Some((name, error.as_ref()?)))
    }

    /// What the cascade did.
    pub fn outcome(&self) -> &CascadeOutcome<N> {
        &self.outcome
    }

    /// The errors, each at its tier's place.
    pub fn into_errors(self) -> [Option<E>; N] {
        self.errors
    }
}

impl<E, const N: usize> CascadeError<E, N> {
    /// What each tier failed with, if any was asked.
    pub fn failures(&self) -> Option<&Failures<E, N>> {
        match self {
            Self::Failed(failures) | Self::Timeout(failures) => Some(failures),
            Self::Invalid(_) => None,
        }
    }

    /// Whether the time was up.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl<E: fmt::Display, const N: usize> fmt::Display for CascadeError<E, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = match self {
            Self::Invalid(error) => return error.fmt(f),
            Self::Failed(failures) => {
                f.write_str("every tier failed")?;
                failures
            }
            Self::Timeout(failures) => {
                let elapsed = failures.outcome.total_latency;
                write!(f, "no tier answered within {elapsed:?}")?;
                failures
            }
        };
        let mut separator = ": ";
        for (name, error) in failures.errors() {
            write!(f, "{separator}{name}: {error}")?;
            separator = "; ";
        }
        for tier in failures.outcome.tiers() {
            if tier.end == TierEnd::Cancelled {
                write!(f, "{separator}{}: no answer", tier.name)?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

impl<E: core::error::Error + 'static, const N: usize> core::error::Error for CascadeError<E, N> {
    /// The first tier's error.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::Failed(failures) | Self::Timeout(failures) => {
                let mut errors = failures.errors.iter().flatten();
                errors.next().map(|error| error as _)
            }
        }
    }
}
