//! Which result is the answer, and what becomes of the other attempts.

use core::pin::pin;
use core::time::Duration;

use futures_lite::future::{poll_once, zip};
use hedge_core::Timer;
use hedge_core::telemetry::EventKind;

use crate::backend::{Backend, err, never, ok, ok_soon};
use crate::spy::Ear;
use crate::{Home, World};

/// The first acceptable result wins: a hedge's.
pub async fn a_hedge_wins_if_it_is_first<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[never(), ok(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    world.assert_took(hedged.outcome.total_latency, 3);
    backend.assert_started_at(&[0, 2]);
}

/// The first acceptable result wins: the primary's, though a hedge was started.
pub async fn the_primary_wins_if_it_is_first<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[ok(8), never()]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 0);
    world.assert_took(hedged.outcome.total_latency, 8);
    assert!(hedged.outcome.hedged && !hedged.outcome.hedge_won);
    backend.assert_started_at(&[0, 2]);
}

/// The first acceptable result wins: the second hedge's, before the first's.
pub async fn a_later_hedge_wins_if_it_is_first<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(2));
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.winner), (2, 2));
    world.assert_took(hedged.outcome.total_latency, 5);
}

/// A primary that answers before the delay is over is not hedged.
pub async fn a_prompt_primary_is_not_hedged<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(8));
    let backend = Backend::new(world, &[ok(2)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 1));
    world.assert_took(hedged.outcome.total_latency, 2);
    assert_eq!(backend.started(), 1);
}

/// A primary that is ready at once is the answer at once.
pub async fn a_primary_ready_at_once_is_the_answer<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(0));
    let backend = Backend::new(world, &[ok(0)]);
    let request = pin!(hedger.request(|attempt| backend.call(attempt)));
    let hedged = poll_once(request).await.unwrap().unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 1));
    assert_eq!(hedger.metrics().won, 1);
}

/// A fast error does not beat a pending attempt: the primary fails while its hedge is running.
pub async fn an_error_of_the_primary_does_not_beat_its_hedge<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[err(3), ok(4)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    world.assert_took(hedged.outcome.total_latency, 5);
    assert_eq!(backend.started(), 2);
}

/// A fast error does not beat a pending attempt: a hedge fails while the primary is running.
pub async fn an_error_of_a_hedge_does_not_beat_the_primary<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[ok(8), err(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 0);
    world.assert_took(hedged.outcome.total_latency, 8);
    assert_eq!(backend.started(), 2);
}

/// A hedge and the primary ready in one poll: the primary wins.
pub async fn the_primary_wins_a_tie<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(0).max_hedges(3));
    let backend = Backend::new(world, &[ok_soon(); 4]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 4));
    assert_eq!(backend.dropped(), 3);
}

/// Two hedges ready in one poll: the earlier wins.
pub async fn the_earlier_hedge_wins_a_tie<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(0).max_hedges(3));
    let backend = Backend::new(world, &[never(), never(), ok_soon(), ok_soon()]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 2);
}

/// Losers are dropped before success is reported: to the caller, to the sink and to the budget.
pub async fn losers_are_dropped_before_the_result_is_seen<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    let seen = H::lock(None);
    let hedger = world.build(
        world
            .fixed(1)
            .max_hedges(2)
            .sink(|event: &hedge_core::Event| {
                if let EventKind::RequestStop { .. } = event.kind {
                    let running = backend.running();
                    hedge_core::adapter::Lock::with(&seen, |seen| *seen = Some(running));
                }
            }),
    );
    // The request lives on after its result, so that it is not its end that drops the losers.
    let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
    let hedged = request.as_mut().await.unwrap();
    assert_eq!(hedged.value, 2);
    assert_eq!((backend.running(), backend.dropped()), (0, 2));
    assert_eq!(
        hedge_core::adapter::Lock::with(&seen, |seen| *seen),
        Some(0)
    );
    assert_eq!(hedger.in_flight(), 0);
}

/// After its result a request is never ready again.
pub async fn an_answered_request_stays_pending<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).sink(&ear));
    for script in [[ok(0), never()], [never(), ok(1)], [err(0), err(1)]] {
        let backend = Backend::new(world, &script);
        let mut request = pin!(hedger.request(|attempt| backend.call(attempt)));
        let _ = request.as_mut().await;
        let (heard, started) = (ear.events().len(), backend.started());
        for _ in 0..3 {
            assert!(poll_once(request.as_mut()).await.is_none());
        }
        world.sleep(2).await;
        assert!(poll_once(request.as_mut()).await.is_none());
        assert_eq!((ear.events().len(), backend.started()), (heard, started));
    }
    assert_eq!(hedger.metrics().total_requests, 3);
}

/// Requests on one hedger do not wait for each other.
pub async fn requests_run_side_by_side<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let slow = Backend::new(world, &[never(), ok(4)]);
    let fast = Backend::new(world, &[never(), ok(1)]);
    let (slow, fast) = zip(
        hedger.request(|attempt| slow.call(attempt)),
        hedger.request(|attempt| fast.call(attempt)),
    )
    .await;
    world.assert_took(slow.unwrap().outcome.total_latency, 6);
    world.assert_took(fast.unwrap().outcome.total_latency, 3);
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.hedge_wins), (2, 2));
}

/// A hedger that needs no clock for a primary that is ready at once still gives its answer.
pub async fn an_untimed_request_is_answered<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).without_metrics());
    let backend = Backend::new(world, &[ok(0)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(
        (hedged.value, hedged.outcome.total_latency),
        (0, Duration::ZERO)
    );

    // Timed from when it first has to wait.
    let backend = Backend::new(world, &[err(0), ok(3)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    world.assert_took(hedged.outcome.total_latency, 3);
    let backend = Backend::new(world, &[never(), ok(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    world.assert_took(hedged.outcome.total_latency, 3);
}
