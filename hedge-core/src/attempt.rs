//! One run of a request, and how its result is judged.

use core::time::Duration;

use crate::replicas::ReplicaId;

/// Which run of the request this is, given to the closure that makes it.
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
    elapsed: Duration,
}

impl Attempt {
    /// The first attempt, which every request makes.
    pub const PRIMARY: Self = Self {
        index: 0,
        cause: Cause::Primary,
        replica: ReplicaId::FIRST,
        elapsed: Duration::ZERO,
    };

    /// The `index`th attempt, started for `cause`, `elapsed` after the request.
    pub const fn new(index: u8, cause: Cause, elapsed: Duration) -> Self {
        Self {
            index,
            cause,
            replica: ReplicaId::FIRST,
            elapsed,
        }
    }

    /// The same attempt, at `replica`.
    #[must_use]
    pub const fn at(self, replica: ReplicaId) -> Self {
        Self { replica, ..self }
    }

    /// 0 for the primary, 1 and up for hedges.
    pub const fn index(&self) -> usize {
        self.index as usize
    }

    /// Whether this is a backup request.
    pub const fn is_hedge(&self) -> bool {
        self.index > 0
    }

    /// Why it was started.
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// The replica that was chosen for this attempt, if the request is made [on](crate::Call::on) a set of them. If
    /// not, index 0.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Time from the start of the request to the start of this attempt.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// Why an attempt was started.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// It is the primary.
    Primary,
    /// The hedge delay had passed.
    Delay,
    /// An earlier attempt ended in [`Verdict::Retry`] or [`Verdict::RetryAfter`].
    Retry,
}

/// What an attempt's result means for its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the answer: every other attempt is dropped.
    Accept,
    /// It is no answer: start the next hedge now, if budget and `max_hedges` allow, and wait for the
    /// others.
    Retry,
    /// The same, but the server asked for patience: no further hedge starts sooner than this.
    RetryAfter(Duration),
    /// It is no answer and there will be none: stop and return it.
    Fatal,
}

/// Judges results. Closures `Fn(&Result<T, E>) -> Verdict` do.
///
/// ```
/// use hedge_core::{Classify, Verdict};
///
/// let overloaded = |result: &Result<u16, ()>| match result {
///     Ok(503) => Verdict::Retry,
///     Ok(_) => Verdict::Accept,
///     Err(()) => Verdict::Fatal,
/// };
/// assert_eq!(overloaded.classify(&Ok(503)), Verdict::Retry);
/// ```
pub trait Classify<T, E> {
    /// What `result` means for its request.
    fn classify(&self, result: &Result<T, E>) -> Verdict;
}

impl<T, E, F> Classify<T, E> for F
where
    F: Fn(&Result<T, E>) -> Verdict,
{
    fn classify(&self, result: &Result<T, E>) -> Verdict {
        self(result)
    }
}

/// The default: `Ok` is an answer, `Err` is worth a retry.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByResult;

impl<T, E> Classify<T, E> for ByResult {
    fn classify(&self, result: &Result<T, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Accept,
            Err(_) => Verdict::Retry,
        }
    }
}
