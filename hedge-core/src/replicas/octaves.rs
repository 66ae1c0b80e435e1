//! Binary logarithms in fixed point.
//!
//! Latencies are compared by their ratio, so replicas store logarithms: a difference of one octave is a factor of two.
//! A microcontroller computes these integers in a few instructions.

use core::time::Duration;

/// A logarithm in 1/256 octaves. A `u64` has at most 64 octaves, which fit in 14 bits.
pub(super) type Octaves = u16;

/// A factor of two.
pub(super) const OCTAVE: Octaves = 256;

/// Returns the logarithm of `value`, or 0 for 0, to within 0.01 octaves.
#[inline]
pub(super) const fn log2(value: u64) -> Octaves {
    (log2_fine(value) >> 8) as Octaves
}

/// Returns the logarithm of `value` + 1.
#[inline]
pub(super) const fn log2_of_next(value: u16) -> Octaves {
    // This table serves the numbers of attempts in flight, most of which are small.
    const SMALL: [Octaves; 16] = {
        let mut small = [0; 16];
        let mut value = 0;
        while value < small.len() {
            small[value] = log2(value as u64 + 1);
            value += 1;
        }
        small
    };
    let index = value as usize;
    if index < SMALL.len() {
        SMALL[index]
    } else {
        log2(value as u64 + 1)
    }
}

/// Returns the inverse of [`log2`], to within 1 %.
pub(super) const fn exp2(octaves: Octaves) -> u64 {
    let (whole, fraction) = (octaves as u32 >> 8 & 63, (octaves as u64 & 255) << 8);
    (((1 << 16) + fraction - bulge(fraction)) << 47) >> (63 - whole)
}

/// Returns the logarithm of `value` in 2⁻¹⁶ octaves.
#[inline]
const fn log2_fine(value: u64) -> u32 {
    let value = if value == 0 { 1 } else { value };
    let zeros = value.leading_zeros();
    // Shift the leading 1 to bit 63; the bits after it are the fraction.
    let fraction = (value << zeros) >> 47 & 0xffff;
    (63 - zeros) << 16 | (fraction + bulge(fraction)) as u32
}

/// Returns 0.344 f (1 − f) for a fraction f in units of 2⁻¹⁶: about how far log2(1 + f) lies above f, and 2^f below 1 +
/// f.
const fn bulge(fraction: u64) -> u64 {
    let product = (fraction * ((1 << 16) - fraction)) >> 16;
    (product * 22_544) >> 16
}

/// Converts the logarithm of a number of nanoseconds to a duration.
pub(super) const fn duration(octaves: Octaves) -> Duration {
    Duration::from_nanos(exp2(octaves))
}

/// Returns −ln(u) in units of 2⁻¹², where u is uniform in (0, 1) and made from 32 random bits. The result is
/// exponentially distributed with mean 1.
pub(super) const fn exponential(random: u32) -> u32 {
    const LN_2: u64 = 45_426;
    let octaves_below_one = (32 << 16) - log2_fine(random as u64);
    ((octaves_below_one as u64 * LN_2) >> 20) as u32
}
