//! Events: what happened, in order, as it happens.
//!
//! A [`Sink`] is told of every [`Event`]: one of your own, a [`RingSink`] that keeps the last ones, `MetricsSink`
//! for Prometheus and other exporters (feature `metrics`), a `LatencySink` that writes a trace of latencies (feature
//! `std`), or two of them as a tuple. Without one, no event is made.
//!
//! # Tracing
//!
//! With the feature `tracing`, and without a sink, every request is a span, `hedge.request`, at the level INFO, with its
//! events in it at DEBUG, both with the target `hedge`. Attempts run in the span, as tasks too, so that what an HTTP
//! client tells nests in it. The names of events begin with the hedger's `telemetry_prefix`.
//!
//! | what | fields |
//! |---|---|
//! | span `hedge.request` | `strategy_name`, `strategy`, `accepted`, `hedged`, `hedge_won`, `winner`, `attempts`, `total_latency_ms`, `primary_latency_ms`, `backup_latency_ms`, `hedge_delay_ms`, `suppressed`, `cost`, `replica`: those of the [`Outcome`] that it has, also when it failed; `error`: `failed`, `refused` (no answer was accepted), `timeout`, `no_replica` or `dropped` |
//! | event `hedging.hedge.fired` | `attempt`, `cause`, `delay_ms`, `elapsed_ms`, `replica` |
//! | event `hedging.hedge.suppressed` | `reason` |
//! | event `hedging.hedge.won` | `attempt`, `latency_ms`, `replica` |
//! | event `hedging.request.cancelled` | `attempt`, `elapsed_ms`, `replica` |
//! | event `hedging.request.dropped` | `attempts`, `duration_ms` |
//! | events `hedging.cascade.…` | those of the [`EventKind`]; a cascade has no span of its own |

mod emitter;
#[cfg(feature = "std")]
mod latencies;
#[cfg(feature = "metrics")]
mod metrics;
mod ring;
pub(crate) mod trace;

use core::fmt;
use core::time::Duration;

pub(crate) use emitter::Emitter;
#[cfg(feature = "std")]
pub use latencies::LatencySink;
#[cfg(feature = "metrics")]
pub use metrics::MetricsSink;
pub use ring::{Ring, RingSink};

use crate::attempt::Attempt;
use crate::name::Name;
use crate::outcome::{Outcome, StrategyKind, Suppressed};
use crate::replicas::ReplicaId;
use crate::time::Instant;

/// Something that happened in a request.
///
/// A `Copy` value, handed to a [`Sink`] in the order of events within a request, after the hedger's
/// lock was released. Its full name is the hedger's `telemetry_prefix`, a dot and [`EventKind::name`]:
/// `hedging.request.start`, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Which request, unique among the requests of its hedger or cascade.
    pub request: u64,
    /// When, on the hedger's timer.
    pub at: Instant,
    /// The hedger's `strategy_name`, or the cascade's name; empty if it has none.
    pub strategy_name: Name,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// `request.start`: a request was made.
    RequestStart,
    /// `hedge.fired`: a hedge was started.
    HedgeFired {
        /// Which, and why.
        attempt: Attempt,
        /// After how long the first hedge was planned; absent if none was, and a failure started this one.
        delay: Option<Duration>,
    },
    /// `hedge.suppressed`: a hedge was due, and was not started then. Reported once, though it may be asked for again and
    /// be started later.
    HedgeSuppressed {
        /// Why.
        reason: Suppressed,
        /// Which kind of strategy decided.
        strategy: StrategyKind,
    },
    /// `hedge.won`: a hedge gave the answer.
    HedgeWon {
        /// Which attempt.
        attempt: u8,
        /// From its own start.
        latency: Duration,
        /// The replica that it went to, if one was chosen.
        replica: Option<ReplicaId>,
    },
    /// `request.cancelled`: an attempt was dropped before it finished. Losers that are kept are not told of, for
    /// when they end the request is over.
    RequestCancelled {
        /// Which attempt.
        attempt: u8,
        /// From its own start.
        elapsed: Duration,
        /// The replica that it went to, if one was chosen.
        replica: Option<ReplicaId>,
    },
    /// `request.stop`: the request was answered, and the answer accepted.
    RequestStop {
        /// From its start.
        duration: Duration,
        /// What it did.
        outcome: Outcome,
    },
    /// `request.exception`: the request failed or timed out, or no answer was accepted.
    RequestException {
        /// From its start.
        duration: Duration,
        /// Whether its time was up.
        timed_out: bool,
        /// How many attempts were started.
        attempts: u8,
        /// Which kind of strategy decided.
        strategy: StrategyKind,
    },
    /// `request.dropped`: the caller dropped the request.
    RequestDropped {
        /// From its start.
        duration: Duration,
        /// How many attempts were started.
        attempts: u8,
        /// Which kind of strategy decided.
        strategy: StrategyKind,
    },
    /// `cascade.start`: a cascade was asked.
    CascadeStart {
        /// How many tiers it has.
        tiers: u8,
    },
    /// `cascade.tier.start`: a tier was asked.
    TierStart {
        /// Which, from 0.
        tier: u8,
        /// Its name.
        name: Name,
    },
    /// `cascade.tier.completed`: a tier answered or failed.
    TierCompleted {
        /// Which.
        tier: u8,
        /// Its name.
        name: Name,
        /// From its own start.
        latency: Duration,
        /// How good its answer is; absent if it failed.
        quality: Option<f64>,
        /// Whether that will do.
        accepted: bool,
    },
    /// `cascade.tier.timeout`: a tier's delay passed, so that the next one is asked besides.
    TierTimeout {
        /// Which.
        tier: u8,
        /// Its name.
        name: Name,
        /// From its own start.
        elapsed: Duration,
    },
    /// `cascade.tier.cancelled`: a tier was dropped before it answered.
    TierCancelled {
        /// Which.
        tier: u8,
        /// Its name.
        name: Name,
        /// From its own start.
        elapsed: Duration,
    },
    /// `cascade.stop`: the cascade gave an answer.
    CascadeStop {
        /// From its start.
        duration: Duration,
        /// Which tier's.
        tier: u8,
        /// Whether it met the tier's threshold.
        accepted: bool,
        /// What all tiers cost that were asked.
        total_cost: f64,
        /// What those cost that answered.
        completed_cost: f64,
    },
    /// `cascade.exception`: no tier answered.
    CascadeException {
        /// From its start.
        duration: Duration,
        /// Whether its time was up.
        timed_out: bool,
    },
    /// `cascade.dropped`: the caller dropped the cascade's request.
    CascadeDropped {
        /// From its start.
        duration: Duration,
    },
}

