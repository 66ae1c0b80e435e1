//! Metrics of a hedger.

use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::record::{Record, RequestEnd};
use crate::time::Instant;
use effect::Groups;

#[cfg(feature = "alloc")]
mod dry_run;
mod effect;
mod histogram;
mod snapshot;
mod status;
#[cfg(feature = "alloc")]
mod units;

#[cfg(test)]
mod tests;

pub use crate::record::Group;
#[cfg(feature = "alloc")]
pub use dry_run::{DryRun, DryRunJson};
#[cfg(feature = "alloc")]
pub use effect::{Effect, Interval};
pub use histogram::Histogram;
pub use snapshot::MetricsSnapshot;
pub use status::HedgerStatus;

/// Records the metrics of requests: [`Metrics`], or [`NoMetrics`] to record nothing.
///
/// A server keeps one recorder per shard and merges them to read them, so a merge must give exactly
/// what one recorder of all requests would have. Every method is called under the hedger's lock: it
/// must be short, and must not call back into the hedger.
///
/// ```
/// use hedge_core::metrics::Recorder;
/// use hedge_core::{Instant, MetricsSnapshot, Record};
///
/// /// Counts requests, and nothing else.
/// #[derive(Debug, Default)]
/// struct Requests(u64);
///
/// impl Recorder for Requests {
///     const ON: bool = true;
///
///     fn record(&mut self, _: &Record) {
///         self.0 += 1;
///     }
///     fn merge(&mut self, other: &Self) {
///         self.0 += other.0;
///     }
///     fn reset(&mut self, _: Instant) {
///         self.0 = 0;
///     }
///     fn snapshot(&self, _: Instant) -> MetricsSnapshot {
///         let mut snapshot = MetricsSnapshot::default();
///         snapshot.total_requests = self.0;
///         snapshot
///     }
/// }
/// ```
pub trait Recorder: Default {
    /// Whether this type records anything. If not, requests are not timed for it, and
    /// [`record`](Self::record) need not be called.
    const ON: bool;

    /// Records a request.
    fn record(&mut self, record: &Record);

    /// Records requests in the order in which they ended.
    ///
    /// Servers record requests in batches with this method. Override it where that is cheaper than
    /// one [`record`](Self::record) at a time.
    fn record_batch(&mut self, records: &[Record]) {
        for record in records {
            self.record(record);
        }
    }

    /// Adds the requests of `other`.
    fn merge(&mut self, other: &Self);

    /// Discards all requests, and measures [`uptime`](MetricsSnapshot::uptime) from `now`.
    fn reset(&mut self, now: Instant);

    /// Returns the metrics up to `now`.
    fn snapshot(&self, now: Instant) -> MetricsSnapshot;
}

/// Records counts and latencies of requests in constant memory of 4.6 KiB.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::metrics::Recorder;
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Instant, Metrics, Record};
///
/// let mut metrics = Metrics::new();
/// metrics.reset(Instant::ZERO);
/// let now = Instant::from_epoch(Duration::from_secs(2));
/// metrics.record(&Record::new(Sample::Finished(Duration::from_millis(20))).at(now));
/// metrics.record(&Record::new(Sample::Failed(Duration::from_millis(70))).at(now));
///
/// let snapshot = metrics.snapshot(now);
/// assert_eq!(snapshot.total_requests, 2);
/// assert_eq!(snapshot.failed, 1);
/// assert_eq!(snapshot.requests_per_second, 1.0);
/// // Only the latency of the request that was won is included.
/// assert_eq!(snapshot.max_latency, Some(Duration::from_millis(20)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    started: Option<Instant>,
    latencies: Histogram,
    won: u64,
    failed: u64,
    timed_out: u64,
    cancelled: u64,
    hedged_requests: u64,
    hedge_wins: u64,
    hedges: u64,
    hedges_by_retry: u64,
    wins_by_retry: u64,
    hedges_due: u64,
    /// The number of hedges that would have started if the hedger did not only observe.
    #[cfg(feature = "alloc")]
    hedges_observed: u64,
    refused: [u64; Suppressed::ALL.len()],
    costs: Costs,
    groups: Groups,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Costs {
    total: f64,
    /// The cost of the primaries.
    primary: f64,
}

impl Costs {
    const NONE: Self = Self {
        total: 0.0,
        primary: 0.0,
    };

    /// Adds the cost of a request that made `attempts` attempts.
    fn add(&mut self, cost: f64, attempts: u8) {
        // A single NaN would stay in the sums forever.
        if cost.is_finite() {
            self.total += cost;
            self.primary += match attempts {
                // Most requests have one attempt, and need no division.
                0 | 1 => cost,
                attempts => cost / f64::from(attempts),
            };
        }
    }
}

impl Metrics {
    /// Creates empty metrics. Uptime is measured from [`reset`](Recorder::reset), or else from the
    /// end of the first request.
    pub const fn new() -> Self {
        Self {
            started: None,
            latencies: Histogram::new(),
            won: 0,
            failed: 0,
            timed_out: 0,
            cancelled: 0,
            hedged_requests: 0,
            hedge_wins: 0,
            hedges: 0,
            hedges_by_retry: 0,
            wins_by_retry: 0,
            hedges_due: 0,
            #[cfg(feature = "alloc")]
            hedges_observed: 0,
            refused: [0; Suppressed::ALL.len()],
            costs: Costs::NONE,
            groups: Groups::NONE,
        }
    }

