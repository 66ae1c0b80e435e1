//! Random numbers that are the same in every version of this suite.

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// Two seeds give streams that have nothing to do with each other.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// In `0..bound`; 0 if that is empty.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.any() as u128 * bound as u128) >> 64) as u64
    }

    /// One of `choices`.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub const fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// In (0, 1), uniform.
    pub fn unit(&mut self) -> f64 {
        ((self.any() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal: the sum of twelve uniform draws would lack tails, so Box and Muller (1958).
    #[cfg(feature = "std")]
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (core::f64::consts::TAU * self.unit()).cos()
    }

    /// Lognormal, by its median and the standard deviation σ of its logarithm.
    #[cfg(feature = "std")]
    pub fn lognormal(&mut self, median: core::time::Duration, sigma: f64) -> core::time::Duration {
        median.mul_f64((sigma * self.normal()).exp())
    }
}
