//! What is known about one replica: 16 bytes, in two halves that servers keep in an atomic each.

use crate::time::Instant;

use super::octaves::{self, OCTAVE, Octaves};

/// A coarse time: 2¹⁶ ns, about 66 µs. 32 bits last for three days.
const TICK_BITS: u32 = 16;

/// Threads read the clock before they update a replica, so that updates may arrive out of order by this many ticks,
/// about a minute.
const DISORDER: u32 = 1 << 20;

fn tick(now: Instant) -> u32 {
    (now.nanos_since(Instant::ZERO) >> TICK_BITS) as u32
}

/// The logarithm of a time that [`Load::ticks_of_silence`] returned.
pub(super) fn silence(ticks: u32) -> Octaves {
    // A start at the very end of a tick counts from the next tick.
    match ticks.saturating_sub(DISORDER + 1) {
        0 => 0,
        ticks => octaves::log2(u64::from(ticks)) + TICK_BITS as Octaves * OCTAVE,
    }
}

/// How many attempts a replica is working on, and when it last gave a sign of life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Load {
    pub(super) in_flight: u16,
    /// Reports about an earlier holder of the place have another one.
    pub(super) generation: u16,
    /// The tick at which the last attempt finished or, if that is later, the first of those in flight started.
    since: u32,
}

impl Load {
    pub(super) const NEW: Self = Self {
        in_flight: 0,
        generation: 0,
        since: 0,
    };

    /// The state of the place once its holder has left, and once the next has come: reports about neither the last
    /// nor attempts that were started in between are about the next.
    pub(super) const fn next_generation(self) -> Self {
        Self {
            in_flight: 0,
            generation: self.generation.wrapping_add(1),
            since: 0,
        }
    }

    /// One attempt more, unless there are too many to count.
    pub(super) fn started(self, now: Instant) -> Option<Self> {
        let in_flight = self.in_flight.checked_add(1)?;
        let since = if self.in_flight == 0 {
            tick(now)
        } else {
            self.since
        };
        Some(Self {
            in_flight,
            since,
            ..self
        })
    }

    /// One attempt less. A `sign_of_life` is anything but that the caller gave the attempt up.
    pub(super) fn ended(self, now: Instant, sign_of_life: bool) -> Self {
        let later = tick(now).wrapping_sub(self.since) < u32::MAX - DISORDER;
        Self {
            in_flight: self.in_flight.saturating_sub(1),
            since: if sign_of_life && later {
                tick(now)
            } else {
                self.since
            },
            ..self
        }
    }

    /// How long the replica has given no sign of life although it has something to do. Never too long.
    pub(super) fn silence(self, now: Instant) -> Octaves {
        silence(self.ticks_of_silence(now))
    }

