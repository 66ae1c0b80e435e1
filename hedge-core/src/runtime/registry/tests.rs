use core::time::Duration;
use std::string::ToString;

use super::*;
use crate::hedger::Budget;
use crate::outcome::{StrategyKind, Suppressed};
use crate::record::{Record, Sample};
use crate::replicas::{AttemptEnd, Choice, ReplicaOptions};
use crate::runtime::SharedBudget;
use crate::runtime::still::Still;
use crate::strategy::{ExponentialBackoff, Percentile, Priority, Strategy};
use crate::time::Instant;

fn config(name: &str) -> HedgeConfig {
    HedgeConfig {
        strategy_name: Some(Name::truncated(name)),
        ..HedgeConfig::default()
    }
}

/// Records latencies of 1 to 100 ms, times `scale`.
fn teach(hedger: &Hedger<Still>, scale: u64) {
    let taught = hedger.with_strategy(|strategy: &mut Percentile| {
        for millis in 1..=100 {
            let latency = Duration::from_millis(scale * millis);
            strategy.record(&Record::new(Sample::Finished(latency)));
        }
    });
    assert!(taught.is_some());
}

fn delay(hedger: &Hedger<Still>) -> Option<u128> {
    let stats = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats());
    stats?.delay.map(|delay| delay.as_millis())
}

/// Checks a delay to within the resolution of the histogram and a few samples.
fn assert_near(delay: Option<u128>, expected: u128) {
    let off = delay.map(|delay| delay.abs_diff(expected));
    assert!(off <= Some(expected / 20) && off.is_some(), "{delay:?}");
}

fn assert_same(a: &Hedger<Still>, b: &Hedger<Still>) {
    // A hedge that one hedger starts is in flight for the other.
    let before = a.in_flight();
    b.budget().try_withdraw().unwrap();
    assert_eq!(a.in_flight(), before + 1);
    b.budget().give_back(1);
}

#[test]
fn a_name_has_one_hedger() {
    let registry = Registry::<Still>::new();
    let search = registry.hedger(&config("search")).unwrap();
    assert_same(
        &search,
        &registry.clone().hedger(&config("search")).unwrap(),
    );
    assert_same(&search, &registry.get("search").unwrap());
    let ads = registry.hedger(&config("ads")).unwrap();
    ads.budget().try_withdraw().unwrap();
    assert_eq!(search.in_flight(), 0);

    let names: Vec<_> = registry.list().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [Name::truncated("ads"), Name::truncated("search")]);
    assert!(registry.remove("ads").is_some());
    assert!(registry.get("ads").is_none() && registry.remove("ads").is_none());
    assert_eq!(registry.len(), 1);
}

#[test]
fn without_a_name_the_strategy_gives_it() {
    let registry = Registry::<Still>::new();
    let hedger = registry.hedger(&HedgeConfig::default()).unwrap();
    assert_eq!(hedger.strategy_name().as_str(), "percentile");
    assert_same(&hedger, &registry.get("percentile").unwrap());
    let off = HedgeConfig {
        strategy: StrategyKind::Off,
        ..HedgeConfig::default()
    };
    registry.hedger(&off).unwrap();
    assert_eq!(registry.len(), 2);
}

#[test]
fn another_config_changes_options_and_budget_and_keeps_what_was_learned() {
    let registry = Registry::<Still>::new();
    let mut config = config("search");
    let hedger = registry.hedger(&config).unwrap();
    teach(&hedger, 1);
    assert_near(delay(&hedger), 96);
    hedger.budget().try_withdraw().unwrap();

    config.percentile = 50.0;
    config.max_hedges = 3;
    config.budget_burst = 2;
    let same = registry.hedger(&config).unwrap();
    assert_same(&hedger, &same);
    assert_near(delay(&hedger), 51);
    assert_eq!((hedger.options().max_hedges, hedger.in_flight()), (3, 1));
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 2.0 - 1.0);
}

