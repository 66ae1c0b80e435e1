//! tower 0.5.3 (January 2026): chooses the better of two replicas, by a moving average of peaks of latency. Does not
//! hedge.

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower_service::Service;

use crate::case::Case;
use crate::cases::Backend;
use crate::script::Script;

type Balanced = Balance<ServiceList<Vec<PeakEwma<Backend>>>, Script>;

pub(super) fn case() -> Case {
    // It cannot be cloned: each task has a separate one.
    Case::new("tower::balance", || {
        let mut service = service();
        move |script: Script| call(&mut service, script)
    })
}

/// One for all tasks has to be in a mutex, which is held only until the request's future is made.
pub(super) fn shared() -> Case {
    let service = Arc::new(Mutex::new(service()));
    Case::new("tower::balance", move || {
        let service = Arc::clone(&service);
        move |script: Script| {
            let mut service = service.lock().expect("no panic while it is held");
            call(&mut service, script)
        }
    })
}

fn call(service: &mut Balanced, script: Script) -> <Balanced as Service<Script>>::Future {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(
        matches!(ready, Poll::Ready(Ok(()))),
        "the services always are"
    );
    service.call(script)
}

fn service() -> Balanced {
    let (first, decay) = (Duration::from_millis(1), Duration::from_secs(10));
    let replica = |_| {
        PeakEwma::new(
            Backend,
            first,
            decay.as_nanos() as f64,
            CompleteOnResponse::default(),
        )
    };
    Balance::new(ServiceList::new((0..3).map(replica).collect()))
}
