//! The result, as a table and as JSON.

use core::fmt::{self, Display};

use hdrhistogram::Histogram;
use hedge_tokio::MetricsSnapshot;
use indicatif::HumanCount;
use serde::Serialize;

use crate::Options;
use crate::replica::Served;

/// Both phases, side by side. Its fields are the JSON's.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) unhedged: Latencies,
    pub(crate) hedged: Hedged,
    /// Hedged, with a choice of replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) over_replicas: Option<Hedged>,
    /// The share of the P99 that hedging removed.
    pub(crate) p99_reduction: f64,
}

/// What the client waited, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latencies {
    requests: u64,
    p50_ms: f64,
    p95_ms: f64,
    pub(crate) p99_ms: f64,
    p999_ms: f64,
}

/// What hedging gained, and what it cost.
#[derive(Debug, Serialize)]
pub(crate) struct Hedged {
    #[serde(flatten)]
    pub(crate) latencies: Latencies,
    /// The share of the requests that were hedged.
    hedge_rate: f64,
    /// The share of those whose hedge was the first to answer.
    hedge_win_rate: f64,
    /// Requests that reached the servers beyond one for each of the client's, as a share of those.
    pub(crate) extra_load: f64,
    /// Requests that the servers gave up, because another replica had answered.
    cancelled: u64,
    /// The share of the requests at the servers that reached the first.
    first_replica_share: f64,
}

/// What hedging took, as hedger and servers counted it.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) metrics: MetricsSnapshot,
    pub(crate) served: Served,
    pub(crate) served_by_first: Served,
}

impl Hedged {
    pub(crate) fn new(micros: &Histogram<u64>, cost: &Cost) -> Self {
        let Cost {
            metrics,
            served,
            served_by_first,
        } = cost;
        Self {
            latencies: Latencies::new(micros),
            hedge_rate: rounded(metrics.hedge_rate),
            hedge_win_rate: rounded(metrics.hedge_win_rate),
            extra_load: rounded(served.arrived as f64 / micros.len() as f64 - 1.0),
            cancelled: served.cancelled,
            first_replica_share: rounded(served_by_first.arrived as f64 / served.arrived as f64),
        }
    }
}

impl Report {
    pub(crate) fn new(plain: &Histogram<u64>, hedged: Hedged) -> Self {
        let unhedged = Latencies::new(plain);
        Self {
            unhedged,
            p99_reduction: rounded(1.0 - hedged.latencies.p99_ms / unhedged.p99_ms),
            hedged,
            over_replicas: None,
        }
    }

    /// The report for people.
    pub(crate) fn table<'a>(&'a self, options: &'a Options) -> impl Display + 'a {
        Table {
            report: self,
            options,
        }
    }
}

impl Latencies {
    fn new(micros: &Histogram<u64>) -> Self {
        let ms = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            requests: micros.len(),
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
        }
    }

    /// The percentiles, from the median to the far tail.
    pub(crate) fn marks(&self) -> [Mark; 4] {
        [
            Mark {
                name: "P50",
                slower: 0.5,
                ms: self.p50_ms,
            },
            Mark {
                name: "P95",
                slower: 0.05,
                ms: self.p95_ms,
            },
            Mark {
                name: "P99",
                slower: 0.01,
                ms: self.p99_ms,
            },
            Mark {
                name: "P99.9",
                slower: 0.001,
                ms: self.p999_ms,
            },
        ]
    }
}

/// A percentile of a distribution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) name: &'static str,
    /// The share of the requests that take longer.
    pub(crate) slower: f64,
    pub(crate) ms: f64,
}

/// To four places: a share of 0.0512 is 5.12 %.
fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

struct Table<'a> {
    report: &'a Report,
    options: &'a Options,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BAR: f64 = 32.0;
        let Report {
            unhedged,
            hedged,
            over_replicas,
            ..
        } = self.report;
        let Options {
            concurrency,
            percentile,
            budget,
            seed,
            ..
        } = self.options;
        let ways = [Some(hedged), over_replicas.as_ref()];
        let ways = || ways.iter().flatten();
        let longest = unhedged.p999_ms.max(hedged.latencies.p999_ms);
        let cells = |ms: f64| (ms / longest * BAR).round() as usize;

        let servers = if over_replicas.is_some() {
            "three replicas, one of them slow"
        } else {
            "two replicas"
        };
        writeln!(
            f,
            "{} HTTP requests to {servers}, {concurrency} at a time (seed {seed}):\nplain, then \
             hedged at P{percentile} with a budget of {budget} %.\n",
            HumanCount(unhedged.requests)
        )?;
        write!(f, "{:>7}{:>13}", "", "plain")?;
        for (name, _) in ["hedged", "over replicas"].iter().zip(ways()) {
            write!(f, "{name:>15}{:>8}", "change")?;
        }
        writeln!(f)?;
        for (place, plain) in unhedged.marks().iter().enumerate() {
            write!(f, "{:>7}{:>10.1} ms", plain.name, plain.ms)?;
            let mut last = plain.ms;
            for way in ways() {
                last = way.latencies.marks()[place].ms;
                // Adding zero makes a negative zero positive.
                let change = ((last / plain.ms - 1.0) * 100.0).round() + 0.0;
                write!(f, "{last:>12.1} ms{change:>+6.0} %")?;
            }
            let (kept, all) = (cells(last), cells(plain.ms));
            writeln!(
                f,
                "   {}{}",
                "█".repeat(kept),
                "░".repeat(all.saturating_sub(kept)),
            )?;
        }
        for (name, way) in ["Hedged", "Over replicas"].iter().zip(ways()) {
            write!(
                f,
                "\n{name}: {:.1} % of the requests were hedged, and {:.0} % of the hedges won.\nThe servers counted \
                 {:.1} % more requests, and gave up {} when another replica had answered.",
                way.hedge_rate * 100.0,
                way.hedge_win_rate * 100.0,
                way.extra_load * 100.0,
                way.cancelled,
            )?;
            if over_replicas.is_some() {
                let share = way.first_replica_share * 100.0;
                write!(
                    f,
                    "\n{share:.1} % of all attempts reached the slow replica."
                )?;
            }
        }
        Ok(())
    }
}
