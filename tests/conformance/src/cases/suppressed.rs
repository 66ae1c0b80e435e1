//! Why there was no hedge: every reason, in the outcome and in the metrics.

use hedge_core::adapter::{BudgetHandle, HedgerState, Policy};
use hedge_core::strategy::{Hints, ModelComplexity, Plan, Warmup};
use hedge_core::telemetry::NoSink;
use hedge_core::{
    Budget, Builder, Cause, Hedger, Metrics, Off, Options, Strategy, Suppressed, Timer, Verdict,
    WindowedPercentile, WorkloadAware,
};

use crate::backend::{Backend, err, never, ok, ok_soon};
use crate::spy::Spy;
use crate::world::Built;
use crate::{Home, World};

/// A request that takes 8 ticks is not hedged, for this reason.
async fn check<T: Timer + Clone, H: Home, S: Strategy>(
    world: &World<T, H>,
    builder: Builder<T, S, Metrics, NoSink, 4>,
    reason: Suppressed,
) {
    check_again(world, &world.build(builder), reason).await;
}

/// Checks the reason with a hedger that may have seen requests.
async fn check_again<T: Timer + Clone, H: Home, S: Strategy>(
    world: &World<T, H>,
    hedger: &Built<T, H, S>,
    reason: Suppressed,
) {
    let before = hedger.metrics();
    let backend = Backend::new(world, &[ok(8)]);
    let outcome = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap()
        .outcome;
    assert_eq!((outcome.suppressed, outcome.hedged), (Some(reason), false));
    assert_eq!(backend.started(), 1);
    let after = hedger.metrics();
    for any in Suppressed::ALL {
        let count = after.refused(any) - before.refused(any);
        assert_eq!(count, u64::from(any == reason), "{any}");
    }
}

/// `NotDue`: it ended before the delay was over.
pub async fn not_due<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    check(world, world.fixed(40), Suppressed::NotDue).await;
}

/// `Off`: by the strategy, by `enabled`, or for this call.
pub async fn off<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    check(world, world.with_strategy(Off), Suppressed::Off).await;
    let mut options = Options::DEFAULT;
    options.enabled = false;
    check(world, world.fixed(1).options(options), Suppressed::Off).await;

    let hedger = world.build(world.fixed(1));
    let backend = Backend::new(world, &[ok(3)]);
    let hedged = hedger
        .call()
        .unhedged()
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::Off));
    // Even if there was no need to ask.
    let backend = Backend::new(world, &[ok(0)]);
    let hedged = hedger
        .call()
        .unhedged()
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::Off));
}

/// `WarmingUp`: the strategy has too few samples, and was told to wait for them.
pub async fn warming_up<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let strategy = WindowedPercentile::with_window::<10>(50.0)
        .warmup(Warmup::Off)
        .min_samples(2);
    let hedger = world.build(world.with_strategy(strategy));
    check_again(world, &hedger, Suppressed::WarmingUp).await;
    check_again(world, &hedger, Suppressed::WarmingUp).await;
    let backend = Backend::new(world, &[never(), ok(0)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert!(hedged.outcome.hedged);
}

/// `BudgetRatio`: the share of requests was spent.
pub async fn budget_ratio<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(0.0);
    check(
        world,
        world.fixed(1).budget(budget),
        Suppressed::BudgetRatio,
    )
    .await;
}

/// `BudgetRate`: the reserve per second was spent, too.
pub async fn budget_rate<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(0.0).min_per_second(1e-6);
    let hedger = world.build(world.fixed(1).budget(budget));
    let backend = Backend::new(world, &[never(), ok(0)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert!(hedged.outcome.hedged);
    check_again(world, &hedger, Suppressed::BudgetRate).await;
}

/// `InFlight`: as many hedges as allowed were running.
pub async fn in_flight<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::unlimited().max_in_flight(1);
    let hedger = world.build(world.fixed(1).budget(budget));
    hedger.budget().withdraw(world.now()).unwrap();
    check_again(world, &hedger, Suppressed::InFlight).await;
}

/// `Deadline`: less time was left than an attempt usually takes.
pub async fn deadline<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let typical = |ticks| Spy::new(Plan::after(world.ticks(1))).typical_latency(world.ticks(ticks));
    let builder = world.with_strategy(typical(80)).timeout(world.ticks(60));
    check(world, builder, Suppressed::Deadline).await;
    // As much is too little.
    let builder = world.with_strategy(typical(59)).timeout(world.ticks(60));
    check(world, builder, Suppressed::Deadline).await;

    let hedger = world.build(world.with_strategy(typical(8)).timeout(world.ticks(60)));
    let backend = Backend::new(world, &[never(), ok(0)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert!(hedged.outcome.hedged);

    // Small requests take less time than others, and large ones more.
    let sized = WorkloadAware::over(typical(80));
    let hedger = world.build(world.with_strategy(sized).timeout(world.ticks(60)));
    for (complexity, hedged) in [
        (ModelComplexity::Simple, true),
        (ModelComplexity::Medium, false),
    ] {
        let call = hedger
            .call()
            .hints(Hints::NONE.model_complexity(complexity));
        let backend = Backend::new(world, &[ok(30), ok(0)]);
        let answer = call.request(|attempt| backend.call(attempt)).await.unwrap();
        assert_eq!(answer.outcome.hedged, hedged);
    }

    // A retry would have no more time than a hedge.
    let call = hedger
        .call()
        .timeout(world.ticks(8))
        .classify(|_: &Result<_, _>| Verdict::Retry);
    let backend = Backend::new(world, &[ok(1)]);
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::Deadline));
}