    /// The current time in ticks, plus a constant that makes comparisons cheap. See [`silence`].
    #[inline]
    pub(super) fn ticks_of_silence(self, now: Instant) -> u32 {
        if self.in_flight == 0 {
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

/// What was learned about a replica, and what its owner wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// A moving average of the logarithm of latency, failures counted as slow answers; 0 if nothing is known.
    pub(super) latency: Octaves,
    /// The low bits of the [`Hold`] tick until which it gets nothing; 0 for none.
    pub(super) hold: u16,
    /// How many primaries it was passed over for since it became suspect.
    pub(super) skipped: u8,
    flags: u8,
    /// Its share of the requests in 1/16 octaves: the logarithm of its weight.
    weight: u8,
    /// 1/16 octaves that are added to its cost.
    bias: i8,
}

/// The low bits of `flags` count samples.
const SAMPLES: u8 = 7;
const SUSPECT: u8 = 1 << 3;
const PROBED: u8 = 1 << 4;
const DRAINED: u8 = 1 << 5;
/// There were not `ENOUGH` samples.
const UNKNOWN: u8 = 1 << 6;

/// How many samples make a replica known.
const ENOUGH: u8 = 3;

/// What an attempt taught about its replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) latency: Octaves,
    pub(super) weight: SampleWeight,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SampleWeight {
    /// 1/8, or 1/4 for a surprise.
    Usual,
    /// At least 1/4.
    Failure,
    /// 1/2: probes are rare, so each has to count.
    Probe,
    /// Only a lower bound is known: ignored unless it is above what is believed.
    LowerBound { probe: bool },
}

impl Record {
    pub(super) const fn samples(self) -> u8 {
        self.flags & SAMPLES
    }

    /// Whether the replica has answered too seldom to be given more than one attempt at a time.
    pub(super) const fn is_unknown(self) -> bool {
        self.flags & UNKNOWN != 0
    }

    /// Nothing is special about it, to begin [`or`](Self::or) with.
    pub(super) const NOTHING: Self = Self::unpack(0);

    /// Everything that is special about either record.
    #[inline]
    pub(super) const fn or(self, other: Self) -> Self {
        Self::unpack(self.pack() | other.pack())
    }

    /// Whether there is nothing special about it: it is known and trusted, and weighs and costs what others do.
    #[inline]
    pub(super) const fn is_plain(self) -> bool {
        self.flags & (UNKNOWN | SUSPECT) == 0 && self.weight == 0 && self.bias == 0
    }

    pub(super) const fn is_suspect(self) -> bool {
        self.flags & SUSPECT != 0
    }

    /// Whether the replica was probed without success.
    pub(super) const fn was_probed(self) -> bool {
        self.flags & PROBED != 0
    }

    /// Whether the replica is there, but is given no attempts.
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

    /// In octaves, as costs are.
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

    /// The logarithm of the weight.
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

    /// Its latency is known, as if it had answered often.
    pub(super) fn with_latency(self, latency: Octaves) -> Self {
        Self {
            latency: latency.clamp(1, 64 * OCTAVE - 1),
            flags: self.flags & !UNKNOWN | SAMPLES,
            ..self
        }
    }

    /// Keeps attempts away until the [`Hold`] tick `hold`, or no longer if that is 0.
    pub(super) const fn with_hold(self, hold: u16) -> Self {
        Self { hold, ..self }
    }

    /// Begins or ends a suspicion.
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

    /// Skipping counts from `skipped` now: the next probe waits for longer.
    pub(super) const fn probed(self, skipped: u8) -> Self {
        Self {
            flags: self.flags | PROBED,
            skipped,
            ..self
        }
    }

    /// A suspect answered well: the next probe may come at once.
    pub(super) fn probe_went_well(self, enough: u8) -> Self {
        Self {
            flags: self.flags & !PROBED,
            skipped: self.skipped.max(enough),
            ..self
        }
    }

    /// Learns from `sample`; `None` if it teaches nothing.
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

/// Ticks of holds: 2²⁵ ns, about 34 ms. A record keeps the low 16 bits, which last for 36 minutes.
pub(super) struct Hold;

impl Hold {
    const BITS: u32 = 25;
    /// The longest hold, 35 minutes. Some room is left, for threads may read a tick that has just passed.
    const LONGEST: u64 = (1 << 16) - 1024;

    pub(super) const fn tick(now: Instant) -> u32 {
        (now.nanos_since(Instant::ZERO) >> Self::BITS) as u32
    }

    /// What a record keeps of a hold until `until`: never 0.
    pub(super) fn until(now: Instant, until: Instant) -> u16 {
        let first = now.nanos_since(Instant::ZERO) >> Self::BITS;
        let last = until.nanos_since(Instant::ZERO).div_ceil(1 << Self::BITS);
        match last.min(first + Self::LONGEST) as u16 {
            0 => 1,
            tick => tick,
        }
    }

    /// Whether the hold, which stood at tick `last`, has ended by tick `now`.
    pub(super) const fn has_ended(hold: u16, last: u32, now: u32) -> bool {
        let left = hold.wrapping_sub(last as u16) as u32;
        Self::passed(last, now) >= left
    }

    /// How many ticks passed from `last` to `now`: 0 if another thread has seen a later one.
    pub(super) const fn passed(last: u32, now: u32) -> u32 {
        let passed = now.wrapping_sub(last);
        if passed > u32::MAX / 2 { 0 } else { passed }
    }
}
