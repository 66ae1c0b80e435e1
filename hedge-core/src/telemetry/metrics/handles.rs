//! Counters and histograms with their labels, created once.

use std::boxed::Box;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

use metrics::{Counter, Histogram, Label, counter, histogram};

use super::end::{End, Outcome};
use super::names::{
    ATTEMPTS, DURATION, HEDGED, HEDGES, LOSERS, REPLICA_CANCELLED, REPLICA_DURATION,
    REPLICA_FAILURES, REPLICA_REQUESTS, REPLICA_WINS, REQUESTS, SUPPRESSED, WINS, describe,
};
use crate::attempt::Cause;
use crate::name::Name;
use crate::outcome::{StrategyKind, Suppressed};
use crate::replicas::ReplicaId;

/// The values of the label `cause`: why hedges are started.
const CAUSES: [Cause; 2] = [Cause::Delay, Cause::Retry];

/// The labels that all metrics of one kind of requests have.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Labels {
    pub(super) strategy: StrategyKind,
    pub(super) name: Name,
    pub(super) key: Name,
}

impl Labels {
    pub(super) fn to_vec(self) -> Vec<Label> {
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

/// What was created for the labels that were seen, in the order in which they were.
pub(super) struct ByLabels<L, T>(OnceLock<Box<Link<L, T>>>);

struct Link<L, T> {
    labels: L,
    value: T,
    next: ByLabels<L, T>,
}

impl<L: Copy + PartialEq, T> ByLabels<L, T> {
    /// For how many labels values are kept. Those of others are created every time.
    const KEPT: usize = 128;

    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Calls `f` with the value of `labels`, which `create` makes when it is first needed.
    pub(super) fn with(&self, labels: L, create: impl Fn(L) -> T, f: impl FnOnce(&T)) {
        let mut place = self;
        for _ in 0..Self::KEPT {
            let link = place.0.get_or_init(|| {
                Box::new(Link {
                    labels,
                    value: create(labels),
                    next: Self::new(),
                })
            });
            if link.labels == labels {
                return f(&link.value);
            }
            place = &link.next;
        }
        f(&create(labels));
    }
}

/// The counters and the histogram of requests with the same labels.
pub(super) struct Handles {
    labels: Labels,
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
    pub(super) fn new(of: Labels) -> Self {
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

    pub(super) fn count(&self, end: &End) {
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
        let uncounted = |reason: &Suppressed| {
            use Suppressed::{MaxHedges, Off, Pushback, WarmingUp};
            matches!(reason, Off | WarmingUp | Pushback | MaxHedges)
        };
        if let Some(reason) = end.suppressed.filter(uncounted) {
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
                [REPLICA_REQUESTS, REPLICA_WINS].map(|name| {
                    let mut labels = self.labels.to_vec();
                    labels.push(Label::new("replica", index.to_string()));
                    counter!(name, labels)
                })
            });
            requests.increment(1);
            wins.increment(has(end.winner.map_or(0, |(winner, _)| winner.mask())));
        }
    }

    pub(super) fn suppressed(&self, reason: Suppressed) {
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

/// How the attempts at each replica end, created when first used. Their events do not name a strategy.
pub(super) struct Ends {
    name: Name,
    replicas: [OnceLock<OfReplica>; u64::BITS as usize],
}

/// How the attempts at one replica end.
pub(super) struct OfReplica {
    pub(super) failed: Counter,
    pub(super) timeout: Counter,
    pub(super) cancelled: Counter,
    pub(super) duration: Histogram,
}

impl Ends {
    pub(super) fn new(name: Name) -> Self {
        describe();
        Self {
            name,
            replicas: [const { OnceLock::new() }; u64::BITS as usize],
        }
    }

    /// Returns what is counted of a replica; `None` if no set has so many.
    pub(super) fn of(&self, replica: ReplicaId) -> Option<&OfReplica> {
        let index = replica.index();
        let labels = || replica_labels(self.name, index);
        let failures = |reason| {
            let mut labels = labels();
            labels.push(Label::from_static_parts("reason", reason));
            counter!(REPLICA_FAILURES, labels)
        };
        let place = self.replicas.get(index)?;
        Some(place.get_or_init(|| OfReplica {
            failed: failures("failed"),
            timeout: failures("timeout"),
            cancelled: counter!(REPLICA_CANCELLED, labels()),
            duration: histogram!(REPLICA_DURATION, labels()),
        }))
    }
}

/// The labels of what is known of a replica whatever the strategy and the key.
pub(super) fn replica_labels(name: Name, index: usize) -> Vec<Label> {
    std::vec![
        Label::new("strategy_name", String::from(name.as_str())),
        Label::new("replica", index.to_string()),
    ]
}

/// The counters of attempts that were dropped. Their events do not name a strategy.
pub(super) struct Losers {
    pub(super) cancelled: Counter,
    pub(super) timeout: Counter,
}

impl Losers {
    pub(super) fn new(name: Name) -> Self {
        describe();
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
