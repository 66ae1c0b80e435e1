//! The budget for hedges.

use futures_lite::future::zip;
use hedge_core::adapter::BudgetHandle;
use hedge_core::{Budget, Cause, Error, Suppressed, Timer};

use crate::backend::{Backend, err, never, ok};
use crate::{Home, World};

/// Every request deposits and every hedge takes one, whether it wins or not.
pub async fn deposits_and_charges_add_up<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(
        world
            .fixed(2)
            .max_hedges(2)
            .budget(Budget::percent(25.0).burst(8)),
    );
    let tokens = || hedger.budget().edit(|budget| budget.tokens());
    // Takes two, which leaves room for deposits.
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(tokens(), 6.0);
    for _ in 0..2 {
        let backend = Backend::new(world, &[ok(0)]);
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap();
    }
    assert_eq!(tokens(), 6.5);
    let backend = Backend::new(world, &[err(0), err(0), err(0)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert_eq!(tokens(), 4.75);
    assert_eq!(hedger.in_flight(), 0);
}

/// What a budget refuses is not started; the request waits for what it has.
pub async fn a_refused_hedge_is_not_started<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(
        world
            .fixed(1)
            .max_hedges(3)
            .budget(Budget::percent(100.0).burst(1)),
    );
    let backend = Backend::new(world, &[ok(8)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    assert_eq!(hedged.outcome.suppressed, None);
    assert_eq!(hedger.metrics().hedges, 1);
}

/// A request that may not be hedged deposits nothing, be it that its caller says so or that it allows none; unless asked to.
pub async fn what_may_not_be_hedged_deposits_nothing<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(2).budget(Budget::percent(25.0).burst(8)));
    hedger.budget().withdraw(world.now()).unwrap();
    let call = || hedger.call();
    let calls = [
        (call().unhedged(), 0.0),
        (call().max_hedges(0), 0.0),
        (call().unhedged().deposits(true), 0.25),
        // As a retry layer above the hedger wants it for all but the first attempt.
        (call().deposits(false), 0.0),
        (call(), 0.25),
    ];
    let mut tokens = 7.0;
    for ((call, deposit), step) in calls.into_iter().zip([ok(0), ok(1), ok(0), ok(1), ok(0)]) {
        let backend = Backend::new(world, &[step]);
        call.request(|attempt| backend.call(attempt)).await.unwrap();
        tokens += deposit;
        assert_eq!(hedger.budget().edit(|budget| budget.tokens()), tokens);
    }
    hedger.budget().give_back(1);
}

/// A hedge that is refused for want of a place is asked for again after 2, 4, 8 … times its delay.
pub async fn a_refused_hedge_is_asked_for_again<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(2).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    let backend = Backend::new(world, &[never(), ok(1)]);
    let free = async {
        // After it was refused at 2 and 4.
        world.sleep(5).await;
        hedger.budget().give_back(1);
    };
    let (hedged, ()) = zip(hedger.request(|attempt| backend.call(attempt)), free).await;
    let hedged = hedged.unwrap();
    assert_eq!((hedged.value, hedged.outcome.suppressed), (1, None));
    backend.assert_started_at(&[0, 8]);
    assert_eq!(backend.nth(1).attempt.cause(), Cause::Delay);
    assert_eq!(hedger.metrics().refused(Suppressed::InFlight), 0);
}

/// Hedge k is planned for k times the delay, and is asked for again at 2, 4, 8 … times that.
pub async fn a_later_hedge_is_asked_for_again_by_its_own_steps<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::unlimited().max_in_flight(2);
    let hedger = world.build(world.fixed(3).max_hedges(2).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    let free = async {
        // The first hedge has the other place. The second was refused at 6.
        world.sleep(7).await;
        hedger.budget().give_back(1);
    };
    let (hedged, ()) = zip(hedger.request(|attempt| backend.call(attempt)), free).await;
    assert_eq!(hedged.unwrap().value, 2);
    backend.assert_started_at(&[0, 3, 12]);
}

