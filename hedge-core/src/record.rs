//! The flat record of one request, which strategies, metrics and callers receive.

use core::time::Duration;

use crate::attempt::Cause;
use crate::outcome::Suppressed;
use crate::replica_id::NoReplica;
use crate::time::{Instant, duration, nanos};

/// The duration of an attempt, as far as it is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sample {
    /// The attempt returned an acceptable result after this long.
    Finished(Duration),
    /// The attempt failed after this long. This says little about how long a success takes.
    Failed(Duration),
    /// The attempt was dropped after this long. It would have taken longer, but it is not known how
    /// much: the sample is *censored*.
    Dropped(Duration),
}

impl Sample {
    /// Returns the time from the attempt's start to its end, however it ended.
    pub const fn elapsed(self) -> Duration {
        match self {
            Self::Finished(elapsed) | Self::Failed(elapsed) | Self::Dropped(elapsed) => elapsed,
        }
    }

    const fn end(self) -> AttemptEnd {
        match self {
            Self::Finished(_) => AttemptEnd::Finished,
            Self::Failed(_) => AttemptEnd::Failed,
            Self::Dropped(_) => AttemptEnd::Dropped,
        }
    }
}

/// The variant of a [`Sample`] without its duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AttemptEnd {
    Finished,
    Failed,
    Dropped,
}

impl AttemptEnd {
    const fn sample(self, nanos: u64) -> Sample {
        let elapsed = duration(nanos);
        match self {
            Self::Finished => Sample::Finished(elapsed),
            Self::Failed => Sample::Failed(elapsed),
            Self::Dropped => Sample::Dropped(elapsed),
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequestEnd {
    /// The attempt with this index returned an acceptable result.
    Won(u8),
    /// The attempt with this index failed, and no other attempt can succeed.
    Fatal(u8),
    /// Every attempt failed. The result of the attempt with this index is returned.
    Failed(u8),
    /// The request ran out of time.
    TimedOut,
    /// The caller dropped the request.
    Dropped,
    /// Nothing was sent, since no replica was allowed.
    NoReplica(NoReplica),
}

impl RequestEnd {
    /// Returns the index of the attempt whose result is returned; `None` if there is none.
    pub const fn attempt(self) -> Option<u8> {
        match self {
            Self::Won(index) | Self::Fatal(index) | Self::Failed(index) => Some(index),
            Self::TimedOut | Self::Dropped | Self::NoReplica(_) => None,
        }
    }

    /// Returns whether the request failed because its attempts failed.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Fatal(_) | Self::Failed(_) | Self::NoReplica(_))
    }
}

/// The group of a request that passed the hedge delay and was allowed to hedge, if there is a control group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Group {
    /// The hedge of the request was withheld.
    Control,
    /// The hedge of the request was started.
    Hedged,
}

/// A record of one request, in 64 bytes.
///
/// Strategies learn from it, metrics count it, and the [`Outcome`](crate::Outcome) of the request
/// is made from it. Durations are stored in nanoseconds; the largest number stands for `None`.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::Record;
/// use hedge_core::strategy::Sample;
///
/// let record = Record::new(Sample::Finished(Duration::from_millis(20)));
/// assert_eq!(record.total(), Duration::from_millis(20));
/// assert!(!record.hedged());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    pub(crate) ended_at: Instant,
    pub(crate) total: u64,
    pub(crate) primary: u64,
    pub(crate) hedge: u64,
    pub(crate) hedge_start: u64,
    pub(crate) hedge_delay: u64,
    pub(crate) cost: f64,
    pub(crate) end: RequestEnd,
    pub(crate) primary_end: AttemptEnd,
    pub(crate) hedge_end: Option<AttemptEnd>,
    pub(crate) suppressed: Option<Suppressed>,
    pub(crate) attempts: u8,
    /// A bit for each attempt that was started because another one had failed. The primary's bit, which is not needed
    /// for that, is [`DRAWN`](Self::DRAWN).
    pub(crate) retries: u8,
    /// A bit for whether a hedge was due, and above it the caller's hints.
    pub(crate) flags: u8,
}

