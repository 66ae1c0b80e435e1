//! Which latencies share a bucket.

/// Buckets in an octave, the range from one power of two to the next.
pub(super) const PER_OCTAVE: usize = 16;
/// `log2(PER_OCTAVE)`.
pub(super) const OCTAVE_BITS: u32 = PER_OCTAVE.trailing_zeros();
/// A unit is 256 ns: below 16 units, 4 µs, buckets are one unit wide.
pub(super) const UNIT_BITS: u32 = 8;
/// The first row covers 16 units, and each of the others an octave: up to 9.7 hours.
pub(super) const ROWS: usize = 34;
pub(super) const BUCKETS: usize = ROWS * PER_OCTAVE;

/// The number of buckets that share one count of dropped attempts. An attempt that lost to its hedge is recorded at
/// 1.25 × the delay or more, and a group of 4 of the 16 buckets of an octave spans at most a factor of 1.25, so the
/// attempt is never in the group of the delay.
pub(in crate::strategy::memory) const GROUP: usize = 4;
pub(super) const GROUPS: usize = BUCKETS / GROUP;
pub(super) const GROUPS_PER_ROW: usize = PER_OCTAVE / GROUP;

/// Returns the bucket of a latency. Longer latencies are in the last one.
pub(super) fn bucket_of(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < PER_OCTAVE as u64 {
        return units as usize;
    }
    let octave = units.ilog2() - OCTAVE_BITS;
    let column = (units >> octave) as usize - PER_OCTAVE;
    let row = octave as usize + 1;
    (row * PER_OCTAVE + column).min(BUCKETS - 1)
}

/// Returns the lower bound of a bucket.
pub(super) fn edge(bucket: usize) -> u64 {
    let (row, column) = (bucket / PER_OCTAVE, (bucket % PER_OCTAVE) as u64);
    if row == 0 {
        return column << UNIT_BITS;
    }
    (PER_OCTAVE as u64 + column) << (row as u32 - 1 + UNIT_BITS)
}
