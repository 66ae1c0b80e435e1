//! Which replica gets an attempt.
//!
//! Replicas are compared by the logarithm of their latency. One that is slower than the fastest by less than a
//! factor of two costs nothing extra, so that equal replicas share the load evenly. Beyond that its cost rises twice
//! as fast as that of a queue. The cheapest replica is chosen; a suspect that is never the cheapest is probed.

use crate::replica_id::{NoReplica, ReplicaId, bit};
use crate::time::Instant;

use super::choice::{Choice, Chosen};
use super::hold::open;
use super::octaves::{self, OCTAVE, Octaves};
use super::record::{self, Load, Record};
use super::table::{Shared, Table, places};

/// The difference to the fastest replica up to which latency does not matter; a slower replica is suspect.
pub(super) const TOLERATED: Octaves = OCTAVE;
/// The difference to the fastest replica below which a replica is no longer suspect.
const CLEARED: Octaves = OCTAVE * 6 / 10;
/// The difference to the fastest replica above which a hedge goes to the replica of its primary again, if all others
/// are that slow.
const TOO_SLOW_FOR_A_HEDGE: Octaves = 2 * OCTAVE;
/// The cost that keeps further attempts away from an unknown replica that is busy, unless all are.
const UNKNOWN_AND_BUSY: i32 = 20 * OCTAVE as i32;

/// The number of primaries for which a suspect is skipped before it is probed; twice as many after a probe.
pub(super) const PROBE_AFTER: u8 = 32;
/// The least number of primaries from one probe to the next, over all replicas.
pub(super) const PROBE_SPACING: u8 = 64;
/// The number of primaries, since the last probe of all replicas and for which a suspect was skipped, after which any
/// primary is a probe, whether it is hedged or not.
pub(super) const OVERDUE: u8 = u8::MAX;
/// The silence, relative to the fastest replica, after which a suspect is probed although it is busy: its attempts may
/// never end.
const STUCK: Octaves = 12 * OCTAVE;

/// Whether the most usual choice takes a shortcut. Firmware has few replicas, and prefers less code.
const FAST: bool = cfg!(feature = "std");

/// Chooses a replica and counts the attempt.
pub(super) fn choose<const N: usize>(
    table: &mut impl Table,
    choice: Choice,
    now: Instant,
) -> Result<Chosen, NoReplica> {
    let active = table.active();
    let allowed = active & choice.among;
    if allowed == 0 {
        return Err(if active == 0 {
            NoReplica::Empty
        } else {
            NoReplica::NotAllowed
        });
    }
    let open = match open(table, allowed, now) {
        0 if choice.hedge => return Err(NoReplica::OnHold),
        // If all replicas are on hold, send the primary anyway: sending nothing would turn pushback into an outage.
        0 => allowed,
        open => open,
    };
    // Another thread may change the chosen replica first. This thread then tries the next best one, so the loop ends.
    let mut left = open;
    while left != 0 {
        let best = compare::<N>(table, choice, open, left, now);
        let started = table.update_load(best.index, |load| {
            let same = load.generation == best.load.generation;
            let admits = !best.alone || load.in_flight == 0;
            load.started(now).filter(|_| same && admits)
        });
        if started {
            if best.is_probe {
                let jitter = (table.random() % u64::from(PROBE_AFTER / 2 + 1)) as u8;
                table.update_record(best.index, |record| Some(record.probed(jitter)));
                let shared = table.shared();
                table.set_shared(Shared {
                    since_probe: 0,
                    ..shared
                });
            }
            return Ok(Chosen {
                id: ReplicaId {
                    index: best.index as u8,
                    generation: best.load.generation,
                },
                is_probe: best.is_probe,
                patience: if best.is_probe {
                    patience(table.shared(), choice.limit)
                } else {
                    0
                },
                started: now,
            });
        }
        left &= !bit(best.index);
    }
    Err(NoReplica::Full)
}

/// Returns how long the probe of a request that has `limit` nanoseconds may take before it is hedged.
fn patience(shared: Shared, limit: u64) -> Octaves {
    let p75 = shared.p75 / 4;
    let in_time = limit.saturating_sub(octaves::exp2(shared.typical / 4).saturating_mul(2));
    // Not at once: a probe that has recovered should answer before its hedge does.
    let least = p75.saturating_sub(2 * OCTAVE);
    octaves::log2(in_time).max(least).min(p75)
}

