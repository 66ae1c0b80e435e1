//! What one request taught: the input of strategies and metrics.

use core::time::Duration;

use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::race::Settled;
use crate::time::Instant;

/// How long an attempt took, as far as is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sample {
    /// It gave an acceptable result after this long.
    Finished(Duration),
    /// It failed after this long, which says little about how long success takes.
    Failed(Duration),
    /// It was dropped after this long. All that is known is that it would have taken longer: the
    /// sample is *censored*.
    Dropped(Duration),
}

impl Sample {
    /// The time from the attempt's start to its end, whatever that was.
    pub const fn elapsed(self) -> Duration {
        match self {
            Self::Finished(elapsed) | Self::Failed(elapsed) | Self::Dropped(elapsed) => elapsed,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// This attempt gave an acceptable result.
    Won(u8),
    /// Every attempt failed, or one failed fatally.
    Failed,
    /// Its time was up.
    TimedOut,
    /// Its caller dropped it.
    Cancelled,
}

impl End {
    pub(crate) fn of(how: Settled) -> Self {
        match how {
            Settled::Won(winner) => Self::Won(winner),
            Settled::Fatal(_) | Settled::Failed(_) => Self::Failed,
            Settled::TimedOut => Self::TimedOut,
            Settled::Dropped => Self::Cancelled,
        }
    }
}

/// What one request taught.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::Sample;
/// use hedge_core::Report;
///
/// let report = Report::new(Sample::Finished(Duration::from_millis(20)));
/// assert_eq!(report.total, Duration::from_millis(20));
/// assert!(!report.hedged());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// How the request ended.
    pub end: End,
    /// From the start of the request to its end.
    pub total: Duration,
    /// How long the primary took.
    pub primary: Sample,
    /// How long the winning hedge took from its own start; else the first hedge that finished; else
    /// the first that was started.
    pub hedge: Option<Sample>,
    /// When that hedge was started, from the start of the request.
    pub hedge_start: Option<Duration>,
    /// Why the first hedge was started.
    pub hedge_cause: Option<Cause>,
    /// After how long the first hedge was planned; absent if none was planned, or if the request
    /// ended before that was asked.
    pub hedge_delay: Option<Duration>,
    /// Whether a hedge came due by the passing of its delay, admitted or not.
    pub due: bool,
    /// Why no hedge was started; absent if one was.
    pub suppressed: Option<Suppressed>,
    /// How many attempts were started.
    pub attempts: u8,
    /// What they cost.
    pub cost: f64,
}

impl Report {
    /// A request of one attempt, without a plan to hedge it.
    pub const fn new(primary: Sample) -> Self {
        Self {
            end: match primary {
                Sample::Finished(_) => End::Won(0),
                Sample::Failed(_) => End::Failed,
                Sample::Dropped(_) => End::Cancelled,
            },
            total: primary.elapsed(),
            primary,
            hedge: None,
            hedge_start: None,
            hedge_cause: None,
            hedge_delay: None,
            due: false,
            suppressed: Some(Suppressed::NotDue),
            attempts: 1,
            cost: 1.0,
        }
    }

    /// Whether a hedge was started.
    pub const fn hedged(&self) -> bool {
        self.attempts > 1
    }

    /// Whether a hedge gave the answer.
    pub const fn hedge_won(&self) -> bool {
        matches!(self.end, End::Won(1..))
    }
}

/// A [`Report`] of a request that made one attempt, and ended when that did or was dropped with it: most
/// requests. Small, so that servers may gather them.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    pub(crate) end: End,
    /// Nanoseconds, as is the next.
    pub(crate) total: u64,
    /// The largest number if no hedge was planned.
    pub(crate) delay: u64,
    pub(crate) due: bool,
    pub(crate) suppressed: Option<Suppressed>,
    pub(crate) cost: f64,
    /// When it ended.
    pub(crate) now: Instant,
}

impl Alone {
    /// The whole report.
    pub fn report(&self) -> Report {
        let total = Duration::from_nanos(self.total);
        let primary = match self.end {
            End::Won(_) => Sample::Finished(total),
            End::Failed => Sample::Failed(total),
            End::TimedOut | End::Cancelled => Sample::Dropped(total),
        };
        Report {
            end: self.end,
            hedge_delay: (self.delay < u64::MAX).then(|| Duration::from_nanos(self.delay)),
            due: self.due,
            suppressed: self.suppressed,
            cost: self.cost,
            ..Report::new(primary)
        }
    }

    /// Whether the request was answered before a hedge was due, as most are.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.end, End::Won(_)) & (self.suppressed == Some(Suppressed::NotDue)) & !self.due
    }

    /// How the request ended.
    pub fn end(&self) -> End {
        self.end
    }

    /// From its start to its end.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// When the request ended.
    pub fn ended_at(&self) -> Instant {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_the_same_when_it_was_brief() {
        let report = |end, delay| {
            let alone = Alone {
                end,
                total: 7,
                delay,
                due: true,
                suppressed: Some(Suppressed::InFlight),
                cost: 2.5,
                now: Instant::MAX,
            };
            alone.report()
        };
        let seven = Duration::from_nanos(7);
        for (end, primary) in [
            (End::Won(0), Sample::Finished(seven)),
            (End::Failed, Sample::Failed(seven)),
            (End::TimedOut, Sample::Dropped(seven)),
            (End::Cancelled, Sample::Dropped(seven)),
        ] {
            let mut expected = Report::new(primary);
            expected.end = end;
            expected.due = true;
            expected.suppressed = Some(Suppressed::InFlight);
            expected.cost = 2.5;
            assert_eq!(report(end, u64::MAX), expected);
            expected.hedge_delay = Some(Duration::from_nanos(9));
            assert_eq!(report(end, 9), expected);
        }
    }
}