const _: () = assert!(size_of::<Record>() <= 64);

/// The number of nanoseconds that stands for `None`.
pub(crate) const NONE: u64 = u64::MAX;

const fn optional(nanos: u64) -> Option<Duration> {
    match nanos {
        NONE => None,
        nanos => Some(duration(nanos)),
    }
}

/// The record of a single attempt that was accepted, in words that fit into atomics.
#[cfg(feature = "std")]
pub(crate) type SingleWords = [u64; Record::SINGLE_WORDS];

#[cfg(feature = "std")]
impl Record {
    pub(crate) const SINGLE_WORDS: usize = 5;

    /// Encodes the record; `None` if there is more to it than a single attempt that was accepted.
    #[inline(always)]
    pub(crate) fn to_single(self) -> Option<SingleWords> {
        let is_single = self.attempts == 1
            && matches!(self.end, RequestEnd::Won(0))
            && self.primary_end == AttemptEnd::Finished
            && self.primary == self.total
            && self.hedge_end.is_none();
        let suppressed = self.suppressed? as u8;
        let rest = [suppressed, self.retries, self.flags, 0, 0, 0, 0, 0];
        is_single.then(|| {
            [
                self.ended_at.nanos_since(Instant::ZERO),
                self.total,
                self.hedge_delay,
                self.cost.to_bits(),
                u64::from_le_bytes(rest),
            ]
        })
    }

    pub(crate) fn from_single([ended_at, total, hedge_delay, cost, rest]: SingleWords) -> Self {
        let [suppressed, retries, flags, ..] = rest.to_le_bytes();
        Self {
            ended_at: Instant::ZERO.later(ended_at),
            total,
            primary: total,
            hedge: NONE,
            hedge_start: NONE,
            hedge_delay,
            cost: f64::from_bits(cost),
            end: RequestEnd::Won(0),
            primary_end: AttemptEnd::Finished,
            hedge_end: None,
            suppressed: Suppressed::ALL.get(usize::from(suppressed)).copied(),
            attempts: 1,
            retries,
            flags,
        }
    }
}

impl Record {
    pub(crate) const DUE: u8 = 1;
    /// Whether the request has a group.
    pub(crate) const DRAWN: u8 = 1;

    /// Returns the record of a request that ended with its only attempt at [`Instant::ZERO`] and
    /// had no hedge planned.
    pub fn new(primary: Sample) -> Self {
        let total = nanos(primary.elapsed());
        Self {
            ended_at: Instant::ZERO,
            total,
            primary: total,
            hedge: NONE,
            hedge_start: NONE,
            hedge_delay: NONE,
            cost: 1.0,
            end: match primary {
                Sample::Finished(_) => RequestEnd::Won(0),
                Sample::Failed(_) => RequestEnd::Failed(0),
                Sample::Dropped(_) => RequestEnd::Dropped,
            },
            primary_end: primary.end(),
            hedge_end: None,
            suppressed: Some(Suppressed::NotDue),
            attempts: 1,
            retries: 0,
            flags: 0,
        }
    }

    /// Sets how long the primary took.
    #[must_use]
    pub fn with_primary(mut self, primary: Sample) -> Self {
        self.primary = nanos(primary.elapsed());
        self.primary_end = primary.end();
        self
    }

    /// Sets when the request ended.
    #[must_use]
    pub const fn at(mut self, now: Instant) -> Self {
        self.ended_at = now;
        self
    }

    /// Sets how the request ended, and how long it took.
    #[must_use]
    pub fn ended(mut self, end: RequestEnd, total: Duration) -> Self {
        self.end = end;
        self.total = nanos(total);
        self
    }