#[test]
fn a_changed_option_changes_nothing_else() {
    let registry = Registry::<Still>::new();
    let mut config = config("search");
    let hedger = registry.hedger(&config).unwrap();
    // Set options through the handle, after the registry created the hedger.
    hedger.set_strategy(ExponentialBackoff::new()).unwrap();
    let budget = Budget::percent(33.0).burst(5).max_in_flight(2);
    hedger.set_budget(budget).unwrap();
    let mut options = hedger.options();
    options.enabled = false;
    options.hints = options.hints.prompt_length(7);
    hedger.set_options(options).unwrap();

    config.max_hedges = 2;
    config.priority = Some(Priority::High);
    registry.hedger(&config).unwrap();
    options.max_hedges = 2;
    options.hints = options.hints.priority(Priority::High);
    assert_eq!(hedger.options(), options);
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 5.0);
    assert!(
        hedger
            .with_strategy(|_: &mut ExponentialBackoff| ())
            .is_some()
    );

    config.budget_burst = 3;
    registry.hedger(&config).unwrap();
    assert_eq!(hedger.options(), options);
    assert_eq!(hedger.budget().edit(|budget| budget.tokens()), 3.0);
    config.budget_percent = 20.0;
    registry.hedger(&config).unwrap();
    hedger.budget().deposit();
    let budget = hedger.budget().edit(|budget| budget.clone());
    assert_eq!(budget.capacity_tokens(), 3.0);
    assert_eq!(hedger.budget().try_withdraw(), Ok(()));
    assert_eq!(hedger.budget().try_withdraw(), Ok(()));
    let refused = Err(Suppressed::InFlight);
    assert_eq!(hedger.budget().try_withdraw(), refused);
    hedger.budget().give_back(2);
    hedger.budget().edit(|budget| {
        let tokens = budget.tokens();
        budget.deposit();
        assert!((budget.tokens() - tokens - 0.2).abs() < 1e-6);
    });
    config.percentile = 99.0;
    registry.hedger(&config).unwrap();
    assert!(hedger.with_strategy(|_: &mut Percentile| ()).is_some());
}

#[test]
fn what_customize_supplied_stays() {
    let shared = SharedBudget::<Still>::new(Budget::percent(100.0).burst(7));
    let budget = shared.clone();
    let registry = Registry::<Still>::customized(move |_, builder| {
        builder
            .strategy(ExponentialBackoff::new())
            .shared_budget(budget.clone())
            // The config sets this option, too.
            .max_hedges(1)
            .timeout(Duration::from_secs(9))
            .holdback_percent(5.0)
            .max_pushback(Duration::from_secs(3))
            .observe_only(false)
            .guard(false)
    });
    let mut config = config("search");
    let hedger = registry.hedger(&config).unwrap();
    let before = shared.edit(|budget| budget.tokens());
    config.max_hedges = 2;
    config.timeout_ms = None;
    config.holdback_percent = 10.0;
    config.max_pushback_ms = Some(1000.0);
    config.percentile = 99.0;
    config.budget_burst = 3;
    config.budget_percent = 150.0;
    config.observe_only = true;
    config.guard = Some(true);
    config.enabled = false;
    registry.hedger(&config).unwrap();
    let options = hedger.options();
    assert_eq!(
        (options.max_hedges, options.timeout),
        (1, Some(Duration::from_secs(9)))
    );
    assert_eq!(options.holdback_percent, 5.0);
    assert_eq!(options.max_pushback, Some(Duration::from_secs(3)));
    assert_eq!((options.observe_only, options.guard), (false, Some(false)));
    assert!(!options.enabled);
    assert_eq!(shared.edit(|budget| budget.tokens()), before);
    assert!(
        hedger
            .with_strategy(|_: &mut ExponentialBackoff| ())
            .is_some()
    );
}

#[test]
fn a_dry_run_that_customize_supplied_stays_one() {
    let registry = Registry::<Still>::customized(|_, builder| builder.observe_only(true));
    let mut config = config("search");
    let hedger = registry.hedger(&config).unwrap();
    config.max_hedges = 2;
    registry.hedger(&config).unwrap();
    let options = hedger.options();
    assert_eq!((options.max_hedges, options.observe_only), (2, true));
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let registry = Registry::<Still>::customized(|_, builder| builder.max_hedges(1));
    let mut config = config("search");
    let hedger = registry.hedger(&config).unwrap();
    let before = hedger.options();
    config.max_hedges = 2;
    config.budget_percent = 150.0;
    config.observe_only = true;
    let error = registry.hedger(&config).unwrap_err();
    assert!(error.to_string().contains("budget_percent"), "{error}");
    assert_eq!(hedger.options(), before);
}

