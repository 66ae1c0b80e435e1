//! What hedging would have cost and saved, estimated by a hedger that only observes.

use core::fmt;
use core::time::Duration;

use super::Histogram;
use super::units::Time;

/// What hedging would have cost, and what it would have saved at most, as measured by a hedger with
/// [`observe_only`](crate::Options::observe_only).
///
/// The cost is counted: the hedges that strategy, guard and budget would have allowed. The savings are estimated from
/// the measured latencies, on the assumption that a hedge is as fast as any other request, whatever its primary takes.
/// If all attempts of a request tend to be slow, hedges save less; a control group measures that
/// ([`holdback_percent`](crate::Options::holdback_percent)).
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Fixed, Hedger};
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock)
///     .strategy(Fixed::new(Duration::from_millis(50)))
///     .observe_only(true)
///     .build_local()?;
/// for n in 0..1000 {
///     let latency = Duration::from_millis(if n % 20 == 0 { 900 } else { 10 });
///     clock.drive(hedger.request(async |_| { clock.sleep(latency).await; Ok::<_, ()>(()) })).unwrap();
/// }
/// let metrics = hedger.metrics();
/// let dry_run = metrics.dry_run().expect("hedges would have been started");
/// assert_eq!(dry_run.hedges, 50);
/// assert!(dry_run.p99_after < Duration::from_millis(100));
/// // "Of 1000 requests, hedging after …", and the same figures for a program.
/// println!("{dry_run}\n{}", dry_run.json());
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// The number of requests that were observed.
    pub requests: u64,
    /// The number of hedges that would have been started because a request was slow.
    pub hedges: u64,
    /// The number of other requests that would have been sent once more because an attempt failed. What these retries
    /// save is not estimated.
    pub retries: u64,
    /// The number of hedges and retries as a share of the requests.
    pub more_requests: f64,
    /// The latency that was exceeded by as many requests as were due for a hedge, which is about the hedge delay.
    pub delay: Duration,
    /// The mean latency as measured, without hedging.
    pub mean_before: Duration,
    /// The mean latency with hedging, if attempts are independent.
    pub mean_after: Duration,
    /// The 99th percentile of the latency as measured, without hedging.
    pub p99_before: Duration,
    /// The 99th percentile of the latency with hedging, if attempts are independent.
    pub p99_after: Duration,
}

impl DryRun {
    /// Estimates the effect of `hedges`, given the number of requests that were due for one. `attempts` are hedges and
    /// retries.
    pub(super) fn of(
        latencies: &Histogram,
        requests: u64,
        due: u64,
        hedges: u64,
        attempts: u64,
    ) -> Option<Self> {
        let (count, mean_before) = (latencies.count(), latencies.mean()?);
        if hedges == 0 || due == 0 {
            return None;
        }
        // The quantiles are those of the requests that were answered.
        let share = (due as f64 / count as f64).min(1.0);
        let [delay, p99_before] = latencies.quantiles([1.0 - share, 0.99])?;
        let admitted = (hedges as f64 / due as f64).min(1.0);
        let below = |time: Duration| {
            let within = latencies.buckets().take_while(|(bound, _)| *bound <= time);
            within.map(|(_, count)| count).sum::<u64>() as f64 / count as f64
        };
        let (mut left, mut previous, mut saved) = (1.0, Duration::ZERO, 0.0);
        let mut p99_after = None;
        let longest = latencies.max().unwrap_or_default();
        for (bound, in_bucket) in latencies.buckets() {
            let bound = bound.min(longest);
            // The share of the hedges that have answered by this bound.
            let rescued = bound
                .checked_sub(delay)
                .map_or(0.0, |hedged| admitted * below(hedged));
            saved += left * rescued * bound.saturating_sub(previous).as_secs_f64();
            left -= in_bucket as f64 / count as f64;
            previous = bound;
            if p99_after.is_none() && left * (1.0 - rescued) <= 0.01 {
                p99_after = Some(bound);
            }
        }
        // If few latencies lie between the delay and the tail, most hedges answer in that gap: half of them within the
        // median, whose bucket ends at most a sixteenth above it.
        let median = latencies.quantile(0.5)?;
        let hedged = median.saturating_add(median / 8);
        let rescued = delay.saturating_add(hedged);
        let above = (1.0 - below(rescued)) * (1.0 - admitted * below(hedged));
        let p99_after = p99_after.unwrap_or(p99_before).min(p99_before);
        let p99_after = if above <= 0.01 {
            p99_after.min(rescued)
        } else {
            p99_after
        };
        Some(Self {
            requests,
            hedges,
            retries: attempts.saturating_sub(hedges),
            more_requests: attempts.max(hedges) as f64 / requests as f64,
            delay,
            mean_before,
            mean_after: mean_before.saturating_sub(Duration::from_secs_f64(saved.clamp(0.0, 1e9))),
            p99_before,
            p99_after,
        })
    }

