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
    /// The primary is pending once, and ready when it is polled again.
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

/// What the attempts of one request share.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    launched: AtomicU32,
    hedge_is_out: AtomicBool,
    primary: AtomicWaker,
}

impl Slot {
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
}

impl Future for Attempt {
    type Output = Result<u32, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let first = !core::mem::replace(&mut self.polled, true);
        let slot = self.script.slot;
        let ready = match (self.script.kind, self.index) {
            (Kind::Ready, _) => true,
            (Kind::Pending, _) => {
                if first {
                    cx.waker().wake_by_ref();
                }
                !first
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
