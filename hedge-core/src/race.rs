//! The hedged race: one future that owns every attempt of a request.
//!
//! [`Race`] knows how to start, poll and drop attempts and nothing about when or why: it asks a
//! [`Pacer`], which in turn holds no future and reads no clock.

use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::slots::{Capacity, Max, Slots};
use crate::{Attempt, Instant, Timer, Verdict};

/// Decides for one request when attempts start, and hears how it went.
///
/// It reads no clock: every method is told the time. So the same decisions run under a future, in a
/// simulation, and in a test by hand. No method is called while an attempt is being polled.
pub trait Pacer {
    /// What is known of a request once it is settled.
    type Record;

    /// Whether a request has to be timed from before its first poll. If not, the clock is first read
    /// when the primary is not ready at once.
    fn timed(&mut self) -> bool {
        true
    }

    /// The request starts. Not called if it is not [`timed`](Self::timed) and its primary ends it when
    /// first polled.
    fn start(&mut self, now: Instant);

    /// When the request's time is up; asked after [`start`](Self::start).
    fn deadline(&mut self) -> Option<Instant>;

    /// When the next attempt is due; `None` if, as things stand, there will be none.
    fn due(&mut self) -> Option<Instant>;

    /// The next attempt is due: the attempt to start, or `None` to refuse it. A refusal stands until
    /// another attempt fails.
    fn admit(&mut self, now: Instant) -> Option<Attempt>;

    /// The request is over, and its losers are dropped (unless they are kept). Called once for every
    /// request that was polled. `now` is [`Instant::ZERO`] if the request was not timed.
    fn settled(&mut self, how: Settled, now: Instant) -> Self::Record;

    /// Whether losers stay in the race after it has given its result, to be polled on.
    fn keeps_losers(&mut self) -> bool {
        false
    }

    /// A kept loser finished.
    fn loser_finished(&mut self, index: u8) {
        let _ = index;
    }
}

/// A [`Pacer`] that can tell an answer from a failure.
pub trait Judge<V, E>: Pacer {
    /// Attempt `index` returned `result`. `now` is [`Instant::ZERO`] if the request was not timed.
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict;
}

/// What is kept of the results that were refused, to be returned if nobody wins.
pub trait Refused<P, V, E>: Default {
    /// Attempt `index` was refused; `pacer` has just judged it.
    fn keep(&mut self, pacer: &P, index: u8, result: Result<V, E>);

    /// What to return when every attempt was refused, and which attempt's it is.
    fn take(&mut self) -> Option<(u8, Result<V, E>)>;

    /// What to return when the time is up.
    fn take_late(&mut self) -> Option<Result<V, E>>;
}

/// Keeps the earliest attempt's: the value that was refused and the error, until it is known which of
/// them is wanted.
#[derive(Debug)]
pub struct Earliest<V, E> {
    value: Option<(u8, V)>,
    error: Option<(u8, E)>,
}

impl<V, E> Default for Earliest<V, E> {
    fn default() -> Self {
        Self {
            value: None,
            error: None,
        }
    }
}

impl<P, V, E> Refused<P, V, E> for Earliest<V, E> {
    fn keep(&mut self, _: &P, index: u8, result: Result<V, E>) {
        fn keep<R>(kept: &mut Option<(u8, R)>, index: u8, result: R) {
            if kept.as_ref().is_none_or(|(kept, _)| index < *kept) {
                *kept = Some((index, result));
            }
        }
        match result {
            Ok(value) => keep(&mut self.value, index, value),
            Err(error) => keep(&mut self.error, index, error),
        }
    }

    fn take(&mut self) -> Option<(u8, Result<V, E>)> {
        let index = |kept: Option<u8>| kept.unwrap_or(u8::MAX);
        let value = index(self.value.as_ref().map(|(index, _)| *index));
        let error = index(self.error.as_ref().map(|(index, _)| *index));
        if value < error {
            let kept = self.value.take();
            kept.map(|(index, value)| (index, Ok(value)))
        } else {
            let kept = self.error.take();
            kept.map(|(index, error)| (index, Err(error)))
        }
    }

    /// The earliest error: a value that was refused is no answer to give late.
    fn take_late(&mut self) -> Option<Result<V, E>> {
        self.error.take().map(|(_, error)| Err(error))
    }
}

/// How a race ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// This attempt was accepted.
    Won(u8),
    /// This attempt failed fatally.
    Fatal(u8),
    /// Every attempt failed; this is the one whose result is returned.
    Failed(u8),
    /// The deadline passed.
    TimedOut,
    /// The race was dropped before it ended.
    Dropped,
}

/// What a race resolves to.
#[derive(Debug)]
pub struct Finish<V, E, R, P: Pacer> {
    /// How it ended.
    pub how: Settled,
    /// The result of the attempt that `how` names; after a timeout what was kept for that, if anything
    /// was.
    pub result: Option<Result<V, E>>,
    /// What else was kept of the results that were refused.
    pub refused: R,
    /// What the pacer knows of the request.
    pub record: P::Record,
}

