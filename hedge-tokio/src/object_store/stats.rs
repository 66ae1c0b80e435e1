use core::fmt;
use core::time::Duration;

use hedge_core::MetricsSnapshot;

use super::SizeClass;

/// The statistics of the reads of a [`HedgedStore`](super::HedgedStore), by size, displayed as a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HedgedStoreStats {
    /// The counters of each class of reads. Latencies are the times to the first bytes.
    pub classes: [(SizeClass, MetricsSnapshot); 5],
    /// The number of bodies whose rest was requested again from the middle.
    pub resumed: u64,
    /// The number of bodies that ended with an error because they stalled.
    pub stalled: u64,
    /// The number of bodies that ended with an error because their object was replaced.
    pub replaced: u64,
}

impl HedgedStoreStats {
    /// Returns the number of attempts that were sent beyond one for each read: hedges, and bodies that were resumed.
    pub fn extra_attempts(&self) -> u64 {
        let hedges = self.classes.iter().map(|(_, metrics)| metrics.hedges);
        hedges.sum::<u64>().saturating_add(self.resumed)
    }

    /// Returns the number of reads.
    pub fn reads(&self) -> u64 {
        let reads = self
            .classes
            .iter()
            .map(|(_, metrics)| metrics.total_requests);
        reads.sum()
    }
}

impl fmt::Display for HedgedStoreStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<8} {:>9} {:>9} {:>7} {:>11} {:>11}",
            "reads", "number", "hedged %", "won %", "P50 ms", "P99 ms"
        )?;
        for (class, metrics) in &self.classes {
            let [p50, p99] = [metrics.p50_latency, metrics.p99_latency].map(Millis);
            let (hedged, won) = (metrics.hedge_rate * 100.0, metrics.hedge_win_rate * 100.0);
            let requests = metrics.total_requests;
            writeln!(
                f,
                "{class:<8} {requests:>9} {hedged:>9.2} {won:>7.1} {p50:>11} {p99:>11}"
            )?;
        }
        let Self {
            resumed,
            stalled,
            replaced,
            ..
        } = self;
        write!(
            f,
            "bodies: {resumed} resumed, {stalled} stalled, {replaced} replaced"
        )
    }
}

/// A latency in milliseconds, displayed as a dash if there is none.
struct Millis(Option<Duration>);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(latency) => f.pad(&format!("{:.1}", latency.as_secs_f64() * 1000.0)),
            None => f.pad("–"),
        }
    }
}
