//! The result of a cascade.

use core::fmt;
use core::time::Duration;

use super::{TierEnd, TierReport};
use crate::error::ConfigError;
use crate::name::Name;

/// The answer of a cascade, with a summary of how it was obtained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cascaded<V, const N: usize> {
    /// The value that the tier returned.
    pub value: V,
    /// A summary of the request.
    pub outcome: CascadeOutcome<N>,
}

impl<V, const N: usize> Cascaded<V, N> {
    /// Returns the answer and discards the outcome.
    pub fn into_inner(self) -> V {
        self.value
    }
}

/// A summary of one request to a cascade.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CascadeOutcome<const N: usize> {
    /// Whether the answer met the threshold of its tier. If it did not, the answer is the best of all that came.
    pub accepted: bool,
    /// Whether the request ran out of time.
    pub timed_out: bool,
    /// The index of the tier that answered, from 0; `None` if no tier did.
    pub tier: Option<usize>,
    /// The number of tiers that were started besides the first.
    pub hedges_fired: u8,
    /// The time from the start of the request to its end.
    pub total_latency: Duration,
    /// The cost of all tiers that were started, for providers that charge for cancelled calls.
    pub total_cost: f64,
    /// The cost of the tiers that answered, for providers that charge for completed calls.
    pub completed_cost: f64,
    pub(super) tiers: [TierReport; N],
    pub(super) len: usize,
}

impl<const N: usize> CascadeOutcome<N> {
    /// Returns the reports of all tiers in order.
    pub fn tiers(&self) -> &[TierReport] {
        self.tiers.get(..self.len).unwrap_or_default()
    }

    /// Returns the name of the tier that answered; empty if no tier did.
    pub fn tier_name(&self) -> Name {
        let tier = self.tier.and_then(|tier| self.tiers.get(tier));
        tier.map_or(Name::EMPTY, |tier| tier.name)
    }
}

/// The error of a request to a cascade.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CascadeError<E, const N: usize> {
    /// The number of requests differs from the number of tiers. No tier was started.
    Invalid(ConfigError),
    /// Every tier failed.
    Failed(Failures<E, N>),
    /// The request ran out of time before any tier had answered.
    Timeout(Failures<E, N>),
}

/// The errors of all tiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures<E, const N: usize> {
    pub(super) errors: [Option<E>; N],
    pub(super) outcome: CascadeOutcome<N>,
}

impl<E, const N: usize> Failures<E, N> {
    /// Returns the names and errors of the tiers that failed, in order.
    pub fn errors(&self) -> impl Iterator<Item = (Name, &E)> {
        let names = self.outcome.tiers.iter().map(|tier| tier.name);
        let errors = names.zip(&self.errors);
        errors.filter_map(|(name, error)| Some((name, error.as_ref()?)))
    }

    /// Returns a summary of the request.
    pub fn outcome(&self) -> &CascadeOutcome<N> {
        &self.outcome
    }

    /// Returns the errors, each at the index of its tier.
    pub fn into_errors(self) -> [Option<E>; N] {
        self.errors
    }
}

impl<E, const N: usize> CascadeError<E, N> {
    /// Returns the errors of all tiers, if any tier was started.
    pub fn failures(&self) -> Option<&Failures<E, N>> {
        match self {
            Self::Failed(failures) | Self::Timeout(failures) => Some(failures),
            Self::Invalid(_) => None,
        }
    }

    /// Returns whether the request ran out of time.
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
    /// Returns the error of the first tier that failed.
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
