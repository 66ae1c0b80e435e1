//! The metrics at one moment.

use core::fmt;
use core::time::Duration;

use super::Metrics;
#[cfg(feature = "alloc")]
use super::dry_run::DryRun;
#[cfg(feature = "alloc")]
use super::effect::Effect;
use super::effect::Groups;
use crate::outcome::Suppressed;
use crate::time::Instant;

/// The metrics of a hedger at one moment.
///
/// Rates are fractions from 0 to 1 unless stated otherwise, and 0 if there is nothing to divide by:
/// they are never NaN. Latencies are those of requests that were won, from the start of the request
/// to its answer. Quantiles are within 3.2 % (see [`Histogram`](crate::metrics::Histogram)); the
/// minimum, the maximum and the mean are exact.
///
/// A snapshot is displayed as a table:
///
/// ```
/// use core::time::Duration;
/// use hedge_core::metrics::Recorder;
/// use hedge_core::strategy::Sample;
/// use hedge_core::{Instant, Metrics, Record};
///
/// let mut metrics = Metrics::new();
/// metrics.reset(Instant::ZERO);
/// for ms in 1..=100 {
///     let record = Record::new(Sample::Finished(Duration::from_millis(ms)));
///     metrics.record(&record.at(Instant::from_epoch(Duration::from_secs(5))));
/// }
/// let table = metrics.snapshot(Instant::from_epoch(Duration::from_secs(5))).to_string();
/// let expected = "\
/// requests    total      won   failed  timeout  dropped   uptime    per s
///               100      100        0        0        0    5.00s     20.0
/// latency       min     mean      p50      p90      p95      p99    p99.9      max
///            1.00ms  50.50ms  49.28ms  90.18ms  94.37ms  98.57ms 100.00ms 100.00ms
/// hedging    hedged     rate      won win rate   hedges     cost  average overhead
///                 0    0.0 %        0    0.0 %        0    100.0   1.0000    0.0 %
/// unhedged not_due 100
/// ";
/// assert_eq!(table, expected.trim_end());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Requests that have ended: `won + failed + timed_out + cancelled`.
    pub total_requests: u64,
    /// Requests that were answered.
    pub won: u64,
    /// Requests that failed: every attempt failed, or one of them fatally.
    pub failed: u64,
    /// Requests that ran out of time.
    pub timed_out: u64,
    /// Requests that the caller dropped.
    pub cancelled: u64,

    /// Requests that started at least one hedge.
    pub hedged_requests: u64,
    /// Requests that were won by a hedge.
    pub hedge_wins: u64,
    /// Hedges that were started: all attempts except primaries.
    pub hedges: u64,
    /// Hedges that were started because the hedge delay had passed.
    pub hedges_by_delay: u64,
    /// Hedges that were started because another attempt had failed.
    pub hedges_by_retry: u64,
    /// Requests that were won by a hedge of the delay.
    pub wins_by_delay: u64,
    /// Requests that were won by a retry.
    pub wins_by_retry: u64,
    /// The share of the hedges of the delay that won. If it is low, the delay does not help, however many
    /// retries win.
    pub win_rate_by_delay: f64,
    /// The share of the retries that won.
    pub win_rate_by_retry: f64,
    /// Requests whose hedge delay passed, whether a hedge was started or not.
    pub hedges_due: u64,
    /// The share of requests that were hedged.
    pub hedge_rate: f64,
    /// The share of hedged requests that were won by a hedge.
    pub hedge_win_rate: f64,
    /// The share of all requests that were won by a hedge.
    pub hedge_effectiveness: f64,

    /// The number of latency samples, which equals `won`.
    pub sample_count: u64,
    /// The shortest latency. All latencies are `None` before the first sample.
    pub min_latency: Option<Duration>,
    /// The arithmetic mean of the latencies.
    pub mean_latency: Option<Duration>,
    /// The median latency, equal to `p50_latency`.
    pub median_latency: Option<Duration>,
    /// The 50th percentile of the latencies.
    pub p50_latency: Option<Duration>,
    /// The 75th percentile of the latencies.
    pub p75_latency: Option<Duration>,
    /// The 90th percentile of the latencies.
    pub p90_latency: Option<Duration>,
    /// The 95th percentile of the latencies.
    pub p95_latency: Option<Duration>,
    /// The 99th percentile of the latencies.
    pub p99_latency: Option<Duration>,
    /// The 99.9th percentile of the latencies.
    pub p999_latency: Option<Duration>,
    /// The longest latency.
    pub max_latency: Option<Duration>,

    /// The cost of all attempts: one unit each, or the hedger's cost per attempt. A cost that is
    /// not finite is ignored.
    pub total_cost: f64,
    /// The average cost of a request.
    pub avg_cost: f64,
    /// The percentage by which hedges raised the cost above that of the primaries.
    pub cost_overhead: f64,

    /// The time since the hedger was built or its metrics were reset. For a hedger that was
    /// assembled from parts, as in a `static`, the time since the end of its first request.
    pub uptime: Duration,
    /// The number of requests that ended per second of `uptime`.
    pub requests_per_second: f64,

    refused: [u64; Suppressed::ALL.len()],
    groups: Groups,
    #[cfg(feature = "alloc")]
    dry_run: Option<DryRun>,
}

