//! do-over 0.1.0 (January 2026): a fixed delay; it counts and bounds nothing.

use do_over::error::DoOverError;
use do_over::hedge::Hedge;
use do_over::policy::Policy;

use crate::case::Case;
use crate::cases::leak;
use crate::script::{Failed, Kind, Script};

pub(super) fn case(kind: Kind) -> Case {
    let hedge: &Hedge = leak(Hedge::new(kind.delay()));
    Case::new("do-over", move || {
        move |script: Script| {
            hedge.execute(move || async move {
                let result = script.launch().await;
                result.map_err(DoOverError::<Failed>::Inner)
            })
        }
    })
}
