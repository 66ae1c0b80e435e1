//! fure 0.6.0 (December 2021): retries, one of which may begin while the first try still runs. Its delay is
//! fixed; it counts and bounds nothing.

use fure::policies::{attempts, interval};

use crate::case::Case;
use crate::script::{Kind, Script};

pub(super) fn case(kind: Kind) -> Case {
    let policy = attempts(interval(kind.delay()), 1);
    Case::new("fure", move || {
        move |script: Script| fure::retry(move || script.launch(), policy)
    })
}
