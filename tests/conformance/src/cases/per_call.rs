//! Options of one request.

use hedge_core::strategy::{ModelComplexity, Priority};
use hedge_core::{Error, Fixed, Hints, Options, Timer, Verdict, WorkloadAware};

use crate::backend::{Backend, Failure, err, never, ok};
use crate::{Home, World};

/// A request may opt out: one attempt, which is counted, and no retry.
pub async fn a_call_may_opt_out<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[ok(4)]);
    let hedged = hedger
        .call()
        .unhedged()
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 1));
    let backend = Backend::new(world, &[err(1)]);
    let result = hedger
        .call()
        .unhedged()
        .request(|attempt| backend.call(attempt))
        .await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(0),
            attempts: 1
        })
    );
    assert_eq!(hedger.metrics().total_requests, 2);
    // The next request is hedged as ever.
    let backend = Backend::new(world, &[never(), ok(1)]);
    assert_eq!(
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .value,
        1
    );
}

/// A call may allow fewer hedges than the hedger, but not more.
pub async fn a_call_may_allow_fewer_hedges<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).max_hedges(2));
    for (asked, attempts) in [(0, 1), (1, 2), (2, 3), (3, 3), (u8::MAX, 3)] {
        let backend = Backend::new(world, &[]);
        let call = hedger.call().max_hedges(asked).timeout(world.ticks(12));
        let error = call
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap_err();
        assert_eq!(
            (error.attempts(), backend.started()),
            (attempts, attempts.into()),
            "{asked}"
        );
    }
}

/// With no hedge allowed, an error is final.
pub async fn without_hedges_there_is_no_retry<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[err(0)]);
    let result = hedger
        .call()
        .max_hedges(0)
        .request(|attempt| backend.call(attempt))
        .await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(0),
            attempts: 1
        })
    );
}

/// A call may have less time than the hedger gives, but not more.
pub async fn a_call_may_have_less_time<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40).timeout(world.ticks(6)));
    for (asked, ticks) in [(3, 3), (u32::MAX, 6)] {
        let backend = Backend::new(world, &[]);
        let call = hedger.call().timeout(world.ticks(asked));
        let Err(Error::Timeout { elapsed, .. }) = call.request(|a| backend.call(a)).await else {
            panic!("it did not time out");
        };
        world.assert_took(elapsed, ticks);
    }
}

/// A deadline ends the request, wherever that leaves its timeout.
pub async fn a_call_may_have_a_deadline<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40).timeout(world.ticks(6)));
    let untimed = world.build(world.fixed(40));
    for (hedger, asked, ticks) in [
        (&hedger, 3, 3),
        (&hedger, 20, 6),
        (&untimed, 3, 3),
        (&untimed, 0, 0),
    ] {
        let backend = Backend::new(world, &[]);
        let call = hedger.call().deadline(world.now() + world.ticks(asked));
        let start = world.now();
        let error = call
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap_err();
        assert!(error.is_timeout());
        world.assert_took(world.now().since(start), ticks);
    }
}

/// Hints scale the delay of a strategy that heeds them, for this call alone.
pub async fn hints_scale_the_delay<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.with_strategy(WorkloadAware::base_delay(world.ticks(4))));
    let simple = Hints::NONE.model_complexity(ModelComplexity::Simple);
    let complex = Hints::NONE.model_complexity(ModelComplexity::Complex);
    for (hints, ticks) in [
        (Hints::NONE, 4),
        (simple, 2),
        (complex, 8),
        (Hints::NONE, 4),
    ] {
        let backend = Backend::new(world, &[never(), ok(1)]);
        let call = hedger.call().hints(hints);
        let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
        assert_eq!(hedged.outcome.hedge_delay, Some(world.ticks(ticks)));
        backend.assert_started_at(&[0, ticks]);
    }
}

/// A call's hints go before those that the hedger assumes.
pub async fn hints_of_the_call_go_first<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let strategy = WorkloadAware::over(Fixed::new(world.ticks(4)));
    let mut options = Options::DEFAULT;
    options.hints = Hints::NONE
        .priority(Priority::Low)
        .model_complexity(ModelComplexity::Complex);
    let hedger = world.build(world.with_strategy(strategy).options(options));
    let normal = Hints::NONE.priority(Priority::Normal);
    for (hints, ticks) in [(Hints::NONE, 12), (normal, 8)] {
        let backend = Backend::new(world, &[ok(1)]);
        let call = hedger.call().hints(hints);
        let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
        assert_eq!(hedged.outcome.hedge_delay, Some(world.ticks(ticks)));
    }
}

/// A call may judge results by itself: here an error is an answer.
pub async fn a_call_may_judge_results<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[never(), err(1)]);
    let call = hedger
        .call()
        .classify(|_: &Result<usize, _>| Verdict::Accept);
    let result = call.request(|attempt| backend.call(attempt)).await;
    assert_eq!(
        result,
        Err(Error::Failed {
            error: Failure::Plain(1),
            attempts: 2
        })
    );
    // It was accepted: the request is won as far as the hedger goes.
    assert_eq!((hedger.metrics().won, backend.dropped()), (1, 1));
}
