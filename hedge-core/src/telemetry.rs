//! Events: what happened, in order, as it happens.

use core::fmt;
use core::time::Duration;

use crate::{Attempt, Instant, Name, Outcome, StrategyKind, Suppressed};

/// Something that happened in a request.
///
/// A `Copy` value, handed to a [`Sink`] in the order of events within a request, after the hedger's
/// lock was released.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Which request, unique among the requests of its hedger.
    pub request: u64,
    /// When, on the hedger's timer.
    pub at: Instant,
    /// The hedger's `strategy_name`; empty if it has none.
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
    /// `hedge.suppressed`: a hedge was due, and was not started.
    HedgeSuppressed {
        /// Why.
        reason: Suppressed,
    },
    /// `hedge.won`: a hedge gave the answer.
    HedgeWon {
        /// Which attempt.
        attempt: u8,
        /// From its own start.
        latency: Duration,
    },
    /// `request.cancelled`: an attempt was dropped before it finished.
    RequestCancelled {
        /// Which attempt.
        attempt: u8,
        /// From its own start.
        elapsed: Duration,
    },
    /// `request.stop`: the request was answered.
    RequestStop {
        /// From its start.
        duration: Duration,
        /// What it did.
        outcome: Outcome,
    },
    /// `request.exception`: the request failed or timed out.
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
/// It is called while a request is being polled or dropped: it should be quick, and must not panic on
/// a drop. It may use the hedger: no lock is held. Closures `Fn(&Event)` do.
pub trait Sink {
    /// Something happened.
    fn emit(&self, event: &Event);

    /// Whether anybody listens. If not, no event is made and no request is timed for its sake.
    fn enabled(&self) -> bool {
        true
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
}

impl<F: Fn(&Event)> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}
