//! The one thing a runtime must provide.

use core::future::Future;
use core::pin::Pin;

use crate::Instant;

/// A monotonic clock that can wake a task.
///
/// Implementations are cheap to clone (`&Clock` implements `Timer` where the clock must be
/// borrowed). [`ManualTimer`](crate::manual::ManualTimer) is a complete example.
pub trait Timer {
    /// Completes once [`now`](Timer::now) has reached the deadline, never before.
    type Sleep: Future<Output = ()>;

    /// The current time. Never goes backwards.
    fn now(&self) -> Instant;

    /// Sleeps until `deadline`; resolves at once if it has passed. A deadline too far for the
    /// runtime's clock is never reached.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// Moves an existing sleep to a new deadline. The default makes a new one; override it where
    /// moving is cheaper.
    fn rearm(&self, mut sleep: Pin<&mut Self::Sleep>, deadline: Instant) {
        sleep.set(self.sleep_until(deadline));
    }
}
