//! The hedger of a program with threads, over a clock that stands still.

use core::error::Error as _;
use core::future::{Pending, pending};
use core::time::Duration;
use std::io;
use std::sync::Mutex;

use futures_lite::future::block_on;
use hedge_core::runtime::{
    Builder, Registry, RegistryError, RequestError, Runtime, SharedBudget, request,
};
use hedge_core::strategy::Sample;
use hedge_core::{
    Budget, Error, Event, Fixed, HedgeConfig, Instant, Options, Percentile, Record, Sink,
    Strategy as _, StrategyKind, Timer,
};

type Hedger = hedge_core::runtime::Hedger<Still>;

#[derive(Clone, Debug, Default)]
struct Still;

impl Timer for Still {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

impl Runtime for Still {
    type Instant = Instant;

    fn instant(&self, instant: Instant) -> Instant {
        instant
    }
}

fn fails() -> io::Error {
    io::Error::other("reset")
}

#[test]
fn a_hedger_is_as_its_builder_says() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<&'static str>>);
    impl Sink for &'static Heard {
        fn emit(&self, event: &Event) {
            self.0.lock().unwrap().push(event.kind.name());
        }
    }

    let heard: &Heard = Box::leak(Box::default());
    let mut options = Options::DEFAULT;
    options.timeout = Some(Duration::from_secs(3));
    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .budget(Budget::percent(50.0).burst(3))
        .options(options)
        .max_hedges(2)
        .strategy_name("search")
        .telemetry_prefix("shop.hedging")
        .cost_per_attempt(0.25)
        .seed(7)
        .sink(heard)
        .build()
        .unwrap();
    options.max_hedges = 2;
    assert_eq!(hedger.options(), options);
    assert_eq!(hedger.strategy_name().as_str(), "search");
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 3.0);
    assert_eq!(hedger.instant(Instant::MAX), Instant::MAX);

    let hedged = block_on(hedger.request(async |_| Ok::<_, ()>(7))).unwrap();
    assert_eq!((hedged.value, hedged.outcome.cost), (7, 0.25));
    assert_eq!(*heard.0.lock().unwrap(), ["request.start", "request.stop"]);
}

#[test]
fn a_hedger_can_be_changed_and_forget() {
    let config = HedgeConfig {
        percentile: 90.0,
        ..HedgeConfig::default()
    };
    let hedger = Hedger::from_config(&config).unwrap();
    let built = Builder::<Still>::from_config(&config).unwrap().build();
    assert_eq!(hedger.options(), built.unwrap().options());

    block_on(hedger.request(async |_| Ok::<_, ()>(()))).unwrap();
    assert_eq!(hedger.metrics().total_requests, 1);
    hedger.reset_metrics();
    assert_eq!(hedger.metrics().total_requests, 0);

    let samples = || hedger.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
    let sample = Record::new(Sample::Finished(Duration::from_millis(5)));
    hedger.with_strategy(|strategy: &mut Percentile| strategy.record(&sample));
    assert_eq!(samples(), Some(2));
    hedger.reset();
    assert_eq!(samples(), Some(0));

    assert!(hedger.set_budget(Budget::percent(-1.0)).is_err());
    assert!(hedger.budget().try_withdraw().is_ok());
    assert_eq!(hedger.set_budget(Budget::percent(0.0)), Ok(()));
    assert!(hedger.budget().try_withdraw().is_err());
    assert_eq!(hedger.in_flight(), 1);

    assert!(hedger.set_strategy(Percentile::new(2.0)).is_err());
    assert_eq!(samples(), Some(0));
    let learned = hedger.export();
    assert_eq!(hedger.set_strategy(Fixed::new(Duration::ZERO)), Ok(()));
    assert_eq!(samples(), None);
    let error = hedger.restore(&learned).unwrap_err();
    assert_eq!(
        error.to_string(),
        "learned by `percentile`, but the strategy is `fixed`"
    );
}

#[test]
fn hedgers_of_every_kind_are_found_under_the_names_of_their_strategies() {
    for (kind, delay_ms) in [
        (StrategyKind::Off, None),
        (StrategyKind::Fixed, Some(5.0)),
        (StrategyKind::Percentile, None),
        (StrategyKind::Adaptive, None),
        (StrategyKind::Optimal, None),
        (StrategyKind::ExponentialBackoff, None),
        (StrategyKind::WorkloadAware, None),
    ] {
        let mut config = HedgeConfig::default();
        (config.strategy, config.delay_ms) = (kind, delay_ms);
        let registry = Registry::<Still>::default();
        assert!(registry.is_empty());
        registry
            .hedger(&config)
            .unwrap_or_else(|error| panic!("{error}"));
        let hedger = registry.get(kind.as_str()).unwrap();
        assert!(format!("{hedger:?}").contains("NoSink"));
    }
}

#[test]
fn budgets_are_shared_by_those_that_hold_a_clone() {
    let budget = SharedBudget::from(Budget::percent(10.0).burst(1));
    let build = || {
        let builder = Hedger::builder().shared_budget(budget.clone());
        builder.build().unwrap()
    };
    let (one, other) = (build(), build());
    assert!(one.budget().try_withdraw().is_ok());
    assert!(other.budget().try_withdraw().is_err());
    assert_eq!(other.in_flight(), 1);
}

#[test]
fn a_single_request_says_why_it_has_no_answer() {
    let config = HedgeConfig::default();
    let answer = request::<Still, _, io::Error, _, _>(async |_| Ok(7), &config);
    assert_eq!(block_on(answer).unwrap().value, 7);

    let failed = request::<Still, (), _, _, _>(async |_| Err(fails()), &config);
    let error = block_on(failed).unwrap_err();
    assert_eq!(error.to_string(), "2 attempts failed");
    assert_eq!(error.source().unwrap().to_string(), "reset");

    let wrong = HedgeConfig {
        percentile: 2.0,
        ..config
    };
    let unsent =
        request::<Still, (), io::Error, _, _>(async |_| unreachable!("it is sent"), &wrong);
    let error = block_on(unsent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`percentile` is 2, but must be 50 to 99.9"
    );
    assert!(matches!(error, RequestError::Config(_)) && error.source().is_none());
}

#[test]
fn errors_lead_to_what_caused_them() {
    let registry = Registry::<Still>::with_attempts::<2>(1);
    assert_eq!(registry.capacity(), 1);
    let mut config = HedgeConfig {
        percentile: 2.0,
        ..HedgeConfig::default()
    };
    let error = registry.hedger(&config).unwrap_err();
    assert!(matches!(error, RegistryError::Config { .. }));
    let source = error.source().unwrap().to_string();
    assert!(source.starts_with("`percentile` is 2"), "{source}");
    config.percentile = 95.0;
    registry.hedger(&config).unwrap();
    (config.strategy, config.delay_ms) = (StrategyKind::Fixed, Some(1.0));
    assert!(registry.hedger(&config).unwrap_err().source().is_none());

    let boxed = Error::Failed {
        error: fails(),
        attempts: 3,
    }
    .boxed();
    assert_eq!(boxed.to_string(), "3 attempts failed");
    assert_eq!(boxed.source().unwrap().to_string(), "reset");
    let timeout = |error| Error::Timeout {
        elapsed: Duration::from_secs(1),
        attempts: 1,
        error,
    };
    assert!(timeout(None::<io::Error>).boxed().source().is_none());
    assert!(timeout(Some(fails())).boxed().source().is_some());
}
