//! What a caller is told.

use hedge_core::strategy::Plan;
use hedge_core::{
    Cause, ExponentialBackoff, Off, Outcome, Strategy, StrategyKind, Suppressed, Timer,
    WindowedPercentile, WorkloadAware,
};

use crate::backend::{Backend, Step, err, never, ok};
use crate::spy::Spy;
use crate::{Home, World};

/// The outcome of a request to a backend with this script, hedged twice at most, every 3 ticks.
async fn outcome<T: Timer + Clone, H: Home>(world: &World<T, H>, script: &[Step]) -> Outcome {
    let hedger = world.build(world.fixed(3).max_hedges(2).strategy_name("search"));
    let backend = Backend::new(world, script);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap()
        .outcome
}

/// The whole outcome of a request that was not hedged.
pub async fn of_a_primary_in_time<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let outcome = outcome(world, &[ok(1)]).await;
    assert!(outcome.accepted && !outcome.hedged && !outcome.hedge_won);
    assert_eq!(
        (outcome.winner, outcome.attempts, outcome.cost),
        (0, 1, 1.0)
    );
    world.assert_took(outcome.total_latency, 1);
    assert_eq!(outcome.primary_latency, Some(outcome.total_latency));
    assert_eq!(outcome.backup_latency, None);
    assert_eq!(outcome.hedge_delay, Some(world.ticks(3)));
    assert_eq!(outcome.suppressed, Some(Suppressed::NotDue));
    assert_eq!(outcome.strategy, StrategyKind::Fixed);
    assert_eq!(outcome.strategy_name.as_str(), "search");
}

/// The whole outcome of a request that a hedge won.
pub async fn of_a_hedge_that_won<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let outcome = outcome(world, &[never(), ok(2)]).await;
    assert!(outcome.accepted && outcome.hedged && outcome.hedge_won);
    assert_eq!(
        (outcome.winner, outcome.cost),
        (1, f64::from(outcome.attempts))
    );
    world.assert_took(outcome.total_latency, 5);
    assert_eq!(outcome.primary_latency, None);
    // From its own start.
    world.assert_took(outcome.backup_latency.unwrap(), 2);
    assert!(outcome.backup_latency.unwrap() <= outcome.total_latency - world.ticks(3));
    assert_eq!(
        (outcome.hedge_delay, outcome.suppressed),
        (Some(world.ticks(3)), None)
    );
}

/// The whole outcome of a hedged request that its primary won.
pub async fn of_a_primary_that_won_against_a_hedge<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[ok(8), never()]);
    let outcome = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap()
        .outcome;
    assert!(outcome.hedged && !outcome.hedge_won);
    assert_eq!(
        (outcome.winner, outcome.attempts, outcome.cost),
        (0, 2, 2.0)
    );
    assert_eq!(outcome.primary_latency, Some(outcome.total_latency));
    assert_eq!((outcome.backup_latency, outcome.suppressed), (None, None));
}

/// Attempts that failed have a latency, too: they finished.
pub async fn failures_have_latencies<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let failed_primary = outcome(world, &[err(1), ok(1)]).await;
    world.assert_took(failed_primary.primary_latency.unwrap(), 1);
    world.assert_took(failed_primary.backup_latency.unwrap(), 1);

    let failed_hedge = outcome(world, &[ok(9), err(1)]).await;
    assert_eq!(failed_hedge.winner, 0);
    world.assert_took(failed_hedge.backup_latency.unwrap(), 1);
}

/// The backup's latency is that of the hedge that won, not of the first that finished.
pub async fn the_backup_that_won_is_told<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let outcome = outcome(world, &[never(), err(1), ok(6)]).await;
    assert_eq!((outcome.winner, outcome.attempts), (2, 3));
    world.assert_took(outcome.backup_latency.unwrap(), 6);
}

/// If no hedge won, the backup's latency is that of the first that finished.
pub async fn the_first_backup_that_finished_is_told<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &[ok(12), err(6), err(2)]);
    let outcome = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap()
        .outcome;
    assert_eq!((outcome.winner, outcome.attempts), (0, 3));
    let backup = outcome.backup_latency.unwrap();
    world.assert_took(backup, 2);
    assert!(backup <= outcome.total_latency);
}

/// A primary that is ready at once was never asked about.
pub async fn of_a_primary_ready_at_once<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let outcome = outcome(world, &[ok(0)]).await;
    assert_eq!(
        (outcome.hedge_delay, outcome.suppressed),
        (None, Some(Suppressed::NotDue))
    );
    assert_eq!(outcome.primary_latency, Some(outcome.total_latency));
}

/// The cost is one unit for every attempt started, or what the hedger was told.
pub async fn every_attempt_costs<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).max_hedges(2).cost_per_attempt(0.25));
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    let outcome = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap()
        .outcome;
    assert_eq!(outcome.cost, 0.75);
    let backend = Backend::new(world, &[ok(0)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    let metrics = hedger.metrics();
    assert_eq!(
        (metrics.total_cost, metrics.avg_cost, metrics.cost_overhead),
        (1.0, 0.5, 100.0)
    );
}

/// The strategy is told by its kind.
pub async fn the_strategy_is_told<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    kind_is(world, Off, StrategyKind::Off).await;
    kind_is(
        world,
        WindowedPercentile::with_window::<20>(95.0),
        StrategyKind::Percentile,
    )
    .await;
    kind_is(world, WorkloadAware::new(), StrategyKind::WorkloadAware).await;
    kind_is(
        world,
        ExponentialBackoff::new(),
        StrategyKind::ExponentialBackoff,
    )
    .await;
    kind_is(
        world,
        Spy::new(Plan::after(world.ticks(1))),
        StrategyKind::Custom,
    )
    .await;
}

async fn kind_is<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
    strategy: impl Strategy,
    kind: StrategyKind,
) {
    let hedger = world.build(world.with_strategy(strategy));
    let backend = Backend::new(world, &[ok(0)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.outcome.strategy, kind);
    assert!(hedged.outcome.strategy_name.is_empty());
}

/// Hedges and what they win are counted by cause: retries that win do not hide that hedges for slowness do not.
pub async fn hedges_are_counted_by_cause<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(2));
    for script in [
        // Hedged for slowness, in vain.
        &[ok(5), never(), never()][..],
        &[ok(5), never(), never()],
        // Won by a retry.
        &[err(0), ok(0)],
    ] {
        let backend = Backend::new(world, script);
        let request = hedger.request(|attempt| backend.call(attempt));
        let outcome = request.await.unwrap().outcome;
        let is_retried = outcome.hedge_won;
        assert_eq!(outcome.retries, u8::from(is_retried));
        let cause = if is_retried {
            Cause::Retry
        } else {
            Cause::Primary
        };
        assert_eq!(outcome.winner_cause, Some(cause));
    }
    // Won for slowness.
    let backend = Backend::new(world, &[never(), ok(1)]);
    let request = hedger.request(|attempt| backend.call(attempt));
    let outcome = request.await.unwrap().outcome;
    assert_eq!(
        (outcome.winner_cause, outcome.retries),
        (Some(Cause::Delay), 0)
    );
    let metrics = hedger.metrics();
    assert_eq!((metrics.wins_by_delay, metrics.wins_by_retry), (1, 1));
    assert_eq!(metrics.hedges_by_retry, 1);
    assert_eq!(metrics.win_rate_by_retry, 1.0);
    assert_eq!(metrics.hedges, metrics.hedges_by_delay + 1);
    if world.is_exact() {
        assert_eq!(metrics.hedges_by_delay, 5);
        assert_eq!(metrics.win_rate_by_delay, 1.0 / 5.0);
    }
}
