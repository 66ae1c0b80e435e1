//! hedged 0.2.0 (July 2026): learns a percentile in a histogram that never forgets. Its documentation asks it after
//! every request, its default after ten; the more seldom, the cheaper.

use core::time::Duration;

use hedged::Hedge;

use crate::case::Case;
use crate::cases::leak;
use crate::script::{Kind, Script};

pub(super) fn cases(kind: Kind) -> [Case; 2] {
    [
        case(kind, "hedged, every 10", 10),
        case(kind, "hedged, every 1000", 1000),
    ]
}

fn case(kind: Kind, name: &'static str, period: u64) -> Case {
    let hedge = Hedge::new(7, 64, kind.delay(), period, 0.95);
    let hedge = hedge.and_then(|hedge| hedge.with_min_timeout(Duration::from_millis(1)));
    let hedge: &Hedge = leak(hedge.expect("valid options"));
    Case::new(name, move || {
        move |script: Script| hedge.send(move || script.launch())
    })
}
