//! Other libraries, as they are published, each in the fastest form that its documentation offers.

mod do_over;
mod fure;
mod hedged;
mod seatbelt;
mod tower_balance;
mod tower_hedge;
mod tower_resilience;

use crate::case::Case;
use crate::script::Kind;

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    let mut cases = vec![
        fure::case(kind),
        do_over::case(kind),
        seatbelt::case(kind),
        tower_resilience::case(kind),
        tower_hedge::case(kind),
    ];
    cases.extend(hedged::cases(kind));
    if !kind.hedges() {
        cases.push(tower_balance::case());
    }
    cases
}

/// Those that many tasks can use at the same time.
pub(super) fn shared(kind: Kind) -> Vec<Case> {
    let mut cases = vec![tower_hedge::shared(kind), tower_balance::shared()];
    cases.extend(hedged::cases(kind));
    cases.push(seatbelt::case(kind));
    cases.push(tower_resilience::case(kind));
    cases
}
