//! The result of a request, and how it was reached.

use core::fmt;
use core::time::Duration;

use crate::attempt::Cause;
use crate::name::Name;
use crate::record::{AttemptEnd, Record, RequestEnd};
use crate::replica_id::{NoReplica, ReplicaId};
use crate::time::duration;

/// The value of a request, with a summary of how it was obtained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedged<T> {
    /// The value that the winning attempt returned.
    pub value: T,
    /// A summary of the request.
    pub outcome: Outcome,
}

impl<T> Hedged<T> {
    /// Applies `f` to the value and keeps the outcome.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Hedged<U> {
        Hedged {
            value: f(self.value),
            outcome: self.outcome,
        }
    }

    /// Returns the value and discards the outcome.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// A summary of one request: which attempts ran, which one won, and how long each took.
///
/// Latencies are measured from the start of the request unless stated otherwise. A hedger with no
/// strategy that learns, no metrics and no sink does not read the clock for a request whose primary
/// is ready when first polled: all latencies of that request are zero.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether the value was accepted. `false` if the classifier refused every `Ok` and this is the
    /// earliest of them, which is what the caller would have received without hedging.
    pub accepted: bool,
    /// Whether at least one hedge was started.
    pub hedged: bool,
    /// Whether the value came from a hedge.
    pub hedge_won: bool,
    /// The index of the attempt that returned the value; 0 is the primary.
    pub winner: u8,
    /// The number of attempts that were started, including the primary.
    pub attempts: u8,
    /// The number of those that were started because another one had failed.
    pub retries: u8,
    /// Why the winning attempt was started; `None` if no value was accepted.
    pub winner_cause: Option<Cause>,
    /// The time from the start of the request to its answer.
    pub total_latency: Duration,
    /// The time from the start of the request to the head of its response; `None` unless an adapter held the response
    /// back until its first data came.
    pub head_latency: Option<Duration>,
    /// The time that the primary took; `None` if it did not finish.
    pub primary_latency: Option<Duration>,
    /// The time that the winning hedge took, or else the first hedge that finished, from its own
    /// start.
    pub backup_latency: Option<Duration>,
    /// The delay after which the first hedge was planned. `None` if no hedge was planned, or if the
    /// primary was ready before the hedger made a plan.
    pub hedge_delay: Option<Duration>,
    /// Why no hedge was started; `None` if one was.
    pub suppressed: Option<Suppressed>,
    /// The sum of `cost_per_attempt`, 1 by default, over all attempts that were started.
    pub cost: f64,
    /// The kind of the strategy that planned the request.
    pub strategy: StrategyKind,
    /// The hedger's `strategy_name`; empty if it has none.
    pub strategy_name: Name,
    /// The key of the request, at most 32 bytes of its name; empty if it has none.
    #[cfg(feature = "std")]
    pub key: Name,
    /// The replica that gave the value, if the request was made [on](crate::Call::on) a set of them.
    pub replica: Option<ReplicaId>,
    /// The replicas that attempts were sent to: bit i stands for index i.
    pub replicas_used: u64,
}

impl Outcome {
    #[cfg_attr(feature = "std", inline(always))]
    pub(crate) fn new(record: &Record, strategy: StrategyKind, strategy_name: Name) -> Self {
        let finished = |end, nanos| (end != AttemptEnd::Dropped).then(|| duration(nanos));
        Self {
            accepted: matches!(record.end, RequestEnd::Won(_)),
            hedged: record.hedged(),
            hedge_won: record.hedge_won(),
            winner: record.end.attempt().unwrap_or(0),
            attempts: record.attempts,
            retries: record.retries() as u8,
            winner_cause: record.winner_cause(),
            total_latency: record.total(),
            head_latency: None,
            primary_latency: finished(record.primary_end, record.primary),
            backup_latency: record.hedge_end.and_then(|end| finished(end, record.hedge)),
            hedge_delay: record.hedge_delay(),
            suppressed: record.suppressed,
            cost: record.cost,
            strategy,
            strategy_name,
            #[cfg(feature = "std")]
            key: Name::EMPTY,
            replica: None,
            replicas_used: 0,
        }
    }
}

/// The reason why a request started no hedge.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Suppressed {
    /// The request ended before the hedge delay had passed.
    NotDue,
    /// Hedging is off: by the strategy, by `enabled`, or for this call.
    Off,
    /// The strategy has too few samples, and is configured not to hedge until it has enough.
    WarmingUp,
    /// The share of requests that the budget allows to hedge was spent.
    BudgetRatio,
    /// The share of requests and the reserve per second that the budget allows were spent.
    BudgetRate,
    /// The number of hedges in flight had reached the budget's limit.
    InFlight,
    /// Too little time remained before the deadline for a hedge to help.
    Deadline,
    /// The server had asked the client to wait, and the request ended before that time had passed, or a
    /// result was classified as [`Verdict::Wait`](crate::Verdict::Wait).
    Pushback,
    /// The guard deferred the hedge, since hedges did not help, and the request ended before it started.
    Guard,
    /// The strategy hedges only a random share of the requests that exceed the delay, and this one
    /// was not drawn.
    NotDrawn,
    /// No hedge was allowed: by `max_hedges`, or by a hedger type that holds one attempt.
    MaxHedges,
    /// The hedger only observes. A hedge would have been started otherwise.
    ObserveOnly,
    /// A resource that a hedge needs was not available: see
    /// [`Call::request_if`](crate::Call::request_if).
    NotReady,
    /// No replica was available for a hedge: see [`Call::among`](crate::Call::among).
    NoReplica,
    /// The hedge was withheld, so that the request is in the control group: see
    /// [`holdback_percent`](crate::Options::holdback_percent).
    Holdback,
}

