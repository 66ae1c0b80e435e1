//! This library.

use core::hint::black_box;
use core::task::{Context, Waker};
use core::time::Duration;

use hedge_core::adapter::{HedgerState, Sharded, SharedBudget, SharedState};
use hedge_core::metrics::{Metrics, NoMetrics};
use hedge_core::telemetry::NoSink;
use hedge_tokio::replicas::SharedReplicas;
use hedge_tokio::strategy::Sample;
use hedge_tokio::tower::{Cloned, HedgeReplicas, HedgeService};
use hedge_tokio::{
    Adaptive, Budget, Event, ExponentialBackoff, Fixed, HedgeConfig, Hedger, Off, Optimal, Options,
    Percentile, Record, Strategy, StrategyKind, TokioTimer, WorkloadAware,
};
use tower_service::Service;

use super::uncontrolled::Uncontrolled;
use super::{Backend, leak};
use crate::case::Case;
use crate::script::{Kind, Script};

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    let delay = kind.delay();
    let mut cases = Vec::new();
    if !kind.hedges() {
        cases.extend(both(kind, "hedge/off", "hedge/off, alone", || Off));
    }
    cases.extend(both(kind, "hedge/fixed", "hedge/fixed, alone", || {
        Fixed::new(delay)
    }));
    cases.extend(both(
        kind,
        "hedge/percentile",
        "hedge/percentile, alone",
        percentile,
    ));
    cases.extend(both(
        kind,
        "hedge/adaptive",
        "hedge/adaptive, alone",
        || adaptive(kind),
    ));
    cases.extend(both(
        kind,
        "hedge/workload_aware",
        "hedge/workload_aware, alone",
        || WorkloadAware::over(percentile()),
    ));
    cases.extend(both(
        kind,
        "hedge/exponential_backoff",
        "hedge/exponential_backoff, alone",
        || {
            let backoff = ExponentialBackoff::new().base_delay(delay);
            backoff.min_delay(delay * 9 / 10).max_delay(delay * 11 / 10)
        },
    ));
    cases.extend(both(kind, "hedge/optimal", "hedge/optimal, alone", optimal));
    cases.push(core(
        kind,
        "hedge/fixed, no metrics",
        || Fixed::new(delay),
        budget(kind),
    ));
    cases.push(core(
        kind,
        "hedge/percentile, no metrics",
        percentile,
        budget(kind),
    ));
    cases.push(holding_back(
        kind,
        "hedge/percentile, holdback 0",
        Sharded::new,
    ));
    cases.push(holding_back(
        kind,
        "hedge/percentile, no control group",
        |state| Uncontrolled(Sharded::new(state)),
    ));
    cases.push(through_tower(kind));
    cases.push(by_key(kind));
    cases.push(on_replicas(kind));
    cases.push(replicas_through_tower(kind));
    if !kind.hedges() {
        cases.push(once(kind));
    }
    cases
}

/// Those whose contention is worth a look.
pub(super) fn shared(kind: Kind) -> Vec<Case> {
    vec![
        face(kind, "hedge/fixed", || Fixed::new(kind.delay())),
        face(kind, "hedge/percentile", percentile),
        face(kind, "hedge/adaptive", || adaptive(kind)),
        face(kind, "hedge/optimal", optimal),
        through_tower(kind),
        by_key(kind),
        on_replicas(kind),
        replicas_through_tower(kind),
    ]
}

/// A strategy with budget, metrics and a sink, as a server has it, and without any of them.
fn both<S>(
    kind: Kind,
    with: &'static str,
    alone: &'static str,
    strategy: impl Fn() -> S,
) -> [Case; 2]
where
    S: Strategy + Send + 'static,
{
    [
        face(kind, with, &strategy),
        core(kind, alone, &strategy, Budget::unlimited()),
    ]
}

