//! What one request did.

use core::fmt;
use core::time::Duration;

use crate::name::Name;
use crate::record::{AttemptEnd, Record, RequestEnd};
use crate::replicas::{NoReplica, ReplicaId};

/// An answer, and what it took to get it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedged<T> {
    /// What the winning attempt returned.
    pub value: T,
    /// What the request did.
    pub outcome: Outcome,
}

impl<T> Hedged<T> {
    /// The same outcome with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Hedged<U> {
        Hedged {
            value: f(self.value),
            outcome: self.outcome,
        }
    }

    /// Only the value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// What one request did.
///
/// Latencies are measured from the start of the request, unless said otherwise. A hedger that has
/// nothing to learn, no metrics and no sink reads no clock for a request whose primary is ready when
/// first polled: all its latencies are zero.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether the value was accepted. `false` when the classifier refused every `Ok` and this is the
    /// earliest of them, as it would have been without hedging.
    pub accepted: bool,
    /// Whether at least one hedge was started.
    pub hedged: bool,
    /// Whether a hedge gave the value.
    pub hedge_won: bool,
    /// The index of the attempt that gave the value; 0 is the primary.
    pub winner: u8,
    /// How many attempts were started, the primary included.
    pub attempts: u8,
    /// From the start of the request to its answer.
    pub total_latency: Duration,
    /// How long the primary took, if it finished.
    pub primary_latency: Option<Duration>,
    /// How long the winning hedge took from its own start; else the first hedge that finished.
    pub backup_latency: Option<Duration>,
    /// After how long the first hedge was planned; absent if none was planned, or if the primary was
    /// ready before that was asked.
    pub hedge_delay: Option<Duration>,
    /// Why no hedge was started; absent if one was.
    pub suppressed: Option<Suppressed>,
    /// One unit, or the hedger's `cost_per_attempt`, for every attempt started.
    pub cost: f64,
    /// Which kind of strategy decided.
    pub strategy: StrategyKind,
    /// The hedger's `strategy_name`; empty if it has none.
    pub strategy_name: Name,
    /// The replica that gave the value, if the request was made [on](crate::Call::on) a set of them.
    pub replica: Option<ReplicaId>,
    /// The replicas that attempts were sent to: bit i stands for index i.
    pub replicas_used: u64,
}

impl Outcome {
    #[inline(always)]
    pub(crate) fn new(record: &Record, strategy: StrategyKind, strategy_name: Name) -> Self {
        let finished =
            |end, nanos| (end != AttemptEnd::Dropped).then(|| Duration::from_nanos(nanos));
        Self {
            accepted: matches!(record.end, RequestEnd::Won(_)),
            hedged: record.hedged(),
            hedge_won: record.hedge_won(),
            winner: record.end.attempt().unwrap_or(0),
            attempts: record.attempts,
            total_latency: record.total(),
            primary_latency: finished(record.primary_end, record.primary),
            backup_latency: record.hedge_end.and_then(|end| finished(end, record.hedge)),
            hedge_delay: record.hedge_delay(),
            suppressed: record.suppressed,
            cost: record.cost,
            strategy,
            strategy_name,
            replica: None,
            replicas_used: 0,
        }
    }
}

/// Why a request started no hedge.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Suppressed {
    /// It ended before the hedge delay had passed.
    NotDue,
    /// Hedging is off: by strategy, by `enabled`, or for this call.
    Off,
    /// The strategy has too few samples and was told not to hedge until it has them.
    WarmingUp,
    /// The budget's share of requests was spent.
    BudgetRatio,
    /// The budget's share of requests and its reserve per second were spent.
    BudgetRate,
    /// As many hedges were in flight as the budget allows.
    InFlight,
    /// Too little time remained for a hedge to help.
    Deadline,
    /// The server asked for patience, and the request ended before that was over.
    Pushback,
    /// The guard put hedges off, since they did not help, and the request ended before one was started.
    Guard,
    /// The strategy hedges only a share of the requests that pass the delay, and this was not drawn.
    NotDrawn,
    /// No hedge was allowed: `max_hedges`, or a type that holds one attempt.
    MaxHedges,
    /// The hedger only observes; without that, a hedge would have been started.
    ObserveOnly,
    /// What a hedge needs was not at hand: see [`Call::request_if`](crate::Call::request_if).
    NotReady,
    /// No replica was to be had: see [`Call::among`](crate::Call::among).
    NoReplica,
}

impl Suppressed {
    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: [Self; 14] = [
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
    ];

    /// The reason's place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason as in logs and metric labels, in snake case.
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
        }
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// As the error of a charge that a budget refused.
impl core::error::Error for Suppressed {}

/// Which kind of strategy a hedger uses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StrategyKind {
    /// Never hedges.
    Off,
    /// When an attempt has failed, and never for slowness.
    OnFailure,
    /// After a fixed delay.
    Fixed,
    /// At a percentile of recent latencies.
    Percentile,
    /// Thompson Sampling over candidate delays.
    Adaptive,
    /// A delay scaled by hints about the request.
    WorkloadAware,
    /// A delay that grows and shrinks with success.
    ExponentialBackoff,
    /// The SingleR policy.
    Optimal,
    /// A user's own.
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

    /// The kind as in a config file.
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

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// Every attempt failed, or one failed fatally.
    Failed {
        /// The error of the earliest attempt, or the fatal one.
        error: E,
        /// How many attempts were started.
        attempts: u8,
    },
    /// The request's time was up. Every attempt still running was dropped.
    Timeout {
        /// How long the request had run.
        elapsed: Duration,
        /// How many attempts were started.
        attempts: u8,
        /// The error of the earliest attempt that had failed by then, if one had.
        error: Option<E>,
    },
    /// Nothing was sent, for no replica was allowed: see [`Call::among`](crate::Call::among).
    NoReplica(NoReplica),
}

impl<E> Error<E> {
    /// How many attempts were started.
    pub fn attempts(&self) -> u8 {
        match self {
            Self::Failed { attempts, .. } | Self::Timeout { attempts, .. } => *attempts,
            Self::NoReplica(_) => 0,
        }
    }

    /// Whether the request ran out of time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// The same with another error of the attempt.
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

    /// The error of an attempt, if one failed.
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
