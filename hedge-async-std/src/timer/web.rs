//! The timer of JavaScript. The `Instant` of the standard library panics on this target.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use gloo_timers::future::TimeoutFuture;

pub(super) use web_time::Instant;

/// The sleep future of an [`AsyncStdTimer`](crate::AsyncStdTimer).
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep {
    deadline: Option<Instant>,
    /// The timeout, which is created by the first poll: most sleeps of a request are dropped before that.
    timeout: Option<TimeoutFuture>,
}

impl Sleep {
    /// Sleeps until `deadline`, or forever if there is none.
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            timeout: None,
        }
    }

    pub(super) fn reset(&mut self, deadline: Option<Instant>) {
        *self = Self::until(deadline);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        // Start another timeout if one fired early by the clock, as browsers allow, or had the
        // maximum length.
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

/// Returns whole milliseconds, rounded up. `setTimeout` takes 31 bits, and treats longer timeouts
/// as 0.
fn millis(left: Duration) -> u32 {
    let millis = left.as_nanos().div_ceil(1_000_000);
    millis.min(i32::MAX as u128) as u32
}
