//! No hedging.

use tokio::time;

use crate::case::Case;
use crate::script::{Kind, Script};

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    // There is nothing that would start a hedge.
    if kind.hedges() {
        return Vec::new();
    }
    vec![
        Case::new("bare", || Script::launch),
        Case::new("tokio::time::timeout", move || {
            move |script: Script| {
                let timed = time::timeout(kind.delay(), script.launch());
                async { timed.await.ok().and_then(Result::ok).ok_or(()) }
            }
        }),
    ]
}
