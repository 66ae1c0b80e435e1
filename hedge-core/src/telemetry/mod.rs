//! Events of requests, in the order in which they happen.
//!
//! A [`Sink`] receives every [`Event`]: a custom one, a [`RingSink`] that keeps the last ones, `MetricsSink`
//! for Prometheus and other exporters (feature `metrics`), a `LatencySink` that writes a trace of latencies (feature
//! `std`), or two of them as a tuple. Without one, no event is made.
//!
//! # Tracing
//!
//! With the feature `tracing`, and even without a sink, every request is a span `hedge.request` at
//! the level INFO, with its events at the level DEBUG. Both have the target `hedge`. The names
//! of events start with the hedger's `telemetry_prefix`.
//!
//! Every attempt runs in a span `hedge.attempt` inside it, also as a task, so that the spans of an HTTP client are nested in
//! the attempt that made them. These spans are at the level INFO and have the target `hedge::attempt`: the filter
//! `hedge=info,hedge::attempt=off` leaves them out.
//!
//! | what | fields |
//! |---|---|
//! | span `hedge.request` | `strategy_name`, `key`, `strategy`, `accepted`, `hedged`, `hedge_won`, `winner`, `attempts`, `total_latency_ms`, `primary_latency_ms`, `backup_latency_ms`, `hedge_delay_ms`, `suppressed`, `cost`, `replica`: the fields of the [`Outcome`], also if the request failed; `error.type`: `failed`, `refused` (no answer was accepted), `timeout`, `no_replica` or `dropped` |
//! | span `hedge.attempt` | `attempt`: 0 for the primary; `cause`: `primary`, `delay` or `retry`; `replica`; `returned`: true if it returned a result before its request ended or dropped it |
//! | event `hedging.hedge.fired` | `attempt`, `cause`, `delay_ms`, `elapsed_ms` |
//! | event `hedging.hedge.suppressed` | `reason` |
//! | event `hedging.hedge.won` | `attempt`, `latency_ms`, `replica` |
//! | event `hedging.request.cancelled` | `attempt`, `elapsed_ms`, `replica` |
//! | events `hedging.attempt.failed` and `.timeout` | `attempt`, `elapsed_ms`, `replica` |
//! | event `hedging.request.dropped` | `attempts`, `duration_ms` |
//! | events `hedging.cascade.…` | the fields of the [`EventKind`]; a cascade has no separate span |
//!
//! # OpenTelemetry
//!
//! `tracing-opentelemetry` exports these spans. Each request [follows
//! from](https://docs.rs/tracing/latest/tracing/struct.Span.html#method.follows_from) its attempts, which that crate exports as
//! span links from the request to each of them: a link leads from a slow request to its hedge even where a backend shows
//! attempts apart. A request that failed has the status `ERROR`, and the attribute `error.type` of the semantic conventions.
//! There are no conventions for hedging, so that all other names are ours. There are some for what an attempt sends: give the span of an HTTP
//! client `otel.kind = "client"`, `http.request.method`, `server.address` and, as the number of the attempt,
//! `http.request.resend_count`. The example `opentelemetry` of `hedge-tokio` does.

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
pub use metrics::{MetricsSink, ReplicaGauges};
pub use ring::{Ring, RingSink};

use crate::attempt::Attempt;
use crate::name::Name;
use crate::outcome::{Outcome, StrategyKind, Suppressed};
use crate::replicas::ReplicaId;
use crate::time::Instant;

