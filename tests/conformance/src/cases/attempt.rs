//! What an attempt is told.

use hedge_core::{Attempt, Cause, Timer};

use crate::backend::{Backend, err, never, ok};
use crate::{Home, World};

/// The primary is told that it is the first.
pub async fn the_primary_is_told_so<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[ok(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(backend.nth(0).attempt, Attempt::PRIMARY);
}

/// Every attempt is told its index, whether it is a hedge, why it was started and when.
pub async fn every_attempt_is_told_what_it_is<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(6).max_hedges(3));
    let backend = Backend::new(world, &[err(1), never(), never(), ok(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    let expected = [
        (Cause::Primary, 0),
        (Cause::Retry, 1),
        (Cause::Delay, 12),
        (Cause::Delay, 18),
    ];
    for (n, (cause, ticks)) in expected.into_iter().enumerate() {
        let attempt = backend.nth(n).attempt;
        assert_eq!(
            (attempt.index(), attempt.is_hedge(), attempt.cause()),
            (n, n > 0, cause)
        );
        world.assert_took(attempt.elapsed(), ticks);
    }
}

/// A closure that is asked whether a hedge can be started knows the attempt that it would be.
pub async fn readiness_is_asked_with_the_attempt<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(6).max_hedges(3).timeout(world.ticks(60)));
    let backend = Backend::new(world, &[err(1), never(), never(), ok(1)]);
    let ready = |hedge: Attempt| {
        let index = backend.started();
        let (cause, ticks) = [(Cause::Retry, 1), (Cause::Delay, 12), (Cause::Delay, 18)][index - 1];
        assert_eq!((hedge.index(), hedge.cause()), (index, cause));
        world.assert_took(hedge.elapsed(), ticks);
        assert!(hedge.remaining() <= Some(world.ticks(60 - ticks)));
        hedge.remaining().is_some()
    };
    let request = hedger
        .call()
        .request_if(ready, |attempt| backend.call(attempt));
    request.await.unwrap();
    assert_eq!(backend.started(), 4);
}

/// An attempt may choose its replica by its index.
pub async fn attempts_can_go_to_different_replicas<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let replicas = [
        Backend::new(world, &[never()]),
        Backend::new(world, &[never(), ok(1)]),
    ];
    let hedged = hedger
        .request(|attempt| replicas[attempt.index()].call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    assert_eq!(replicas.each_ref().map(|replica| replica.started()), [1, 1]);
}
