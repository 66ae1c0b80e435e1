//! What one request taught: the input of strategies and metrics.

use core::time::Duration;

use crate::{Cause, Suppressed};

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

/// What one request taught.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::{Report, Sample};
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