/// An event of a request.
///
/// Events are `Copy`. A [`Sink`] receives the events of a request in order, after the hedger's lock
/// was released. The full name of an event is the hedger's `telemetry_prefix`, a dot and
/// [`EventKind::name`], by default `hedging.request.start`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The number of the request, unique within its hedger or cascade.
    pub request: u64,
    /// When the event happened, on the hedger's timer.
    pub at: Instant,
    /// The hedger's `strategy_name`, or the cascade's name; empty if it has none.
    pub strategy_name: Name,
    /// The key of the request, at most 32 bytes of it; empty if it has none.
    pub key: Name,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of events, with their data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// `request.start`: a request was made.
    RequestStart,
    /// `hedge.fired`: a hedge was started.
    HedgeFired {
        /// The hedge, and why it was started.
        attempt: Attempt,
        /// The delay after which the first hedge was planned; `None` if none was planned and a
        /// failure started this hedge.
        delay: Option<Duration>,
    },
    /// `hedge.suppressed`: a hedge was due, and was not started then. Reported once, though it may be asked for again and
    /// be started later.
    HedgeSuppressed {
        /// Why the hedge was not started.
        reason: Suppressed,
        /// The kind of the strategy.
        strategy: StrategyKind,
    },
    /// `hedge.won`: a hedge returned the answer.
    HedgeWon {
        /// The index of the attempt.
        attempt: u8,
        /// The latency of the hedge from its own start.
        latency: Duration,
        /// The replica that it went to, if one was chosen.
        replica: Option<ReplicaId>,
    },
    /// `request.cancelled`: an attempt was dropped before it finished. Not emitted for losers that
    /// are kept, since the request is over when they end.
    RequestCancelled {
        /// The index of the attempt.
        attempt: u8,
        /// The time from the attempt's own start.
        elapsed: Duration,
        /// The replica that it went to, if one was chosen.
        replica: Option<ReplicaId>,
    },
    /// `attempt.timeout`: an attempt was given up since it exceeded `attempt_timeout`. The request goes
    /// on, and so does the task of a detached attempt.
    AttemptTimeout {
        /// The index of the attempt.
        attempt: u8,
        /// The time from the attempt's own start.
        elapsed: Duration,
        /// The replica that it went to, if one was chosen.
        replica: Option<ReplicaId>,
    },
    /// `attempt.failed`: an attempt returned a result that counts as a failure of its replica, accepted or not: see
    /// [`Classify::blames_replica`](crate::Classify::blames_replica). Without a set of replicas, the rule is the same.
    AttemptFailed {
        /// The index of the attempt.
        attempt: u8,
        /// The time from the attempt's own start.
        elapsed: Duration,
        /// The replica that it went to, if one was chosen.
        replica: Option<ReplicaId>,
    },
    /// `request.stop`: the request was answered, and the answer was accepted.
    RequestStop {
        /// The time from the start of the request.
        duration: Duration,
        /// The summary of the request.
        outcome: Outcome,
    },
    /// `request.exception`: the request failed or timed out, or no answer was accepted.
    RequestException {
        /// The time from the start of the request.
        duration: Duration,
        /// Whether the request ran out of time.
        timed_out: bool,
        /// The number of attempts that were started.
        attempts: u8,
        /// The number of those that were started because another one had failed.
        retries: u8,
        /// The kind of the strategy.
        strategy: StrategyKind,
    },
    /// `request.dropped`: the caller dropped the request.
    RequestDropped {
        /// The time from the start of the request.
        duration: Duration,
        /// The number of attempts that were started.
        attempts: u8,
        /// The number of those that were started because another one had failed.
        retries: u8,
        /// The kind of the strategy.
        strategy: StrategyKind,
    },
    /// `replica.refused`: a service that a discovery found is not used, because the set has no room for it. The event
    /// belongs to no request, and its number is 0.
    ReplicaRefused,
    /// `cascade.start`: a cascade was started.
    CascadeStart {
        /// The number of its tiers.
        tiers: u8,
    },
    /// `cascade.tier.start`: a request was sent to a tier.
    TierStart {
        /// The index of the tier, from 0.
        tier: u8,
        /// The name of the tier.
        name: Name,
    },
    /// `cascade.tier.completed`: a tier answered or failed.
    TierCompleted {
        /// The index of the tier.
        tier: u8,
        /// The name of the tier.
        name: Name,
        /// The latency from the tier's own start.
        latency: Duration,
        /// The quality of the answer; `None` if the tier failed.
        quality: Option<f64>,
        /// Whether the answer meets the tier's threshold.
        accepted: bool,
    },
    /// `cascade.tier.timeout`: a tier's delay passed, so that the next tier is started too.
    TierTimeout {
        /// The index of the tier.
        tier: u8,
        /// The name of the tier.
        name: Name,
        /// The time from the tier's own start.
        elapsed: Duration,
    },
    /// `cascade.tier.cancelled`: a tier was dropped before it answered.
    TierCancelled {
        /// The index of the tier.
        tier: u8,
        /// The name of the tier.
        name: Name,
        /// The time from the tier's own start.
        elapsed: Duration,
    },
    /// `cascade.stop`: the cascade returned an answer.
    CascadeStop {
        /// The time from the start of the cascade.
        duration: Duration,
        /// The index of the tier that answered.
        tier: u8,
        /// Whether the answer met the tier's threshold.
        accepted: bool,
        /// The cost of all tiers that were started.
        total_cost: f64,
        /// The cost of the tiers that answered.
        completed_cost: f64,
    },
    /// `cascade.exception`: no tier answered.
    CascadeException {
        /// The time from the start of the cascade.
        duration: Duration,
        /// Whether the cascade ran out of time.
        timed_out: bool,
    },
    /// `cascade.dropped`: the caller dropped the cascade's request.
    CascadeDropped {
        /// The time from the start of the cascade.
        duration: Duration,
    },
}

