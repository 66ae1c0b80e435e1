//! The record of one replica: 16 bytes, in two halves that servers store in an atomic each.

use crate::time::Instant;

use super::choose::OVERDUE;
use super::octaves::{self, OCTAVE, Octaves};

/// The length of a tick is 2¹⁶ ns, about 66 µs. 32 bits last for three days.
const TICK_BITS: u32 = 16;

/// The number of ticks, about a minute, by which updates may arrive out of order: threads read the clock before they
/// update a replica.
const DISORDER: u32 = 1 << 20;

fn tick(now: Instant) -> u32 {
    (now.nanos_since(Instant::ZERO) >> TICK_BITS) as u32
}

/// Returns the logarithm of a time that [`Load::ticks_of_silence`] returned.
pub(super) fn silence(ticks: u32) -> Octaves {
    // A start at the very end of a tick counts from the next tick.
    match ticks.saturating_sub(DISORDER + 1) {
        0 => 0,
        ticks => octaves::log2(u64::from(ticks)) + TICK_BITS as Octaves * OCTAVE,
    }
}

/// The load of a replica: how many attempts it is working on, and when it last finished one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Load {
    pub(super) in_flight: u16,
    /// Distinguishes the replica from earlier ones at the same place, whose reports are ignored.
    pub(super) generation: u16,
    /// The tick of the first start since the last sign of life; 0 if there was none. An attempt that hangs says
    /// nothing about its replica once a later one was answered.
    since: u32,
}

impl Load {
    pub(super) const NEW: Self = Self {
        in_flight: 0,
        generation: 0,
        since: 0,
    };

    /// Returns the load with the next generation, for when a replica leaves and for when the next one comes. So reports
    /// about the former replica, and about attempts that were started in between, do not concern the next one.
    pub(super) const fn next_generation(self) -> Self {
        Self {
            in_flight: 0,
            generation: self.generation.wrapping_add(1),
            since: 0,
        }
    }

    /// Returns the load with one attempt more; `None` if there are too many to count.
    pub(super) fn started(self, now: Instant) -> Option<Self> {
        let in_flight = self.in_flight.checked_add(1)?;
        let since = if self.since == 0 {
            tick(now).max(1)
        } else {
            self.since
        };
        Some(Self {
            in_flight,
            since,
            ..self
        })
    }

    /// Returns the load with one attempt less. Every end is a `sign_of_life`, except when the caller dropped the
    /// attempt.
    pub(super) fn ended(self, now: Instant, sign_of_life: bool) -> Self {
        let in_flight = self.in_flight.saturating_sub(1);
        let later = tick(now).wrapping_sub(self.since) < u32::MAX - DISORDER;
        let is_over = in_flight == 0 || sign_of_life && later;
        Self {
            in_flight,
            since: if is_over { 0 } else { self.since },
            ..self
        }
    }

    /// Returns the logarithm of the time for which the replica has been working without a sign of life, rounded down.
    pub(super) fn silence(self, now: Instant) -> Octaves {
        silence(self.ticks_of_silence(now))
    }

    /// Returns the length of the silence in ticks, offset by [`DISORDER`]. See [`silence`].
    #[inline]
    pub(super) fn ticks_of_silence(self, now: Instant) -> u32 {
        if self.since == 0 {
            return 0;
        }
        // Another thread's time may be slightly later than `now`, and counts as recent.
        tick(now).wrapping_sub(self.since).wrapping_add(DISORDER)
    }

    #[cfg(feature = "std")]
    pub(super) const fn pack(self) -> u64 {
        self.in_flight as u64 | (self.generation as u64) << 16 | (self.since as u64) << 32
    }

    #[cfg(feature = "std")]
    pub(super) const fn unpack(word: u64) -> Self {
        Self {
            in_flight: word as u16,
            generation: (word >> 16) as u16,
            since: (word >> 32) as u32,
        }
    }
}

/// What was learned about a replica, and its options.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// A moving average of the logarithm of latency, failures counted as slow answers; 0 if nothing is known.
    pub(super) latency: Octaves,
    /// The low bits of the [`Hold`] tick until which the replica gets no attempts; 0 for no hold.
    pub(super) hold: u16,
    /// The number of primaries for which the replica was skipped since it became suspect.
    pub(super) skipped: u8,
    flags: u8,
    /// The logarithm of its weight, in 1/16 octaves.
    weight: u8,
    /// The bias, in 1/16 octaves, which is added to its cost.
    bias: i8,
}

