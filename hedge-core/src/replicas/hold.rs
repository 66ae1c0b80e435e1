//! Replicas that get no attempts for a time.

use crate::replica_id::bit;
use crate::time::Instant;

use super::record::Hold;
use super::table::{Table, places};

/// Whether replicas are on hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Holds {
    /// The [`Hold`] tick at which they were last looked at.
    pub(super) tick: u32,
    /// Twice the number of holds that were begun, so that a thread that found all of them ended does not overlook one
    /// that began meanwhile. The lowest bit is set while any replica may be on hold.
    pub(super) begun: u32,
}

impl Holds {
    pub(super) const NONE: Self = Self { tick: 0, begun: 0 };

    const fn any(self) -> bool {
        self.begun & 1 != 0
    }

    const fn one_more(self) -> Self {
        Self {
            begun: (self.begun | 1).wrapping_add(2),
            ..self
        }
    }
}

/// Returns the replicas in `allowed` that are not on hold, and ends holds that have expired.
#[inline]
pub(super) fn open(table: &mut impl Table, allowed: u64, now: Instant) -> u64 {
    let holds = table.holds();
    if holds.any() {
        allowed & !held(table, holds, now)
    } else {
        allowed
    }
}

/// Returns the places on hold.
#[cold]
fn held(table: &mut impl Table, holds: Holds, now: Instant) -> u64 {
    let now = Hold::tick(now);
    let mut held = 0;
    for index in places(u64::MAX) {
        let hold = table.record(index).hold;
        if hold == 0 {
            continue;
        }
        if Hold::has_ended(hold, holds.tick, now) {
            table.update_record(index, |record| {
                (record.hold == hold).then_some(record.with_hold(0))
            });
        } else {
            held |= bit(index);
        }
    }
    let latest = Holds {
        tick: holds.tick.wrapping_add(Hold::passed(holds.tick, now)),
        begun: holds.begun & !u32::from(held == 0),
    };
    // Another thread may have done so, or begun a hold.
    table.set_holds(holds, latest);
    held
}

/// Keeps further attempts from a replica until `until`.
pub(super) fn hold(table: &mut impl Table, index: usize, until: Instant, now: Instant) -> bool {
    // The new hold is relative to the table's tick, so update the tick first.
    let _ = open(table, 0, now);
    let latest = |holds: Holds| Holds {
        tick: if holds.any() {
            holds.tick
        } else {
            Hold::tick(now)
        },
        ..holds
    };
    let hold = Hold::until(latest(table.holds()).tick, now, until);
    let there = table.update_record(index, |record| Some(record.with_hold(hold)));
    // Only now: whoever found no hold before this one was written must not have the last word.
    let mut holds = table.holds();
    while hold != 0 && !table.set_holds(holds, latest(holds).one_more()) {
        holds = table.holds();
    }
    there
}
