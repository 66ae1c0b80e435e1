//! Random draws from the normal, gamma and beta distributions.
//!
//! The computations use `f32`, for which small microcontrollers have hardware, and the functions of `libm`, so that a
//! seed gives the same draws, bit for bit, on every machine.

use rand_core::Rng;

#[cfg(test)]
mod tests;

/// A generator with eight bytes of state, for a hedger's few draws: SplitMix64 (Steele, Lea and
/// Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Reference draws in `f64`, for tests of estimates.
#[cfg(test)]
impl SplitMix {
    /// Draws from the uniform distribution between 0 and 1, both excluded.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Draws from the normal distribution with mean 0 and variance 1 (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(core::f64::consts::TAU * self.uniform())
    }
}

/// Draws from distributions, using the bits of a generator.
#[derive(Debug)]
pub(crate) struct Draws<'r, R> {
    rng: &'r mut R,
    /// The second of a pair of normal draws.
    spare: Option<f32>,
}

impl<'r, R: Rng> Draws<'r, R> {
    pub(crate) const fn new(rng: &'r mut R) -> Self {
        Self { rng, spare: None }
    }

    /// Draws from the uniform distribution between 0 and 1, both excluded.
    pub(crate) fn uniform(&mut self) -> f32 {
        // Use 23 bits and a half, the resolution of an `f32` just below 1.
        ((self.rng.next_u32() >> 9) as f32 + 0.5) * (1.0 / (1 << 23) as f32)
    }

    /// Draws a whole number below `n`, all equally likely but for a bias of n / 2³². Returns 0 if
    /// `n` is 0.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.rng.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// Draws from the normal distribution with mean 0 and variance 1, by the polar method
    /// (Marsaglia and Bray, 1964).
    pub(crate) fn normal(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.symmetric(), self.symmetric());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = libm::sqrtf(-2.0 * libm::logf(square) / square);
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Draws from the gamma distribution with this shape and scale 1 (Marsaglia and Tsang, 2000).
    ///
    /// `shape` is clamped to 0.01 to 10⁸; NaN becomes 0.01.
    pub(crate) fn gamma(&mut self, shape: f32) -> f32 {
        let shape = if shape >= 0.01 { shape.min(1e8) } else { 0.01 };
        if shape >= 1.0 {
            return self.gamma_from_one(shape);
        }
        // The method requires a shape of at least 1. G(a) is distributed as G(a + 1) · U^(1/a).
        let boost = libm::expf(libm::logf(self.uniform()) / shape);
        self.gamma_from_one(shape + 1.0) * boost
    }

    /// Draws from the beta distribution, as G(α) / (G(α) + G(β)).
    pub(crate) fn beta(&mut self, alpha: f32, beta: f32) -> f32 {
        let (a, b) = (self.gamma(alpha), self.gamma(beta));
        // Both draws can underflow to 0 when both shapes are small. The result is then 0 or 1, with
        // the probabilities given by the shapes.
        if a + b > 0.0 {
            a / (a + b)
        } else if self.uniform() * (alpha + beta) < alpha {
            1.0
        } else {
            0.0
        }
    }

    fn gamma_from_one(&mut self, shape: f32) -> f32 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrtf(9.0 * d);
        loop {
            let x = self.normal();
            let t = c * x;
            if t <= -1.0 {
                continue;
            }
            let v = (1.0 + t) * (1.0 + t) * (1.0 + t);
            let u = self.uniform();
            // This test accepts most draws without computing a logarithm.
            if u < 1.0 - 0.0331 * (x * x) * (x * x) {
                return d * v;
            }
            // This equals d (1 − v + ln v). It is computed from t because v is close to 1 when the shape is large.
            let exponent = 3.0 * d * (libm::log1pf(t) - t - t * t * (1.0 + t / 3.0));
            if libm::logf(u) < 0.5 * x * x + exponent {
                return d * v;
            }
        }
    }

    /// Draws from the uniform distribution between −1 and 1.
    fn symmetric(&mut self) -> f32 {
        self.rng.next_u32() as i32 as f32 * (1.0 / (1_u32 << 31) as f32)
    }
}