/// The low bits of `flags` count samples.
const SAMPLES: u8 = 7;
const SUSPECT: u8 = 1 << 3;
const PROBED: u8 = 1 << 4;
const DRAINED: u8 = 1 << 5;
/// Fewer than `ENOUGH` samples were recorded.
const UNKNOWN: u8 = 1 << 6;

/// The number of samples that make a replica known.
const ENOUGH: u8 = 3;

/// What an attempt taught about its replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) latency: Octaves,
    pub(super) weight: SampleWeight,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SampleWeight {
    /// A weight of 1/8, or 1/4 if the latency is more than an octave above the average.
    Usual,
    /// A weight of at least 1/4.
    Failure,
    /// A weight of 1/2, since probes are rare.
    Probe,
    /// The latency is a lower bound, which is ignored unless it is above the average.
    LowerBound { probe: bool },
}

impl Record {
    pub(super) const fn samples(self) -> u8 {
        self.flags & SAMPLES
    }

    /// Returns whether the replica has so few samples that it gets only one attempt at a time.
    pub(super) const fn is_unknown(self) -> bool {
        self.flags & UNKNOWN != 0
    }

    /// The neutral element of [`or`](Self::or).
    pub(super) const NOTHING: Self = Self::unpack(0);

    /// Returns a record with everything that is special about either one.
    #[inline]
    pub(super) const fn or(self, other: Self) -> Self {
        Self::unpack(self.pack() | other.pack())
    }

    /// Returns whether nothing is special about the replica: it is known, not suspect, not on hold, and has the default
    /// weight and bias.
    #[inline]
    pub(super) const fn is_plain(self) -> bool {
        self.flags & (UNKNOWN | SUSPECT) == 0 && self.weight == 0 && self.bias == 0
    }

    pub(super) const fn is_suspect(self) -> bool {
        self.flags & SUSPECT != 0
    }

    /// Returns whether the replica was probed without success.
    pub(super) const fn was_probed(self) -> bool {
        self.flags & PROBED != 0
    }

    /// Returns whether the replica is drained, so that it gets no attempts.
    pub(super) const fn is_drained(self) -> bool {
        self.flags & DRAINED != 0
    }

    pub(super) const fn drained(self, drained: bool) -> Self {
        let flags = self.flags & !DRAINED;
        Self {
            flags: if drained { flags | DRAINED } else { flags },
            ..self
        }
    }

    /// Returns the bias in the unit of costs.
    #[inline]
    pub(super) const fn bias(self) -> i32 {
        self.bias as i32 * (OCTAVE as i32 / 16)
    }

    pub(super) const fn bias_sixteenths(self) -> i8 {
        self.bias
    }

    pub(super) const fn with_bias(self, sixteenths: i8) -> Self {
        Self {
            bias: sixteenths,
            ..self
        }
    }

    /// Returns the logarithm of the weight.
    #[inline]
    pub(super) const fn weight(self) -> Octaves {
        self.weight as Octaves * (OCTAVE / 16)
    }

    pub(super) const fn with_weight(self, weight: u16) -> Self {
        let log = (octaves::log2(weight as u64) + OCTAVE / 32) / (OCTAVE / 16);
        Self {
            weight: if log > 255 { 255 } else { log as u8 },
            ..self
        }
    }

    /// Returns the record with this latency, as if many answers had confirmed it.
    pub(super) fn with_latency(self, latency: Octaves) -> Self {
        Self {
            latency: latency.clamp(1, 64 * OCTAVE - 1),
            flags: self.flags & !UNKNOWN | SAMPLES,
            ..self
        }
    }

    /// Returns the record with a hold until the [`Hold`] tick `hold`; 0 ends a hold.
    pub(super) const fn with_hold(self, hold: u16) -> Self {
        Self { hold, ..self }
    }

    /// Returns the record of a replica that becomes suspect, or is no longer suspect.
    pub(super) const fn with_suspicion(self, suspect: bool) -> Self {
        let flags = self.flags & !(SUSPECT | PROBED);
        Self {
            flags: if suspect { flags | SUSPECT } else { flags },
            skipped: 0,
            ..self
        }
    }

    pub(super) const fn skipped_once_more(self) -> Self {
        Self {
            skipped: self.skipped.saturating_add(1),
            ..self
        }
    }