impl Suppressed {
    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: [Self; 15] = [
        Self::NotDue,
        Self::Off,
        Self::WarmingUp,
        Self::BudgetRatio,
        Self::BudgetRate,
        Self::InFlight,
        Self::Deadline,
        Self::Pushback,
        Self::Guard,
        Self::NotDrawn,
        Self::MaxHedges,
        Self::ObserveOnly,
        Self::NotReady,
        Self::NoReplica,
        Self::Holdback,
    ];

    /// Returns the reason's position in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the reason in snake case, as in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Off => "off",
            Self::WarmingUp => "warming_up",
            Self::BudgetRatio => "budget_ratio",
            Self::BudgetRate => "budget_rate",
            Self::InFlight => "in_flight",
            Self::Deadline => "deadline",
            Self::Pushback => "pushback",
            Self::Guard => "guard",
            Self::NotDrawn => "not_drawn",
            Self::MaxHedges => "max_hedges",
            Self::ObserveOnly => "observe_only",
            Self::NotReady => "not_ready",
            Self::NoReplica => "no_replica",
            Self::Holdback => "holdback",
        }
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a withdrawal that a budget refused.
impl core::error::Error for Suppressed {}

/// The kind of a hedger's strategy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StrategyKind {
    /// Never hedges.
    Off,
    /// Hedges only when an attempt has failed.
    OnFailure,
    /// Hedges after a fixed delay.
    Fixed,
    /// Hedges after a percentile of recent latencies.
    Percentile,
    /// Chooses among candidate delays by Thompson Sampling.
    Adaptive,
    /// Scales a delay by hints about the request.
    WorkloadAware,
    /// Hedges after a delay that grows and shrinks with success.
    ExponentialBackoff,
    /// Hedges by the SingleR policy.
    Optimal,
    /// A custom strategy.
    Custom,
}

impl StrategyKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Off,
        Self::OnFailure,
        Self::Fixed,
        Self::Percentile,
        Self::Adaptive,
        Self::WorkloadAware,
        Self::ExponentialBackoff,
        Self::Optimal,
        Self::Custom,
    ];

    /// Returns the name of the kind in a config file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OnFailure => "on_failure",
            Self::Fixed => "fixed",
            Self::Percentile => "percentile",
            Self::Adaptive => "adaptive",
            Self::WorkloadAware => "workload_aware",
            Self::ExponentialBackoff => "exponential_backoff",
            Self::Optimal => "optimal",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a request that has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// Every attempt failed, or one failed fatally.
    Failed {
        /// The error of the earliest attempt, or the fatal error.
        error: E,
        /// The number of attempts that were started.
        attempts: u8,
    },
    /// The request ran out of time, or every attempt did. Every attempt that was still running was
    /// dropped. If the deadline had passed before the request was made, no attempt was started.
    Timeout {
        /// How long the request had been running.
        elapsed: Duration,
        /// The number of attempts that were started.
        attempts: u8,
        /// The error of the earliest attempt that had failed by then; `None` if none had.
        error: Option<E>,
    },
    /// Nothing was sent, since no replica was allowed: see [`Call::among`](crate::Call::among).
    NoReplica(NoReplica),
}

impl<E> Error<E> {
    /// Returns the number of attempts that were started.
    pub fn attempts(&self) -> u8 {
        match self {
            Self::Failed { attempts, .. } | Self::Timeout { attempts, .. } => *attempts,
            Self::NoReplica(_) => 0,
        }
    }

    /// Returns whether the request ran out of time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Applies `f` to the error of the attempt.
    pub fn map<F>(self, f: impl FnOnce(E) -> F) -> Error<F> {
        match self {
            Self::Failed { error, attempts } => Error::Failed {
                error: f(error),
                attempts,
            },
            Self::Timeout {
                elapsed,
                attempts,
                error,
            } => Error::Timeout {
                elapsed,
                attempts,
                error: error.map(f),
            },
            Self::NoReplica(reason) => Error::NoReplica(reason),
        }
    }

    /// Returns the error of the attempt; `None` if the request timed out before any attempt failed.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Timeout { error, .. } => error,
            Self::NoReplica(_) => None,
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.attempts() == 1 { "" } else { "s" };
        match self {
            Self::Failed { attempts, .. } => write!(f, "{attempts} attempt{s} failed"),
            Self::Timeout { attempts: 0, .. } => {
                f.write_str("the deadline had passed before the request was made")
            }
            Self::Timeout {
                elapsed, attempts, ..
            } => {
                write!(f, "no answer from {attempts} attempt{s} after {elapsed:?}")
            }
            Self::NoReplica(reason) => write!(f, "nothing was sent: {reason}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Timeout { error, .. } => error.as_ref().map(|error| error as _),
            Self::NoReplica(reason) => Some(reason),
        }
    }
}
