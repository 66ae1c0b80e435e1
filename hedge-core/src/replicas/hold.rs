//! Replicas that get no attempts for a time.

use crate::replica_id::bit;
use crate::time::Instant;

use super::record::Hold;
use super::table::{Table, places};

/// Returns the replicas in `allowed` that are not on hold, and ends holds that have expired.
#[inline]
pub(super) fn open(table: &mut impl Table, allowed: u64, now: Instant) -> u64 {
    match table.holds() {
        None => allowed,
        Some(last) => allowed & !held(table, last, now),
    }
}

/// Returns the places on hold.
#[cold]
fn held(table: &mut impl Table, last: u32, now: Instant) -> u64 {
    let now = Hold::tick(now);
    let mut held = 0;
    for index in places(u64::MAX) {
        let hold = table.record(index).hold;
        if hold == 0 {
            continue;
        }
        if Hold::has_ended(hold, last, now) {
            table.update_record(index, |record| {
                (record.hold == hold).then_some(record.with_hold(0))
            });
        } else {
            held |= bit(index);
        }
    }
    let latest = last.wrapping_add(Hold::passed(last, now));
    table.set_holds((held != 0).then_some(latest));
    held
}

/// Keeps further attempts from a replica until `until`.
pub(super) fn hold(table: &mut impl Table, index: usize, until: Instant, now: Instant) -> bool {
    // The new hold is relative to the table's tick, so update the tick first.
    if let Some(last) = table.holds() {
        held(table, last, now);
    }
    if table.holds().is_none() {
        table.set_holds(Some(Hold::tick(now)));
    }
    let hold = if until > now {
        Hold::until(now, until)
    } else {
        0
    };
    table.update_record(index, |record| Some(record.with_hold(hold)))
}
