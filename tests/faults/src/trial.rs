//! Attempts that misbehave, and their results.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use hedge_core::Verdict;

use crate::clock::{Sleep, TICK};
use crate::fault::Fault;
use crate::invariants::Invariant;
use crate::journal::State;
use crate::world::World;

/// An attempt.
pub(crate) struct Trial<'w> {
    world: &'w World,
    pub(crate) account: usize,
    pub(crate) index: u8,
    start: u64,
    /// How often it waits before it answers.
    patience: u64,
    polled: bool,
    waits: Waits<'w>,
}

enum Waits<'w> {
    No,
    Sleeps(Sleep<'w>),
    Hangs,
    NeverWakes,
}

/// What an attempt returns, well or not.
pub(crate) struct Value<'w> {
    world: &'w World,
    pub(crate) account: usize,
    pub(crate) index: u8,
    verdict: Verdict,
}

/// When the closure was called that starts an attempt. It may take its time.
#[derive(Clone, Copy)]
pub(crate) struct Launched {
    now: u64,
    latest: u64,
}

impl Launched {
    pub(crate) fn now(world: &World) -> Self {
        Self {
            now: world.clock.now(),
            latest: world.clock.latest(),
        }
    }
}

impl<'w> Trial<'w> {
    pub(crate) fn new(world: &'w World, account: usize, index: u8, launched: Launched) -> Self {
        {
            let mut journal = world.journal();
            let account = journal.of(account);
            let trial = account.trial(index);
            trial.state = State::Running;
            trial.start = launched.latest;
            account.launching = false;
        }
        Self {
            world,
            account,
            index,
            start: launched.now,
            patience: world.pick(&[0, 0, 1, 1, 2, 3]),
            polled: false,
            waits: Waits::No,
        }
    }

    /// Its answer is an error.
    pub(crate) fn fails(&self) -> Value<'w> {
        let (Ok(value) | Err(value)) = self.answer(false);
        value
    }

    /// It has given a stream with its first item, and lives on with that, but not as an attempt that is in flight.
    pub(crate) fn streams(&self) {
        let mut journal = self.world.journal();
        journal.hedges_alive -= u32::from(self.index > 0);
        journal.of(self.account).trial(self.index).state = State::Streams;
    }

    fn answer(&self, may_be_ok: bool) -> Result<Value<'w>, Value<'w>> {
        let world = self.world;
        if !self.polled {
            world.count(Fault::AnswersAtOnce);
        }
        let verdict = if world.strikes(Fault::Fails, 2) {
            Verdict::Retry
        } else if world.strikes(Fault::AsksForPatience, 3) {
            let patience = world.pick(&[0, 1, 5, 20, 1000]);
            Verdict::RetryAfter(match world.below(8) {
                0 => Duration::MAX,
                _ => Duration::from_nanos(patience * TICK),
            })
        } else if world.strikes(Fault::LeavesItToOthers, 5) {
            Verdict::Wait
        } else if world.strikes(Fault::FailsFatally, 4) {
            Verdict::Fatal
        } else {
            Verdict::Accept
        };
        // Most answers are `Ok` and most failures are not, but the classifier may see it otherwise.
        let ok = (verdict == Verdict::Accept) == (world.below(6) > 0) && may_be_ok;
        {
            let mut journal = world.journal();
            let trial = journal.of(self.account).trial(self.index);
            trial.state = State::Returned;
            trial.ok = ok;
            trial.results += 1;
        }
        let value = Value {
            world,
            account: self.account,
            index: self.index,
            verdict,
        };
        if ok { Ok(value) } else { Err(value) }
    }

    /// Whether there is something to wait for.
    fn waits(&mut self, cx: &mut Context<'_>) -> bool {
        let world = self.world;
        match &mut self.waits {
            Waits::No => false,
            Waits::Sleeps(sleep) => Pin::new(sleep).poll(cx).is_pending(),
            Waits::NeverWakes => true,
            Waits::Hangs => {
                let mut journal = world.journal();
                let hung = &mut journal.of(self.account).trial(self.index).hung;
                // Who wakes it takes the waker.
                if let Some(waker) = hung {
                    waker.clone_from(cx.waker());
                }
                hung.is_some()
            }
        }
    }

    /// Waits for something else from now on. Whether to be polled at once.
    fn begins_to_wait(&mut self, cx: &mut Context<'_>) -> bool {
        let world = self.world;
        self.patience -= 1;
        if world.strikes(Fault::NeverWakes, 6) {
            let mut journal = world.journal();
            journal.of(self.account).trial(self.index).never_wakes = true;
            self.waits = Waits::NeverWakes;
        } else if world.strikes(Fault::Hangs, 3) {
            let mut journal = world.journal();
            journal.of(self.account).trial(self.index).hung = Some(cx.waker().clone());
            self.waits = Waits::Hangs;
        } else if world.strikes(Fault::WakesForNothing, 3) {
            cx.waker().wake_by_ref();
            self.waits = Waits::No;
        } else {
            self.waits = Waits::Sleeps(world.sleep(TICK * (1 + world.below(30))));
            return true;
        }
        false
    }
}

