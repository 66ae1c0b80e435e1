//! The result, as a table and as JSON.

use core::fmt::{self, Display};

use hdrhistogram::Histogram;
use hedge_tokio::MetricsSnapshot;
use indicatif::HumanCount;
use serde::Serialize;

use crate::Options;
use crate::load::Measured;

/// Both phases, side by side. Its fields are the JSON's.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    plain: FirstToken,
    hedged: Hedged,
    /// The share of the P99 that hedging removed.
    p99_reduction: f64,
    /// Answers of both phases that were not one stream, whole and in order.
    mixed_streams: usize,
}

/// Times to the first token, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct FirstToken {
    requests: u64,
    p50_ms: f64,
    p99_ms: f64,
}

/// What hedging gained, and what it cost.
#[derive(Debug, Serialize)]
struct Hedged {
    #[serde(flatten)]
    first_token: FirstToken,
    /// The share of the requests that were hedged.
    hedge_rate: f64,
    /// The share of those whose hedge was the first to begin.
    hedge_win_rate: f64,
    /// Streams that the providers gave up, because the client had closed the connection.
    aborted_streams: u64,
}

impl Report {
    pub(crate) fn new(
        plain: &Measured,
        hedged: &Measured,
        metrics: &MetricsSnapshot,
        aborted_streams: u64,
    ) -> Self {
        let before = FirstToken::new(&plain.first_token);
        let after = FirstToken::new(&hedged.first_token);
        Self {
            plain: before,
            hedged: Hedged {
                first_token: after,
                hedge_rate: rounded(metrics.hedge_rate),
                hedge_win_rate: rounded(metrics.hedge_win_rate),
                aborted_streams,
            },
            p99_reduction: rounded(1.0 - after.p99_ms / before.p99_ms),
            mixed_streams: plain.mixed.len() + hedged.mixed.len(),
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

impl FirstToken {
    fn new(micros: &Histogram<u64>) -> Self {
        let ms = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            requests: micros.len(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
        }
    }
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
        let Report {
            plain,
            hedged,
            mixed_streams,
            ..
        } = self.report;
        let Options {
            concurrency,
            percentile,
            budget,
            seed,
            ..
        } = self.options;

        writeln!(
            f,
            "{} streams from two providers, {concurrency} at a time (seed {seed}): plain, then hedged at \
             P{percentile}\nof the time to the first token, with a budget of {budget} %.\n",
            HumanCount(plain.requests)
        )?;
        writeln!(
            f,
            "{:<21}{:>11}{:>13}{:>10}",
            "time to first token", "plain", "hedged", "change"
        )?;
        let after = &hedged.first_token;
        for (name, before, after) in [
            ("P50", plain.p50_ms, after.p50_ms),
            ("P99", plain.p99_ms, after.p99_ms),
        ] {
            // Adding zero makes a negative zero positive.
            let change = ((after / before - 1.0) * 100.0).round() + 0.0;
            writeln!(
                f,
                "{name:<21}{before:>8.1} ms{after:>10.1} ms{change:>+8.0} %"
            )?;
        }
        write!(
            f,
            "\n{:.1} % of the requests were hedged, and {:.0} % of the hedges won. The providers saw {} \
             streams closed\nearly. {} of {} answers were anything but one stream, whole and in order.",
            hedged.hedge_rate * 100.0,
            hedged.hedge_win_rate * 100.0,
            hedged.aborted_streams,
            mixed_streams,
            HumanCount(plain.requests + after.requests),
        )
    }
}
