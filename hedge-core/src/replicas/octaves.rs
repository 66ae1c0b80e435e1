//! Binary logarithms in fixed point.
//!
//! Latencies are compared by ratio, so replicas keep their logarithms: a difference of one octave is a
//! factor of two. Whole numbers suffice, and a microcontroller computes them in a few instructions.

use core::time::Duration;

/// A logarithm in 1/256 octaves. A `u64` takes at most 64 octaves, so 14 bits.
pub(super) type Octaves = u16;

/// A factor of two.
pub(super) const OCTAVE: Octaves = 256;

/// The logarithm of `value`, or 0 for 0. Linear between powers of two, which is at most 0.09 octaves low.
pub(super) const fn log2(value: u64) -> Octaves {
    let value = value | 1;
    let zeros = value.leading_zeros();
    // The leading one moves to bit 63, and the eight bits after it are the fraction.
    let fraction = (value << zeros) >> 55 & 255;
    ((63 - zeros) << 8) as Octaves | fraction as Octaves
}

/// The value whose [`log2`] this is.
pub(super) const fn exp2(octaves: Octaves) -> u64 {
    let (whole, fraction) = (octaves as u32 >> 8 & 63, octaves as u64 & 255);
    ((256 | fraction) << 55) >> (63 - whole)
}

/// The logarithm of a time in nanoseconds, as a time.
pub(super) const fn duration(octaves: Octaves) -> Duration {
    Duration::from_nanos(exp2(octaves))
}

/// −ln(u) in 1/256 for u uniform in (0, 1), drawn from 32 random bits: exponentially distributed with mean 1.
pub(super) const fn exponential(random: u32) -> u32 {
    const LN_2: u32 = 177;
    let below_one = 32 * OCTAVE as u32 - log2(random as u64) as u32;
    below_one * LN_2 / 256
}