/// Returns whether a hedge can answer a request that has `limit` nanoseconds if its primary is a probe that hangs.
pub(super) fn is_hedged_in_time(shared: Shared, limit: u64) -> bool {
    let hedge_due = octaves::exp2(patience(shared, limit));
    hedge_due.saturating_add(octaves::exp2(shared.typical / 4)) < limit
}

/// The result of a comparison.
struct Best {
    index: usize,
    /// The load of the chosen replica when it was compared.
    load: Load,
    /// Whether the replica must have nothing else in flight.
    alone: bool,
    is_probe: bool,
}

/// Finds the best place in `left`, which is not empty, for `choice`. Latencies are relative to those in `open`.
#[inline]
fn compare<const N: usize>(
    table: &mut impl Table,
    choice: Choice,
    open: u64,
    left: u64,
    now: Instant,
) -> Best {
    let unused = match left & !choice.used {
        0 => left,
        unused => unused,
    };
    let since_probe = table.shared().since_probe;
    if !choice.hedge && since_probe < OVERDUE {
        table.set_shared(Shared {
            since_probe: since_probe + 1,
            ..table.shared()
        });
    }
    let random = table.random();
    // This shortcut covers most requests: all replicas are known and about equally fast.
    if FAST
        && unused == open
        && let Some(index) = least_busy_of_equals(table, open, random, now)
    {
        return Best {
            index,
            load: table.load(index),
            alone: false,
            is_probe: false,
        };
    }
    let survey = Survey::<N>::of(table, open, now);
    cheapest(table, choice, &survey, left, unused, random, now)
}

/// Returns the least busy place in `open` if its replicas are otherwise equal. This is the cheapest one.
#[inline]
fn least_busy_of_equals(
    table: &impl Table,
    open: u64,
    mut random: u64,
    now: Instant,
) -> Option<usize> {
    let (mut fastest, mut slowest, mut silence) = (Octaves::MAX, 0, 0);
    let mut special = Record::NOTHING;
    let mut least_busy = (u64::MAX, 0);
    for index in places(open) {
        let (load, record) = (table.load(index), table.record(index));
        fastest = fastest.min(record.latency);
        slowest = slowest.max(record.latency);
        silence = silence.max(load.ticks_of_silence(now));
        special = special.or(record);
        // Ties are broken at random.
        random = next_random(random);
        let key = u64::from(load.in_flight) << 48 | random >> 16;
        if key < least_busy.0 {
            least_busy = (key, index);
        }
    }
    let slowest = slowest.max(record::silence(silence));
    let equal = special.is_plain() && slowest - fastest <= TOLERATED;
    equal.then_some(least_busy.1)
}

/// Finds the cheapest place in `unused`, which is not empty, or in `left` if all unused replicas are too slow for a
/// hedge.
fn cheapest<const N: usize>(
    table: &mut impl Table,
    choice: Choice,
    survey: &Survey<N>,
    left: u64,
    unused: u64,
    mut random: u64,
    now: Instant,
) -> Best {
    let unhedged = !choice.hedge && !is_hedged_in_time(table.shared(), choice.limit);
    let spacing = if unhedged { OVERDUE } else { PROBE_SPACING };
    let may_probe = !choice.hedge && table.shared().since_probe >= spacing;
    let mut best = (i64::MAX, unused.trailing_zeros() as usize, false);
    let mut probe = None;
    let mut least_slowness = Octaves::MAX;
    for index in places(unused) {
        let (load, record) = (table.load(index), table.record(index));
        let slowness = survey.slowness(index);
        least_slowness = least_slowness.min(slowness);
        random = next_random(random);
        if slowness > TOLERATED || record.is_suspect() {
            let suspect = slowness > TOLERATED || slowness >= CLEARED;
            let ready = suspicion(table, index, record, suspect, choice.hedge, unhedged);
            let is_stuck = || load.silence(now) > survey.fastest.saturating_add(STUCK);
            if ready && may_probe && (load.in_flight == 0 || is_stuck()) {
                probe = Some((index, load));
            }
        }
        let queue = if survey.weighted {
            weighted_queue(load.in_flight, record.weight(), (random >> 24) as u32)
        } else {
            i32::from(octaves::log2_of_next(load.in_flight))
        };
        let mut cost = queue + record.bias() + 2 * i32::from(slowness.saturating_sub(TOLERATED));
        if record.is_unknown() && load.in_flight > 0 {
            cost += UNKNOWN_AND_BUSY;
        }
        // Ties are broken at random.
        let key = i64::from(cost) << 8 | (random >> 56) as i64;
        if key < best.0 {
            best = (key, index, record.is_unknown() && load.in_flight == 0);
        }
    }
    let others = |index| unused & !bit(index) != 0;
    if let Some((index, load)) = probe {
        return Best {
            index,
            load,
            alone: load.in_flight == 0 && others(index),
            is_probe: true,
        };
    }
    let mut index = best.1;
    // If nothing is known, nothing is too slow.
    if choice.hedge && least_slowness > TOO_SLOW_FOR_A_HEDGE && survey.floor > 0 {
        // A hedge to one of the others would take longer than a hedge to the same replica.
        let slowness = |index: &usize| survey.slowness(*index);
        let same = places(left & choice.used).filter(|index| slowness(index) <= TOLERATED);
        index = same.min_by_key(slowness).unwrap_or(index);
    }
    Best {
        index,
        load: table.load(index),
        // An unknown replica gets one attempt at a time, unless all are unknown and busy.
        alone: best.2 && index == best.1 && others(index),
        is_probe: false,
    }
}