#[test]
fn another_strategy_starts_afresh() {
    let registry = Registry::<Still>::new();
    let mut config = config("search");
    teach(&registry.hedger(&config).unwrap(), 1);
    config.strategy = StrategyKind::ExponentialBackoff;
    let hedger = registry.hedger(&config).unwrap();
    let stats = hedger.with_strategy(|backoff: &mut ExponentialBackoff| backoff.stats());
    assert_eq!(stats.map(|stats| stats.delay.as_millis()), Some(100));
    config.strategy = StrategyKind::Percentile;
    assert_eq!(delay(&registry.hedger(&config).unwrap()), None);
    let samples = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
    assert_eq!(samples, Some(0));
}

#[test]
fn the_same_config_changes_nothing() {
    let registry = Registry::<Still>::new();
    let hedger = registry.hedger(&config("search")).unwrap();
    // The registry keeps a strategy that was set through a handle.
    hedger.set_strategy(ExponentialBackoff::new()).unwrap();
    registry.hedger(&config("search")).unwrap();
    assert_eq!(delay(&hedger), None);
}

#[test]
fn invalid_values_are_named_and_changes_nothing() {
    let registry = Registry::<Still>::new();
    let hedger = registry.hedger(&config("search")).unwrap();
    type Edit = fn(&mut HedgeConfig);
    let wrong: [(Edit, &str); 5] = [
        (
            |c| c.max_keys = 7,
            "hedger `search`: `max_keys` is 7, but must be what it was when the hedger was made, or the hedger removed first",
        ),
        (
            |c| c.percentile = 10.0,
            "hedger `search`: `percentile` is 10, but must be 50 to 99.9",
        ),
        (
            |c| (c.timeout_ms, c.max_hedges) = (Some(5.0), 4),
            "hedger `search`: `max_hedges` is 4, but must be at most 3, the number of hedges that the hedger's type has room for",
        ),
        (
            |c| c.cost_per_attempt = 2.0,
            "hedger `search`: `cost_per_attempt` is 2, but must be what it was when the hedger was made, or the hedger removed first",
        ),
        (
            |c| c.telemetry_prefix = Name::truncated("app"),
            "hedger `search`: `telemetry_prefix` is \"app\", but must be what it was when the hedger was made, or the hedger removed first",
        ),
    ];
    let options = hedger.options();
    for (edit, expected) in wrong {
        let mut config = config("search");
        edit(&mut config);
        assert_eq!(registry.hedger(&config).unwrap_err().to_string(), expected);
        assert_eq!(hedger.options(), options);
    }
    let empty = config("");
    assert!(registry.hedger(&empty).is_err());
    assert_eq!(registry.len(), 1);
}

#[test]
fn a_full_registry_evicts_nothing() {
    let registry = Registry::<Still>::with_capacity(2);
    teach(&registry.hedger(&config("a")).unwrap(), 1);
    registry.hedger(&config("b")).unwrap();
    let error = registry.hedger(&config("c")).unwrap_err();
    let (name, capacity) = (Name::truncated("c"), 2);
    assert_eq!(error, RegistryError::Full { name, capacity });
    assert_eq!(
        error.to_string(),
        "no room for hedger `c`: the registry holds 2, and evicts none"
    );
    assert_near(delay(&registry.hedger(&config("a")).unwrap()), 96);
    registry.remove("b");
    assert!(registry.hedger(&config("c")).is_ok());
}