    /// Sets the delay after which the first hedge was planned.
    #[must_use]
    pub fn planned(mut self, hedge_delay: Duration) -> Self {
        self.hedge_delay = nanos(hedge_delay);
        self
    }

    /// Adds a hedge that was started for `cause`, `start` after the start of the request, and whose
    /// duration was `hedge`.
    #[must_use]
    pub fn with_hedge(mut self, cause: Cause, start: Duration, hedge: Sample) -> Self {
        self.hedge = nanos(hedge.elapsed());
        self.hedge_end = Some(hedge.end());
        self.hedge_start = nanos(start);
        self.retries = self.retries & Self::DRAWN | u8::from(cause == Cause::Retry) << 1;
        self.suppressed = None;
        self.attempts = self.attempts.max(2);
        self
    }

    /// Sets the number of attempts that were started.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u8) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets whether the hedge delay passed before the request ended.
    #[must_use]
    pub const fn with_due(mut self, due: bool) -> Self {
        self.flags = self.flags & !Self::DUE | due as u8;
        self
    }

    /// Sets why no hedge was started; `None` if one was.
    #[must_use]
    pub const fn with_suppressed(mut self, reason: Option<Suppressed>) -> Self {
        self.suppressed = reason;
        self
    }

    /// Sets the cost of the attempts.
    #[must_use]
    pub const fn with_cost(mut self, cost: f64) -> Self {
        self.cost = cost;
        self
    }

    /// Returns when the request ended.
    pub const fn ended_at(&self) -> Instant {
        self.ended_at
    }

    /// Returns how the request ended.
    pub const fn end(&self) -> RequestEnd {
        self.end
    }

    /// Returns the time from the start of the request to its end.
    pub const fn total(&self) -> Duration {
        duration(self.total)
    }

    /// Returns the duration of the primary.
    pub const fn primary(&self) -> Sample {
        self.primary_end.sample(self.primary)
    }

    /// Returns the duration of the winning hedge, or else of the first hedge that finished, or else
    /// of the first that was started.
    pub const fn hedge(&self) -> Option<Sample> {
        match self.hedge_end {
            Some(end) => Some(end.sample(self.hedge)),
            None => None,
        }
    }

    /// Returns when that hedge was started, from the start of the request.
    pub const fn hedge_start(&self) -> Option<Duration> {
        optional(self.hedge_start)
    }

    /// Returns why the first hedge was started; `None` if none was.
    pub const fn hedge_cause(&self) -> Option<Cause> {
        match self.attempts {
            0 | 1 => None,
            _ if self.is_retry(1) => Some(Cause::Retry),
            _ => Some(Cause::Delay),
        }
    }

    /// Returns how many attempts were started because another one had failed.
    pub const fn retries(&self) -> u32 {
        (self.retries & !Self::DRAWN).count_ones()
    }

    /// Returns whether this attempt was started because another one had failed.
    pub const fn is_retry(&self, attempt: u8) -> bool {
        attempt > 0 && attempt < 8 && self.retries >> attempt & 1 == 1
    }

    /// Returns the group of the request; `None` if no group was drawn, because its hedge was not due or was refused for
    /// another reason, or because there is no control group.
    pub const fn group(&self) -> Option<Group> {
        if self.retries & Self::DRAWN == 0 {
            None
        } else if self.attempts as u32 > 1 + self.retries() {
            Some(Group::Hedged)
        } else {
            Some(Group::Control)
        }
    }

    /// Marks the request as one whose group was drawn. It is in the control group if all its hedges are retries.
    #[must_use]
    pub const fn drawn(mut self) -> Self {
        self.retries |= Self::DRAWN;
        self
    }

    /// Returns why the winning attempt was started; `None` if no answer was accepted.
    pub const fn winner_cause(&self) -> Option<Cause> {
        match self.end {
            RequestEnd::Won(0) => Some(Cause::Primary),
            RequestEnd::Won(attempt) if self.is_retry(attempt) => Some(Cause::Retry),
            RequestEnd::Won(_) => Some(Cause::Delay),
            _ => None,
        }
    }