impl EventKind {
    /// The event's name below the `telemetry_prefix`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RequestStart => "request.start",
            Self::HedgeFired { .. } => "hedge.fired",
            Self::HedgeSuppressed { .. } => "hedge.suppressed",
            Self::HedgeWon { .. } => "hedge.won",
            Self::RequestCancelled { .. } => "request.cancelled",
            Self::RequestStop { .. } => "request.stop",
            Self::RequestException { .. } => "request.exception",
            Self::RequestDropped { .. } => "request.dropped",
            Self::CascadeStart { .. } => "cascade.start",
            Self::TierStart { .. } => "cascade.tier.start",
            Self::TierCompleted { .. } => "cascade.tier.completed",
            Self::TierTimeout { .. } => "cascade.tier.timeout",
            Self::TierCancelled { .. } => "cascade.tier.cancelled",
            Self::CascadeStop { .. } => "cascade.stop",
            Self::CascadeException { .. } => "cascade.exception",
            Self::CascadeDropped { .. } => "cascade.dropped",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Receives events.
///
/// It is called while a request is being polled or dropped. Closures `Fn(&Event)` do.
///
/// - It may use the hedger: no lock is held.
/// - While it works, that one request waits, and no other does. One that takes long should hand events on, as
///   through a channel that is never full or drops them.
/// - If it panics, the panic unwinds through whoever polls or drops the request, as one of an attempt does.
///   The request hears no more of that sink, and is accounted for like any other: its attempts are dropped,
///   its places in flight are free again, tokens that hedges took stay spent, and it is counted once. Where
///   that is not wanted, the sink has to catch its own panics.
pub trait Sink {
    /// Something happened.
    fn emit(&self, event: &Event);

    /// Whether anybody listens. A request asks once, before it starts: if nobody does, no event of it is made,
    /// and it is not timed for their sake.
    fn enabled(&self) -> bool {
        true
    }

    /// Whether this is [`NoSink`], or made of such alone. Unlike [`enabled`](Self::enabled) it is known when a
    /// program is built, which then leaves out all that makes events.
    fn is_nobody(&self) -> bool {
        false
    }
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl Sink for NoSink {
    fn emit(&self, _: &Event) {}

    fn enabled(&self) -> bool {
        false
    }

    fn is_nobody(&self) -> bool {
        true
    }
}

impl<F: Fn(&Event)> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}

/// Both are told, in this order.
impl<A: Sink, B: Sink> Sink for (A, B) {
    fn emit(&self, event: &Event) {
        self.0.emit(event);
        self.1.emit(event);
    }

    fn enabled(&self) -> bool {
        self.0.enabled() || self.1.enabled()
    }

    fn is_nobody(&self) -> bool {
        self.0.is_nobody() && self.1.is_nobody()
    }
}

#[cfg(feature = "std")]
impl<K: Sink + ?Sized> Sink for std::sync::Arc<K> {
    fn emit(&self, event: &Event) {
        (**self).emit(event);
    }

    fn enabled(&self) -> bool {
        (**self).enabled()
    }
}