#[test]
fn what_was_learned_outlives_a_restart_and_waits_for_its_hedger() {
    let registry = Registry::<Still>::new();
    for (scale, name) in [(1, "one"), (2, "two"), (3, "three")] {
        teach(&registry.hedger(&config(name)).unwrap(), scale);
    }
    let learned = registry.export();
    assert_eq!(learned.len(), 3);

    let restarted = Registry::<Still>::new();
    let early = restarted.hedger(&config("one")).unwrap();
    let mut backoff = config("three");
    backoff.strategy = StrategyKind::ExponentialBackoff;
    restarted.hedger(&backoff).unwrap();
    let refused = restarted.restore(learned.clone());
    assert_eq!(
        refused
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["three"]
    );
    assert_near(delay(&early), 96);
    // A restored state that is not used yet is exported, too.
    let two = Name::truncated("two");
    assert_eq!(restarted.export().get(&two), learned.get(&two));
    assert_near(delay(&restarted.hedger(&config("two")).unwrap()), 192);
}

#[test]
fn threads_that_ask_at_once_get_the_same_hedger() {
    let registry = Registry::<Still>::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in 0..100 {
                    let mut config = config("search");
                    config.percentile = 90.0 + f64::from(i % 5);
                    registry.hedger(&config).unwrap().budget().deposit();
                }
            });
        }
    });
    assert_eq!(registry.len(), 1);
}

#[test]
fn a_registry_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Registry<Still>>();
}

#[test]
fn what_no_config_can_say_is_said_to_the_builder() {
    let budget = SharedBudget::<Still>::new(Budget::percent(50.0).burst(3));
    let registry = Registry::<Still>::customized(move |name, builder| {
        assert_ne!(name.as_str(), "");
        builder.shared_budget(budget.clone())
    });
    let a = registry.hedger(&config("a")).unwrap();
    let b = registry.hedger(&config("b")).unwrap();
    // A hedge that one hedger starts is in flight for the other.
    a.budget().try_withdraw().unwrap();
    assert_eq!(b.in_flight(), 1);
}

fn options(weight: u16, bias: i8, latency_ms: Option<f64>) -> ReplicaOptions {
    ReplicaOptions {
        weight: weight.try_into().unwrap(),
        bias,
        latency_ms,
    }
}

#[test]
fn a_config_adds_changes_and_removes_replicas() {
    let registry = Registry::<Still>::new();
    let mut config = config("search");
    let hedger = registry.hedger(&config).unwrap();
    assert_eq!(hedger.replicas().active(), 0);
    config.replicas = [options(2, 0, Some(40.0)), options(1, 16, None)].into();
    registry.hedger(&config).unwrap();
    let of = |hedger: &Hedger<Still>, index| {
        let stats = hedger.replicas().stats(Instant::ZERO);
        stats.get(index).map(|of| (of.weight, of.bias, of.latency))
    };
    let latency = |index| of(&hedger, index).unwrap().2;
    assert_eq!(
        of(&hedger, 1),
        Some((1, 16, None)),
        "{}",
        hedger.replicas().stats(Instant::ZERO)
    );
    let known = latency(0).unwrap().as_millis();
    assert!((39..=41).contains(&known), "{known}");

    // What was learned, and what was set through a handle, stays unless the config changes it.
    let replicas = hedger.replicas();
    let chosen = replicas.choose(Choice::PRIMARY.among(1), Instant::ZERO);
    let later = Instant::ZERO + Duration::from_millis(1);
    replicas.report(&chosen.unwrap(), AttemptEnd::Answered, later);
    let learned = latency(0);
    replicas.set_weight(replicas.id(0).unwrap(), 9.try_into().unwrap());
    config.replicas[0].bias = -4;
    config.replicas.extend([options(1, 0, Some(7.0))]);
    registry.hedger(&config).unwrap();
    assert_eq!(of(&hedger, 0), Some((9, -4, learned)));
    assert_eq!(replicas.active(), 0b111);

    config.replicas = [config.replicas[0]].into();
    registry.hedger(&config).unwrap();
    assert_eq!(replicas.active(), 1);
    config.replicas = Default::default();
    registry.hedger(&config).unwrap();
    assert_eq!(replicas.active(), 0);

    // A hedger that is created from this config has these replicas immediately.
    config.replicas = [options(3, 0, None)].into();
    let built = Hedger::<Still>::from_config(&config).unwrap();
    assert_eq!(of(&built, 0), Some((3, 0, None)));
}

/// Returns the index and the weight of each replica.
fn weights(hedger: &Hedger<Still>) -> Vec<(usize, u16)> {
    let stats = hedger.replicas().stats(Instant::ZERO);
    let of = stats.iter();
    of.map(|replica| (replica.id.index(), replica.weight))
        .collect()
}