/// `Pushback`: the server asked for more patience than the request had.
pub async fn pushback<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40).timeout(world.ticks(60)));
    let backend = Backend::new(world, &[ok(1)]);
    let patience = world.ticks(600);
    let call = hedger
        .call()
        .classify(move |_: &Result<_, _>| Verdict::RetryAfter(patience));
    let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::Pushback));
    assert_eq!(hedger.metrics().refused(Suppressed::Pushback), 1);
}

/// `Guard`: hedges had not helped.
pub async fn guard<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let mut options = Options::DEFAULT;
    options.guard = Some(true);
    let hedger = world.build(world.fixed(0).options(options));
    // More than it takes; the primary wins every one.
    for _ in 0..50 {
        let backend = Backend::new(world, &[ok_soon(), never()]);
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap();
        // Servers' strategies may hear of requests a little later.
        hedger.with_strategy(|_| ());
    }
    check_again(world, &hedger, Suppressed::Guard).await;
}

/// `NotDrawn`: the strategy hedges only a share of the requests.
pub async fn not_drawn<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let strategy = Spy::new(Plan::after(world.ticks(1)).with_chance(0.0));
    check(world, world.with_strategy(strategy), Suppressed::NotDrawn).await;
}

/// `MaxHedges`: none were allowed, by the call or by the type.
pub async fn max_hedges<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    for script in [[ok(0)], [ok(3)]] {
        let backend = Backend::new(world, &script);
        let call = hedger.call().max_hedges(0);
        let hedged = call.request(|attempt| backend.call(attempt)).await.unwrap();
        assert_eq!(hedged.outcome.suppressed, Some(Suppressed::MaxHedges));
        assert_eq!(backend.started(), 1);
    }

    let policy = Policy::new(hedge_core::Fixed::new(world.ticks(1)), Options::DEFAULT);
    let ledger = H::ledger(HedgerState::new(policy, Metrics::new()));
    let budget = H::budget(Budget::unlimited());
    let hedger = Hedger::<_, _, _, _, 1>::from_parts(world.timer().clone(), ledger, budget, NoSink);
    let backend = Backend::new(world, &[ok(3)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.outcome.suppressed, Some(Suppressed::MaxHedges));
}

/// `ObserveOnly`: there would have been one.
pub async fn observe_only<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let mut options = Options::DEFAULT;
    options.observe_only = true;
    check(
        world,
        world.fixed(1).options(options),
        Suppressed::ObserveOnly,
    )
    .await;
}

/// `NotReady`: what a hedge needs was not at hand. Nothing is charged for it.
pub async fn not_ready<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let budget = Budget::percent(100.0).burst(4);
    let hedger = world.build(world.fixed(2).budget(budget));
    for (ready, hedges) in [(false, 0), (true, 1)] {
        let backend = Backend::new(world, &[ok(8), ok(2)]);
        let call = hedger.call();
        let outcome = call
            .request_if(|_| ready, |attempt| backend.call(attempt))
            .await
            .unwrap()
            .outcome;
        assert_eq!(outcome.suppressed, (!ready).then_some(Suppressed::NotReady));
        assert_eq!(backend.started(), 1 + hedges);
        assert_eq!(
            hedger.budget().edit(|budget| budget.tokens()),
            4.0 - hedges as f64
        );
    }
    assert_eq!(hedger.metrics().refused(Suppressed::NotReady), 1);
    assert_eq!(hedger.in_flight(), 0);
}

/// `Holdback`: the hedge of a request in the control group, which is not charged. No later hedge of the request starts,
/// and a retry does.
pub async fn holdback<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let mut options = Options::DEFAULT;
    (options.max_hedges, options.holdback_percent) = (3, 50.0);
    let budget = Budget::percent(100.0).burst(80).max_in_flight(3);
    let hedger = world.build(world.fixed(2).budget(budget).options(options));
    let (mut control, mut tokens) = (0, 10.0);
    for _ in 0..24 {
        // The primary fails when every hedge of the delay has been due.
        let backend = Backend::new(world, &[err(9), ok(9), never(), never()]);
        let outcome = hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .outcome;
        let is_control = outcome.winner_cause == Some(Cause::Retry);
        control += u64::from(is_control);
        assert_eq!(backend.started(), if is_control { 2 } else { 4 });
        tokens += if is_control { 0.0 } else { -2.0 };
        assert_eq!(hedger.budget().edit(|budget| budget.tokens()), tokens);
        if tokens < 2.0 {
            break;
        }
    }
    assert!(
        control > 0,
        "the draw of the group does not depend on the runtime"
    );
    assert_eq!(hedger.in_flight(), 0);
}
