//! What an attempt does, the same for whoever makes it.

use core::error::Error;
use core::fmt;
use core::future::Future;
use core::hint::black_box;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use atomic_waker::AtomicWaker;
use clap::ValueEnum;

/// How a request goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The primary is ready when it is first polled.
    Ready,
    /// The primary is pending once, and ready when its task runs again, which it asks for.
    Pending,
    /// The primary hangs; a hedge is started and is ready at once.
    HedgeWins,
    /// The primary is ready a moment after a hedge was started.
    HedgeLoses,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self::Ready,
        Self::Pending,
        Self::HedgeWins,
        Self::HedgeLoses,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Pending => "pending",
            Self::HedgeWins => "hedge_wins",
            Self::HedgeLoses => "hedge_loses",
        }
    }

    /// Whether a hedge is started.
    pub(crate) const fn hedges(self) -> bool {
        matches!(self, Self::HedgeWins | Self::HedgeLoses)
    }

    /// Which attempt gives the answer.
    pub(crate) const fn winner(self) -> u32 {
        match self {
            Self::HedgeWins => 1,
            _ => 0,
        }
    }

    /// After how long a hedge is due: the least that tokio's timers know where one is to be started, and
    /// never elsewhere.
    pub(crate) const fn delay(self) -> Duration {
        Duration::from_millis(if self.hedges() { 1 } else { 100 })
    }
}

/// The state that the attempts of one request share.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// How often the task has run.
    turn: AtomicU32,
    launched: AtomicU32,
    hedge_is_out: AtomicBool,
    primary: AtomicWaker,
}

impl Slot {
    /// Says that the task runs. Who polls an attempt twice before that does not wait for it.
    pub(crate) fn next_turn(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
    }

    /// Readies it for the next request.
    pub(crate) fn reset(&self) {
        self.launched.store(0, Ordering::Relaxed);
        self.hedge_is_out.store(false, Ordering::Relaxed);
    }
}

/// A request: what it is asked to do, and where its attempts meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    pub(crate) slot: &'static Slot,
}

impl Script {
    /// Starts the next attempt. Peers do not all say which one it is, so it is counted here.
    pub(crate) fn launch(self) -> Attempt {
        let index = if self.kind.hedges() {
            let launched = &self.slot.launched;
            // An attempt is started by one thread at a time.
            let index = launched.load(Ordering::Relaxed);
            launched.store(index + 1, Ordering::Relaxed);
            index
        } else {
            0
        };
        Attempt {
            script: self,
            index,
            polled: false,
            turn: 0,
        }
    }
}

/// One attempt. Its value is its index.
#[derive(Debug)]
#[must_use]
pub(crate) struct Attempt {
    script: Script,
    index: u32,
    polled: bool,
    turn: u32,
}

impl Future for Attempt {
    type Output = Result<u32, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let first = !core::mem::replace(&mut self.polled, true);
        let slot = self.script.slot;
        let ready = match (self.script.kind, self.index) {
            (Kind::Ready, _) => true,
            (Kind::Pending, _) => {
                let turn = slot.turn.load(Ordering::Relaxed);
                if first {
                    self.turn = turn;
                    cx.waker().wake_by_ref();
                }
                self.turn != turn
            }
            (Kind::HedgeWins, 0) => false,
            (Kind::HedgeWins, _) => true,
            (Kind::HedgeLoses, 0) => {
                slot.primary.register(cx.waker());
                slot.hedge_is_out.load(Ordering::Relaxed)
            }
            (Kind::HedgeLoses, _) => {
                if first {
                    slot.hedge_is_out.store(true, Ordering::Relaxed);
                    slot.primary.wake();
                }
                false
            }
        };
        if ready {
            Poll::Ready(Ok(black_box(self.index)))
        } else {
            Poll::Pending
        }
    }
}

/// How an attempt would fail, if one did.
#[derive(Clone, Debug)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl Error for Failed {}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::Waker;

    use super::*;

    #[test]
    fn who_polls_twice_in_a_turn_does_not_save_the_wait() {
        let slot: &'static Slot = Box::leak(Box::default());
        let kind = Kind::Pending;
        let mut attempt = pin!(Script { kind, slot }.launch());
        let mut context = Context::from_waker(Waker::noop());
        assert!(attempt.as_mut().poll(&mut context).is_pending());
        assert!(attempt.as_mut().poll(&mut context).is_pending());
        slot.next_turn();
        assert!(attempt.as_mut().poll(&mut context).is_ready());
    }
}
