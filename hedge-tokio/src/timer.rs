//! The timer of tokio.

use core::pin::Pin;
use core::time::Duration;
use std::sync::OnceLock;

use hedge_core::runtime::Runtime;
use hedge_core::{Instant, Timer};
use tokio::time;

/// The clock and the timers of tokio. Follows `tokio::time::pause`.
///
/// Tokio rounds timers up to the next millisecond: a delay of 0.3 ms becomes 1 ms.
///
/// All timers of a process have one epoch, an hour before the first of them was created, so that hedgers can share what
/// they know of [replicas](crate::replicas). Runtimes with paused time have separate clocks, so create the timer inside
/// the runtime that uses it if time is paused there.
///
/// A hedger creates its timer itself; a [cascade](crate::cascade) takes one:
///
/// ```
/// use core::time::Duration;
/// use hedge_tokio::TokioTimer;
/// use hedge_tokio::cascade::{Cascade, Tier};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tiers = [Tier::new("large").delay(Duration::from_millis(500)), Tier::new("small")];
/// let cascade = Cascade::new(TokioTimer::new(), tiers)?;
/// let answer = cascade.request((|| ask_large("why?"), || ask_small("why?"))).await?;
/// println!("{} said {}", answer.outcome.tier_name(), answer.value);
/// # Ok(())
/// # }
/// # async fn ask_large(_: &str) -> Result<String, std::io::Error> { Ok("because".into()) }
/// # async fn ask_small(_: &str) -> Result<String, std::io::Error> { Ok("so".into()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokioTimer {
    epoch: time::Instant,
}

impl TokioTimer {
    /// Creates a timer.
    pub fn new() -> Self {
        /// The clock of a runtime stands still while its time is paused, and so may be behind that of the system.
        const MARGIN: Duration = Duration::from_secs(3600);
        static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
        let epoch = *EPOCH.get_or_init(|| {
            let now = std::time::Instant::now();
            now.checked_sub(MARGIN).unwrap_or(now)
        });
        Self {
            // No instant is before the epoch, so a clock that is behind by more than the margin has another one.
            epoch: time::Instant::now().min(epoch.into()),
        }
    }

    /// Converts tokio's `instant` to this timer's clock. Returns the epoch if `instant` was before
    /// it.
    pub fn instant(&self, instant: time::Instant) -> Instant {
        Instant::from_epoch(instant.saturating_duration_since(self.epoch))
    }

    /// Converts `instant` to tokio's clock. If it cannot be represented, returns an instant in the far future (the
    /// timer wheel of tokio spans two years).
    #[inline]
    fn at(&self, instant: Instant) -> time::Instant {
        const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
        let since_epoch = instant.since_epoch();
        self.epoch
            .checked_add(since_epoch)
            .unwrap_or_else(|| time::Instant::now() + FAR)
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for TokioTimer {
    type Sleep = time::Sleep;

    fn now(&self) -> Instant {
        Instant::from_epoch(self.epoch.elapsed())
    }

    /// # Panics
    ///
    /// Panics outside a runtime with time enabled, like the timers of tokio.
    #[inline(always)]
    fn sleep_until(&self, deadline: Instant) -> time::Sleep {
        time::sleep_until(self.at(deadline))
    }

    fn rearm(&self, sleep: Pin<&mut time::Sleep>, deadline: Instant) {
        sleep.reset(self.at(deadline));
    }
}

impl Runtime for TokioTimer {
    type Instant = time::Instant;

    fn instant(&self, instant: time::Instant) -> Instant {
        self.instant(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timers_of_a_process_agree() {
        let first = TokioTimer::new();
        time::advance(Duration::from_secs(600)).await;
        let second = TokioTimer::new();
        assert_eq!(first.now(), second.now());
        // The clocks of other threads have run meanwhile, or not.
        let now = time::Instant::now();
        let third = std::thread::spawn(TokioTimer::new).join().unwrap();
        assert_eq!(first.instant(now), third.instant(now));
        // Time passes, however far a paused clock is behind.
        time::advance(Duration::from_secs(5)).await;
        assert_eq!(second.now().since(third.instant(now)).as_secs(), 5);
    }
}