/// The expected latency of each replica.
struct Survey<const N: usize> {
    /// The logarithm of latency, by place.
    expected: [Octaves; N],
    /// The expected latency of an unknown replica; 0 if nothing is known.
    floor: Octaves,
    fastest: Octaves,
    /// Whether weights differ.
    weighted: bool,
}

impl<const N: usize> Survey<N> {
    fn of(table: &impl Table, open: u64, now: Instant) -> Self {
        let mut expected = [0; N];
        let mut fastest = Octaves::MAX;
        let mut fastest_known = Octaves::MAX;
        let (mut lightest, mut heaviest) = (Octaves::MAX, 0);
        for index in places(open) {
            let record = table.record(index);
            // An attempt without an answer counts as slow before it ends.
            let latency = record.latency.max(table.load(index).silence(now));
            fastest = fastest.min(latency);
            // A latency of 0 means unknown; the subtraction turns it into the largest number.
            fastest_known = fastest_known.min(record.latency.wrapping_sub(1));
            lightest = lightest.min(record.weight());
            heaviest = heaviest.max(record.weight());
            if let Some(expected) = expected.get_mut(index) {
                *expected = latency;
            }
        }
        // An unknown replica is expected to be as fast as the fastest one, or as fast as is typical if all are unknown.
        let floor = match fastest_known {
            Octaves::MAX => table.shared().typical / 4,
            known => known + 1,
        };
        Self {
            expected,
            floor,
            fastest: fastest.max(floor),
            weighted: lightest < heaviest,
        }
    }

    /// Returns how much slower than the fastest replica the one at `index` is.
    #[inline]
    fn slowness(&self, index: usize) -> Octaves {
        let expected = self.expected.get(index).copied().unwrap_or_default();
        expected.max(self.floor).saturating_sub(self.fastest)
    }
}

/// Returns the next random bits, of which the high ones are the best.
#[inline]
const fn next_random(random: u64) -> u64 {
    random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1)
}

/// Returns the cost of a queue if weights differ. A random offset makes idle replicas share by weight, too.
fn weighted_queue(in_flight: u16, weight: Octaves, random: u32) -> i32 {
    let busy = (u64::from(in_flight) << 12) + u64::from(octaves::exponential(random));
    i32::from(octaves::log2(busy)) - i32::from(12 * OCTAVE) - i32::from(weight)
}

/// Updates the record of a replica that is or was suspect. Returns whether it was skipped often enough to be probed.
#[cold]
fn suspicion(
    table: &mut impl Table,
    index: usize,
    record: Record,
    suspect: bool,
    hedge: bool,
    unhedged: bool,
) -> bool {
    if suspect != record.is_suspect() {
        table.update_record(index, |record| Some(record.with_suspicion(suspect)));
    }
    if !suspect || hedge {
        return false;
    }
    table.update_record(index, |record| Some(record.skipped_once_more()));
    let record = table.record(index);
    let enough = if unhedged {
        OVERDUE
    } else {
        PROBE_AFTER << u8::from(record.was_probed())
    };
    record.skipped >= enough
}
