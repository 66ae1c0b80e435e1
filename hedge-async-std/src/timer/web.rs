//! JavaScript's timer. The standard library's `Instant` panics there.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use gloo_timers::future::TimeoutFuture;

pub(super) use web_time::Instant;

/// A sleep of an [`AsyncStdTimer`](crate::AsyncStdTimer).
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep {
    deadline: Option<Instant>,
    /// Absent until it is polled: most sleeps of a request are dropped before.
    timeout: Option<TimeoutFuture>,
}

impl Sleep {
    /// For ever, if there is no deadline.
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            timeout: None,
        }
    }

    pub(super) fn put_off(&mut self, deadline: Option<Instant>) {
        *self = Self::until(deadline);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        // Again, where a timeout was early by the clock, as browsers allow, or as long as one can be.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let timeout = self
                .timeout
                .get_or_insert_with(|| TimeoutFuture::new(millis(left)));
            ready!(Pin::new(timeout).poll(cx));
            self.timeout = None;
        }
    }
}

/// Whole milliseconds, rounded up. `setTimeout` takes 31 bits, and a longer one for none at all.
fn millis(left: Duration) -> u32 {
    let millis = left.as_nanos().div_ceil(1_000_000);
    millis.min(i32::MAX as u128) as u32
}
