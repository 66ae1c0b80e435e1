//! What hedges may cost.

use futures_lite::future::zip;
use hedge_core::adapter::BudgetHandle;
use hedge_core::{Budget, Cause, Suppressed, Timer};

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
    let backend = Backend::new(world, &[ok(0)]);
    hedger
        .call()
        .unhedged()
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(tokens(), 6.75);
    let backend = Backend::new(world, &[err(0), err(0), err(0)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert_eq!(tokens(), 5.0);
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

/// After a refusal the passing of time starts no hedge; another failure does.
pub async fn a_refusal_stands_until_an_attempt_fails<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(1).max_hedges(2).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    let backend = Backend::new(world, &[err(9), ok(1)]);
    let free = async {
        world.sleep(3).await;
        hedger.budget().give_back(1);
    };
    let (hedged, ()) = zip(hedger.request(|attempt| backend.call(attempt)), free).await;
    assert_eq!(hedged.unwrap().value, 1);
    backend.assert_started_at(&[0, 9]);
    assert_eq!(backend.nth(1).attempt.cause(), Cause::Retry);
}

/// No more hedges are in flight than allowed, of all requests together.
pub async fn hedges_in_flight_are_bounded<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(1).budget(budget));
    let first = Backend::new(world, &[never(), ok(6)]);
    let second = Backend::new(world, &[ok(20), never()]);
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