impl MetricsSnapshot {
    /// Returns how many requests started no hedge for this reason.
    ///
    /// Every request without a hedge has one reason, which can be that no hedge was due. All
    /// reasons and `hedged_requests` therefore add up to `total_requests`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::metrics::Recorder;
    /// use hedge_core::strategy::Sample;
    /// use hedge_core::{Instant, Metrics, Record, Suppressed};
    ///
    /// let mut metrics = Metrics::new();
    /// let report = Record::new(Sample::Finished(Duration::from_millis(20)));
    /// metrics.record(&report);
    /// let snapshot = metrics.snapshot(Instant::ZERO);
    /// assert_eq!(snapshot.refused(Suppressed::NotDue), 1);
    /// assert_eq!(snapshot.refused(Suppressed::BudgetRatio), 0);
    /// ```
    pub fn refused(&self, reason: Suppressed) -> u64 {
        self.refused.get(reason.index()).copied().unwrap_or(0)
    }

    /// Returns what hedging would have cost and saved, of a hedger that only
    /// [observes](crate::Options::observe_only). `None` if it would have started no hedge for slowness so far:
    /// [`refused`](Self::refused) says why. Needs the feature `alloc` or `std`.
    #[cfg(feature = "alloc")]
    pub const fn dry_run(&self) -> Option<DryRun> {
        self.dry_run
    }

    /// Returns what hedges did, as the control group of [`holdback_percent`](crate::Options::holdback_percent) shows;
    /// `None` with fewer than 30 requests in one of the groups. Needs the feature `alloc` or `std`.
    #[cfg(feature = "alloc")]
    pub fn effect(&self) -> Option<Effect<'_>> {
        self.groups.effect(ratio(
            self.hedges_by_delay as f64,
            self.total_requests as f64,
        ))
    }
}

impl fmt::Display for MetricsSnapshot {
    /// Writes a table of at most 80 columns, for counts of up to eight digits. Reasons for not
    /// hedging are listed if there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(
            f,
            "requests",
            &[
                ("total", Cell::Count(self.total_requests)),
                ("won", Cell::Count(self.won)),
                ("failed", Cell::Count(self.failed)),
                ("timeout", Cell::Count(self.timed_out)),
                ("dropped", Cell::Count(self.cancelled)),
                ("uptime", Cell::Time(Some(self.uptime))),
                ("per s", Cell::Number(self.requests_per_second)),
            ],
        )?;
        f.write_str("\n")?;
        section(
            f,
            "latency",
            &[
                ("min", Cell::Time(self.min_latency)),
                ("mean", Cell::Time(self.mean_latency)),
                ("p50", Cell::Time(self.p50_latency)),
                ("p90", Cell::Time(self.p90_latency)),
                ("p95", Cell::Time(self.p95_latency)),
                ("p99", Cell::Time(self.p99_latency)),
                ("p99.9", Cell::Time(self.p999_latency)),
                ("max", Cell::Time(self.max_latency)),
            ],
        )?;
        f.write_str("\n")?;
        section(
            f,
            "hedging",
            &[
                ("hedged", Cell::Count(self.hedged_requests)),
                ("rate", Cell::Percent(100.0 * self.hedge_rate)),
                ("won", Cell::Count(self.hedge_wins)),
                ("win rate", Cell::Percent(100.0 * self.hedge_win_rate)),
                ("hedges", Cell::Count(self.hedges)),
                ("cost", Cell::Number(self.total_cost)),
                ("average", Cell::Number(self.avg_cost)),
                ("overhead", Cell::Percent(self.cost_overhead)),
            ],
        )?;
        let reasons = Suppressed::ALL.map(|reason| (reason, self.refused(reason)));
        let mut label = "\nunhedged";
        for (reason, count) in reasons.into_iter().filter(|&(_, count)| count > 0) {
            write!(f, "{label} {reason} {count}")?;
            label = ",";
        }
        Ok(())
    }
}