    /// Returns the record after a probe. Skipping counts from `skipped` again, and the next probe waits longer.
    pub(super) const fn probed(self, skipped: u8) -> Self {
        Self {
            flags: self.flags | PROBED,
            skipped,
            ..self
        }
    }

    /// Returns the record after a probe that was fast: the next probe may start at once.
    pub(super) fn probe_went_well(self) -> Self {
        Self {
            flags: self.flags & !PROBED,
            skipped: OVERDUE,
            ..self
        }
    }

    /// Returns the record after `sample`; `None` if it changes nothing.
    pub(super) fn learned(self, sample: Sample) -> Option<Self> {
        let samples = self.samples();
        let (old, new) = (i32::from(self.latency), i32::from(sample.latency));
        if matches!(sample.weight, SampleWeight::LowerBound { .. }) && (samples == 0 || new <= old)
        {
            return None;
        }
        let latency = if samples == 0 {
            sample.latency
        } else {
            let divisor = i32::from(samples + 1);
            let divisor = match sample.weight {
                SampleWeight::Probe | SampleWeight::LowerBound { probe: true } => 2,
                SampleWeight::Failure => divisor.min(4),
                _ if new > old + i32::from(OCTAVE) => divisor.min(4),
                _ => divisor,
            };
            // Round to nearest, since truncation would let the estimate lag by up to 7/256 of an octave.
            let (step, half) = (new - old, divisor / 2);
            let step = if step < 0 { step - half } else { step + half } / divisor;
            (old + step) as Octaves
        };
        let mut flags = self.flags & !SAMPLES | (samples + 1).min(SAMPLES);
        if samples + 1 >= ENOUGH {
            flags &= !UNKNOWN;
        }
        Some(Self {
            // 0 means unknown, and 64 octaves cover every time.
            latency: latency.clamp(1, 64 * OCTAVE - 1),
            flags,
            ..self
        })
    }

    pub(super) const fn pack(self) -> u64 {
        self.latency as u64
            | (self.hold as u64) << 16
            | (self.skipped as u64) << 32
            | (self.flags as u64) << 40
            | (self.weight as u64) << 48
            | (self.bias as u8 as u64) << 56
    }

    pub(super) const fn unpack(word: u64) -> Self {
        Self {
            latency: word as Octaves,
            hold: (word >> 16) as u16,
            skipped: (word >> 32) as u8,
            flags: (word >> 40) as u8,
            weight: (word >> 48) as u8,
            bias: (word >> 56) as i8,
        }
    }

    /// The state of a new replica.
    pub(super) const NEW: Self = Self {
        latency: 0,
        hold: 0,
        skipped: 0,
        flags: UNKNOWN,
        weight: 0,
        bias: 0,
    };
}

/// The time of holds, in ticks of 2²⁵ ns, about 34 ms. A record keeps the low 16 bits, which last for 36 minutes.
pub(super) struct Hold;

impl Hold {
    const BITS: u32 = 25;
    /// The longest hold, 35 minutes in ticks. The margin is for threads that read an older tick.
    const LONGEST: u64 = (1 << 16) - 1024;

    pub(super) const fn tick(now: Instant) -> u32 {
        (now.nanos_since(Instant::ZERO) >> Self::BITS) as u32
    }

    /// Returns the bits that a record keeps of a hold until `until`; 0 if that has passed, by `now` or by the tick `last`.
    pub(super) fn until(last: u32, now: Instant, until: Instant) -> u16 {
        let first = now.nanos_since(Instant::ZERO) >> Self::BITS;
        // A hold is relative to the last tick that any thread has seen, which may be later than `now`.
        let first = first + u64::from(Self::passed(first as u32, last));
        let end = until.nanos_since(Instant::ZERO).div_ceil(1 << Self::BITS);
        if until <= now || end <= first {
            return 0;
        }
        match end.min(first + Self::LONGEST) as u16 {
            0 => 1,
            tick => tick,
        }
    }

    /// Returns whether the hold, which was still on at tick `last`, has ended by tick `now`.
    pub(super) const fn has_ended(hold: u16, last: u32, now: u32) -> bool {
        let left = hold.wrapping_sub(last as u16) as u32;
        Self::passed(last, now) >= left
    }

    /// Returns the ticks from `last` to `now`; 0 if another thread has seen a later tick.
    pub(super) const fn passed(last: u32, now: u32) -> u32 {
        let passed = now.wrapping_sub(last);
        if passed > u32::MAX / 2 { 0 } else { passed }
    }
}
