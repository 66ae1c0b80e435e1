//! Losers that run on: `enable_cancellation` off.

use core::pin::pin;

use hedge_core::{Options, Timer};

use super::abandon;
use crate::backend::{Backend, by_failure, fatal, never, ok};
use crate::spy::Ear;
use crate::{Home, World};

fn options(hedges: u8) -> Options {
    let mut options = Options::DEFAULT;
    options.enable_cancellation = false;
    options.max_hedges = hedges;
    options
}

/// Losers are not dropped, stay in flight, and can be run to their end.
pub async fn losers_run_on<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(2).options(options(2)).sink(&ear));
    let backend = Backend::new(world, &[ok(16), ok(20), ok(1)]);
    let mut request = pin!(hedger.call().open(|attempt| backend.call(attempt)));
    let hedged = request.as_mut().await.unwrap();
    assert_eq!(hedged.value, 2);
    world.assert_took(hedged.outcome.total_latency, 5);
    assert_eq!((backend.running(), request.live()), (2, 2));
    assert_eq!(hedger.in_flight(), 1);

    let start = world.now();
    request.as_mut().drain().await;
    if world.is_exact() {
        world.assert_took(world.now().since(start), 17);
    }
    assert_eq!(
        (backend.running(), backend.dropped(), request.live()),
        (0, 0, 0)
    );
    assert_eq!(hedger.in_flight(), 0);
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "hedge.fired",
        "hedge.won",
        "request.stop",
    ]);
    assert_eq!(hedger.metrics().total_requests, 1);
}

/// Losers go with their request, and free their places in flight.
pub async fn losers_are_dropped_with_the_request<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).options(options(2)));
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    {
        let mut request = pin!(hedger.call().open(|attempt| backend.call(attempt)));
        request.as_mut().await.unwrap();
        assert_eq!((backend.running(), hedger.in_flight()), (2, 1));
    }
    assert_eq!((backend.dropped(), hedger.in_flight()), (2, 0));
    assert_eq!(
        (hedger.metrics().total_requests, hedger.metrics().cancelled),
        (1, 0)
    );
}

/// Draining a request whose losers are gone, or that has none, ends at once.
pub async fn nothing_to_drain_takes_no_time<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(4).options(options(1)));
    let backend = Backend::new(world, &[ok(1)]);
    let mut request = pin!(hedger.call().open(|attempt| backend.call(attempt)));
    request.as_mut().await.unwrap();
    let start = world.now();
    request.as_mut().drain().await;
    world.assert_took(world.now().since(start), 0);
}

/// Only a success leaves losers: what a fatal error or the timeout ends is dropped.
pub async fn a_failed_request_leaves_no_losers<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).options(options(1)));
    for script in [[never(), fatal(1)], [never(), never()]] {
        let backend = Backend::new(world, &script);
        let call = hedger
            .call()
            .timeout(world.ticks(8))
            .classify(by_failure::<usize>);
        let mut request = pin!(call.open(|attempt| backend.call(attempt)));
        assert!(request.as_mut().await.is_err());
        assert_eq!((backend.running(), hedger.in_flight()), (0, 0));
    }
}

/// A request that is dropped before its answer drops every attempt all the same.
pub async fn a_dropped_request_leaves_no_losers<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).options(options(1)));
    let backend = Backend::new(world, &[]);
    abandon(&hedger, &backend, 2).await;
    assert_eq!((backend.dropped(), hedger.in_flight()), (2, 0));
    assert_eq!(hedger.metrics().cancelled, 1);
}