    /// Returns whether the request passed the hedge delay; `None` if that is unknown.
    pub(crate) fn passed(&self) -> Option<bool> {
        if self.due() {
            Some(true)
        } else {
            (self.suppressed == Some(Suppressed::NotDue)).then_some(false)
        }
    }

    /// Returns the delay after which the first hedge was planned; `None` if none was planned, or if
    /// the request ended before the hedger made a plan.
    pub const fn hedge_delay(&self) -> Option<Duration> {
        optional(self.hedge_delay)
    }

    /// Returns whether the hedge delay passed before the request ended, even if the hedge was
    /// refused.
    pub const fn due(&self) -> bool {
        self.flags & Self::DUE != 0
    }

    /// Returns the record with all durations divided by `factor`.
    pub(crate) fn scaled_down(&self, factor: f64) -> Self {
        let scaled = |nanos: u64| match nanos {
            NONE => NONE,
            nanos => ((nanos as f64 / factor) as u64).min(NONE - 1),
        };
        Self {
            total: scaled(self.total),
            primary: scaled(self.primary),
            hedge: scaled(self.hedge),
            hedge_start: scaled(self.hedge_start),
            hedge_delay: scaled(self.hedge_delay),
            ..*self
        }
    }

    /// Returns why no hedge was started; `None` if one was.
    pub const fn suppressed(&self) -> Option<Suppressed> {
        self.suppressed
    }

    /// Returns the number of attempts that were started.
    pub const fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Returns the cost of the attempts.
    pub const fn cost(&self) -> f64 {
        self.cost
    }

    /// Returns whether a hedge was started.
    pub const fn hedged(&self) -> bool {
        self.attempts > 1
    }

    /// Returns whether the answer came from a hedge.
    pub const fn hedge_won(&self) -> bool {
        matches!(self.end, RequestEnd::Won(1..))
    }

    /// Returns whether the request was answered before a hedge was due, as most requests are.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.end, RequestEnd::Won(0))
            & (self.suppressed == Some(Suppressed::NotDue))
            & !self.due()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        for (sample, end) in [
            (Sample::Finished(ms(7)), RequestEnd::Won(0)),
            (Sample::Failed(ms(7)), RequestEnd::Failed(0)),
            (Sample::Dropped(ms(7)), RequestEnd::Dropped),
        ] {
            let record = Record::new(sample);
            assert_eq!((record.primary(), record.end()), (sample, end));
            assert_eq!((record.total(), record.attempts()), (ms(7), 1));
            let none = (record.hedge(), record.hedge_start(), record.hedge_delay());
            assert_eq!(none, (None, None, None));
        }
        #[cfg(feature = "std")]
        for reason in Suppressed::ALL {
            let mut single = Record::new(Sample::Finished(ms(7))).at(Instant::ZERO + ms(90));
            single = single.planned(ms(5)).with_due(true).drawn().with_cost(0.3);
            let single = single.with_suppressed(Some(reason));
            assert_eq!(single.to_single().map(Record::from_single), Some(single));
            assert_eq!(single.with_attempts(2).to_single(), None);
        }
        let hedge = Sample::Finished(ms(3));
        let record = Record::new(Sample::Dropped(ms(12)))
            .planned(ms(9))
            .with_hedge(Cause::Delay, ms(9), hedge)
            .ended(RequestEnd::Won(1), ms(12))
            .at(Instant::MAX);
        assert!(record.hedged() && record.hedge_won());
        assert_eq!((record.hedge(), record.suppressed()), (Some(hedge), None));
        assert_eq!(
            (record.hedge_start(), record.hedge_delay()),
            (Some(ms(9)), Some(ms(9)))
        );
        assert_eq!((record.total(), record.ended_at()), (ms(12), Instant::MAX));
    }
}
