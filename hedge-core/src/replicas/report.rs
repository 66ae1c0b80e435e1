//! What the end of an attempt teaches about its replica.

use crate::time::Instant;

use super::choice::{AttemptEnd, Chosen};
use super::choose::{OVERDUE, TOLERATED};
use super::octaves::{self, OCTAVE, Octaves};
use super::record::{Sample, SampleWeight};
use super::table::{Shared, Table, places};

/// The least by which a failure counts as slower than a typical success.
const FAILURE: Octaves = 4 * OCTAVE;
/// By how much a dropped attempt is assumed to have taken longer.
const GIVEN_UP: Octaves = 2 * OCTAVE;

/// The number of successes that the typical latency is averaged over, as a power of two.
const TYPICAL_OVER: u32 = 5;
/// By how much one success moves the 75th percentile, in 1/1024 octaves: once this down, or three times this up.
const P75_STEP: u16 = 16;

/// Records the end of an attempt. Returns whether its replica is still there.
pub(super) fn report(
    table: &mut impl Table,
    chosen: &Chosen,
    end: AttemptEnd,
    now: Instant,
) -> bool {
    let index = chosen.id.index();
    let elapsed = octaves::log2(now.nanos_since(chosen.started));
    let end = match end {
        AttemptEnd::TimedOut if elapsed >= long_enough(table.shared().typical) => {
            AttemptEnd::Failed
        }
        AttemptEnd::TimedOut => AttemptEnd::Cancelled,
        end => end,
    };
    let known = table.update_load(index, |load| {
        (load.generation == chosen.id.generation)
            .then(|| load.ended(now, end != AttemptEnd::Cancelled))
    });
    if !known {
        return false;
    }
    let probe = chosen.is_probe;
    let record = table.record(index);
    let (is_new, is_suspect) = (record.samples() == 0, record.is_suspect());
    let fastest = if is_new || is_suspect {
        fastest_known(table)
    } else {
        0
    };
    let tolerated = fastest.saturating_add(TOLERATED);
    let sample = match end {
        AttemptEnd::Answered => Sample {
            latency: elapsed,
            weight: if probe {
                SampleWeight::Probe
            } else {
                SampleWeight::Usual
            },
        },
        AttemptEnd::Failed => Sample {
            latency: failure(table.shared().typical, elapsed),
            weight: if probe {
                SampleWeight::Probe
            } else {
                SampleWeight::Failure
            },
        },
        // A new replica counts as good as the best. That is worth as much as the first sign that it is not, or one that
        // never answers would be tried for ever.
        _ if is_new && elapsed + GIVEN_UP > tolerated => Sample {
            latency: fastest.midpoint(elapsed + GIVEN_UP),
            weight: SampleWeight::Usual,
        },
        AttemptEnd::Cancelled | AttemptEnd::TimedOut => Sample {
            latency: elapsed + GIVEN_UP,
            weight: SampleWeight::LowerBound { probe },
        },
    };
    let went_well = end == AttemptEnd::Answered && is_suspect && elapsed <= tolerated;
    table.update_record(index, |record| {
        let learned = record.learned(sample)?;
        Some(if went_well {
            learned.probe_went_well()
        } else {
            learned
        })
    });
    if end == AttemptEnd::Answered {
        let shared = table.shared();
        table.set_shared(Shared {
            typical: typical(shared.typical, elapsed),
            p75: if probe {
                shared.p75
            } else {
                p75(shared.p75, elapsed)
            },
            since_probe: if went_well {
                OVERDUE
            } else {
                shared.since_probe
            },
        });
    }
    true
}

/// Returns the lowest average latency of the active replicas that have answered.
fn fastest_known(table: &impl Table) -> Octaves {
    places(table.active())
        .map(|index| table.record(index))
        .filter(|record| record.samples() > 0)
        .map(|record| record.latency)
        .min()
        .unwrap_or(Octaves::MAX)
}

/// Returns how long an attempt must run before a timeout of its request counts as a failure: so much longer than usual
/// that a replica becomes suspect.
fn long_enough(typical: u16) -> Octaves {
    if typical == 0 {
        0
    } else {
        typical / 4 + TOLERATED
    }
}

/// Returns the latency that a failure counts as. It is relative to the typical latency, so that failures of all
/// replicas cancel out.
fn failure(typical: u16, elapsed: Octaves) -> Octaves {
    let typical = if typical == 0 { elapsed } else { typical / 4 };
    elapsed.max(typical + FAILURE)
}

fn typical(old: u16, elapsed: Octaves) -> u16 {
    let new = i32::from(elapsed) * 4;
    if old == 0 {
        return new as u16;
    }
    let step = (new - i32::from(old)) >> TYPICAL_OVER;
    (i32::from(old) + step) as u16
}

/// Returns the new estimate of the 75th percentile: a quarter of the successes move it up, and the others move it a
/// third as far down.
fn p75(old: u16, elapsed: Octaves) -> u16 {
    let new = elapsed.saturating_mul(4);
    if old == 0 {
        new
    } else if new > old {
        old.saturating_add(3 * P75_STEP).min(new)
    } else {
        old.saturating_sub(P75_STEP).max(new)
    }
}