fn with_weights<const N: usize>(weights: [u16; N]) -> HedgeConfig {
    let mut config = config("search");
    config.replicas = weights.map(|weight| options(weight, 0, None)).into();
    config
}

#[test]
fn a_replica_removed_through_a_handle_comes_back_only_if_its_options_change() {
    let registry = Registry::<Still>::new();
    let hedger = registry.hedger(&with_weights([1, 8, 1])).unwrap();
    let replicas = hedger.replicas();
    replicas.remove(replicas.id(1).unwrap());
    // A new index is not the lowest free one.
    registry.hedger(&with_weights([1, 8, 2, 3])).unwrap();
    assert_eq!(weights(&hedger), [(0, 1), (2, 2), (3, 3)]);
    let mut back = with_weights([1, 8, 2, 3]);
    back.replicas[1].bias = 4;
    registry.hedger(&back).unwrap();
    assert_eq!(weights(&hedger), [(0, 1), (1, 8), (2, 2), (3, 3)]);
    registry.hedger(&with_weights([4])).unwrap();
    assert_eq!(weights(&hedger), [(0, 4)]);
}

#[test]
fn a_replica_added_through_a_handle_belongs_to_the_handle() {
    let registry = Registry::<Still>::new();
    let hedger = registry.hedger(&with_weights([1, 1])).unwrap();
    let replicas = hedger.replicas();
    let added = replicas.add().unwrap();
    let mut grown = with_weights([2, 1, 4]);
    let error = registry.hedger(&grown).unwrap_err().to_string();
    assert!(error.contains("`replicas` is 2, but"), "{error}");
    assert_eq!(weights(&hedger), [(0, 1), (1, 1), (2, 1)]);
    replicas.remove(added);
    registry.hedger(&grown).unwrap();
    assert_eq!(weights(&hedger), [(0, 2), (1, 1), (2, 4)]);

    // One at the index of a replica of the config that was removed.
    replicas.remove(replicas.id(2).unwrap());
    let added = replicas.add().unwrap();
    grown.replicas[0].bias = 1;
    registry.hedger(&grown).unwrap();
    registry.hedger(&with_weights([2])).unwrap();
    assert_eq!(weights(&hedger), [(0, 2), (2, 1)]);
    assert!(replicas.contains(added));
}

#[test]
fn an_error_leaves_replicas_unchanged() {
    let registry = Registry::<Still>::new();
    let hedger = registry.hedger(&with_weights([1, 1, 1])).unwrap();
    let mut options = hedger.options();
    options.min_delay = Duration::from_millis(500);
    hedger.set_options(options).unwrap();
    let mut config = with_weights([2]);
    config.max_delay = Some(100.0);
    assert!(registry.hedger(&config).is_err());
    assert_eq!(weights(&hedger), [(0, 1), (1, 1), (2, 1)]);
}

/// Returns a hedger that has learned of two keys and two replicas.
fn taught(registry: &Registry<Still>, name: &str) -> Hedger<Still> {
    let mut config = config(name);
    config.replicas = [options(1, 0, Some(5.0)), options(1, 0, None)].into();
    let hedger = registry.hedger(&config).unwrap();
    for (key, scale) in [("fast", 1), ("slow", 100)] {
        let keyed = hedger.of(hedger.key(key));
        let taught = keyed.with_strategy(|strategy: &mut Percentile| {
            for millis in 1..=100 {
                let latency = Duration::from_millis(scale * millis);
                strategy.record(&Record::new(Sample::Finished(latency)));
            }
        });
        assert!(taught.is_some());
    }
    hedger
}

fn delay_of(hedger: &Hedger<Still>, key: &str) -> Option<u128> {
    let key = hedger.of(hedger.key(key));
    let stats = key.with_strategy(|strategy: &mut Percentile| strategy.stats());
    stats?.delay.map(|delay| delay.as_millis())
}