impl<'w> Future for Trial<'w> {
    type Output = Result<Value<'w>, Value<'w>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let world = this.world;
        let state = world.journal().of(this.account).trial(this.index).state;
        world.check(
            Invariant::NothingIsPolledAfterItsEnd,
            state == State::Running,
            || format!("attempt {} is", this.index),
        );
        if world.may_panic(Fault::PanicsInPoll, 24) {
            world.panic();
        }
        if world.strikes(Fault::Computes, 8) {
            world.clock.advance(TICK * world.below(25));
        }
        while !this.waits(cx) {
            this.waits = Waits::No;
            if this.patience == 0 {
                return Poll::Ready(this.answer(true));
            }
            this.polled = true;
            if !this.begins_to_wait(cx) {
                break;
            }
        }
        this.polled = true;
        Poll::Pending
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let streams = {
            let mut journal = self.world.journal();
            let trial = journal.of(self.account).trial(self.index);
            let before = core::mem::replace(&mut trial.state, State::Dropped);
            trial.drops += 1;
            trial.hung = None;
            trial.lasted = self.world.clock.most_since(self.start);
            let streams = before == State::Streams;
            journal.hedges_alive -= u32::from(self.index > 0 && !streams);
            streams
        };
        if !streams && self.world.may_panic(Fault::PanicsInDrop, 8) {
            self.world.panic();
        }
    }
}

impl Drop for Value<'_> {
    fn drop(&mut self) {
        let mut journal = self.world.journal();
        journal.of(self.account).trial(self.index).results_dropped += 1;
    }
}

/// The classifier: it does what the value wants, and writes it down.
pub(crate) fn judge<'w>(result: &Result<Value<'w>, Value<'w>>) -> Verdict {
    let (Ok(value) | Err(value)) = result;
    judge_value(value)
}

pub(crate) fn judge_value(value: &Value<'_>) -> Verdict {
    let world = value.world;
    if world.may_panic(Fault::ClassifierPanics, 12) {
        world.panic();
    }
    let mut journal = world.journal();
    if matches!(value.verdict, Verdict::RetryAfter(_)) {
        journal.purse.may_be_refused_unseen();
    }
    let account = journal.of(value.account);
    let over = !account.panicked && (account.accepted.is_some() || account.fatal.is_some());
    world.check(Invariant::NoAcceptedResultIsLost, !over, || {
        format!("attempt {} is judged though the race is over", value.index)
    });
    match value.verdict {
        Verdict::Accept => {
            // After a panic another may have to do.
            account.accepted = Some(value.index);
            account.trial(value.index).accepted = true;
        }
        Verdict::Fatal => account.fatal = account.fatal.or(Some(value.index)),
        // A retry, at once or later.
        verdict => {
            account.trial(value.index).refused = true;
            // A probe of a replica that fails is retried at once, whatever its verdict.
            let probes = account.probes && value.index == 0;
            let put_off = matches!(verdict, Verdict::RetryAfter(_));
            if let Verdict::RetryAfter(patience) = verdict
                && !probes
            {
                let patience = patience.as_nanos().try_into().unwrap_or(u64::MAX);
                account.pushback = account.pushback.max(patience);
            }
            if matches!(verdict, Verdict::Wait) && !probes {
                account.waits = true;
                if core::mem::take(&mut account.may_reserve) {
                    journal.purse.may_have_refunded();
                }
            } else if put_off && !core::mem::replace(&mut account.may_reserve, put_off) {
                journal.purse.may_reserve();
            }
        }
    }
    value.verdict
}
