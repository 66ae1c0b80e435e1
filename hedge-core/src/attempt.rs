//! Attempts of a request, and the classification of their results.

use core::time::Duration;

use crate::replica_id::ReplicaId;
use crate::time::{duration, nanos};

/// One attempt of a request, as passed to the closure that starts it.
///
/// ```
/// # let clock = hedge_core::manual::ManualTimer::<8>::new();
/// # let hedger = hedge_core::Hedger::builder(&clock).build_local()?;
/// let replicas = ["a", "b"];
/// let hedged = clock.drive(hedger.request(|attempt| async move {
///     // A hedge goes to another replica.
///     Ok::<_, ()>(replicas[attempt.index() % replicas.len()])
/// }));
/// assert_eq!(hedged.unwrap().value, "a");
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    index: u8,
    cause: Cause,
    replica: ReplicaId,
    /// In nanoseconds.
    elapsed: u64,
    /// In nanoseconds; the largest number stands for `None`.
    remaining: u64,
}

impl Attempt {
    /// The first attempt, which every request makes.
    pub const PRIMARY: Self = Self {
        index: 0,
        cause: Cause::Primary,
        replica: ReplicaId::FIRST,
        elapsed: 0,
        remaining: u64::MAX,
    };

    /// Returns the attempt with this `index`, started for `cause`, `elapsed` after the start of the
    /// request.
    pub const fn new(index: u8, cause: Cause, elapsed: Duration) -> Self {
        Self::after_nanos(index, cause, nanos(elapsed))
    }

    pub(crate) const fn after_nanos(index: u8, cause: Cause, elapsed: u64) -> Self {
        Self {
            index,
            cause,
            replica: ReplicaId::FIRST,
            elapsed,
            remaining: u64::MAX,
        }
    }

    /// Returns the same attempt, placed at `replica`.
    #[must_use]
    pub const fn at(self, replica: ReplicaId) -> Self {
        Self { replica, ..self }
    }

    /// Sets how long the attempt may take.
    #[must_use]
    pub fn with_remaining(self, remaining: Duration) -> Self {
        self.within(nanos(remaining))
    }

    /// Sets the number of nanoseconds that the attempt may take. The largest number means no limit.
    pub(crate) const fn within(mut self, nanos: u64) -> Self {
        self.remaining = nanos;
        self
    }

    /// Returns the attempt's index: 0 for the primary, 1 and up for hedges.
    pub const fn index(&self) -> usize {
        self.index as usize
    }

    /// Returns whether this attempt is a hedge.
    pub const fn is_hedge(&self) -> bool {
        self.index > 0
    }

    /// Returns why the attempt was started.
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the replica that was chosen for this attempt, or index 0 if the request is not made
    /// [on](crate::Call::on) a set of replicas.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Returns the time from the start of the request to the start of this attempt.
    pub const fn elapsed(&self) -> Duration {
        duration(self.elapsed)
    }

    /// Returns how long this attempt may take from its start: until the deadline of the request, or
    /// until it exceeds `attempt_timeout`. `None` if there is no limit.
    ///
    /// Send it along, so that the server can stop when nobody waits for its answer any more.
    pub fn remaining(&self) -> Option<Duration> {
        (self.remaining != u64::MAX).then(|| duration(self.remaining))
    }
}

/// Why an attempt was started.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The attempt is the primary.
    Primary,
    /// The hedge delay had passed.
    Delay,
    /// An earlier attempt ended in [`Verdict::Retry`] or [`Verdict::RetryAfter`].
    Retry,
}

impl Cause {
    /// Returns the cause in snake case, as in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Delay => "delay",
            Self::Retry => "retry",
        }
    }
}

