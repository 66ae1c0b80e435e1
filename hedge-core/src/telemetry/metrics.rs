//! A sink that exports events as metrics.

use core::time::Duration;
use std::boxed::Box;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

use metrics::{
    Counter, Histogram, Label, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use super::{Event, EventKind, Sink};
use crate::attempt::Cause;
use crate::metrics::{HedgerStatus, MetricsSnapshot};
use crate::name::Name;
use crate::outcome::{StrategyKind, Suppressed};
use crate::replicas::ReplicaId;

const REQUESTS: &str = "hedge_requests_total";
const ATTEMPTS: &str = "hedge_attempts_total";
const HEDGED: &str = "hedge_hedged_requests_total";
const HEDGES: &str = "hedge_hedges_total";
const WINS: &str = "hedge_wins_total";
const SUPPRESSED: &str = "hedge_suppressed_total";
const LOSERS: &str = "hedge_losers_total";
const DURATION: &str = "hedge_request_duration_seconds";
const GUARD_LEVEL: &str = "hedge_guard_level";
const GUARD_SLOW: &str = "hedge_guard_slow";
const TOKENS: &str = "hedge_budget_tokens";
const CAPACITY: &str = "hedge_budget_capacity_tokens";
const IN_FLIGHT: &str = "hedge_in_flight";
const EFFECT: &str = "hedge_effect_seconds";

const REPLICA_REQUESTS: &str = "hedge_replica_requests_total";
const REPLICA_WINS: &str = "hedge_replica_wins_total";

/// Why hedges are started, which is the label `cause`.
const CAUSES: [Cause; 2] = [Cause::Delay, Cause::Retry];

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
/// | `hedge_suppressed_total` | `reason`, as [`Suppressed::as_str`] | hedges that were due and not started, including those of hedged requests; and answered requests for which no hedge was planned: `off`, `warming_up`, `pushback`, `max_hedges` |
/// | `hedge_losers_total` | `end`: `cancelled`, `timeout` | attempts that were dropped: since their request was over, or had taken longer than `attempt_timeout` |
/// | `hedge_request_duration_seconds` | | histogram of the duration of requests that were answered |
/// | `hedge_guard_level` | | gauge, 0 to 6: most hedges wait 2^level times the hedge delay |
/// | `hedge_guard_slow` | | gauge: 1 while the guard takes the callee for slow as a whole |
/// | `hedge_budget_tokens` | | gauge: how many hedges the budget's bucket could pay for |
/// | `hedge_budget_capacity_tokens` | | gauge: how many when it is full |
/// | `hedge_in_flight` | | gauge: running hedges |
/// | `hedge_effect_seconds` | `bound`: `low`, `value`, `high` | gauge: by how much hedging shortened the requests that were hedged, with a control group |
///
/// Requests [on](crate::Call::on) replicas that were answered are counted by the label `replica` too, which is an index below
/// 64: those that sent an attempt to it in `hedge_replica_requests_total`, and those that it answered in
/// `hedge_replica_wins_total`. [`REPLICA_NAMES`](Self::REPLICA_NAMES) lists these names.
///
/// All metrics have the label `strategy_name`, all but `hedge_losers_total` the label `strategy`, and those of requests
/// with a key the label `key`: their number is bounded by the names of hedgers and keys. Gauges are recorded by
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
#[derive(Default)]
pub struct MetricsSink {
    /// The handles of the first labels that were seen.
    handles: OnceLock<Box<Handles>>,
    losers: OnceLock<Losers>,
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
    pub const REPLICA_NAMES: [&str; 2] = [REPLICA_REQUESTS, REPLICA_WINS];

    /// Creates a sink for one hedger.
    pub const fn new() -> Self {
        Self {
            handles: OnceLock::new(),
            losers: OnceLock::new(),
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
        let Some(mean) = snapshot.effect().map(|effect| effect.mean()) else {
            return;
        };
        for (bound, seconds) in [
            ("low", mean.low),
            ("value", mean.value),
            ("high", mean.high),
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
        } else if let EventKind::RequestCancelled { .. } = event.kind {
            self.losers(event.strategy_name).cancelled.increment(1);
        } else if let EventKind::AttemptTimeout { .. } = event.kind {
            self.losers(event.strategy_name).timeout.increment(1);
        } else if let Some(end) = End::of(&event.kind) {
            self.with(end.strategy, event, |handles| {
                handles.count(&end);
            });
        }
    }
}

impl MetricsSink {
    /// For how many labels handles are kept. Those of others are looked up every time.
    const KEPT: usize = 128;

    fn losers(&self, name: Name) -> &Losers {
        self.losers.get_or_init(|| Losers::new(name))
    }

    fn with(&self, strategy: StrategyKind, event: &Event, f: impl FnOnce(&Handles)) {
        let labels = Labels {
            strategy,
            name: event.strategy_name,
            key: event.key,
        };
        let mut place = &self.handles;
        for _ in 0..Self::KEPT {
            let handles = place.get_or_init(|| Box::new(Handles::new(labels)));
            if handles.labels == labels {
                return f(handles);
            }
            place = &handles.next;
        }
        f(&Handles::new(labels));
    }
}

/// What tells the metrics of one kind of requests from those of others.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Labels {
    strategy: StrategyKind,
    name: Name,
    key: Name,
}

impl Labels {
    fn to_vec(self) -> Vec<Label> {
        let mut labels = std::vec![
            Label::from_static_parts("strategy", self.strategy.as_str()),
            Label::new("strategy_name", String::from(self.name.as_str())),
        ];
        if self.key != Name::EMPTY {
            labels.push(Label::new("key", String::from(self.key.as_str())));
        }
        labels
    }
}

/// The values that the end of a request adds to the metrics.
struct End {
    result: Outcome,
    strategy: StrategyKind,
    attempts: u8,
    retries: u8,
    winner_cause: Option<Cause>,
    suppressed: Option<Suppressed>,
    duration: Option<Duration>,
    /// A bit for each replica that was used.
    replicas: u64,
    /// A bit for the one that won.
    winner: u64,
}

/// The values of the label `result`.
#[derive(Clone, Copy)]
enum Outcome {
    Ok,
    Failed,
    Timeout,
    Dropped,
}

impl Outcome {
    const NAMES: [&str; 4] = ["ok", "failed", "timeout", "dropped"];
}

impl End {
    fn of(kind: &EventKind) -> Option<Self> {
        let failed = |result, strategy, attempts, retries| Self {
            result,
            strategy,
            attempts,
            retries,
            winner_cause: None,
            suppressed: None,
            duration: None,
            replicas: 0,
            winner: 0,
        };
        Some(match *kind {
            EventKind::RequestStop { duration, outcome } => Self {
                result: Outcome::Ok,
                strategy: outcome.strategy,
                attempts: outcome.attempts,
                retries: outcome.retries,
                winner_cause: outcome.winner_cause,
                suppressed: outcome.suppressed,
                duration: Some(duration),
                replicas: outcome.replicas_used,
                winner: outcome.replica.map_or(0, ReplicaId::mask),
            },
            EventKind::RequestException {
                timed_out: true,
                attempts,
                retries,
                strategy,
                ..
            } => failed(Outcome::Timeout, strategy, attempts, retries),
            EventKind::RequestException {
                attempts,
                retries,
                strategy,
                ..
            } => failed(Outcome::Failed, strategy, attempts, retries),
            EventKind::RequestDropped {
                attempts,
                retries,
                strategy,
                ..
            } => failed(Outcome::Dropped, strategy, attempts, retries),
            _ => return None,
        })
    }
}

/// The counters of attempts that were dropped. Their events do not name a strategy.
struct Losers {
    cancelled: Counter,
    timeout: Counter,
}

impl Losers {
    fn new(name: Name) -> Self {
        describe_counter!(LOSERS, "Attempts that were dropped, by the reason.");
        let of = |end| {
            let name = Label::new("strategy_name", String::from(name.as_str()));
            counter!(
                LOSERS,
                std::vec![name, Label::from_static_parts("end", end)]
            )
        };
        Self {
            cancelled: of("cancelled"),
            timeout: of("timeout"),
        }
    }
}

struct Handles {
    labels: Labels,
    /// The handles of the labels that were seen next.
    next: OnceLock<Box<Self>>,
    requests: [Counter; Outcome::NAMES.len()],
    attempts: Counter,
    hedged: Counter,
    /// By cause, as in [`CAUSES`].
    hedges: [Counter; CAUSES.len()],
    wins: [Counter; CAUSES.len()],
    /// One counter per reason, created when first used.
    suppressed: [OnceLock<Counter>; Suppressed::ALL.len()],
    duration: Histogram,
    /// Requests and wins by replica, created when first used.
    replicas: [OnceLock<[Counter; 2]>; u64::BITS as usize],
}

impl Handles {
    fn new(of: Labels) -> Self {
        describe();
        let labels = || of.to_vec();
        let requests = |result| {
            let mut labels = labels();
            labels.push(Label::from_static_parts("result", result));
            counter!(REQUESTS, labels)
        };
        let by_cause = |name, cause: Cause| {
            let mut labels = labels();
            labels.push(Label::from_static_parts("cause", cause.as_str()));
            counter!(name, labels)
        };
        Self {
            labels: of,
            next: OnceLock::new(),
            requests: Outcome::NAMES.map(requests),
            attempts: counter!(ATTEMPTS, labels()),
            hedged: counter!(HEDGED, labels()),
            hedges: CAUSES.map(|cause| by_cause(HEDGES, cause)),
            wins: CAUSES.map(|cause| by_cause(WINS, cause)),
            suppressed: [const { OnceLock::new() }; Suppressed::ALL.len()],
            duration: histogram!(DURATION, labels()),
            replicas: [const { OnceLock::new() }; u64::BITS as usize],
        }
    }

    fn count(&self, end: &End) {
        if let Some(requests) = self.requests.get(end.result as usize) {
            requests.increment(1);
        }
        self.attempts.increment(end.attempts.into());
        self.hedged.increment((end.attempts > 1).into());
        let hedges = end.attempts.saturating_sub(1);
        let counts = [hedges.saturating_sub(end.retries), end.retries];
        for (hedges, count) in self.hedges.iter().zip(counts) {
            hedges.increment(count.into());
        }
        for (cause, wins) in CAUSES.into_iter().zip(&self.wins) {
            wins.increment((end.winner_cause == Some(cause)).into());
        }
        if let Some(duration) = end.duration {
            self.duration.record(duration);
        }
        if end.replicas != 0 {
            self.count_replicas(end);
        }
        // The other reasons were counted by a `HedgeSuppressed` event.
        let untold = |reason: &Suppressed| {
            use Suppressed::{MaxHedges, Off, Pushback, WarmingUp};
            matches!(reason, Off | WarmingUp | Pushback | MaxHedges)
        };
        if let Some(reason) = end.suppressed.filter(untold) {
            self.suppressed(reason);
        }
    }

    fn count_replicas(&self, end: &End) {
        for (index, counters) in self.replicas.iter().enumerate() {
            let has = |mask: u64| mask >> index & 1;
            if has(end.replicas) == 0 {
                continue;
            }
            let [requests, wins] = counters.get_or_init(|| {
                MetricsSink::REPLICA_NAMES.map(|name| {
                    let mut labels = self.labels.to_vec();
                    labels.push(Label::new("replica", index.to_string()));
                    counter!(name, labels)
                })
            });
            requests.increment(1);
            wins.increment(has(end.winner));
        }
    }

    fn suppressed(&self, reason: Suppressed) {
        let Some(counter) = self.suppressed.get(reason.index()) else {
            return;
        };
        let counter = counter.get_or_init(|| {
            let mut labels = self.labels.to_vec();
            labels.push(Label::from_static_parts("reason", reason.as_str()));
            counter!(SUPPRESSED, labels)
        });
        counter.increment(1);
    }
}

fn describe_gauges() {
    describe_gauge!(GUARD_LEVEL, "How often the wait for a hedge is doubled.");
    describe_gauge!(GUARD_SLOW, "Whether the callee counts as slow as a whole.");
    describe_gauge!(TOKENS, "How many hedges the budget's bucket could pay for.");
    describe_gauge!(CAPACITY, "How many it could pay for when it is full.");
    describe_gauge!(IN_FLIGHT, "Running hedges.");
    describe_gauge!(
        EFFECT,
        Unit::Seconds,
        "By how much hedging shortened the requests that were hedged."
    );
}

fn describe() {
    describe_counter!(REPLICA_REQUESTS, "Answered requests that used a replica.");
    describe_counter!(REPLICA_WINS, "Requests that a replica answered.");
    describe_counter!(REQUESTS, "Requests that ended, by result.");
    describe_counter!(ATTEMPTS, "Attempts started, the primaries included.");
    describe_counter!(HEDGED, "Requests that started a hedge.");
    describe_counter!(HEDGES, "Hedges that were started, by cause.");
    describe_counter!(WINS, "Requests that a hedge won, by cause.");
    describe_counter!(SUPPRESSED, "Hedges that were not started, by reason.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "How long requests took that had an answer."
    );
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use std::collections::{BTreeMap, BTreeSet};
    use std::format;

    use super::*;
    use crate::attempt::Attempt;
    use crate::hedger::{Budget, Hedger};
    use crate::manual::ManualTimer;
    use crate::strategy::Fixed;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Returns the non-zero metrics that `f` records, as Prometheus would show them.
    fn counted(f: impl FnOnce()) -> BTreeMap<String, String> {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, f);
        let snapshot = snapshotter.snapshot().into_vec();
        let shown = snapshot.into_iter().filter_map(|(key, _, _, value)| {
            let (name, labels) = key.key().clone().into_parts();
            let labels: Vec<String> = labels
                .iter()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let value = match value {
                DebugValue::Counter(0) => return None,
                DebugValue::Counter(count) => format!("{count}"),
                DebugValue::Histogram(values) => format!("{values:?}"),
                DebugValue::Gauge(value) => format!("{value}"),
            };
            Some((format!("{}{{{}}}", name.as_str(), labels.join(",")), value))
        });
        shown.collect()
    }

    #[test]
    fn requests_are_counted_with_their_labels() {
        let counted = counted(|| {
            let clock = ManualTimer::<8>::new();
            let hedger = Hedger::builder(&clock)
                .strategy(Fixed::new(ms(20)))
                .budget(Budget::percent(0.0).min_per_second(1.0))
                .timeout(ms(500))
                .strategy_name("search")
                .sink(MetricsSink::new())
                .build_local()
                .unwrap();
            let clock = &clock;
            let take = |primary: u64, hedge: u64| {
                let attempt = move |attempt: Attempt| async move {
                    clock
                        .sleep(ms(if attempt.is_hedge() { hedge } else { primary }))
                        .await;
                    Ok::<_, ()>(())
                };
                clock.drive(hedger.request(attempt)).is_ok()
            };
            // Answered by the primary, won by a hedge, refused by the budget, and timed out.
            assert!(take(10, 1) && take(100, 30) && take(100, 30) && !take(900, 900));
            let failing = hedger
                .call()
                .unhedged()
                .request(|_| async { Err::<(), _>(()) });
            assert!(clock.drive(failing).is_err());
        });
        let labels = "strategy=fixed,strategy_name=search";
        let expected = [
            (
                // The primary that a hedge beat, and both attempts that ran out of time.
                String::from("hedge_losers_total{strategy_name=search,end=cancelled}"),
                "2",
            ),
            (format!("hedge_attempts_total{{{labels}}}"), "6"),
            (format!("hedge_hedged_requests_total{{{labels}}}"), "1"),
            (
                format!("hedge_request_duration_seconds{{{labels}}}"),
                "[0.01, 0.05, 0.1]",
            ),
            (
                format!("hedge_requests_total{{{labels},result=failed}}"),
                "1",
            ),
            (format!("hedge_requests_total{{{labels},result=ok}}"), "3"),
            (
                format!("hedge_requests_total{{{labels},result=timeout}}"),
                "1",
            ),
            (
                // Includes the request that timed out.
                format!("hedge_suppressed_total{{{labels},reason=budget_rate}}"),
                "2",
            ),
            (format!("hedge_hedges_total{{{labels},cause=delay}}"), "1"),
            (format!("hedge_wins_total{{{labels},cause=delay}}"), "1"),
        ];
        let expected = expected.map(|(name, value)| (name, String::from(value)));
        assert_eq!(counted, BTreeMap::from(expected));
    }

    /// Checks that the table in the documentation, [`MetricsSink::NAMES`] and the recorded metrics
    /// have the same names.
    #[test]
    fn names_are_as_documented() {
        let rows = include_str!("metrics.rs").lines().filter_map(|line| {
            let row = line.strip_prefix("/// | `")?;
            Some(row.split('`').next().unwrap())
        });
        let documented: Vec<&str> = rows.collect();
        assert_eq!(documented, MetricsSink::NAMES);

        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let labels = Labels {
                strategy: StrategyKind::Fixed,
                name: Name::EMPTY,
                key: Name::EMPTY,
            };
            Handles::new(labels).suppressed(Suppressed::Guard);
            let _ = Losers::new(Name::EMPTY);
            let clock = ManualTimer::<8>::new();
            let hedger = Hedger::builder(&clock)
                .strategy(Fixed::new(ms(1)))
                .budget(Budget::unlimited())
                .holdback_percent(50.0)
                .build_local()
                .unwrap();
            for _ in 0..100 {
                let slow = |_| async {
                    clock.sleep(ms(3)).await;
                    Ok::<_, ()>(())
                };
                assert!(clock.drive(hedger.request(slow)).is_ok());
            }
            MetricsSink::gauges(&hedger.status(), &hedger.metrics());
        });
        let snapshot = snapshotter.snapshot().into_vec();
        let recorded: BTreeSet<String> = snapshot
            .iter()
            .map(|(key, ..)| String::from(key.key().name()))
            .collect();
        let described = snapshot.iter().all(|(_, _, about, _)| about.is_some());
        assert!(described, "{snapshot:?}");
        assert!(
            recorded
                .iter()
                .eq(&BTreeSet::from(MetricsSink::NAMES.map(String::from)))
        );
    }

    #[test]
    fn replicas_are_counted() {
        let counted = counted(|| {
            let clock = ManualTimer::<8>::new();
            let hedger = Hedger::builder(&clock)
                .strategy(Fixed::new(ms(20)))
                .sink(MetricsSink::new())
                .build_local()
                .unwrap();
            let replicas = core::cell::RefCell::new(crate::replicas::Replicas::<2>::all());
            // The first has an attempt that is lost to the second.
            let call = hedger.call().on(&replicas);
            let request = call.request(|attempt| {
                let (clock, is_hedge) = (&clock, attempt.is_hedge());
                async move {
                    clock.sleep(ms(if is_hedge { 5 } else { 500 })).await;
                    Ok::<_, ()>(())
                }
            });
            let outcome = clock.drive(request).unwrap().outcome;
            assert_eq!(outcome.replicas_used, 3);
            let call = hedger.call().on(&replicas).among(1);
            let _ = clock.drive(call.request(|_| async { Ok::<_, ()>(()) }));
        });
        let labels = |replica| format!("{{strategy=fixed,strategy_name=,replica={replica}}}");
        let count = |name, replica| {
            let count = &counted[&format!("{name}{}", labels(replica))];
            count.parse::<u64>().unwrap()
        };
        assert_eq!(count(REPLICA_REQUESTS, 0) + count(REPLICA_REQUESTS, 1), 3);
        assert_eq!(count(REPLICA_REQUESTS, 0), 2);
        assert_eq!(count(REPLICA_WINS, 0) + count(REPLICA_WINS, 1), 2);
    }

    #[test]
    fn requests_with_a_key_are_counted_apart() {
        let counted = counted(|| {
            let clock = ManualTimer::<8>::new();
            let sink = MetricsSink::new();
            let heard = |event: &Event| {
                // Keys are given to requests by hedgers of servers, whose runtimes are in other crates.
                let key = [Name::EMPTY, Name::truncated("a"), Name::truncated("b")];
                let key = key[event.request as usize % 3];
                sink.emit(&Event { key, ..*event });
            };
            let hedger = Hedger::builder(&clock).sink(heard).build_local().unwrap();
            for _ in 0..7 {
                let _ = clock.drive(hedger.request(|_| async { Ok::<_, ()>(()) }));
            }
        });
        for (key, requests) in [("", "2"), (",key=a", "3"), (",key=b", "2")] {
            let name = format!("hedge_attempts_total{{strategy=percentile,strategy_name={key}}}");
            assert_eq!(counted[&name], requests, "{counted:?}");
        }
    }

    #[test]
    fn a_refused_hedge_of_a_hedged_request_is_counted() {
        let counted = counted(|| {
            let clock = ManualTimer::<8>::new();
            let hedger = Hedger::builder(&clock)
                .strategy(Fixed::new(ms(20)))
                .attempts::<3>()
                .max_hedges(2)
                .budget(Budget::unlimited().max_in_flight(1))
                .sink(MetricsSink::new())
                .build_local()
                .unwrap();
            let slow = |_| async {
                clock.sleep(ms(90)).await;
                Ok::<_, ()>(())
            };
            assert!(clock.drive(hedger.request(slow)).is_ok());
            let hurried = |_| async { Ok::<_, ()>(()) };
            let call = hedger.call().unhedged();
            assert!(clock.drive(call.request(hurried)).is_ok());
        });
        for reason in ["in_flight", "off"] {
            let name =
                format!("hedge_suppressed_total{{strategy=fixed,strategy_name=,reason={reason}}}");
            assert_eq!(
                counted.get(&name).map(String::as_str),
                Some("1"),
                "{counted:?}"
            );
        }
    }

    #[test]
    fn a_request_that_is_dropped_is_counted_without_a_duration() {
        let counted = counted(|| {
            let clock = ManualTimer::<8>::new();
            let hedger = Hedger::builder(&clock)
                .strategy(Fixed::new(ms(20)))
                .sink(MetricsSink::new())
                .build_local()
                .unwrap();
            let hanging = hedger.request(|_| core::future::pending::<Result<(), ()>>());
            let dropped = futures_lite::future::or(async { hanging.await.is_ok() }, async {
                clock.sleep(ms(50)).await;
                false
            });
            assert!(!clock.drive(dropped));
        });
        let labels = "strategy=fixed,strategy_name=";
        let expected = [
            (
                String::from("hedge_losers_total{strategy_name=,end=cancelled}"),
                "2",
            ),
            (format!("hedge_attempts_total{{{labels}}}"), "2"),
            (format!("hedge_hedged_requests_total{{{labels}}}"), "1"),
            (format!("hedge_hedges_total{{{labels},cause=delay}}"), "1"),
            (format!("hedge_request_duration_seconds{{{labels}}}"), "[]"),
            (
                format!("hedge_requests_total{{{labels},result=dropped}}"),
                "1",
            ),
        ];
        let expected = expected.map(|(name, value)| (name, String::from(value)));
        assert_eq!(counted, BTreeMap::from(expected));
    }

    #[test]
    fn a_change_of_strategy_changes_the_label() {
        let counted = counted(|| {
            let clock = ManualTimer::<8>::new();
            let hedger = Hedger::builder(&clock)
                .strategy(crate::strategy::AnyStrategy::from(Fixed::new(ms(20))))
                .sink(MetricsSink::new())
                .build_local()
                .unwrap();
            for _ in 0..2 {
                let _ = clock.drive(hedger.request(|_| async { Ok::<_, ()>(()) }));
                hedger.set_strategy(crate::strategy::Off.into()).unwrap();
            }
        });
        for strategy in ["fixed", "off"] {
            let name =
                format!("hedge_requests_total{{strategy={strategy},strategy_name=,result=ok}}");
            assert_eq!(
                counted.get(&name).map(String::as_str),
                Some("1"),
                "{counted:?}"
            );
        }
    }
}
