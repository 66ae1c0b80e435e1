//! The timer of async-io, which `async_std::task::sleep` and `smol::Timer` use too.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use async_io::Timer;

pub(super) use std::time::Instant;

/// The sleep future of an [`AsyncStdTimer`](crate::AsyncStdTimer).
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep(Timer);

impl Sleep {
    /// Sleeps until `deadline`, or forever if there is none.
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        Self(deadline.map_or_else(Timer::never, Timer::at))
    }

    pub(super) fn reset(&mut self, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => self.0.set_at(deadline),
            None => self.0 = Timer::never(),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}
