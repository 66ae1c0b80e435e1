//! Statistics by key, which hedgers of servers and browsers have.

use core::time::Duration;

use hedge_core::adapter::{Sharded, SharedBudget};
use hedge_core::replicas::SharedReplicas;
use hedge_core::runtime::Key;
use hedge_core::{
    Budget, Hedger, Metrics, Options, Outcome, Suppressed, Timer, WindowedPercentile,
};

use crate::backend::{Backend, Step, never, ok};
use crate::{Home, World};

type Strategy = WindowedPercentile<20>;
type Keyed<T> =
    Hedger<T, Sharded<Strategy, Metrics>, SharedBudget, hedge_core::telemetry::NoSink, 4>;

/// A hedger with room for `keys` keys, which is on every runtime as on servers.
fn hedger<T: Timer + Clone, H: Home>(world: &World<T, H>, keys: usize, budget: Budget) -> Keyed<T> {
    let strategy = WindowedPercentile::with_window::<20>(90.0)
        .min_samples(8)
        .initial_delay(world.ticks(9));
    let mut options = Options::DEFAULT;
    options.guard = Some(false);
    Hedger::builder(world.timer().clone())
        .strategy(strategy)
        .options(options)
        .attempts::<4>()
        .budget(budget)
        .build_with(
            |state| Sharded::new(state).with_keys(keys),
            SharedBudget::new,
        )
        .unwrap()
}

async fn ask<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
    hedger: &Keyed<T>,
    key: Key,
    script: &[Step],
) -> Outcome {
    let backend = Backend::new(world, script);
    let call = hedger.call().key(key);
    let hedged = call.request(|attempt| backend.call(attempt)).await;
    hedged.unwrap().outcome
}

/// Each key has a delay that follows its latencies alone.
pub async fn keys_are_learned_apart<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 4, Budget::percent(0.0));
    let [fast, slow] = ["fast", "slow"].map(|name| hedger.key(name));
    // One more than is needed: the last may not have reached the strategy when the next starts.
    for _ in 0..9 {
        ask(world, &hedger, fast, &[ok(1)]).await;
        ask(world, &hedger, slow, &[ok(4)]).await;
    }
    let fast = ask(world, &hedger, fast, &[ok(1)]).await;
    let slow = ask(world, &hedger, slow, &[ok(4)]).await;
    let none = ask(world, &hedger, Key::NONE, &[ok(1)]).await;
    let delay = |outcome: &Outcome| outcome.hedge_delay.unwrap_or(Duration::MAX);
    // By a clock that others move, anything may take longer.
    if world.is_exact() {
        assert!(delay(&fast) < world.ticks(2), "{fast:?}");
    }
    assert!(delay(&slow) > world.ticks(3), "{slow:?}");
    assert_eq!(none.hedge_delay, Some(world.ticks(9)));
    let names = [&fast, &slow, &none].map(|outcome| outcome.key);
    assert_eq!(
        names.each_ref().map(|name| name.as_str()),
        ["fast", "slow", ""]
    );
    assert_eq!(hedger.metrics().total_requests, 21);
}

/// What one key has spent is spent for all.
pub async fn keys_have_one_budget<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 4, Budget::percent(5.0).burst(4));
    let (a, b) = (hedger.key("a"), hedger.key("b"));
    let mut hedged = 0;
    while ask(world, &hedger, a, &[ok(40), ok(0)]).await.hedged {
        hedged += 1;
    }
    assert!((1..=5).contains(&hedged), "{hedged}");
    let other = ask(world, &hedger, b, &[ok(40)]).await;
    assert_eq!(other.suppressed, Some(Suppressed::BudgetRatio));
}

/// Names for which there is no room share a key, and those that came first keep theirs.
pub async fn names_without_room_share_a_key<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 1, Budget::unlimited());
    let first = hedger.key("first");
    for name in ["second", "third"] {
        let outcome = ask(world, &hedger, hedger.key(name), &[ok(0)]).await;
        assert_eq!(outcome.key.as_str(), Key::OTHER_NAME);
    }
    assert_eq!(hedger.key("second"), Key::OTHER);
    assert_eq!(hedger.key("first"), first);
    let outcome = ask(world, &hedger, first, &[ok(0)]).await;
    assert_eq!(outcome.key.as_str(), "first");
}

/// A request has a key and a replica.
pub async fn a_replica_is_chosen_whatever_the_key<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 4, Budget::unlimited());
    let replicas = SharedReplicas::<2>::of(2);
    let backend = Backend::new(world, &[never(), ok(0)]);
    let call = hedger.call().on(&replicas).key(hedger.key("a"));
    let hedged = call.request(|attempt| backend.call(attempt)).await;
    let outcome = hedged.unwrap().outcome;
    assert_eq!((outcome.key.as_str(), outcome.replicas_used), ("a", 0b11));
    assert_eq!(outcome.replica, Some(backend.nth(1).attempt.replica()));
    assert_eq!(replicas.stats(world.now()).in_flight(), 0);
}
