//! What a sink is told.

use futures_lite::future::zip;
use hedge_core::telemetry::EventKind;
use hedge_core::{Budget, Cause, StrategyKind, Suppressed, Timer};

use super::abandon;
use crate::backend::{Backend, by_failure, err, fatal, never, ok};
use crate::spy::Ear;
use crate::{Home, World};

/// A request that its primary wins in time.
pub async fn of_a_primary_in_time<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(40).sink(&ear).strategy_name("search"));
    for ticks in [0, 2] {
        let backend = Backend::new(world, &[ok(ticks)]);
        let hedged = hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap();
        let told = ear.only(|event| match event {
            EventKind::RequestStop { duration, outcome } => Some((duration, outcome)),
            _ => None,
        });
        assert_eq!(told, (hedged.outcome.total_latency, hedged.outcome));
        assert!(
            ear.events()
                .iter()
                .all(|event| event.strategy_name.as_str() == "search")
        );
        ear.assert_heard(&["request.start", "request.stop"]);
    }
}

/// A request that a hedge wins: what was started, who won, who was dropped.
pub async fn of_a_hedge_that_won<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(2).max_hedges(2).sink(&ear));
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();

    for hedge in [1, 2] {
        let (attempt, delay) = ear.only(|event| match event {
            EventKind::HedgeFired { attempt, delay } if attempt.index() == hedge => {
                Some((attempt, delay))
            }
            _ => None,
        });
        assert_eq!(
            (attempt.cause(), delay),
            (Cause::Delay, Some(world.ticks(2)))
        );
        world.assert_took(attempt.elapsed(), 2 * hedge as u32);
    }
    let (attempt, latency) = ear.only(|event| match event {
        EventKind::HedgeWon {
            attempt, latency, ..
        } => Some((attempt, latency)),
        _ => None,
    });
    assert_eq!(attempt, 2);
    world.assert_took(latency, 1);
    for (attempt, ticks) in [(0, 5), (1, 3)] {
        let elapsed = ear.only(|event| match event {
            EventKind::RequestCancelled {
                attempt: a,
                elapsed,
                ..
            } if a == attempt => Some(elapsed),
            _ => None,
        });
        // By a real clock the hedge may have started late, and had less time.
        if attempt == 0 || world.is_exact() {
            world.assert_took(elapsed, ticks);
        }
    }
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "hedge.fired",
        "hedge.won",
        "request.cancelled",
        "request.cancelled",
        "request.stop",
    ]);
}

/// A hedged request that its primary wins.
pub async fn of_a_hedge_that_lost<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).sink(&ear));
    let backend = Backend::new(world, &[ok(8), never()]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "request.cancelled",
        "request.stop",
    ]);
}

/// A hedge that was due and was not started, and why.
pub async fn of_a_hedge_that_was_refused<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(
        world
            .fixed(1)
            .max_hedges(3)
            .budget(Budget::percent(0.0))
            .sink(&ear),
    );
    let backend = Backend::new(world, &[ok(8)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    let reason = ear.only(|event| match event {
        EventKind::HedgeSuppressed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason, Suppressed::BudgetRatio);
    // Told once, not for every hedge there might have been.
    ear.assert_heard(&["request.start", "hedge.suppressed", "request.stop"]);
}

/// A hedged request, a later hedge of which was due and was not started.
pub async fn of_a_second_hedge_that_was_refused<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(1).max_hedges(2).budget(budget).sink(&ear));
    let backend = Backend::new(world, &[ok(8), never()]);
    let hedged = hedger.request(|attempt| backend.call(attempt)).await;
    // Only the event tells: the request was hedged.
    assert_eq!(hedged.unwrap().outcome.suppressed, None);
    let reason = ear.only(|event| match event {
        EventKind::HedgeSuppressed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason, Suppressed::InFlight);
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "hedge.suppressed",
        "request.cancelled",
        "request.stop",
    ]);
}

/// A request whose every attempt failed.
pub async fn of_a_failure<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(40).sink(&ear));
    let backend = Backend::new(world, &[err(1), err(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    let (duration, timed_out, attempts, strategy) = ear.only(|event| match event {
        EventKind::RequestException {
            duration,
            timed_out,
            attempts,
            strategy,
            ..
        } => Some((duration, timed_out, attempts, strategy)),
        _ => None,
    });
    world.assert_took(duration, 2);
    assert_eq!(
        (timed_out, attempts, strategy),
        (false, 2, StrategyKind::Fixed)
    );
    let cause = ear.only(|event| match event {
        EventKind::HedgeFired { attempt, .. } => Some(attempt.cause()),
        _ => None,
    });
    assert_eq!(cause, Cause::Retry);
    ear.assert_heard(&[
        "request.start",
        "attempt.failed",
        "hedge.fired",
        "attempt.failed",
        "request.exception",
    ]);
}

/// A request that failed for good, while another attempt was running.
pub async fn of_a_fatal_error<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).sink(&ear));
    let backend = Backend::new(world, &[never(), fatal(1)]);
    let call = hedger.call().classify(by_failure::<usize>);
    call.request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "request.cancelled",
        "request.exception",
    ]);
}

/// A request whose time was up.
pub async fn of_a_timeout<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).timeout(world.ticks(8)).sink(&ear));
    let backend = Backend::new(world, &[]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "request.cancelled",
        "request.cancelled",
        "request.exception",
    ]);
}

/// A request that its caller dropped.
pub async fn of_a_dropped_request<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).sink(&ear));
    let backend = Backend::new(world, &[]);
    abandon(&hedger, &backend, 2).await;
    let (duration, attempts) = ear.only(|event| match event {
        EventKind::RequestDropped {
            duration, attempts, ..
        } => Some((duration, attempts)),
        _ => None,
    });
    world.assert_took(duration, 1);
    assert_eq!(attempts, 2);
    ear.assert_heard(&[
        "request.start",
        "hedge.fired",
        "request.cancelled",
        "request.cancelled",
        "request.dropped",
    ]);
}

/// Two requests have two ids.
pub async fn requests_have_ids_of_their_own<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let ear = Ear::<H>::new();
    let hedger = world.build(world.fixed(1).sink(&ear));
    let slow = Backend::new(world, &[ok(2)]);
    let fast = Backend::new(world, &[ok(1)]);
    let (slow, fast) = zip(
        hedger
            .call()
            .unhedged()
            .request(|attempt| slow.call(attempt)),
        hedger
            .call()
            .unhedged()
            .request(|attempt| fast.call(attempt)),
    )
    .await;
    assert!(slow.is_ok() && fast.is_ok());
    let events = ear.events();
    let of = |request| events.iter().filter(move |event| event.request == request);
    assert_eq!(events.len(), 4);
    for event in &events {
        assert_eq!(of(event.request).count(), 2, "{events:?}");
    }
}