#[test]
fn keys_and_replicas_outlive_a_restart() {
    let registry = Registry::<Still>::new();
    let hedger = taught(&registry, "search");
    let learned = registry.export();
    let of_search = &learned[&Name::truncated("search")];
    let keys: Vec<_> = of_search.keys().map(|(name, _)| name).collect();
    assert_eq!(keys, ["fast", "slow"]);
    assert_eq!(of_search.replica_latency_ms().len(), 2);

    let restarted = Registry::<Still>::new();
    assert_eq!(restarted.restore(learned.clone()), []);
    let mut config = config("search");
    config.replicas = [options(1, 8, None); 2].into();
    let again = restarted.hedger(&config).unwrap();
    for key in ["fast", "slow"] {
        assert_near(delay_of(&again, key), delay_of(&hedger, key).unwrap());
    }
    assert_eq!(again.export(), *of_search);
    // Options of replicas that come from the config are not exported as learned.
    let stats = again.replicas().stats(Instant::ZERO);
    assert_eq!(stats.get(0).map(|replica| replica.bias), Some(8));
}

#[cfg(feature = "serde")]
#[test]
fn an_export_of_an_older_version_is_read_and_a_hostile_one_is_refused_as_a_whole() {
    let registry = Registry::<Still>::new();
    let hedger = taught(&registry, "search");
    teach(&hedger, 1);
    let mut exported = serde_json::to_value(hedger.export()).unwrap();
    let written = exported.clone();
    // Older versions had neither keys nor replicas.
    let table = exported.as_object_mut().unwrap();
    table.remove("keys");
    table.remove("replica_latency_ms");
    let old: Learned = serde_json::from_value(exported).unwrap();
    let new = registry.hedger(&config("new")).unwrap();
    assert_eq!(new.restore(&old), Ok(()));
    assert_near(delay(&new), 96);
    assert_eq!(new.export(), old);

    type Spoil = fn(&mut serde_json::Value);
    let spoilt: [(Spoil, &str); 6] = [
        (
            |learned| learned["keys"]["slow"]["columns"]["samples"] = std::vec![-1.0].into(),
            "key `slow`: `samples[0]` is -1, but must be 0 to 65535",
        ),
        (
            |learned| learned["keys"]["fast"]["strategy"] = "fixed".into(),
            "key `fast`: learned by `fixed`, but the strategy is `percentile`",
        ),
        (
            |learned| learned["replica_latency_ms"] = std::vec![5.0, -2.0].into(),
            "`replica_latency_ms[1]` is -2, but must be 0 to 31536000000",
        ),
        (
            |learned| learned["replica_latency_ms"] = std::vec![1.0; 65].into(),
            "`replica_latency_ms` holds 65 numbers, but must hold at most 64",
        ),
        (
            |learned| learned["keys"]["fast"]["keys"] = serde_json::json!({}),
            "unknown field `keys`",
        ),
        (
            |learned| learned["replicas"] = 3.into(),
            "unknown field `replicas`",
        ),
    ];
    let before = new.export();
    for (spoil, expected) in spoilt {
        let mut learned = written.clone();
        spoil(&mut learned);
        let error = match serde_json::from_value::<Learned>(learned) {
            Ok(learned) => new.restore(&learned).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.starts_with(expected), "{error}");
        // The keys before the invalid one are not restored either.
        assert_eq!(new.export(), before, "{expected}");
    }
}

#[test]
fn a_strategy_that_was_set_outlives_changes_of_other_options() {
    let changes: [fn(&mut HedgeConfig); 4] = [
        |config| config.max_pushback_ms = Some(1000.0),
        |config| config.attempt_timeout_ms = Some(1000.0),
        |config| config.holdback_percent = 5.0,
        |config| config.max_hedges = 2,
    ];
    for change in changes {
        let registry = Registry::<Still>::new();
        let mut config = config("search");
        let hedger = registry.hedger(&config).unwrap();
        hedger.set_strategy(ExponentialBackoff::new()).unwrap();
        change(&mut config);
        registry.hedger(&config).unwrap();
        assert_eq!(hedger.status().strategy, StrategyKind::ExponentialBackoff);
        config.percentile = 99.0;
        registry.hedger(&config).unwrap();
        assert_eq!(hedger.status().strategy, StrategyKind::Percentile);
    }
}
