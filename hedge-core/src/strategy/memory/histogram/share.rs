//! Shares of samples without floating point.

/// A share between 0 and 1 in units of 2⁻³², since microcontrollers have no hardware for `f64`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Share(u32);

impl Share {
    pub(crate) const HALF: Self = Self(1 << 31);

    /// Returns the share of attempts above this percentile, which is clamped to 50 to 99.9; a NaN counts as 99.9.
    pub(crate) const fn above(percent: f64) -> Self {
        let percent = if percent < 50.0 {
            50.0
        } else if percent <= 99.9 {
            percent
        } else {
            99.9
        };
        Self(((100.0 - percent) * (4_294_967_296.0 / 100.0)) as u32)
    }

    /// Returns the nearest share that can be represented.
    pub(crate) const fn of(share: f32) -> Self {
        Self((share as f64 * 4_294_967_296.0) as u32)
    }

    /// A share in units of 2⁻³², 1 at the most.
    pub(crate) const fn of_bits(bits: u64) -> Self {
        if bits < u32::MAX as u64 {
            Self(bits as u32)
        } else {
            Self(u32::MAX)
        }
    }

    pub(crate) const fn tenths(self, tenths: u8) -> Self {
        Self((self.0 as u64 * tenths as u64 / 10) as u32)
    }

    pub(crate) const fn get(self) -> f32 {
        self.0 as f32 / 4_294_967_296.0
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }
}
