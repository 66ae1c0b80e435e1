//! The hedged race: one future that owns all attempts of a request.
//!
//! [`Race`] starts, polls and drops attempts. When and why is decided by a [`Controller`], which
//! holds no future and reads no clock.

use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::attempt::{Attempt, Verdict};
use crate::record::RequestEnd;
use crate::time::{Instant, Timer};

pub use controller::{Controller, ResultController};
pub use refused::{Earliest, Refused};
use session::{Session, Stage};

mod controller;
mod refused;
mod session;
mod slots;
mod span;

pub use slots::{Capacity, Max, Nil, Slot, Slots};
pub use span::{AttemptSpan, InSpan};

/// The output of a race.
#[derive(Debug)]
pub struct Finish<V, E, R, P: Controller> {
    /// How the race ended.
    pub end: RequestEnd,
    /// The result of the attempt that `end` names. After a timeout, the error that was kept, if
    /// there is one.
    pub result: Option<Result<V, E>>,
    /// The remaining refused results that were kept.
    pub refused: R,
    /// The controller's summary of the request.
    pub output: P::Output,
}

pin_project! {
    /// The future returned by [`race`].
    ///
    /// Nothing happens before the first poll. Once it has returned its result, it is never ready
    /// again; polling it then drives the losers that were kept, if any.
    #[project = RaceProj]
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Race<T, P, L, R, S>
    where
        T: Timer,
        P: Controller,
    {
        // Fields are dropped in order: drop the attempts before the session, which reports that the
        // race was dropped.
        #[pin]
        attempts: S,
        // Sleeps until `alarm_at`. Created only when there is something to wait for.
        #[pin]
        alarm: Option<T::Sleep>,
        alarm_at: Instant,
        launch: L,
        // The results to choose from if no attempt wins.
        refused: R,
        launched: u8,
        // Whether an attempt was dropped because it ran out of time.
        expired: bool,
        session: Session<T, P>,
    }
}

/// Races up to `MAX` attempts. `launch` is called once per attempt, when it starts.
///
/// Resolves to the first accepted result. Losers are dropped before it resolves, unless the
/// controller keeps them. If all attempts fail, it resolves to the result of the earliest attempt.
/// Attempts are polled in order, so the earliest attempt wins a tie.
pub fn race<const MAX: usize, T, P, L, F, V, E>(
    timer: T,
    controller: P,
    launch: L,
) -> Race<T, P, L, Earliest<V, E>, <Max<MAX> as Capacity<F>>::Slots>
where
    T: Timer,
    P: ResultController<V, E>,
    L: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    Max<MAX>: Capacity<F>,
{
    race_in(timer, controller, launch)
}

/// Races attempts like [`race`], with custom storage for attempts and custom handling of refused
/// results.
pub fn race_in<T, P, L, F, V, E, R, S>(timer: T, controller: P, launch: L) -> Race<T, P, L, R, S>
where
    T: Timer,
    P: ResultController<V, E>,
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
        expired: false,
        session: Session::new(timer, controller),
    }
}

impl<T, P, L, F, V, E, R, S> Future for Race<T, P, L, R, S>
where
    T: Timer,
    P: ResultController<V, E>,
    L: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    R: Refused<P, V, E>,
    S: Slots<F>,
{
    type Output = Finish<V, E, R, P>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_then(cx, Poll::Ready)
    }
}