    fn count_end(&mut self, end: RequestEnd, nanos: u64) {
        match end {
            RequestEnd::Won(_) => {
                bump(&mut self.won, 1);
                self.latencies.record_nanos(nanos);
            }
            RequestEnd::Fatal(_) | RequestEnd::Failed(_) | RequestEnd::NoReplica(_) => {
                bump(&mut self.failed, 1);
            }
            RequestEnd::TimedOut => bump(&mut self.timed_out, 1),
            RequestEnd::Dropped => bump(&mut self.cancelled, 1),
        }
    }

    /// Records everything except the cost.
    fn count(&mut self, record: &Record) {
        self.count_end(record.end, record.total);
        if record.hedged() {
            bump(&mut self.hedged_requests, 1);
            bump(&mut self.hedge_wins, record.hedge_won().into());
            bump(&mut self.hedges, record.attempts.saturating_sub(1).into());
            bump(&mut self.hedges_by_retry, record.retries().into());
            let is_by_retry = record.winner_cause() == Some(Cause::Retry);
            bump(&mut self.wins_by_retry, is_by_retry.into());
        }
        bump(&mut self.hedges_due, record.due().into());
        #[cfg(feature = "alloc")]
        {
            let observed = record.due() && record.suppressed == Some(Suppressed::ObserveOnly);
            bump(&mut self.hedges_observed, observed.into());
        }
        self.groups.record(record);
        if let Some(reason) = record.suppressed {
            self.count_refusals(reason, 1);
        }
    }

    fn count_refusals(&mut self, reason: Suppressed, by: u64) {
        if let Some(refused) = self.refused.get_mut(reason.index()) {
            bump(refused, by);
        }
    }

    /// Returns the latencies of the requests that were won, from their start to their answer.
    pub const fn latencies(&self) -> &Histogram {
        &self.latencies
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder for Metrics {
    const ON: bool = true;

    fn record(&mut self, record: &Record) {
        self.started.get_or_insert(record.ended_at);
        self.costs.add(record.cost, record.attempts);
        self.count(record);
    }

    fn record_batch(&mut self, records: &[Record]) {
        if let Some(first) = records.first() {
            self.started.get_or_insert(first.ended_at);
        }
        // Use local variables, which the compiler keeps in registers.
        let mut latencies = self.latencies.batch();
        let mut costs = self.costs;
        for record in records {
            costs.add(record.cost, record.attempts);
            if record.is_ordinary() {
                latencies.record_nanos(record.total);
            }
        }
        let ordinary = latencies.finish();
        self.costs = costs;
        bump(&mut self.won, ordinary);
        self.count_refusals(Suppressed::NotDue, ordinary);
        if ordinary < records.len() as u64 {
            let others = records.iter().filter(|record| !record.is_ordinary());
            others.for_each(|record| self.count(record));
        }
    }

    fn merge(&mut self, other: &Self) {
        // Use the earlier of the two starts; `None` if neither has started.
        self.started = match (self.started, other.started) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.latencies.merge(&other.latencies);
        bump(&mut self.won, other.won);
        bump(&mut self.failed, other.failed);
        bump(&mut self.timed_out, other.timed_out);
        bump(&mut self.cancelled, other.cancelled);
        bump(&mut self.hedged_requests, other.hedged_requests);
        bump(&mut self.hedge_wins, other.hedge_wins);
        bump(&mut self.hedges, other.hedges);
        bump(&mut self.hedges_by_retry, other.hedges_by_retry);
        bump(&mut self.wins_by_retry, other.wins_by_retry);
        bump(&mut self.hedges_due, other.hedges_due);
        #[cfg(feature = "alloc")]
        bump(&mut self.hedges_observed, other.hedges_observed);
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            bump(mine, theirs);
        }
        self.costs.total += other.costs.total;
        self.costs.primary += other.costs.primary;
        self.groups.merge(&other.groups);
    }

    fn reset(&mut self, now: Instant) {
        *self = Self::new();
        self.started = Some(now);
    }

    fn snapshot(&self, now: Instant) -> MetricsSnapshot {
        snapshot::of(self, now)
    }
}

/// Records nothing, takes no memory, and returns empty snapshots.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::metrics::{NoMetrics, Recorder};
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Instant, MetricsSnapshot, Record};
///
/// let mut metrics = NoMetrics;
/// metrics.record(&Record::new(Sample::Finished(Duration::from_millis(20))));
/// assert_eq!(metrics.snapshot(Instant::ZERO), MetricsSnapshot::default());
/// assert_eq!(size_of::<NoMetrics>(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoMetrics;

impl Recorder for NoMetrics {
    const ON: bool = false;

    fn record(&mut self, _: &Record) {}

    fn record_batch(&mut self, _: &[Record]) {}

    fn merge(&mut self, _: &Self) {}

    fn reset(&mut self, _: Instant) {}

    fn snapshot(&self, _: Instant) -> MetricsSnapshot {
        MetricsSnapshot::default()
    }
}

fn bump(counter: &mut u64, by: u64) {
    *counter = counter.saturating_add(by);
}