/// The meaning of an attempt's result for its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The result is the answer. Every other attempt is dropped.
    Accept,
    /// The attempt failed. The next hedge starts now, if the budget and `max_hedges` allow it,
    /// while the other attempts continue.
    Retry,
    /// The attempt failed, and the server asked the client to wait. No further hedge starts before
    /// this time has passed.
    RetryAfter(Duration),
    /// The attempt failed, and so would another one that starts now. Nothing more is started for this
    /// request, which waits for the attempts that run.
    Wait,
    /// The request failed, and no other attempt can succeed. The request stops and returns this
    /// result.
    Fatal,
}

impl Verdict {
    /// Returns whether a result with this verdict counts as a failure of its replica, unless the classifier
    /// [says otherwise](Classify::blames_replica): it is neither accepted nor fatal.
    #[inline]
    pub const fn blames_replica(self) -> bool {
        !matches!(self, Self::Accept | Self::Fatal)
    }
}

/// Classifies the results of attempts. Implemented by closures `Fn(&Result<T, E>) -> Verdict`, and by
/// [`ByAttempt`] for closures that know the attempt.
///
/// ```
/// use hedge_core::{Attempt, Classify, Verdict};
///
/// let overloaded = |result: &Result<u16, ()>| match result {
///     Ok(503) => Verdict::Retry,
///     Ok(_) => Verdict::Accept,
///     Err(()) => Verdict::Fatal,
/// };
/// assert_eq!(overloaded.classify(&Attempt::PRIMARY, &Ok(503)), Verdict::Retry);
/// ```
pub trait Classify<T, E> {
    /// Returns what `result` means for the request of `attempt`, which returned it.
    fn classify(&self, attempt: &Attempt, result: &Result<T, E>) -> Verdict;

    /// Returns whether `result`, which was classified as `verdict`, counts as a failure of the
    /// [replica](crate::Call::on) that returned it. By default, unless it is accepted or fatal.
    ///
    /// The verdict says whether to send another attempt, and this says whether to trust the replica: an internal error may
    /// end its request and be the replica's fault, and a conflict may be worth another attempt and be nobody's. A replica
    /// whose fast failures count as answers looks fast, and attracts all requests.
    ///
    /// If the attempt was the probe of a suspect replica, a result that counts as its failure is retried elsewhere whatever
    /// the verdict, and at once even if it is a [`RetryAfter`](Verdict::RetryAfter), which one replica asked for and not the
    /// others. So the request does not pay for the probe.
    #[inline]
    fn blames_replica(&self, attempt: &Attempt, result: &Result<T, E>, verdict: Verdict) -> bool {
        let _ = (attempt, result);
        verdict.blames_replica()
    }
}

impl<T, E, F> Classify<T, E> for F
where
    F: Fn(&Result<T, E>) -> Verdict,
{
    #[inline]
    fn classify(&self, _: &Attempt, result: &Result<T, E>) -> Verdict {
        self(result)
    }
}

/// A classifier that knows the attempt: a closure `Fn(&Attempt, &Result<T, E>) -> Verdict`.
///
/// ```
/// use hedge_core::{Attempt, ByAttempt, Classify, Verdict};
///
/// // A replica that lags behind does not know yet that the item exists.
/// let lagging = ByAttempt(|attempt: &Attempt, result: &Result<u16, ()>| match result {
///     Ok(404) if attempt.is_hedge() => Verdict::Wait,
///     Ok(_) => Verdict::Accept,
///     Err(()) => Verdict::Retry,
/// });
/// assert_eq!(lagging.classify(&Attempt::PRIMARY, &Ok(404)), Verdict::Accept);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ByAttempt<F>(pub F);

impl<T, E, F> Classify<T, E> for ByAttempt<F>
where
    F: Fn(&Attempt, &Result<T, E>) -> Verdict,
{
    #[inline]
    fn classify(&self, attempt: &Attempt, result: &Result<T, E>) -> Verdict {
        (self.0)(attempt, result)
    }
}

/// The default classifier: accepts `Ok` and retries after `Err`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByResult;

impl<T, E> Classify<T, E> for ByResult {
    #[inline]
    fn classify(&self, _: &Attempt, result: &Result<T, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Accept,
            Err(_) => Verdict::Retry,
        }
    }
}