pin_project! {
    /// Future of [`race`].
    ///
    /// Nothing happens before the first poll. After it has given its result it is never ready again;
    /// polling it then drives losers that were kept, if any.
    #[project = RaceProj]
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Race<T, P, L, R, S>
    where
        T: Timer,
        P: Pacer,
    {
        // In this order, for fields are dropped in order: the attempts, and only then the desk, which
        // reports a race that was dropped.
        #[pin]
        attempts: S,
        // Sleeps until `alarm_at`. Made only when there is something to wait for.
        #[pin]
        alarm: Option<T::Sleep>,
        alarm_at: Instant,
        launch: L,
        // What to return if nobody wins.
        refused: R,
        launched: u8,
        // An attempt was not admitted, and none has failed since.
        exhausted: bool,
        desk: Desk<T, P>,
    }
}

/// Races up to `MAX` attempts. `launch` is called once per attempt, when it starts.
///
/// Resolves to the first accepted result; losers are dropped before it resolves (unless the pacer
/// keeps them). If all fail, resolves to the earliest attempt's result. The primary is polled first, so ties go to
/// the earliest attempt.
pub fn race<const MAX: usize, T, P, L, F, V, E>(
    timer: T,
    pacer: P,
    launch: L,
) -> Race<T, P, L, Earliest<V, E>, <Max<MAX> as Capacity<F>>::Slots>
where
    T: Timer,
    P: Judge<V, E>,
    L: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    Max<MAX>: Capacity<F>,
{
    race_in(timer, pacer, launch)
}

/// The same with room for the attempts, and a way to keep refused results, of the caller's choice.
pub fn race_in<T, P, L, F, V, E, R, S>(timer: T, pacer: P, launch: L) -> Race<T, P, L, R, S>
where
    T: Timer,
    P: Judge<V, E>,
    L: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    R: Refused<P, V, E>,
    S: Slots<F>,
{
    Race {
        attempts: Default::default(),
        alarm: None,
        alarm_at: Instant::ZERO,
        launch,
        refused: R::default(),
        launched: 0,
        exhausted: false,
        desk: Desk {
            timer,
            pacer,
            stage: Stage::New,
            timed: false,
        },
    }
}

impl<T, P, L, F, V, E, R, S> Future for Race<T, P, L, R, S>
where
    T: Timer,
    P: Judge<V, E>,
    L: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    R: Refused<P, V, E>,
    S: Slots<F>,
{
    type Output = Finish<V, E, R, P>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // This poll's reading of the clock, taken at most once unless attempts finish.
        let mut now = None;
        match this.desk.stage {
            Stage::New => {
                // First, so that the pacer hears of the end even if it panics at the start.
                this.desk.stage = Stage::Running;
                if this.desk.pacer.timed() {
                    now = Some(this.desk.start());
                }
            }
            Stage::Running => {}
            Stage::Settled => {
                this.poll_losers(cx);
                return Poll::Pending;
            }
        }
        // In the first poll, unless that panicked.
        if *this.launched == 0 {
            this.start(Attempt::PRIMARY);
        }

        let mut from = 0;
        let (how, result, at) = 'race: loop {
            while let Some((index, result)) = this.attempts.as_mut().poll_from(from, cx) {
                // After the poll that finished it: an attempt may compute for long in one poll.
                let at = this.desk.read_clock();
                from = index + 1;
                let index = index as u8;
                match this.desk.pacer.finished(index, &result, at) {
                    Verdict::Accept => break 'race (Settled::Won(index), Some(result), at),
                    Verdict::Fatal => break 'race (Settled::Fatal(index), Some(result), at),
                    Verdict::Retry | Verdict::RetryAfter(_) => {
                        now = this.desk.timed.then_some(at);
                        this.refused.keep(&this.desk.pacer, index, result);
                        *this.exhausted = false;
                    }
                }
            }

            if !this.desk.timed {
                now = Some(this.desk.start());
            }
            let time = match now {
                Some(now) => now,
                None => this.desk.read_clock(),
            };
            now = Some(time);
            let deadline = this.desk.pacer.deadline();
            if deadline.is_some_and(|deadline| time >= deadline) {
                break (Settled::TimedOut, this.refused.take_late(), time);
            }

            let due = this.due();
            if due.is_some_and(|due| due <= time) {
                match this.desk.pacer.admit(time) {
                    Some(attempt) => {
                        from = this.start(attempt);
                    }
                    None => {
                        *this.exhausted = true;
                        from = S::CAPACITY;
                    }
                }
                continue;
            }
            // What is due after the deadline, or never, will not be.
            let end = deadline.unwrap_or(Instant::MAX);
            let due = due.filter(|due| *due < end);
            if due.is_none() && this.attempts.live() == 0 {
                let Some((index, result)) = this.refused.take() else {
                    return Poll::Pending;
                };
                break (Settled::Failed(index), Some(result), time);
            }

            let Some(wake) = due.into_iter().chain(deadline).min() else {
                this.alarm.set(None);
                return Poll::Pending;
            };
            if this.poll_alarm(wake, cx).is_pending() {
                return Poll::Pending;
            }
            // A timer is never early, whatever the clock says.
            now = Some(this.desk.read_clock().max(wake));
            from = S::CAPACITY;
        };
        Poll::Ready(this.settle(how, result, at))
    }
}