/// With budget, metrics and a sink.
fn face<S>(kind: Kind, name: &'static str, strategy: impl Fn() -> S) -> Case
where
    S: Strategy + Send + 'static,
{
    let hedgers = several(kind, strategy, |strategy| hedger(kind, strategy));
    let learned = hedgers[0].export();
    let case = Case::new(name, move || {
        let mut next = hedgers.iter().cycle();
        move |script: Script| {
            let hedger = next.next().unwrap_or(&hedgers[0]);
            hedger.request(move |_| script.launch())
        }
    });
    case.prepared(move || {
        // The rounds before have taught it that primaries hang, or that hedges lose.
        for hedger in hedgers.iter().filter(|_| kind.hedges()) {
            hedger.restore(&learned).expect("what it had learned");
        }
    })
}

/// Without metrics and a sink.
fn core<S>(kind: Kind, name: &'static str, strategy: impl Fn() -> S, budget: Budget) -> Case
where
    S: Strategy + Send + 'static,
{
    type Core<S> = hedge_core::Hedger<TokioTimer, Sharded<S, NoMetrics>, SharedBudget, NoSink>;
    let hedgers: &[Core<S>] = several(kind, strategy, |strategy| {
        hedge_core::Hedger::builder(TokioTimer::new())
            .strategy(strategy)
            .without_metrics()
            .options(options(kind))
            .budget(budget.clone())
            .build_with(Sharded::new, SharedBudget::new)
            .expect("valid options")
    });
    let learned = hedgers[0].export();
    let case = Case::new(name, move || {
        let mut next = hedgers.iter().cycle();
        move |script: Script| {
            let hedger = next.next().unwrap_or(&hedgers[0]);
            hedger.request(move |_| script.launch())
        }
    });
    case.prepared(move || {
        for hedger in hedgers.iter().filter(|_| kind.hedges()) {
            hedger.restore(&learned).expect("what it had learned");
        }
    })
}

/// With budget, metrics and a sink, and with a state that draws control groups or does not.
fn holding_back<L>(
    kind: Kind,
    name: &'static str,
    state: impl FnOnce(HedgerState<Percentile, Metrics>) -> L,
) -> Case
where
    L: SharedState<Strategy = Percentile, Metrics = Metrics> + Send + Sync + 'static,
{
    let hedger = hedge_core::Hedger::builder(TokioTimer::new())
        .strategy(percentile())
        .options(options(kind))
        .budget(budget(kind))
        .sink(|event: &Event| {
            black_box(event);
        })
        .build_with(state, SharedBudget::new)
        .expect("valid options");
    let hedger = leak(hedger);
    let learned = hedger.export();
    let case = Case::new(name, move || {
        move |script: Script| hedger.request(move |_| script.launch())
    });
    case.prepared(move || {
        if kind.hedges() {
            hedger.restore(&learned).expect("what it had learned");
        }
    })
}

/// One hedger. Of those that see to it themselves that few requests are hedged, as many as it takes for all
/// requests of a round to be.
fn several<S: Strategy, H>(
    kind: Kind,
    strategy: impl Fn() -> S,
    hedger: impl Fn(S) -> H,
) -> &'static [H] {
    let keeps_a_budget = strategy().kind() == StrategyKind::Optimal;
    let many = if kind.hedges() && keeps_a_budget {
        32
    } else {
        1
    };
    let hedgers: Vec<H> = (0..many).map(|_| hedger(strategy())).collect();
    hedgers.leak()
}

fn percentile() -> Percentile {
    trained(Percentile::new(95.0))
}

fn adaptive(kind: Kind) -> Adaptive {
    let candidates = [10, 12, 14, 16, 18].map(|tenths| kind.delay() * tenths / 10);
    trained(Adaptive::new().candidates(&candidates))
}

fn optimal() -> Optimal {
    trained(Optimal::new(99.0, 5.0))
}

fn through_tower(kind: Kind) -> Case {
    let hedger = hedger(kind, percentile());
    let learned = hedger.export();
    let service = HedgeService::new(Backend, hedger.clone(), Cloned);
    let case = Case::new("hedge/percentile, tower", move || {
        let mut service = service.clone();
        move |script: Script| service.call(script)
    });
    case.prepared(move || {
        if kind.hedges() {
            hedger.restore(&learned).expect("what it had learned");
        }
    })
}

/// A key that is found anew for each request, among 64.
fn by_key(kind: Kind) -> Case {
    let hedger: &Hedger = leak(hedger(kind, percentile()));
    let names: &[String] = leak(
        (0..64)
            .map(|n| format!("GET /users/{n}"))
            .collect::<Vec<_>>(),
    );
    let learned = hedger.export();
    for name in names {
        let keyed = hedger.of(hedger.key(name));
        keyed.restore(&learned).expect("of the same strategy");
    }
    let all = hedger.export();
    let case = Case::new("hedge/percentile, by key", move || {
        let mut next = names.iter().cycle();
        move |script: Script| {
            let name = next.next().unwrap_or(&names[0]);
            let call = hedger.call().key(hedger.key(black_box(name)));
            call.request(move |_| script.launch())
        }
    });
    case.prepared(move || {
        if kind.hedges() {
            hedger.restore(&all).expect("what it had learned");
        }
    })
}

/// Three replicas, one of which is chosen for each attempt.
fn on_replicas(kind: Kind) -> Case {
    let hedger: &Hedger = leak(hedger(kind, percentile()));
    let replicas: &SharedReplicas = leak(SharedReplicas::of(3));
    let learned = hedger.export();
    let case = Case::new("hedge/percentile, on 3 replicas", move || {
        move |script: Script| {
            hedger.request_on(replicas, move |attempt| {
                black_box(attempt.replica());
                script.launch()
            })
        }
    });
    case.prepared(move || {
        if kind.hedges() {
            hedger.restore(&learned).expect("what it had learned");
        }
    })
}

/// A service over three services that are always ready.
fn replicas_through_tower(kind: Kind) -> Case {
    let hedger = hedger(kind, percentile());
    let learned = hedger.export();
    let service = HedgeReplicas::new([Backend; 3], hedger.clone(), Cloned).expect("room for 3");
    let case = Case::new("hedge/percentile, tower, 3 replicas", move || {
        let mut service = service.clone();
        move |script: Script| {
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            assert!(ready.is_ready(), "the services always are");
            service.call(script)
        }
    });
    case.prepared(move || {
        if kind.hedges() {
            hedger.restore(&learned).expect("what it had learned");
        }
    })
}

/// A hedger for every request.
fn once(kind: Kind) -> Case {
    let config: &HedgeConfig = leak(HedgeConfig {
        strategy: StrategyKind::Fixed,
        delay_ms: Some(kind.delay().as_secs_f64() * 1000.0),
        ..HedgeConfig::default()
    });
    Case::new("hedge_tokio::request, fixed", move || {
        move |script: Script| hedge_tokio::request(move |_| script.launch(), config)
    })
    .slow(30)
}

fn hedger(kind: Kind, strategy: impl Strategy + Send + 'static) -> Hedger {
    Hedger::builder()
        .strategy(strategy)
        .options(options(kind))
        .budget(budget(kind))
        .sink(|event: &Event| {
            black_box(event);
        })
        .build()
        .expect("valid options")
}

fn options(kind: Kind) -> Options {
    let mut options = Options::default();
    // As by hand: what takes less is not worth a hedge.
    options.min_delay = Duration::from_millis(1);
    if kind.hedges() {
        options.max_delay = Some(Duration::from_micros(1001));
        // It would stop this: every request passes the delay, or no hedge ever wins.
        options.guard = Some(false);
    }
    options
}

/// Allows what the kind needs.
fn budget(kind: Kind) -> Budget {
    if kind.hedges() {
        Budget::percent(100.0).burst(1_000_000)
    } else {
        Budget::percent(10.0)
    }
}

/// `strategy`, when it has seen a window of requests: most took less than a millisecond, and 2 % took 20.
fn trained<S: Strategy>(mut strategy: S) -> S {
    for n in 0..1000 {
        let micros = if n % 50 == 0 {
            20_000
        } else {
            400 + 7 * n % 500
        };
        let latency = Duration::from_micros(micros);
        strategy.record(&Record::new(Sample::Finished(latency)));
    }
    strategy
}
