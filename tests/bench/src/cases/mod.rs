//! What is measured.

mod by_hand;
mod ours;
mod peers;
mod plain;
mod uncontrolled;

use core::task::{Context, Poll};

use tower_service::Service;

use crate::case::Case;
use crate::script::{Attempt, Failed, Kind, Script};

/// The case that all others are compared with.
pub(crate) const HAND_LEARNING: &str = "hand/learning";

/// Every case that there is for `kind`. Made in the runtime that it will be measured in: a peer starts a task
/// there.
pub(crate) fn all(kind: Kind) -> Vec<Case> {
    let mut cases = plain::cases(kind);
    cases.extend(by_hand::cases(kind));
    cases.extend(ours::cases(kind));
    cases.extend(peers::cases(kind));
    cases
}

/// Those that many tasks can use at the same time, and that learn or might.
pub(crate) fn shared(kind: Kind) -> Vec<Case> {
    let mut cases = by_hand::cases(kind);
    cases.extend(ours::shared(kind));
    cases.extend(peers::shared(kind));
    cases
}

/// What tower's services call.
#[derive(Clone, Copy, Debug)]
struct Backend;

impl Service<Script> for Backend {
    type Response = u32;
    type Error = Failed;
    type Future = Attempt;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, script: Script) -> Attempt {
        script.launch()
    }
}

/// Lives as long as the program, which is what a hedger does in one.
fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}
