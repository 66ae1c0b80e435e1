//! A link to the sensor hub, simulated.

use core::cell::Cell;

use embassy_time::Timer;

/// A radio link, on which most frames come at once and some only after many others were sent.
///
/// Latencies are Pareto's (α = 1): 4 ms and more, half of them above 8, one in a hundred above 400. One
/// frame in a hundred comes damaged. While a link fades, frames take 20 times as long, and one in four is damaged.
pub struct Link {
    noise: Cell<u32>,
    frames: Cell<u32>,
    fades: Cell<bool>,
}

/// What the sensor said.
#[derive(Debug, PartialEq)]
pub struct Reading(u16);

impl Reading {
    /// What `sensor` always says.
    pub const fn of(sensor: u16) -> Self {
        Self(sensor ^ 0x5aa5)
    }
}

/// A frame whose checksum is wrong.
pub struct Damaged;

const FASTEST_MS: u64 = 4;
const SLOWEST_MS: u64 = 2000;
const FADED_FACTOR: u64 = 20;

impl Link {
    /// `seed` must not be 0.
    pub const fn new(seed: u32) -> Self {
        Self {
            noise: Cell::new(seed.wrapping_mul(0x9e37_79b9)),
            frames: Cell::new(0),
            fades: Cell::new(false),
        }
    }

    /// From now on the link fades, or is as it was before.
    #[cfg(feature = "fading")]
    pub fn set_fading(&self, fades: bool) {
        self.fades.set(fades);
    }

    /// Asks the hub for what `sensor` says. The frame was sent even if nobody waits for the answer.
    pub async fn poll(&self, sensor: u16) -> Result<Reading, Damaged> {
        self.frames.set(self.frames.get() + 1);
        let share = u64::from(self.draw().max(1));
        let (factor, damaged) = if self.fades.get() {
            (FADED_FACTOR, u32::MAX / 4)
        } else {
            (1, u32::MAX / 100)
        };
        let millis = factor * (FASTEST_MS << 32) / share;
        Timer::after_millis(millis.min(SLOWEST_MS)).await;
        if self.draw() < damaged {
            return Err(Damaged);
        }
        Ok(Reading::of(sensor))
    }

    /// How many frames the hub saw from this link.
    pub fn frames(&self) -> u32 {
        self.frames.get()
    }

    /// Xorshift (Marsaglia, 2003).
    fn draw(&self) -> u32 {
        let mut x = self.noise.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.noise.set(x);
        x
    }
}
