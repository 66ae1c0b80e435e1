//! The timer of embassy.

use core::time::Duration;

use embassy_time::TICK_HZ;
use hedge_core::{Instant, Timer};

/// The clock and the timers of embassy. The epoch is the start of the time driver, usually that of
/// the system.
///
/// A sleep is rounded up to a tick and never ends early: at 1 kHz a delay of 0.3 ms becomes 1 ms.
/// The firmware chooses the tick rate, with the time driver and the features `tick-hz-…` of
/// embassy-time.
///
/// ```
/// use hedge_core::Timer;
/// use hedge_embassy::EmbassyTimer;
///
/// let start = EmbassyTimer.now();
/// assert!(EmbassyTimer.instant(embassy_time::Instant::now()) >= start);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyTimer;

impl EmbassyTimer {
    /// Converts embassy's `instant` to this timer's clock, for
    /// [`Call::deadline`](hedge_core::Call::deadline).
    pub const fn instant(&self, instant: embassy_time::Instant) -> Instant {
        Instant::from_epoch(duration(instant.as_ticks(), TICK_HZ))
    }
}

impl Timer for EmbassyTimer {
    type Sleep = embassy_time::Timer;

    fn now(&self) -> Instant {
        self.instant(embassy_time::Instant::now())
    }

    fn sleep_until(&self, deadline: Instant) -> embassy_time::Timer {
        let ticks = ticks(deadline.since_epoch(), TICK_HZ);
        embassy_time::Timer::at(embassy_time::Instant::from_ticks(ticks))
    }
}

const NANOS: u64 = 1_000_000_000;

/// Converts `ticks` to a duration, rounded down to the nanosecond. Embassy's conversion rounds to
/// the microsecond, so that a deadline could come too early.
const fn duration(ticks: u64, hz: u64) -> Duration {
    // This cannot overflow: the ticks are less than a second, and embassy's rates are at most 5 GHz.
    let nanos = ticks % hz * NANOS / hz;
    Duration::new(ticks / hz, nanos as u32)
}

/// Returns the number of ticks after which `duration` has passed, saturating.
fn ticks(duration: Duration, hz: u64) -> u64 {
    let part = (u64::from(duration.subsec_nanos()) * hz).div_ceil(NANOS);
    duration.as_secs().saturating_mul(hz).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slowest and the fastest rate of embassy, and common ones, including clock crystals.
    const RATES: [u64; 8] = [
        1,
        1_000,
        32_768,
        1_000_000,
        31_250_000,
        133_000_000,
        1_000_000_000,
        5_242_880_000,
    ];

    #[test]
    fn a_deadline_is_the_first_tick_that_is_not_early() {
        for hz in RATES {
            for nanos in [
                0,
                1,
                999,
                30_517,
                30_518,
                1_000_000,
                999_999_999,
                7 << 40,
                3 << 58,
            ] {
                let deadline = Duration::from_nanos(nanos);
                let tick = ticks(deadline, hz);
                assert!(duration(tick, hz) >= deadline, "{nanos} ns at {hz} Hz");
                let before = tick.checked_sub(1).map(|tick| duration(tick, hz));
                assert!(
                    before.is_none_or(|before| before < deadline),
                    "{nanos} ns at {hz} Hz"
                );
            }
        }
    }

    #[test]
    fn a_reading_of_the_clock_is_its_own_deadline() {
        // Ticks must not be finer than instants.
        for hz in RATES.into_iter().filter(|hz| *hz <= NANOS) {
            for tick in [0, 1, 2, 3, hz - 1, hz, hz + 1, 1_000_003 * hz + 1] {
                assert_eq!(ticks(duration(tick, hz), hz), tick, "{tick} at {hz} Hz");
            }
        }
    }

    #[test]
    fn the_far_future_is_far() {
        let end = Instant::MAX.since_epoch();
        for hz in RATES {
            // A sleep never ends early, even near the largest number of ticks.
            assert!(ticks(end, hz) >= end.as_secs().saturating_mul(hz));
            assert!(duration(u64::MAX, hz) >= duration(u64::MAX - 1, hz));
        }
        assert_eq!(ticks(Duration::MAX, 1_000), u64::MAX);
    }
}
