//! A sink that exports events as metrics.

use metrics::{Label, gauge};

use super::{Event, EventKind, Sink};
use crate::metrics::{HedgerStatus, MetricsSnapshot};
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::replicas::ReplicaId;

use end::End;
use handles::{ByLabels, Ends, Handles, Labels, Losers, OfReplica};
use names::{
    ATTEMPTS, CAPACITY, DURATION, EFFECT, GUARD_LEVEL, GUARD_SLOW, HEDGED, HEDGES, IN_FLIGHT,
    LOSERS, REPLICA_CANCELLED, REPLICA_DURATION, REPLICA_FAILURES, REPLICA_IN_FLIGHT,
    REPLICA_LATENCY, REPLICA_REQUESTS, REPLICA_SUSPECT, REPLICA_WINS, REQUESTS, SUPPRESSED, TOKENS,
    WINS, describe_gauges,
};

pub use replicas::ReplicaGauges;

mod end;
mod handles;
mod names;
mod replicas;
#[cfg(test)]
mod tests;

/// Counts requests and hedges with the `metrics` crate, and so for Prometheus, OpenTelemetry and
/// every other exporter of that crate.
///
/// | metric | labels | what |
/// |---|---|---|
/// | `hedge_requests_total` | `result`: `ok`, `failed`, `timeout`, `dropped` | requests that ended; `failed` includes requests whose every answer was refused |
/// | `hedge_attempts_total` | | attempts that were started, including primaries |
/// | `hedge_hedged_requests_total` | | requests that started a hedge |
/// | `hedge_hedges_total` | `cause`: `delay`, `retry` | hedges that were started |
/// | `hedge_wins_total` | `cause`: `delay`, `retry` | requests that were won by a hedge |
/// | `hedge_suppressed_total` | `reason`, as [`Suppressed::as_str`](crate::Suppressed::as_str) | hedges that were due and not started, including those of hedged requests; and answered requests for which no hedge was planned: `off`, `warming_up`, `pushback`, `max_hedges` |
/// | `hedge_losers_total` | `end`: `cancelled`, `timeout` | attempts that were dropped: since their request was over, or had taken longer than `attempt_timeout` |
/// | `hedge_request_duration_seconds` | | histogram of the duration of requests that were answered |
/// | `hedge_guard_level` | | gauge, 0 to 6: most hedges wait 2^level times the hedge delay |
/// | `hedge_guard_slow` | | gauge: 1 while the guard takes the callee for slow as a whole |
/// | `hedge_budget_tokens` | | gauge: how many hedges the budget's bucket could pay for |
/// | `hedge_budget_capacity_tokens` | | gauge: how many when it is full |
/// | `hedge_in_flight` | | gauge: running hedges |
/// | `hedge_effect_seconds` | `bound`: `low`, `value`, `high` | gauge: by how much hedging shortened the requests that were hedged, with a control group; NaN while that is not known |
///
/// Requests [on](crate::Call::on) replicas are counted by the label `replica` too, which is an index below 64:
///
/// | metric | labels | what |
/// |---|---|---|
/// | `hedge_replica_requests_total` | | answered requests that sent an attempt to the replica |
/// | `hedge_replica_wins_total` | | requests that the replica answered |
/// | `hedge_replica_failures_total` | `reason`: `failed`, `timeout` | attempts that failed there, or took longer than `attempt_timeout` |
/// | `hedge_replica_cancelled_total` | | attempts there that were dropped, since their request was over |
/// | `hedge_replica_duration_seconds` | | histogram of how long the attempts took that won |
/// | `hedge_replica_suspect` | | gauge: 1 while the replica is far slower than the fastest, and gets only probes |
/// | `hedge_replica_in_flight` | | gauge: attempts that the replica is working on |
/// | `hedge_replica_latency_seconds` | | gauge: the average latency by which replicas are compared |
///
/// [`REPLICA_NAMES`](Self::REPLICA_NAMES) lists these names, and [`ReplicaGauges`] records the gauges. The label `replica` is
/// the index in the set, which a replica that is added later may take over.
///
/// All metrics have the label `strategy_name`. Those of the first table except `hedge_losers_total`, and the first two of the
/// second, have the label `strategy`, too, and their counters and histograms the label `key` if the request has a key. So the
/// number of series is bounded by the names of hedgers, keys and replicas. Gauges are recorded by
/// [`gauges`](Self::gauges), which a program calls at intervals. [`NAMES`](Self::NAMES) lists the names. Install the
/// recorder before the first request: the handles are created once.
///
/// ```
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::telemetry::MetricsSink;
/// use hedge_core::Hedger;
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock)
///     .strategy_name("search")
///     .sink(MetricsSink::new())
///     .build_local()?;
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
pub struct MetricsSink {
    handles: ByLabels<Labels, Handles>,
    /// By the name of the hedger.
    losers: ByLabels<Name, Losers>,
    ends: ByLabels<Name, Ends>,
}

