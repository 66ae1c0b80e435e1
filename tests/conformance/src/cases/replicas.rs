//! Requests on a set of replicas.

use core::pin::pin;

use hedge_core::adapter::Lock;
use hedge_core::replicas::{NoReplica, Replicas};
use hedge_core::{Error, Suppressed, Timer};

use super::run_until;
use crate::backend::{Backend, by_failure, err, fatal, never, ok};
use crate::{Home, World};

type Set<H, const N: usize> = <H as Home>::Lock<Replicas<N>>;

fn set<H: Home, const N: usize>() -> Set<H, N> {
    H::lock(Replicas::all())
}

/// How many attempts the replicas are working on.
fn in_flight<T: Timer + Clone, H: Home, const N: usize>(
    world: &World<T, H>,
    set: &Set<H, N>,
) -> u32 {
    set.with(|replicas| replicas.stats(world.now()).in_flight())
}

/// A hedge goes to a replica that its request has not used, and each is counted while it runs.
pub async fn a_hedge_goes_to_another_replica<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = set::<H, 3>();
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &[never(), never(), ok(2)]);
    let mut request = pin!(hedger.request_on(&set, |attempt| backend.call(attempt)));
    run_until(request.as_mut(), || backend.running() == 3).await;
    assert_eq!(in_flight(world, &set), 3);
    let outcome = request.await.unwrap().outcome;
    assert_eq!(in_flight(world, &set), 0);
    assert_eq!(outcome.replicas_used, 0b111);
    let winner = backend.nth(2).attempt.replica();
    assert_eq!(outcome.replica, Some(winner));
    for loser in 0..2 {
        assert_ne!(backend.nth(loser).attempt.replica(), winner);
    }
}

/// A retry goes elsewhere, too.
pub async fn a_retry_goes_to_another_replica<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = set::<H, 2>();
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[err(0), ok(0)]);
    let hedged = hedger
        .request_on(&set, |attempt| backend.call(attempt))
        .await;
    assert_eq!(hedged.unwrap().outcome.replicas_used, 0b11);
    assert_eq!(in_flight(world, &set), 0);
}

/// Without a set there is no replica.
pub async fn without_a_set_there_is_no_replica<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[ok(0)]);
    let hedged = hedger.request(|attempt| backend.call(attempt)).await;
    let outcome = hedged.unwrap().outcome;
    assert_eq!((outcome.replica, outcome.replicas_used), (None, 0));
}

/// A replica answers for what it took, and not for what its request did wrong.
pub async fn a_failure_counts_against_its_replica<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for (step, fails) in [(ok(1), false), (fatal(1), false), (err(1), true)] {
        let set = set::<H, 1>();
        let hedger = world.build(world.fixed(40));
        let backend = Backend::new(world, &[step]);
        let call = hedger.call().max_hedges(0).classify(by_failure::<usize>);
        let _ = call.on(&set).request(|attempt| backend.call(attempt)).await;
        let stats = set.with(|replicas| replicas.stats(world.now()));
        let latency = stats.get(0).and_then(|replica| replica.latency).unwrap();
        if fails {
            assert!(latency >= world.ticks(10), "{latency:?}");
        } else if world.is_exact() {
            assert!(latency < world.ticks(2), "{latency:?}");
        }
    }
}

/// What the timeout ends has failed, and is not counted any more.
pub async fn a_timeout_counts_against_every_replica<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let set = set::<H, 2>();
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[]);
    let call = hedger.call().timeout(world.ticks(4)).on(&set);
    let error = call.request(|attempt| backend.call(attempt)).await;
    assert!(error.unwrap_err().is_timeout());
    let stats = set.with(|replicas| replicas.stats(world.now()));
    assert_eq!(stats.in_flight(), 0);
    for replica in stats.iter() {
        assert!(replica.latency.unwrap() >= world.ticks(20), "{stats}");
    }
}

