//! The hedged race: one future that owns every attempt of a request.
//!
//! [`Race`] knows how to start, poll and drop attempts and nothing about when or why: it asks a
//! [`Controller`], which in turn holds no future and reads no clock.

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

pub use slots::{Capacity, Max, Nil, Slot, Slots};

/// What a race resolves to.
#[derive(Debug)]
pub struct Finish<V, E, R, P: Controller> {
    /// How it ended.
    pub end: RequestEnd,
    /// The result of the attempt that `end` names; after a timeout the error that was kept, if there is one.
    pub result: Option<Result<V, E>>,
    /// What else was kept of the results that were refused.
    pub refused: R,
    /// What the controller makes of the request.
    pub output: P::Output,
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
        P: Controller,
    {
        // In this order, for fields are dropped in order: the attempts, and only then the session, which
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
        session: Session<T, P>,
    }
}

/// Races up to `MAX` attempts. `launch` is called once per attempt, when it starts.
///
/// Resolves to the first accepted result; losers are dropped before it resolves (unless the controller
/// keeps them). If all fail, resolves to the earliest attempt's result. The primary is polled first, so ties go to
/// the earliest attempt.
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

/// The same with room for the attempts, and a way to keep refused results, of the caller's choice.
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
    /// Polls the race, and returns `f` of its end. The end is not moved before, which would take longer than to make
    /// it: copying what was just written in pieces stalls until the pieces have left the store buffer.
    #[inline(always)]
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
        let mut this = self.project();
        let mut turn = Turn::default();
        match this.session.stage {
            Stage::New => turn.now = this.session.open(),
            Stage::Running => {}
            Stage::Completed => {
                this.poll_losers(cx);
                return Poll::Pending;
            }
        }
        // In the first poll, or in a later one if that panicked.
        if *this.launched == 0 {
            match this.session.controller.primary() {
                Ok(primary) => {
                    this.start(primary);
                }
                Err(reason) => {
                    let (end, now) = (RequestEnd::NoReplica(reason), turn.now.unwrap_or_default());
                    return f(this.complete(end, None, now));
                }
            }
        }
        // Most requests end with their primary, before anything else was launched. That is inlined into the caller,
        // and the rest is not.
        let mut ended = None;
        if *this.launched == 1 {
            turn.next = S::CAPACITY;
            if let Some(result) = this.attempts.as_mut().poll_first(cx) {
                let (verdict, at) = this.judge(0, &result);
                if verdict == Verdict::Accept {
                    return f(this.complete(RequestEnd::Won(0), Some(result), at));
                }
                ended = this.refuse(0, result, verdict, at, &mut turn);
            }
        }
        match this.poll_on(ended, turn, cx) {
            Poll::Ready(finish) => f(finish),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// One poll of a race.
#[derive(Default)]
struct Turn {
    /// The time, if it is known. It is read at most once unless attempts finish.
    now: Option<Instant>,
    /// The first place that has yet to be polled.
    next: usize,
}

/// How a race ended, with what result, and when.
type Ended<V, E> = (RequestEnd, Option<Result<V, E>>, Instant);

/// What follows when no attempt that runs has given an acceptable result.
enum Step<V, E> {
    /// Another attempt was started, which has to be polled.
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
    /// Asks what the result of an attempt that has just finished means.
    #[inline(always)]
    fn judge<V, E>(&mut self, index: u8, result: &Result<V, E>) -> (Verdict, Instant)
    where
        P: ResultController<V, E>,
    {
        // After the poll that finished it: an attempt may compute for long in one poll.
        let at = self.session.read_clock();
        (self.session.controller.finished(index, result, at), at)
    }

    /// Keeps the result of an attempt that was refused at `at`, unless it ends the race.
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
        None
    }

    /// Polls the attempts that run and have not been polled, up to one whose result ends the race.
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
        turn.next = S::CAPACITY;
        None
    }

    /// Polls a race that may have `ended`.
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

    /// Starts the next attempt if it is due, ends the race if nothing is left to wait for, and waits otherwise.
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
                None => self.session.read_clock(),
            };
            turn.now = Some(now);
            let deadline = self.session.controller.deadline();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Step::End((RequestEnd::TimedOut, self.refused.take_late(), now));
            }

            // A controller that has just refused says when to ask again, which is not now.
            let due = self.due().filter(|due| !refused || *due > now);
            if due.is_some_and(|due| due <= now) {
                if let Some(attempt) = self.session.controller.admit(now) {
                    turn.next = self.start(attempt);
                    return Step::Poll;
                }
                refused = true;
                continue;
            }
            // What is due after the deadline, or never, will not be.
            let end = deadline.unwrap_or(Instant::MAX);
            let due = due.filter(|due| *due < end);
            if due.is_none() && self.attempts.live() == 0 {
                let Some((index, result)) = self.refused.take() else {
                    return Step::Wait;
                };
                return Step::End((RequestEnd::Failed(index), Some(result), now));
            }

            let Some(wake) = due.into_iter().chain(deadline).min() else {
                self.alarm.set(None);
                return Step::Wait;
            };
            if self.poll_alarm(wake, cx).is_pending() {
                return Step::Wait;
            }
            // A timer is never early, whatever the clock says.
            turn.now = Some(self.session.read_clock().max(wake));
            refused = false;
        }
    }

    /// Starts `attempt`. Returns its place, which no other attempt has had, even if one could not be launched.
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
        if usize::from(*self.launched) >= S::CAPACITY {
            return None;
        }
        self.session.controller.due()
    }

    /// Sleeps until `wake`. Polled every time: embassy keeps one deadline per task, so that a wake-up
    /// for an attempt may have used up this one.
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
            // A future that has ended must not be polled again.
            self.alarm.set(None);
        }
        poll
    }

    /// Reports the end, once the losers are dropped.
    #[inline(always)]
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
    /// How many attempts are running.
    pub fn live<F>(&self) -> usize
    where
        F: Future,
        S: Slots<F>,
    {
        self.attempts.live()
    }

    /// Whether the result has been given.
    pub fn is_complete(&self) -> bool {
        self.session.stage == Stage::Completed
    }

    /// The controller.
    pub fn controller(&self) -> &P {
        &self.session.controller
    }
}