impl<T, P, L, R, S> RaceProj<'_, T, P, L, R, S>
where
    T: Timer,
    P: Pacer,
{
    /// Starts `attempt`; returns its place, which is its own even if another could not be launched.
    fn start<F>(&mut self, attempt: Attempt) -> usize
    where
        L: FnMut(Attempt) -> F,
        F: Future,
        S: Slots<F>,
    {
        let place = attempt.index();
        self.attempts.as_mut().put(place, (self.launch)(attempt));
        *self.launched = u8::try_from(place + 1).unwrap_or(u8::MAX);
        place
    }

    /// When the next attempt is due, if there is a place for it.
    fn due<F>(&mut self) -> Option<Instant>
    where
        F: Future,
        S: Slots<F>,
    {
        if *self.exhausted || usize::from(*self.launched) >= S::CAPACITY {
            return None;
        }
        self.desk.pacer.due()
    }

    /// Sleeps until `wake`. Polled every time: embassy keeps one deadline per task, so that a wake-up
    /// for an attempt may have used up this one.
    fn poll_alarm(&mut self, wake: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = match self.alarm.as_mut().as_pin_mut() {
            Some(mut alarm) => {
                if *self.alarm_at != wake {
                    self.desk.timer.rearm(alarm.as_mut(), wake);
                }
                Some(alarm)
            }
            None => {
                self.alarm.set(Some(self.desk.timer.sleep_until(wake)));
                self.alarm.as_mut().as_pin_mut()
            }
        };
        *self.alarm_at = wake;
        let poll = alarm.map_or(Poll::Ready(()), |alarm| alarm.poll(cx));
        if poll.is_ready() {
            // A future that has ended must not be polled again.
            self.alarm.set(None);
        }
        poll
    }

    /// Drops what lost, then tells the pacer.
    fn settle<F, V, E>(
        &mut self,
        how: Settled,
        result: Option<Result<V, E>>,
        at: Instant,
    ) -> Finish<V, E, R, P>
    where
        F: Future,
        R: Default,
        S: Slots<F>,
    {
        let keep = matches!(how, Settled::Won(_)) && self.desk.pacer.keeps_losers();
        if !keep {
            self.attempts.as_mut().clear();
        }
        self.alarm.set(None);
        Finish {
            how,
            result,
            refused: mem::take(self.refused),
            record: self.desk.settle(how, at),
        }
    }

    fn poll_losers<F>(&mut self, cx: &mut Context<'_>)
    where
        F: Future,
        S: Slots<F>,
    {
        let mut from = 0;
        while let Some((index, _)) = self.attempts.as_mut().poll_from(from, cx) {
            self.desk.pacer.loser_finished(index as u8);
            from = index + 1;
        }
    }
}

impl<T, P, L, R, S> Race<T, P, L, R, S>
where
    T: Timer,
    P: Pacer,
{
    /// How many attempts are running.
    pub fn live<F>(&self) -> usize
    where
        F: Future,
        S: Slots<F>,
    {
        self.attempts.live()
    }

    /// Whether the result has been given.
    pub fn is_settled(&self) -> bool {
        self.desk.stage == Stage::Settled
    }

    /// The pacer.
    pub fn pacer(&self) -> &P {
        &self.desk.pacer
    }
}

/// The pacer and the clock it is told; makes sure that the pacer hears of a race that is dropped.
#[derive(Debug)]
struct Desk<T: Timer, P: Pacer> {
    timer: T,
    pacer: P,
    stage: Stage,
    timed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    New,
    Running,
    Settled,
}

impl<T: Timer, P: Pacer> Desk<T, P> {
    fn start(&mut self) -> Instant {
        let now = self.timer.now();
        self.timed = true;
        self.pacer.start(now);
        now
    }

    fn read_clock(&self) -> Instant {
        if self.timed {
            self.timer.now()
        } else {
            Instant::ZERO
        }
    }

    fn settle(&mut self, how: Settled, now: Instant) -> P::Record {
        // First, so that a panic in the pacer is not reported as a dropped race besides.
        self.stage = Stage::Settled;
        self.pacer.settled(how, now)
    }

    // Apart from the drop of every other race.
    #[cold]
    fn abandon(&mut self) {
        let now = self.read_clock();
        self.settle(Settled::Dropped, now);
    }
}

impl<T: Timer, P: Pacer> Drop for Desk<T, P> {
    #[inline]
    fn drop(&mut self) {
        if self.stage == Stage::Running {
            self.abandon();
        }
    }
}