impl Default for MetricsSink {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsSink {
    /// The names of the metrics, in the order of the table above.
    ///
    /// Exporters may extend them: Prometheus adds `_bucket`, `_sum` and `_count` to the name of a
    /// histogram.
    pub const NAMES: [&str; 14] = [
        REQUESTS,
        ATTEMPTS,
        HEDGED,
        HEDGES,
        WINS,
        SUPPRESSED,
        LOSERS,
        DURATION,
        GUARD_LEVEL,
        GUARD_SLOW,
        TOKENS,
        CAPACITY,
        IN_FLIGHT,
        EFFECT,
    ];

    /// The names of the metrics by replica.
    pub const REPLICA_NAMES: [&str; 8] = [
        REPLICA_REQUESTS,
        REPLICA_WINS,
        REPLICA_FAILURES,
        REPLICA_CANCELLED,
        REPLICA_DURATION,
        REPLICA_SUSPECT,
        REPLICA_IN_FLIGHT,
        REPLICA_LATENCY,
    ];

    /// Creates a sink, for one hedger or several.
    pub const fn new() -> Self {
        Self {
            handles: ByLabels::new(),
            losers: ByLabels::new(),
            ends: ByLabels::new(),
        }
    }

    /// Records the gauges. Call it before each scrape, or every few seconds.
    ///
    /// ```
    /// use hedge_core::Hedger;
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::telemetry::MetricsSink;
    ///
    /// let clock = ManualTimer::<8>::new();
    /// let hedger = Hedger::builder(&clock).sink(MetricsSink::new()).build_local()?;
    /// MetricsSink::gauges(&hedger.status(), &hedger.metrics());
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn gauges(status: &HedgerStatus, snapshot: &MetricsSnapshot) {
        describe_gauges();
        let labels = Labels {
            strategy: status.strategy,
            name: status.strategy_name,
            key: Name::EMPTY,
        };
        let labels = || labels.to_vec();
        gauge!(GUARD_LEVEL, labels()).set(f64::from(status.guard_level));
        gauge!(GUARD_SLOW, labels()).set(f64::from(u8::from(status.is_slow)));
        gauge!(TOKENS, labels()).set(status.tokens);
        gauge!(CAPACITY, labels()).set(status.capacity);
        gauge!(IN_FLIGHT, labels()).set(f64::from(status.in_flight));
        // A gauge keeps its last value, so what is not known any more has to be overwritten.
        let mean = snapshot.effect().map(|effect| effect.mean());
        let or_nan = |seconds: Option<f64>| seconds.unwrap_or(f64::NAN);
        for (bound, seconds) in [
            ("low", or_nan(mean.map(|mean| mean.low))),
            ("value", or_nan(mean.map(|mean| mean.value))),
            ("high", or_nan(mean.map(|mean| mean.high))),
        ] {
            let mut labels = labels();
            labels.push(Label::from_static_parts("bound", bound));
            gauge!(EFFECT, labels).set(seconds);
        }
    }
}

impl core::fmt::Debug for MetricsSink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("MetricsSink")
    }
}

impl Sink for MetricsSink {
    fn emit(&self, event: &Event) {
        if let EventKind::HedgeSuppressed { reason, strategy } = event.kind {
            self.with(strategy, event, |handles| {
                handles.suppressed(reason);
            });
        } else if let EventKind::RequestCancelled { replica, .. } = event.kind {
            self.losers(event, |losers| losers.cancelled.increment(1));
            self.ended(event, replica, |of| of.cancelled.increment(1));
        } else if let EventKind::AttemptTimeout { replica, .. } = event.kind {
            self.losers(event, |losers| losers.timeout.increment(1));
            self.ended(event, replica, |of| of.timeout.increment(1));
        } else if let EventKind::AttemptFailed { replica, .. } = event.kind {
            self.ended(event, replica, |of| of.failed.increment(1));
        } else if let Some(end) = End::of(&event.kind) {
            if let Some((winner, took)) = end.winner {
                self.ended(event, Some(winner), |of| of.duration.record(took));
            }
            self.with(end.strategy, event, |handles| {
                handles.count(&end);
            });
        }
    }
}

impl MetricsSink {
    fn losers(&self, event: &Event, f: impl FnOnce(&Losers)) {
        self.losers.with(event.strategy_name, Losers::new, f);
    }

    fn ended(&self, event: &Event, replica: Option<ReplicaId>, count: impl FnOnce(&OfReplica)) {
        let Some(replica) = replica else {
            return;
        };
        self.ends.with(event.strategy_name, Ends::new, |ends| {
            if let Some(of) = ends.of(replica) {
                count(of);
            }
        });
    }

    fn with(&self, strategy: StrategyKind, event: &Event, f: impl FnOnce(&Handles)) {
        let labels = Labels {
            strategy,
            name: event.strategy_name,
            key: event.key,
        };
        self.handles.with(labels, Handles::new, f);
    }
}