impl EventKind {
    /// Returns the name of the event without the `telemetry_prefix`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RequestStart => "request.start",
            Self::HedgeFired { .. } => "hedge.fired",
            Self::HedgeSuppressed { .. } => "hedge.suppressed",
            Self::HedgeWon { .. } => "hedge.won",
            Self::RequestCancelled { .. } => "request.cancelled",
            Self::AttemptTimeout { .. } => "attempt.timeout",
            Self::AttemptFailed { .. } => "attempt.failed",
            Self::RequestStop { .. } => "request.stop",
            Self::RequestException { .. } => "request.exception",
            Self::RequestDropped { .. } => "request.dropped",
            Self::ReplicaRefused => "replica.refused",
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
/// A sink is called while a request is being polled or dropped. Closures `Fn(&Event)` implement
/// this trait.
///
/// - A sink may use the hedger: no lock is held.
/// - A sink blocks the request that it is called for, and no other request. A slow sink should pass
///   events on, through a channel that drops events when it is full.
/// - A panic in a sink unwinds through the code that polls or drops the request, like a panic in an
///   attempt. The sink receives no more events of that request. The request is still completed: its
///   attempts are dropped, its hedges are no longer counted in flight, the tokens of its hedges
///   stay spent, and it is counted once. A sink that must not interrupt requests has to catch its
///   own panics.
pub trait Sink {
    /// Receives an event.
    fn emit(&self, event: &Event);

    /// Returns whether the sink wants events. A request calls this once, before it starts. If it
    /// returns false, no events of the request are built, and the request is not timed for them.
    fn enabled(&self) -> bool {
        true
    }

    /// Returns whether this is [`NoSink`] or consists only of such. Unlike
    /// [`enabled`](Self::enabled), it is known at compile time, so that the compiler can remove the
    /// code that builds events.
    fn is_noop(&self) -> bool {
        false
    }
}

/// A sink that discards all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl Sink for NoSink {
    fn emit(&self, _: &Event) {}

    fn enabled(&self) -> bool {
        false
    }

    fn is_noop(&self) -> bool {
        true
    }
}

impl<F: Fn(&Event)> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}

/// Both sinks receive each event, in this order.
impl<A: Sink, B: Sink> Sink for (A, B) {
    fn emit(&self, event: &Event) {
        self.0.emit(event);
        self.1.emit(event);
    }

    fn enabled(&self) -> bool {
        self.0.enabled() || self.1.enabled()
    }

    fn is_noop(&self) -> bool {
        self.0.is_noop() && self.1.is_noop()
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