impl<T, P, L, R, S> Race<T, P, L, R, S>
where
    T: Timer,
    P: Controller,
{
    /// Polls the race, and passes its output to `f`.
    ///
    /// The output is passed without being moved: copying a value that was just written in smaller
    /// pieces would stall until the store buffer has drained.
    #[cfg_attr(feature = "std", inline(always))]
    pub(crate) fn poll_then<F, V, E, O>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        f: impl FnOnce(Finish<V, E, R, P>) -> Poll<O>,
    ) -> Poll<O>
    where
        P: ResultController<V, E>,
        L: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        R: Refused<P, V, E>,
        S: Slots<F>,
    {
        let mut race = self;
        let mut this = race.as_mut().project();
        let mut turn = Turn::default();
        match this.session.stage {
            Stage::New => turn.now = this.session.open(),
            Stage::Running => {}
            Stage::Completed => {
                race.project().poll_losers(cx);
                return Poll::Pending;
            }
        }
        // This is the first poll, or all earlier polls panicked before the launch.
        if *this.launched == 0 {
            match this.session.controller.primary() {
                Ok(primary) => {
                    this.start(primary);
                }
                Err(end) => {
                    let at = this.session.read_clock();
                    return f(this.complete(end, None, at));
                }
            }
        }
        // Fast path: most requests end with their primary before another attempt is launched. This part is inlined into
        // the caller, and `poll_on` is not. What is not inlined gets a separate projection, so that this one need not
        // be stored.
        let mut ended = None;
        if FAST_PATH && *this.launched == 1 {
            (turn.next, turn.polled) = (S::CAPACITY, true);
            if let Some(result) = this.attempts.as_mut().poll_first(cx) {
                let (verdict, at) = this.judge(0, &result);
                if verdict == Verdict::Accept {
                    return f(this.complete(RequestEnd::Won(0), Some(result), at));
                }
                let mut this = race.as_mut().project();
                ended = this.refuse(0, result, verdict, at, &mut turn);
            }
        }
        match race.project().poll_on(ended, turn, cx) {
            Poll::Ready(finish) => f(finish),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Whether requests that end with their primary take a fast path. Firmware does without it, to save code.
pub(crate) const FAST_PATH: bool = cfg!(feature = "std");

/// The state of one poll of a race.
#[derive(Default)]
struct Turn {
    /// The time, if it was read. Each poll reads it at most once, plus once after each attempt that finishes, once
    /// after the alarm, and once before an attempt starts if other attempts were polled since.
    now: Option<Instant>,
    /// Whether attempts were polled since the time was read. A poll may compute for a long time, so the time must be
    /// read again before the next attempt starts.
    polled: bool,
    /// The first place that was not polled yet.
    next: usize,
}

/// How a race ended, its result, and when it ended.
type Ended<V, E> = (RequestEnd, Option<Result<V, E>>, Instant);

/// The next step when no running attempt has returned an acceptable result.
enum Step<V, E> {
    /// Another attempt was started and has to be polled.
    Poll,
    /// The race is pending.
    Wait,
    /// The race is over.
    End(Ended<V, E>),
}

impl<T, P, L, R, S> RaceProj<'_, T, P, L, R, S>
where
    T: Timer,
    P: Controller,
{
    /// Classifies the result of an attempt that has just finished.
    #[cfg_attr(feature = "std", inline(always))]
    fn judge<V, E>(&mut self, index: u8, result: &Result<V, E>) -> (Verdict, Instant)
    where
        P: ResultController<V, E>,
    {
        // Read the clock after the poll: an attempt may compute for a long time in one poll.
        let at = self.session.read_clock();
        (self.session.controller.finished(index, result, at), at)
    }

    /// Keeps the result of an attempt that was refused at `at`, unless the result ends the race.
    fn refuse<V, E>(
        &mut self,
        index: u8,
        result: Result<V, E>,
        verdict: Verdict,
        at: Instant,
        turn: &mut Turn,
    ) -> Option<Ended<V, E>>
    where
        R: Refused<P, V, E>,
    {
        if verdict == Verdict::Fatal {
            return Some((RequestEnd::Fatal(index), Some(result), at));
        }
        self.refused.keep(&self.session.controller, index, result);
        turn.now = self.session.timed.then_some(at);
        turn.polled = false;
        None
    }

    /// Polls the running attempts from `turn.next` on, until the result of one ends the race.
    fn poll_attempts<F, V, E>(
        &mut self,
        turn: &mut Turn,
        cx: &mut Context<'_>,
    ) -> Option<Ended<V, E>>
    where
        P: ResultController<V, E>,
        F: Future<Output = Result<V, E>>,
        R: Refused<P, V, E>,
        S: Slots<F>,
    {
        while let Some((place, result)) = self.attempts.as_mut().poll_from(turn.next, cx) {
            turn.next = place + 1;
            let index = place as u8;
            let (verdict, at) = self.judge(index, &result);
            if verdict == Verdict::Accept {
                return Some((RequestEnd::Won(index), Some(result), at));
            }
            let ended = self.refuse(index, result, verdict, at, turn);
            if ended.is_some() {
                return ended;
            }
        }
        (turn.next, turn.polled) = (S::CAPACITY, self.attempts.live() > 0);
        None
    }

    /// Polls the race to its end or until it is pending. `ended` is set if the primary has already ended the race.
    #[inline(never)]
    fn poll_on<F, V, E>(
        &mut self,
        mut ended: Option<Ended<V, E>>,
        mut turn: Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Finish<V, E, R, P>>
    where
        P: ResultController<V, E>,
        L: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        R: Refused<P, V, E>,
        S: Slots<F>,
    {
        if turn.next < S::CAPACITY {
            ended = self.poll_attempts(&mut turn, cx);
        }
        let (end, result, at) = loop {
            if let Some(ended) = ended {
                break ended;
            }
            ended = match self.proceed(&mut turn, cx) {
                Step::Poll => self.poll_attempts(&mut turn, cx),
                Step::Wait => return Poll::Pending,
                Step::End(ended) => break ended,
            };
        };
        let keep = matches!(end, RequestEnd::Won(_)) && self.session.controller.keeps_losers();
        if !keep {
            self.attempts.as_mut().clear();
        }
        Poll::Ready(self.complete(end, result, at))
    }

    /// Starts the next attempt if it is due, ends the race if there is nothing left to wait for,
    /// and waits otherwise.
    fn proceed<F, V, E>(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Step<V, E>
    where
        P: ResultController<V, E>,
        L: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        R: Refused<P, V, E>,
        S: Slots<F>,
    {
        // Whether an attempt was refused at this time.
        let mut refused = false;
        loop {
            if !self.session.timed {
                turn.now = Some(self.session.start());
            }
            let now = match turn.now {
                Some(now) => now,
                None => {
                    turn.polled = false;
                    self.session.read_clock()
                }
            };
            turn.now = Some(now);
            let deadline = self.session.controller.deadline();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Step::End((RequestEnd::TimedOut, self.refused.take_late(), now));
            }

            let expiry = self.session.controller.expiry();
            if let Some((index, _)) = expiry.filter(|(_, at)| *at <= now) {
                self.attempts.as_mut().remove(index.into());
                *self.expired = true;
                self.session.controller.expired(index, now);
                refused = false;
                continue;
            }

            // A controller that has just refused an attempt must be asked again later, not at this time.
            let due = self.due().filter(|due| !refused || *due > now);
            if due.is_some_and(|due| due <= now) {
                if turn.polled {
                    turn.now = None;
                    continue;
                }
                if let Some(attempt) = self.session.controller.admit(now) {
                    if !self.session.controller.keeps_refused() {
                        self.refused.release();
                    }
                    turn.next = self.start(attempt);
                    return Step::Poll;
                }
                refused = true;
                continue;
            }
            // An attempt that is due at or after the deadline never starts.
            let end = deadline.unwrap_or(Instant::MAX);
            let due = due.filter(|due| *due < end);
            if due.is_none() && self.attempts.live() == 0 {
                return match self.refused.take() {
                    Some((index, result)) => {
                        Step::End((RequestEnd::Failed(index), Some(result), now))
                    }
                    // No attempt has returned a result.
                    None if *self.expired => Step::End((RequestEnd::TimedOut, None, now)),
                    None => Step::Wait,
                };
            }

            let expiry = expiry.map(|(_, at)| at);
            if due.is_none() && deadline.is_none() && expiry.is_none() {
                self.alarm.set(None);
                return Step::Wait;
            }
            let until = |at: Option<Instant>| at.unwrap_or(Instant::MAX);
            let wake = until(due).min(until(deadline)).min(until(expiry));
            if self.poll_alarm(wake, cx).is_pending() {
                return Step::Wait;
            }
            // The timer fired, so `wake` has been reached even if the clock reads earlier.
            turn.now = Some(self.session.read_clock().max(wake));
            turn.polled = false;
            refused = false;
        }
    }

    /// Starts `attempt` and returns its place.
    #[cfg_attr(feature = "std", inline)]
    fn start<F>(&mut self, attempt: Attempt) -> usize
    where
        L: FnMut(Attempt) -> F,
        F: Future,
        S: Slots<F>,
    {
        let place = attempt.index();
        let span = self.session.controller.span(&attempt);
        let future = span.launch(|| (self.launch)(attempt));
        self.attempts.as_mut().put(place, future);
        *self.launched = u8::try_from(place + 1).unwrap_or(u8::MAX);
        place
    }

    /// Returns when the next attempt is due; `None` if it is refused or has no place.
    fn due<F>(&mut self) -> Option<Instant>
    where
        F: Future,
        S: Slots<F>,
    {
        if usize::from(*self.launched) >= S::CAPACITY {
            return None;
        }
        self.session.controller.due()
    }

    /// Sleeps until `wake`. The alarm is polled in every call: embassy keeps one deadline per task,
    /// so that the wake-up of an attempt may have replaced this one.
    fn poll_alarm(&mut self, wake: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = match self.alarm.as_mut().as_pin_mut() {
            Some(mut alarm) => {
                if *self.alarm_at != wake {
                    self.session.timer.rearm(alarm.as_mut(), wake);
                }
                Some(alarm)
            }
            None => {
                self.alarm.set(Some(self.session.timer.sleep_until(wake)));
                self.alarm.as_mut().as_pin_mut()
            }
        };
        *self.alarm_at = wake;
        let poll = alarm.map_or(Poll::Ready(()), |alarm| alarm.poll(cx));
        if poll.is_ready() {
            // A future must not be polled after it has completed.
            self.alarm.set(None);
        }
        poll
    }

    /// Reports the end of the race. Losers must be dropped before.
    #[cfg_attr(feature = "std", inline(always))]
    fn complete<V, E>(
        &mut self,
        end: RequestEnd,
        result: Option<Result<V, E>>,
        at: Instant,
    ) -> Finish<V, E, R, P>
    where
        R: Default,
    {
        self.alarm.set(None);
        Finish {
            end,
            result,
            refused: mem::take(self.refused),
            output: self.session.complete(end, at),
        }
    }

    fn poll_losers<F, V, E>(&mut self, cx: &mut Context<'_>)
    where
        F: Future<Output = Result<V, E>>,
        S: Slots<F>,
    {
        let mut from = 0;
        while let Some((index, result)) = self.attempts.as_mut().poll_from(from, cx) {
            let (succeeded, now) = (result.is_ok(), self.session.read_clock());
            let controller = &mut self.session.controller;
            controller.loser_finished(index as u8, succeeded, now);
            from = index + 1;
        }
    }
}

impl<T, P, L, R, S> Race<T, P, L, R, S>
where
    T: Timer,
    P: Controller,
{
    /// Returns the number of running attempts.
    pub fn live<F>(&self) -> usize
    where
        F: Future,
        S: Slots<F>,
    {
        self.attempts.live()
    }

    /// Returns whether the race has returned its result.
    pub fn is_complete(&self) -> bool {
        self.session.stage == Stage::Completed
    }

    /// Returns the controller.
    pub fn controller(&self) -> &P {
        &self.session.controller
    }
}
