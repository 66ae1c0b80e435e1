//! The timer of embassy.

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
        Instant::from_nanos(nanos(instant.as_ticks(), TICK_HZ))
    }
}

impl Timer for EmbassyTimer {
    type Sleep = embassy_time::Timer;

    fn now(&self) -> Instant {
        self.instant(embassy_time::Instant::now())
    }

    fn sleep_until(&self, deadline: Instant) -> embassy_time::Timer {
        let ticks = ticks(deadline.as_nanos(), TICK_HZ);
        embassy_time::Timer::at(embassy_time::Instant::from_ticks(ticks))
    }
}

/// How many nanoseconds a second has.
const NANOS: u64 = 1_000_000_000;

/// Converts `ticks` to nanoseconds, rounded down, saturating. Embassy's conversion rounds to the microsecond, so that a
/// deadline could come too early.
const fn nanos(ticks: u64, hz: u64) -> u64 {
    // Most rates divide a second evenly, and need no division here.
    if NANOS.is_multiple_of(hz) {
        return ticks.saturating_mul(NANOS / hz);
    }
    // This cannot overflow: the ticks are less than a second, and embassy's rates are at most 5 GHz.
    let part = ticks % hz * NANOS / hz;
    (ticks / hz).saturating_mul(NANOS).saturating_add(part)
}

/// Returns the number of ticks after which `nanos` have passed, saturating.
const fn ticks(nanos: u64, hz: u64) -> u64 {
    if NANOS.is_multiple_of(hz) {
        return nanos.div_ceil(NANOS / hz);
    }
    let part = (nanos % NANOS * hz).div_ceil(NANOS);
    (nanos / NANOS).saturating_mul(hz).saturating_add(part)
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
            for deadline in [
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
                let tick = ticks(deadline, hz);
                assert!(nanos(tick, hz) >= deadline, "{deadline} ns at {hz} Hz");
                let before = tick.checked_sub(1).map(|tick| nanos(tick, hz));
                assert!(
                    before.is_none_or(|before| before < deadline),
                    "{deadline} ns at {hz} Hz"
                );
            }
        }
    }

    #[test]
    fn a_reading_of_the_clock_is_its_own_deadline() {
        // Ticks must not be finer than instants.
        for hz in RATES.into_iter().filter(|hz| *hz <= NANOS) {
            for tick in [0, 1, 2, 3, hz - 1, hz, hz + 1, 1_000_003 * hz + 1] {
                assert_eq!(ticks(nanos(tick, hz), hz), tick, "{tick} at {hz} Hz");
            }
        }
    }

    #[test]
    fn the_far_future_is_far() {
        let end = Instant::MAX.as_nanos();
        for hz in RATES {
            // A sleep never ends early, even near the largest number of ticks.
            assert!(ticks(end, hz) >= (end / NANOS).saturating_mul(hz));
            assert!(nanos(u64::MAX, hz) >= nanos(u64::MAX - 1, hz));
            assert_eq!(
                nanos(u64::MAX, hz),
                if hz > NANOS {
                    u64::MAX / hz * NANOS + u64::MAX % hz * NANOS / hz
                } else {
                    end
                }
            );
        }
    }
}
