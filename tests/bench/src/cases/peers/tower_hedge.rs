//! tower 0.5.3 (January 2026): learns a percentile in histograms behind mutexes.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use tower::hedge::{Hedge, Policy};
use tower_service::Service;

use crate::case::Case;
use crate::cases::Backend;
use crate::script::{Kind, Script};

pub(super) fn case(kind: Kind) -> Case {
    // It cannot be cloned. Each task has its own, which has seen what it needs.
    Case::new("tower::hedge", move || {
        let mut service = service(kind);
        move |script: Script| service.call(script)
    })
}

/// One for all tasks has to be in a mutex, which is held only until the request's future is made.
pub(super) fn shared(kind: Kind) -> Case {
    let service = Arc::new(Mutex::new(service(kind)));
    Case::new("tower::hedge", move || {
        let service = Arc::clone(&service);
        move |script: Script| {
            service
                .lock()
                .expect("no panic while it is held")
                .call(script)
        }
    })
}

fn service(kind: Kind) -> Hedge<Backend, Always> {
    let seen = vec![kind.delay().as_millis() as u64; 100];
    let period = Duration::from_secs(60);
    Hedge::new_with_mock_latencies(Backend, Always, 10, 0.95, period, &seen)
}

#[derive(Clone, Copy, Debug)]
struct Always;

impl Policy<Script> for Always {
    fn clone_request(&self, script: &Script) -> Option<Script> {
        Some(*script)
    }

    fn can_retry(&self, _: &Script) -> bool {
        true
    }
}