/// Writes a line of names, and a line with their values.
fn section(f: &mut fmt::Formatter<'_>, label: &str, columns: &[(&str, Cell)]) -> fmt::Result {
    write!(f, "{label:8}")?;
    for (name, _) in columns {
        write!(f, " {name:>8}")?;
    }
    write!(f, "\n{:8}", "")?;
    for (_, cell) in columns {
        match *cell {
            Cell::Count(count) => write!(f, " {count:>8}"),
            Cell::Percent(percent) => write!(f, " {percent:>6.1} %"),
            Cell::Number(number) if number >= 10.0 => write!(f, " {number:>8.1}"),
            Cell::Number(number) => write!(f, " {number:>8.4}"),
            // Whole seconds leave room for days of uptime.
            Cell::Time(Some(time)) if time.as_secs() >= 1000 => write!(f, " {time:>8.0?}"),
            Cell::Time(Some(time)) => write!(f, " {time:>8.2?}"),
            Cell::Time(None) => write!(f, " {:>8}", "-"),
        }?;
    }
    Ok(())
}

enum Cell {
    Count(u64),
    /// A percentage, already multiplied by 100.
    Percent(f64),
    Number(f64),
    Time(Option<Duration>),
}

pub(super) fn of(metrics: &Metrics, now: Instant) -> MetricsSnapshot {
    let latencies = &metrics.latencies;
    let quantiles = latencies.quantiles([0.5, 0.75, 0.9, 0.95, 0.99, 0.999]);
    let [p50, p75, p90, p95, p99, p999] = quantiles.map_or([None; 6], |q| q.map(Some));
    let total_requests = [metrics.failed, metrics.timed_out, metrics.cancelled]
        .into_iter()
        .fold(metrics.won, u64::saturating_add);
    let requests = total_requests as f64;
    let uptime = metrics
        .started
        .map_or(Duration::ZERO, |started| now.since(started));
    let overhead = metrics.costs.total - metrics.costs.primary;
    let hedges_by_delay = metrics.hedges.saturating_sub(metrics.hedges_by_retry);
    let wins_by_delay = metrics.hedge_wins.saturating_sub(metrics.wins_by_retry);
    #[cfg(feature = "alloc")]
    let refused = |reason: Suppressed| metrics.refused.get(reason.index()).copied().unwrap_or(0);
    MetricsSnapshot {
        total_requests,
        won: metrics.won,
        failed: metrics.failed,
        timed_out: metrics.timed_out,
        cancelled: metrics.cancelled,
        hedged_requests: metrics.hedged_requests,
        hedge_wins: metrics.hedge_wins,
        hedges_by_delay,
        hedges_by_retry: metrics.hedges_by_retry,
        wins_by_delay,
        wins_by_retry: metrics.wins_by_retry,
        win_rate_by_delay: ratio(wins_by_delay as f64, hedges_by_delay as f64),
        win_rate_by_retry: ratio(metrics.wins_by_retry as f64, metrics.hedges_by_retry as f64),
        hedges: metrics.hedges,
        hedges_due: metrics.hedges_due,
        hedge_rate: ratio(metrics.hedged_requests as f64, requests),
        hedge_win_rate: ratio(metrics.hedge_wins as f64, metrics.hedged_requests as f64),
        hedge_effectiveness: ratio(metrics.hedge_wins as f64, requests),
        sample_count: latencies.count(),
        min_latency: latencies.min(),
        mean_latency: latencies.mean(),
        median_latency: p50,
        p50_latency: p50,
        p75_latency: p75,
        p90_latency: p90,
        p95_latency: p95,
        p99_latency: p99,
        p999_latency: p999,
        max_latency: latencies.max(),
        total_cost: metrics.costs.total,
        avg_cost: ratio(metrics.costs.total, requests),
        cost_overhead: ratio(100.0 * overhead, metrics.costs.primary),
        uptime,
        requests_per_second: ratio(requests, uptime.as_secs_f64()),
        refused: metrics.refused,
        groups: metrics.groups.clone(),
        #[cfg(feature = "alloc")]
        dry_run: DryRun::of(
            latencies,
            total_requests,
            metrics.hedges_due,
            metrics.hedges_observed,
            refused(Suppressed::ObserveOnly),
        ),
    }
}

/// Returns the quotient, or 0 if `whole` is 0.
fn ratio(part: f64, whole: f64) -> f64 {
    let ratio = part / whole;
    if ratio.is_finite() { ratio } else { 0.0 }
}
