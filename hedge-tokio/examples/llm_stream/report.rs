//! The result, as a table and as JSON.

use core::fmt::{self, Display};

use hdrhistogram::Histogram;
use hedge_tokio::MetricsSnapshot;
use indicatif::HumanCount;
use serde::Serialize;

use crate::load::Measured;
use crate::provider::Counted;
use crate::{Failure, Options};

/// The phases, side by side. Its fields are the JSON's.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    plain: Phase,
    hedged: Phase,
    /// Hedged on the heads of responses instead.
    heads: Phase,
    /// The share of the P99 that hedging removed.
    p99_reduction: f64,
    /// Requests that the providers saw besides those that were asked for, as a share of them.
    extra_load: f64,
    /// The reduction if the heads of responses are hedged.
    heads_p99_reduction: f64,
    heads_extra_load: f64,
    /// Answers of all phases that were not one stream, whole and in order.
    mixed_streams: usize,
}

/// One phase. Times to the first token are in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Phase {
    requests: u64,
    p50_ms: f64,
    p99_ms: f64,
    /// What the hedger took for the P50 and the P99 of the backend.
    learned_p50_ms: f64,
    learned_p99_ms: f64,
    /// The share of the requests that were hedged.
    hedge_rate: f64,
    /// The share of those whose hedge won.
    hedge_win_rate: f64,
    /// Requests that the providers saw besides those that were asked for, as a share of them.
    extra_load: f64,
    /// Streams that the providers gave up, because the client had closed the connection.
    aborted_streams: u64,
}

impl Report {
    pub(crate) fn new(
        phases: &[(Measured, MetricsSnapshot, Counted, Counted)],
    ) -> Result<Self, Failure> {
        let [plain, hedged, heads] = phases else {
            return Err("a phase is missing".into());
        };
        let [plain, hedged, heads] = [plain, hedged, heads].map(Phase::new);
        let reduction = |phase: &Phase| rounded(1.0 - phase.p99_ms / plain.p99_ms);
        Ok(Self {
            p99_reduction: reduction(&hedged),
            extra_load: hedged.extra_load,
            heads_p99_reduction: reduction(&heads),
            heads_extra_load: heads.extra_load,
            mixed_streams: phases.iter().map(|(phase, ..)| phase.mixed.len()).sum(),
            plain,
            hedged,
            heads,
        })
    }

    /// The report for people.
    pub(crate) fn table<'a>(&'a self, options: &'a Options) -> impl Display + 'a {
        Table {
            report: self,
            options,
        }
    }
}

impl Phase {
    fn new(
        (measured, metrics, before, after): &(Measured, MetricsSnapshot, Counted, Counted),
    ) -> Self {
        let micros: &Histogram<u64> = &measured.first_token;
        let ms = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        let learned = |latency: Option<core::time::Duration>| {
            rounded(latency.unwrap_or_default().as_secs_f64() * 1000.0)
        };
        let asked = (after.asked - before.asked) as f64;
        Self {
            requests: micros.len(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            learned_p50_ms: learned(metrics.p50_latency),
            learned_p99_ms: learned(metrics.p99_latency),
            hedge_rate: rounded(metrics.hedge_rate),
            hedge_win_rate: rounded(metrics.hedge_win_rate),
            extra_load: rounded(asked / micros.len() as f64 - 1.0),
            aborted_streams: after.aborted - before.aborted,
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
        let report = self.report;
        let Options {
            concurrency,
            percentile,
            budget,
            seed,
            ..
        } = self.options;
        let phases = [
            ("plain", &report.plain),
            ("hedged on the first token", &report.hedged),
            ("hedged on the head", &report.heads),
        ];
        writeln!(
            f,
            "{} streams from two providers, {concurrency} at a time (seed {seed}): plain, then hedged at P{percentile} \
             with a budget of {budget} %.\n",
            HumanCount(report.plain.requests)
        )?;
        writeln!(
            f,
            "{:<27}{:>10}{:>11}{:>8}{:>12}{:>14}",
            "time to first token", "P50", "P99", "cut", "extra load", "learned P99"
        )?;
        for (name, phase) in phases {
            let cut = (1.0 - phase.p99_ms / report.plain.p99_ms) * 100.0;
            let (p50, p99, learned) = (phase.p50_ms, phase.p99_ms, phase.learned_p99_ms);
            let extra = phase.extra_load * 100.0;
            writeln!(
                f,
                "{name:<27}{p50:>7.1} ms{p99:>8.1} ms{cut:>6.0} %{extra:>10.1} %{learned:>11.1} ms"
            )?;
        }
        let hedged = &report.hedged;
        let all: u64 = phases.iter().map(|(_, phase)| phase.requests).sum();
        write!(
            f,
            "\nOn the first token, {:.1} % of the requests were hedged, and {:.0} % of the hedges won. The providers saw \
             {} streams\nclosed early. {} of {} answers were anything but one stream, whole and in order.",
            hedged.hedge_rate * 100.0,
            hedged.hedge_win_rate * 100.0,
            hedged.aborted_streams,
            report.mixed_streams,
            HumanCount(all),
        )
    }
}
