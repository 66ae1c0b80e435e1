//! What the callers counted, to be compared with what the hedger did.

use core::fmt::Debug;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hedge_tokio::{MetricsSnapshot, Suppressed};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) won: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    /// By whoever made them, and by panics of theirs.
    pub(crate) dropped: AtomicU64,
    pub(crate) hedge_wins: AtomicU64,
    /// Attempts that were started, and those that ended or were dropped.
    pub(crate) started: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) changes: AtomicU64,
}

impl Tally {
    pub(crate) const HEAD: &str = "\
hedger         requests       won    failed timed out   dropped    hedges      wins    panics   changes";

    /// Whether every attempt that was started has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.started.load(Relaxed) == self.ended.load(Relaxed)
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    fn requests(&self) -> u64 {
        let ends = [&self.won, &self.failed, &self.timed_out, &self.dropped];
        ends.iter().map(|end| end.load(Relaxed)).sum()
    }

    fn hedges(&self) -> u64 {
        self.started.load(Relaxed) - self.requests()
    }

    pub(crate) fn line(&self, name: &str) -> String {
        let numbers = [
            self.requests(),
            self.won.load(Relaxed),
            self.failed.load(Relaxed),
            self.timed_out.load(Relaxed),
            self.dropped.load(Relaxed),
            self.hedges(),
            self.hedge_wins.load(Relaxed),
            self.panics.load(Relaxed),
            self.changes.load(Relaxed),
        ];
        let columns = numbers.map(|number| format!("{number:>10}"));
        format!("{name:<13}{}", columns.concat())
    }

    /// What differs.
    pub(crate) fn compare(&self, name: &str, metrics: &MetricsSnapshot) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut same = |what: &str, counted: u64, told: u64| {
            if counted != told {
                wrong.push(format!(
                    "{name}: {counted} {what}, but the hedger says {told}"
                ));
            }
        };
        let refused = Suppressed::ALL.map(|reason| metrics.refused(reason));
        same("requests", self.requests(), metrics.total_requests);
        same("won", self.won.load(Relaxed), metrics.won);
        same("failed", self.failed.load(Relaxed), metrics.failed);
        same("timed out", self.timed_out.load(Relaxed), metrics.timed_out);
        same("dropped", self.dropped.load(Relaxed), metrics.cancelled);
        same(
            "wins of hedges",
            self.hedge_wins.load(Relaxed),
            metrics.hedge_wins,
        );
        same("hedges", self.hedges(), metrics.hedges);
        same(
            "requests hedged or not",
            self.requests(),
            metrics.hedged_requests + refused.iter().sum::<u64>(),
        );
        same(
            "attempts started",
            self.started.load(Relaxed),
            metrics.total_cost as u64,
        );
        let (started, ended) = (self.started.load(Relaxed), self.ended.load(Relaxed));
        if started != ended {
            wrong.push(format!(
                "{name}: {started} attempts were started, but {ended} ended"
            ));
        }
        for (what, counter) in [
            ("won", &self.won),
            ("failed", &self.failed),
            ("timed out", &self.timed_out),
            ("dropped", &self.dropped),
            ("hedge won", &self.hedge_wins),
        ] {
            if counter.load(Relaxed) == 0 {
                wrong.push(format!(
                    "{name}: none {what}: the load is not what it should be"
                ));
            }
        }
        wrong
    }
}