/// A hedge that is refused time after time counts as suppressed once, for the reason of its first refusal.
pub async fn a_hedge_that_is_refused_again_counts_once<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::percent(10.0).burst(1).max_in_flight(1);
    let hedger = world.build(world.fixed(1).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    let backend = Backend::new(world, &[ok(9)]);
    let free = async {
        // From then on there is a place, and no token.
        world.sleep(3).await;
        hedger.budget().give_back(1);
    };
    let (hedged, ()) = zip(hedger.request(|attempt| backend.call(attempt)), free).await;
    assert_eq!(
        hedged.unwrap().outcome.suppressed,
        Some(Suppressed::InFlight)
    );
    let metrics = hedger.metrics();
    assert_eq!(metrics.refused(Suppressed::InFlight), 1);
    assert_eq!(metrics.refused(Suppressed::BudgetRatio), 0);
}

/// A failure is a reason to ask again at once.
pub async fn a_failure_asks_again_at_once<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(8).max_hedges(2).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    let backend = Backend::new(world, &[err(11), ok(1)]);
    let free = async {
        world.sleep(9).await;
        hedger.budget().give_back(1);
    };
    let (hedged, ()) = zip(hedger.request(|attempt| backend.call(attempt)), free).await;
    assert_eq!(hedged.unwrap().value, 1);
    backend.assert_started_at(&[0, 11]);
    assert_eq!(backend.nth(1).attempt.cause(), Cause::Retry);
}

/// When nothing runs any more, the request ends: a hedge that was refused might be so again.
pub async fn nobody_waits_for_a_refused_hedge_alone<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(40).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    let start = world.now();
    let backend = Backend::new(world, &[err(1)]);
    let result = hedger.request(|attempt| backend.call(attempt)).await;
    assert!(matches!(result, Err(Error::Failed { attempts: 1, .. })));
    world.assert_took(world.now().since(start), 1);
    assert_eq!(hedger.metrics().refused(Suppressed::InFlight), 1);
    hedger.budget().give_back(1);
}

/// No more hedges are in flight than allowed, of all requests together.
pub async fn hedges_in_flight_are_bounded<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(1).budget(budget));
    let first = Backend::new(world, &[never(), ok(6)]);
    // It is asked for again at 2 and 4, and would be at 8.
    let second = Backend::new(world, &[ok(6), never()]);
    let (first, refused) = zip(
        hedger.request(|attempt| first.call(attempt)),
        hedger.request(|attempt| second.call(attempt)),
    )
    .await;
    assert!(first.unwrap().outcome.hedge_won);
    assert_eq!(
        refused.unwrap().outcome.suppressed,
        Some(Suppressed::InFlight)
    );
    // Its place is free again.
    let third = Backend::new(world, &[never(), ok(1)]);
    assert!(
        hedger
            .request(|attempt| third.call(attempt))
            .await
            .unwrap()
            .outcome
            .hedge_won
    );
    assert_eq!(hedger.in_flight(), 0);
}

/// Several hedgers, and whoever else deposits and charges, can share one budget.
pub async fn a_budget_can_be_shared<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = H::lock(Budget::percent(10.0).burst(2));
    let build = || {
        let builder = world.audited(world.fixed(1));
        builder.build_with(H::ledger, |_| &budget).unwrap()
    };
    let (search, ads) = (build(), build());
    let backend = Backend::new(world, &[never(), ok(0)]);
    search
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    budget.withdraw(world.now()).unwrap();
    assert_eq!((search.in_flight(), ads.in_flight()), (1, 1));
    let backend = Backend::new(world, &[ok(8)]);
    let hedged = ads.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::BudgetRatio));
}

/// A retry layer above, each of whose attempts is a request, deposits once for each of its requests.
pub async fn a_retry_layer_above_deposits_once<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(50.0).burst(4);
    let hedger = world.build(world.fixed(40).budget(budget));
    let mut attempts = 0;
    for _ in 0..20 {
        for retry in 0..5 {
            let backend = Backend::new(world, &[err(0), err(0)]);
            let call = hedger.call().deposits(retry == 0);
            let result = call.request(|attempt| backend.call(attempt)).await;
            assert!(result.is_err());
            attempts += backend.started();
        }
    }
    // Half of the requests, and the tokens of a new budget, which has no room for the first deposit.
    assert_eq!(attempts, 100 + 13);
    assert_eq!(hedger.metrics().hedges, 13);
}
