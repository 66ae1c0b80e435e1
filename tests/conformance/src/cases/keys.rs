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
    let strategy = WindowedPercentile::with_window::<20>(50.0).initial_delay(world.ticks(2));
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

fn key<T: Timer + Clone>(hedger: &Keyed<T>, name: &str) -> Key {
    hedger.key(name)
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

/// Each key has the delay of its own latencies, and no delay of others'.
pub async fn keys_are_learned_apart<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 4, Budget::percent(0.0));
    let [fast, slow] = ["fast", "slow"].map(|name| key(&hedger, name));
    for _ in 0..20 {
        ask(world, &hedger, fast, &[ok(0)]).await;
    }
    for _ in 0..10 {
        ask(world, &hedger, slow, &[ok(1)]).await;
    }
    let fast = ask(world, &hedger, fast, &[ok(1)]).await;
    let slow = ask(world, &hedger, slow, &[ok(1)]).await;
    let none = ask(world, &hedger, Key::NONE, &[ok(1)]).await;
    let delay = |outcome: &Outcome| outcome.hedge_delay.unwrap_or(Duration::MAX);
    assert!(delay(&fast) < world.ticks(1), "{fast:?}");
    // By a clock that others move, it takes longer.
    assert!(delay(&slow) >= world.ticks(1).mul_f32(0.9), "{slow:?}");
    assert_eq!(none.hedge_delay, Some(world.ticks(2)));
    let names = [&fast, &slow, &none].map(|outcome| outcome.key);
    assert_eq!(
        names.each_ref().map(|name| name.as_str()),
        ["fast", "slow", ""]
    );
    assert_eq!(hedger.metrics().total_requests, 33);
}

/// What one key has spent is spent for all.
pub async fn keys_have_one_budget<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 4, Budget::percent(0.0).burst(1));
    let script = [never(), ok(0)];
    let first = ask(world, &hedger, key(&hedger, "a"), &script).await;
    assert!(first.hedge_won);
    let second = ask(world, &hedger, key(&hedger, "b"), &[ok(4)]).await;
    assert_eq!(second.suppressed, Some(Suppressed::BudgetRatio));
}

/// Names for which there is no room share a key, and those that came first keep theirs.
pub async fn names_without_room_share_a_key<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 1, Budget::unlimited());
    let first = key(&hedger, "first");
    for name in ["second", "third"] {
        let outcome = ask(world, &hedger, key(&hedger, name), &[ok(0)]).await;
        assert_eq!(outcome.key.as_str(), Key::OTHER_NAME);
    }
    assert_eq!(key(&hedger, "second"), Key::OTHER);
    assert_eq!(key(&hedger, "first"), first);
    let outcome = ask(world, &hedger, first, &[ok(0)]).await;
    assert_eq!(outcome.key.as_str(), "first");
}

/// A request has a key and a replica.
pub async fn a_replica_is_chosen_whatever_the_key<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world, 4, Budget::unlimited());
    let replicas = SharedReplicas::<2>::of(2);
    let backend = Backend::new(world, &[never(), ok(0)]);
    let call = hedger.call().on(&replicas).key(key(&hedger, "a"));
    let hedged = call.request(|attempt| backend.call(attempt)).await;
    let outcome = hedged.unwrap().outcome;
    assert_eq!((outcome.key.as_str(), outcome.replicas_used), ("a", 0b11));
    assert_eq!(outcome.replica, Some(backend.nth(1).attempt.replica()));
    assert_eq!(replicas.stats(world.now()).in_flight(), 0);
}