/// A hedge that starts just before its request's time is up is no failure of its replica, once it is known how long
/// attempts take.
pub async fn a_timeout_says_little_of_who_had_no_time<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    // By a clock that others move, a hedge may start much earlier before the end.
    if !world.is_exact() {
        return;
    }
    let set = set::<H, 2>();
    let hedger = world.build(world.fixed(9));
    for _ in 0..4 {
        let backend = Backend::new(world, &[ok(4)]);
        let request = hedger.request_on(&set, |attempt| backend.call(attempt));
        request.await.unwrap();
    }
    let known = set.with(|replicas| replicas.stats(world.now()));
    let backend = Backend::new(world, &[]);
    let call = hedger.call().timeout(world.ticks(10)).on(&set);
    let error = call.request(|attempt| backend.call(attempt)).await;
    assert_eq!(error.unwrap_err().attempts(), 2);
    let primary = backend.nth(0).attempt.replica().index();
    let stats = set.with(|replicas| replicas.stats(world.now()));
    for index in [0, 1] {
        let now = stats.get(index).unwrap().latency;
        let before = known.get(index).unwrap().latency;
        if index == primary {
            // As much as a failure: 16 times as long as usual, a quarter of the way.
            assert!(now > before.map(|before| before * 3 / 2), "{stats}");
        } else {
            assert_eq!(now, before);
        }
    }
}

/// Attempts of a request that is dropped are not counted any more.
pub async fn a_dropped_request_leaves_no_attempts<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = set::<H, 2>();
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[]);
    {
        let _unpolled = hedger.request_on(&set, |attempt| backend.call(attempt));
        assert_eq!(in_flight(world, &set), 0);
        let request = pin!(hedger.request_on(&set, |attempt| backend.call(attempt)));
        run_until(request, || backend.running() == 2).await;
        assert_eq!(in_flight(world, &set), 2);
    }
    assert_eq!(in_flight(world, &set), 0);
}

/// Losers that are kept are counted until they end, or are dropped.
pub async fn losers_that_run_on_are_counted<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = set::<H, 3>();
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &[never(), ok(8), ok(1)]);
    {
        let call = hedger.call().keep_losers().on(&set);
        let mut request = pin!(call.open(|attempt| backend.call(attempt)));
        request.as_mut().await.unwrap();
        assert_eq!(in_flight(world, &set), 2);
        {
            let mut drain = pin!(request.as_mut().drain());
            run_until(drain.as_mut(), || backend.running() == 1).await;
        }
        assert_eq!(in_flight(world, &set), 1);
    }
    assert_eq!(in_flight(world, &set), 0);
}

/// If no replica is allowed, nothing is sent, and the error says so.
pub async fn without_a_replica_nothing_is_sent<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let (set, empty) = (set::<H, 2>(), H::lock(Replicas::<2>::empty()));
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[ok(0)]);
    let error = hedger
        .request_on(&empty, |attempt| backend.call(attempt))
        .await;
    assert_eq!(error, Err(Error::NoReplica(NoReplica::Empty)));
    let call = hedger.call().on(&set).among(0b100);
    let error = call.request(|attempt| backend.call(attempt)).await;
    assert_eq!(error, Err(Error::NoReplica(NoReplica::NotAllowed)));
    assert_eq!(backend.started(), 0);
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.failed), (2, 2));
    assert_eq!((metrics.sample_count, metrics.total_cost), (0, 0.0));
}

/// Attempts keep to the mask.
pub async fn a_mask_is_kept_to<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = set::<H, 4>();
    let hedger = world.build(world.fixed(1));
    for mask in [0b0110, 0b1001, 0b1100] {
        let backend = Backend::new(world, &[never(), ok(1)]);
        let call = hedger.call().on(&set).among(mask);
        let hedged = call.request(|attempt| backend.call(attempt)).await;
        assert_eq!(hedged.unwrap().outcome.replicas_used, mask);
    }
}

/// A hedge that finds no replica is suppressed, and costs nothing.
pub async fn a_hedge_may_find_no_replica<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = set::<H, 1>();
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[ok(4)]);
    let request = hedger.request_on(&set, |attempt| {
        set.with(|replicas| replicas.drain(attempt.replica()));
        backend.call(attempt)
    });
    let outcome = request.await.unwrap().outcome;
    assert_eq!(
        (outcome.attempts, outcome.suppressed),
        (1, Some(Suppressed::NoReplica))
    );
    assert_eq!((hedger.in_flight(), in_flight(world, &set)), (0, 0));
    assert_eq!(hedger.metrics().refused(Suppressed::NoReplica), 1);
}
