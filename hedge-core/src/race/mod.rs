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
use crate::time::{Instant, Timer};

pub use controller::{Controller, ResultController, Settled};
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
    pub how: Settled,
    /// The result of the attempt that `how` names; after a timeout what was kept for that, if anything
    /// was.
    pub result: Option<Result<V, E>>,
    /// What else was kept of the results that were refused.
    pub refused: R,
    /// What the controller knows of the request.
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
        // An attempt was not admitted, and none has failed since.
        exhausted: bool,
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
        exhausted: false,
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

/// What the short way has found out before it hands over.
enum Known<V, E> {
    Nothing,
    /// The primary has given nothing in this poll. Perhaps the time, too.
    Pending(Option<Instant>),
    /// The primary has ended, then.
    Ended(Result<V, E>, Verdict, Instant),
}

/// Whether the way of most requests is a way of its own. Where there is no operating system, short code is worth more.
const SHORTCUT: bool = cfg!(feature = "std");

impl<T, P, L, R, S> Race<T, P, L, R, S>
where
    T: Timer,
    P: Controller,
{
    /// Polls the race, and makes of its end what `f` does: a `map` would move a request's record about, which
    /// takes longer than to make it.
    ///
    /// Here is all that a request needs whose primary is accepted before anything else is started.
    #[inline(always)]
    pub(crate) fn poll_then<F, V, E, O>(
        mut self: Pin<&mut Self>,
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
        if !SHORTCUT {
            return self.poll_all(Known::Nothing, cx, f);
        }
        let mut this = self.as_mut().project();
        let mut now = None;
        match this.session.stage {
            Stage::New => {
                now = this.session.open();
                this.start(Attempt::PRIMARY);
            }
            Stage::Running if *this.launched == 1 => {}
            _ => return self.poll_all(Known::Nothing, cx, f),
        }
        let Some(result) = this.attempts.as_mut().poll_first(cx) else {
            return self.poll_all(Known::Pending(now), cx, f);
        };
        // After the poll that finished it: an attempt may compute for long in one poll.
        let at = this.session.read_clock();
        let verdict = this.session.controller.finished(0, &result, at);
        if verdict == Verdict::Accept
            && let Some(record) = this.session.settle_alone(at)
        {
            this.alarm.set(None);
            return f(Finish {
                how: Settled::Won(0),
                result: Some(result),
                refused: R::default(),
                record,
            });
        }
        self.poll_all(Known::Ended(result, verdict, at), cx, f)
    }

    /// The same of any race.
    #[cfg_attr(feature = "std", inline(never))]
    fn poll_all<F, V, E, O>(
        self: Pin<&mut Self>,
        known: Known<V, E>,
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
        // This poll's reading of the clock, taken at most once unless attempts finish.
        let mut now = None;
        let mut from = 0;
        let (how, result, at) = 'race: {
            match known {
                Known::Nothing => {
                    match this.session.stage {
                        Stage::New => now = this.session.open(),
                        Stage::Running => {}
                        Stage::Settled => {
                            this.poll_losers(cx);
                            return Poll::Pending;
                        }
                    }
                    // In the first poll, or in a later one if that panicked.
                    if *this.launched == 0 {
                        this.start(Attempt::PRIMARY);
                    }
                }
                Known::Pending(time) => {
                    now = time;
                    from = S::CAPACITY;
                }
                Known::Ended(result, verdict, at) => match verdict {
                    Verdict::Accept => break 'race (Settled::Won(0), Some(result), at),
                    Verdict::Fatal => break 'race (Settled::Fatal(0), Some(result), at),
                    Verdict::Retry | Verdict::RetryAfter(_) => {
                        now = this.keep(0, result, at);
                        from = 1;
                    }
                },
            }
            loop {
                while let Some((index, result)) = this.attempts.as_mut().poll_from(from, cx) {
                    // After the poll that finished it: an attempt may compute for long in one poll.
                    let at = this.session.read_clock();
                    from = index + 1;
                    let index = index as u8;
                    match this.session.controller.finished(index, &result, at) {
                        Verdict::Accept => break 'race (Settled::Won(index), Some(result), at),
                        Verdict::Fatal => break 'race (Settled::Fatal(index), Some(result), at),
                        Verdict::Retry | Verdict::RetryAfter(_) => {
                            now = this.keep(index, result, at);
                        }
                    }
                }

                if !this.session.timed {
                    now = Some(this.session.start_late());
                }
                let time = match now {
                    Some(now) => now,
                    None => this.session.read_clock(),
                };
                now = Some(time);
                let deadline = this.session.controller.deadline();
                if deadline.is_some_and(|deadline| time >= deadline) {
                    break 'race (Settled::TimedOut, this.refused.take_late(), time);
                }

                let due = this.due();
                if due.is_some_and(|due| due <= time) {
                    match this.session.controller.admit(time) {
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
                    break 'race (Settled::Failed(index), Some(result), time);
                }

                let Some(wake) = due.into_iter().chain(deadline).min() else {
                    this.alarm.set(None);
                    return Poll::Pending;
                };
                if this.poll_alarm(wake, cx).is_pending() {
                    return Poll::Pending;
                }
                // A timer is never early, whatever the clock says.
                now = Some(this.session.read_clock().max(wake));
                from = S::CAPACITY;
            }
        };
        f(this.settle(how, result, at))
    }
}

impl<T, P, L, R, S> RaceProj<'_, T, P, L, R, S>
where
    T: Timer,
    P: Controller,
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

    /// Keeps the result of an attempt that was refused at `at`. Returns the time, if it is known.
    fn keep<V, E>(&mut self, index: u8, result: Result<V, E>, at: Instant) -> Option<Instant>
    where
        R: Refused<P, V, E>,
    {
        self.refused.keep(&self.session.controller, index, result);
        *self.exhausted = false;
        self.session.timed.then_some(at)
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

    /// Drops what lost, then tells the controller.
    #[inline(always)]
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
        let keep = matches!(how, Settled::Won(_)) && self.session.controller.keeps_losers();
        if !keep {
            self.attempts.as_mut().clear();
        }
        self.alarm.set(None);
        Finish {
            how,
            result,
            refused: mem::take(self.refused),
            record: self.session.settle(how, at),
        }
    }

    fn poll_losers<F>(&mut self, cx: &mut Context<'_>)
    where
        F: Future,
        S: Slots<F>,
    {
        let mut from = 0;
        while let Some((index, _)) = self.attempts.as_mut().poll_from(from, cx) {
            self.session.controller.loser_finished(index as u8);
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
    pub fn is_settled(&self) -> bool {
        self.session.stage == Stage::Settled
    }

    /// The controller.
    pub fn controller(&self) -> &P {
        &self.session.controller
    }
}