    /// Returns the fields as a JSON object, times in milliseconds.
    pub const fn json(&self) -> DryRunJson {
        DryRunJson(*self)
    }
}

/// Writes a paragraph to paste into a proposal.
impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            hedges,
            retries,
            delay,
            mean_before,
            mean_after,
            p99_before,
            p99_after,
            ..
        } = self;
        let percent = 100.0 * self.more_requests;
        let [delay, mean_before, mean_after, p99_before, p99_after] =
            [delay, mean_before, mean_after, p99_before, p99_after].map(|time| Time(*time));
        write!(
            f,
            "Of {requests} requests, hedging after {delay} would have sent {hedges} once more, and {retries} after a \
             failure: {percent:.1} % more requests. If attempts are independent, P99 goes from {p99_before} to \
             {p99_after}, and the mean from {mean_before} to {mean_after}."
        )
    }
}

/// A [`DryRun`] that is displayed as JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DryRunJson(DryRun);

impl fmt::Display for DryRunJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(run) = self;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            r#"{{"requests":{},"hedges":{},"retries":{},"more_requests":{},"delay_ms":{},"#,
            run.requests,
            run.hedges,
            run.retries,
            run.more_requests,
            ms(run.delay)
        )?;
        write!(
            f,
            r#""mean_before_ms":{},"mean_after_ms":{},"p99_before_ms":{},"p99_after_ms":{}}}"#,
            ms(run.mean_before),
            ms(run.mean_after),
            ms(run.p99_before),
            ms(run.p99_after)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::metrics::{Metrics, Recorder};
    use crate::outcome::Suppressed;
    use crate::record::{Record, Sample};
    use crate::time::Instant;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Returns 900 latencies of 1 to 100 ms and 100 of 1 to 2 s. With a hedge at 100 ms, one in ten of the slow
    /// requests stays slow.
    fn latencies() -> Histogram {
        let mut latencies = Histogram::new();
        for n in 0..900 {
            latencies.record(ms(1 + n % 100));
        }
        for n in 0..100 {
            latencies.record(ms(1000 + 10 * n));
        }
        latencies
    }

    #[test]
    fn an_independent_hedge_saves_what_the_product_says() {
        let run = DryRun::of(&latencies(), 1000, 100, 100, 100).unwrap();
        assert!((0.09..0.11).contains(&run.more_requests) && run.hedges == 100);
        assert!((90..=110).contains(&run.delay.as_millis()), "{run:?}");
        // The mean of the slow requests is 1495 ms. Nine in ten of them are rescued after about 150 ms.
        let saved = run.mean_before.saturating_sub(run.mean_after);
        assert!((100..=140).contains(&saved.as_millis()), "{run:?}");
        assert!(
            run.p99_after < ms(1100) && run.p99_before > ms(1800),
            "{run:?}"
        );
        // A budget that pays for no hedge saves nothing.
        assert_eq!(DryRun::of(&latencies(), 1000, 100, 0, 0), None);
        let tenth = DryRun::of(&latencies(), 1000, 100, 10, 10).unwrap();
        assert!(tenth.p99_after > ms(1700), "{tenth:?}");
        // Twice the number of requests, half of which failed, do not change the expected delay.
        let failing = DryRun::of(&latencies(), 2000, 100, 100, 100).unwrap();
        assert_eq!(failing.delay, run.delay);
    }

    #[test]
    fn a_retry_is_no_hedge() {
        let of = |latencies: &[(u64, bool)]| {
            let mut metrics = Metrics::new();
            for (latency, due) in latencies {
                let mut record = Record::new(Sample::Finished(ms(*latency))).with_due(*due);
                record.suppressed = Some(Suppressed::ObserveOnly);
                metrics.record(&record);
            }
            let mut merged = Metrics::new();
            merged.merge(&metrics);
            merged.snapshot(Instant::ZERO).dry_run()
        };
        assert_eq!(of(&[(10, false), (10, false)]), None);
        let run = of(&[(900, true), (10, false), (10, false), (10, false)]).unwrap();
        assert_eq!((run.hedges, run.retries, run.more_requests), (1, 3, 1.0));
    }

    #[test]
    fn it_can_be_pasted() {
        let run = DryRun {
            requests: 2000,
            hedges: 90,
            retries: 10,
            more_requests: 0.05,
            delay: ms(80),
            mean_before: ms(40),
            mean_after: ms(30),
            p99_before: ms(900),
            p99_after: ms(160),
        };
        assert_eq!(
            run.to_string(),
            "Of 2000 requests, hedging after 80 ms would have sent 90 once more, and 10 after a failure: 5.0 % more \
             requests. If attempts are independent, P99 goes from 900 ms to 160 ms, and the mean from 40 ms to 30 ms."
        );
        assert_eq!(
            run.json().to_string(),
            r#"{"requests":2000,"hedges":90,"retries":10,"more_requests":0.05,"delay_ms":80,"mean_before_ms":40,"mean_after_ms":30,"p99_before_ms":900,"p99_after_ms":160}"#
        );
    }
}
