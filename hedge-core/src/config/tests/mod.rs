//! Every option, at its edges and beyond them.

use core::time::Duration;
use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::hedger::{Budget, Hedger, Options};
use crate::manual::ManualTimer;
use crate::replicas::ReplicaOptions;
use crate::strategy::{AnyInner, AnyStrategy, Hints, Strategy};
use crate::time::Instant;

mod any;
#[cfg(feature = "serde")]
mod format;

/// An option that is a number.
struct Number {
    option: &'static str,
    set: fn(&mut HedgeConfig, f64),
    /// Valid values at the bounds of the option, with all other options at their defaults.
    right: &'static [f64],
    /// Invalid values just outside of the bounds, and far outside.
    wrong: &'static [f64],
    /// The valid values according to the error.
    expected: &'static str,
}

const TIME: &str = "0 to 1000000000000";
const LONGEST: f64 = HedgeConfig::MAX_MILLIS;
/// The smallest number above 0; as a time it rounds to 0.
const TINY: f64 = 5e-324;

macro_rules! numbers {
    ($($option:ident $([$into:expr])?: $right:expr, not $wrong:expr, $expected:expr;)*) => {
        &[$(Number {
            option: stringify!($option),
            set: |config, number| config.$option = $($into)?(number),
            right: &$right,
            wrong: &$wrong,
            expected: $expected,
        },)*]
    };
}

const FLOATS: &[Number] = numbers! {
    delay_ms[Some]: [0.0, -0.0, TINY, 0.25, LONGEST], not [-TINY, 1.01e12, f64::MAX], TIME;
    percentile: [50.0, 99.9], not [49.99, 99.91, -95.0], "50 to 99.9";
    initial_delay[Some]: [0.0, LONGEST], not [-0.5, 1e13], TIME;
    min_delay: [0.0, LONGEST], not [-1.0, 1e13], TIME;
    max_delay[Some]: [1e-6, LONGEST], not [-1.0, 1e13], TIME;
    max_age_ms[Some]: [TINY, 1e-6, LONGEST], not [-1.0, 1e13], TIME;
    learning_rate: [0.0, 1.0], not [-0.01, 1.01], "0 to 1";
    cost_weight: [0.0, f64::MAX], not [-0.01], "at least 0";
    optimal_target: [50.0, 99.9], not [49.9, 100.0], "50 to 99.9";
    optimal_budget_percent: [TINY, f64::MAX], not [0.0, -1.0], "greater than 0";
    base_delay: [0.0, LONGEST], not [-1.0, 1e13], TIME;
    exponential_base_delay: [10.0, 5000.0], not [-1.0, 1e13], TIME;
    exponential_min_delay: [0.0, 100.0], not [-1.0, 1e13], TIME;
    exponential_max_delay: [100.0, LONGEST], not [-1.0, 1e13], TIME;
    exponential_increase_factor: [1.0001, f64::MAX], not [1.0, 0.0, -2.0], "greater than 1";
    exponential_decrease_factor: [TINY, 0.9999], not [0.0, 1.0, -0.5], "greater than 0 and less than 1";
    exponential_error_factor: [1.0001, f64::MAX], not [1.0, 0.5], "greater than 1";
    budget_percent: [0.0, -0.0, 100.0], not [-0.1, 100.1], "0 to 100";
    budget_min_per_second: [0.0, f64::MAX], not [-0.1], "at least 0";
    timeout_ms[Some]: [TINY, 1e-6, LONGEST], not [-1.0, 1e13], TIME;
    attempt_timeout_ms[Some]: [TINY, 1e-6, LONGEST], not [-1.0, 1e13], TIME;
    holdback_percent: [0.0, -0.0, 50.0], not [-0.1, 50.1], "0 to 50";
    max_pushback_ms[Some]: [0.0, LONGEST], not [-1.0, 1e13], TIME;
    cost_per_attempt: [0.0, f64::MAX], not [-0.1], "at least 0";
};

const MANY: f64 = u32::MAX as f64;

const INTEGERS: &[Number] = numbers! {
    window_size[count]: [200.0, 8000.0], not [0.0, 199.0, 8001.0, MANY], "200 to 8000";
    min_samples[some_count]: [1.0, 4000.0], not [0.0, 4001.0, MANY], "1 to 4000";
    prompt_length[some_count]: [0.0, MANY], not [], "";
    max_hedges[small_count]: [1.0, 7.0], not [0.0, 8.0, 255.0], "1 to 7";
    budget_burst[count]: [0.0, MANY], not [], "";
    max_in_flight[some_count]: [1.0, MANY], not [0.0], "at least 1";
    max_keys[count]: [0.0, 16384.0], not [16385.0, MANY], "0 to 16384";
};

fn count(number: f64) -> u32 {
    number as u32
}

fn some_count(number: f64) -> Option<u32> {
    Some(count(number))
}

fn small_count(number: f64) -> u8 {
    number as u8
}

/// A config that is invalid for another reason: a word, a list, or a conflict between options.
#[derive(Clone, Copy)]
struct Wrong {
    option: &'static str,
    value: &'static str,
    expected: &'static str,
    edit: fn(&mut HedgeConfig),
}

macro_rules! wrong {
    ($($option:ident is $value:literal, $expected:expr; $edit:expr;)*) => {
        &[$(Wrong { option: stringify!($option), value: $value, expected: $expected, edit: $edit },)*]
    };
}

const STRATEGIES: &str =
    "off, on_failure, fixed, percentile, adaptive, workload_aware, exponential_backoff or optimal";
const INNER: &str = "off, on_failure, fixed, percentile, adaptive, exponential_backoff or optimal";
const DOTTED: &str = "names of letters, digits and `_`, joined by dots";

const WRONG: &[Wrong] = wrong! {
    strategy is "\"custom\"", STRATEGIES; |c| c.strategy = StrategyKind::Custom;
    workload_inner is "\"workload_aware\"", INNER; |c| c.workload_inner = Some(StrategyKind::WorkloadAware);
    workload_inner is "\"custom\"", INNER; |c| c.workload_inner = Some(StrategyKind::Custom);
    strategy_name is "\"\"", "1 to 32 bytes"; |c| c.strategy_name = Some(Name::EMPTY);
    telemetry_prefix is "\"\"", DOTTED; |c| c.telemetry_prefix = Name::EMPTY;
    telemetry_prefix is "\"app.\"", DOTTED; |c| c.telemetry_prefix = Name::truncated("app.");
    telemetry_prefix is "\".app\"", DOTTED; |c| c.telemetry_prefix = Name::truncated(".app");
    telemetry_prefix is "\"my app\"", DOTTED; |c| c.telemetry_prefix = Name::truncated("my app");
    telemetry_prefix is "\"größe\"", DOTTED; |c| c.telemetry_prefix = Name::truncated("größe");

    delay_candidates is "0", "2 to 16 in number"; |c| c.delay_candidates = [].into();
    delay_candidates is "1", "2 to 16 in number"; |c| c.delay_candidates = [50.0].into();
    delay_candidates is "17", "2 to 16 in number"; |c| c.delay_candidates = (1..=17).map(f64::from).collect();
    delay_candidates is "100", "2 to 16 distinct"; |c| c.delay_candidates[4] = 100.0;
    delay_candidates is "50.0000000001", "2 to 16 distinct"; |c| c.delay_candidates[2] = 50.0000000001;
    delay_candidates is "0", "greater than 0"; |c| c.delay_candidates[0] = -0.0;
    delay_candidates is "-5", TIME; |c| c.delay_candidates[4] = -5.0;
    delay_candidates is "NaN", TIME; |c| c.delay_candidates[4] = f64::NAN;
    delay_candidates is "inf", TIME; |c| c.delay_candidates[0] = f64::INFINITY;
    delay_candidates is "-inf", TIME; |c| c.delay_candidates[0] = f64::NEG_INFINITY;

    delay_ms is "missing", "0 or more ms"; |c| {
        c.strategy = StrategyKind::Fixed;
        c.delay_ms = None;
    };
    delay_ms is "missing", "0 or more ms"; |c| {
        c.strategy = StrategyKind::WorkloadAware;
        c.workload_inner = Some(StrategyKind::Fixed);
        c.delay_ms = None;
    };
    max_delay is "0", "greater than `min_delay`"; |c| c.max_delay = Some(0.0);
    max_delay is "20", "greater than `min_delay`"; |c| (c.min_delay, c.max_delay) = (20.0, Some(20.0));
    max_delay is "20", "greater than `min_delay`"; |c| (c.min_delay, c.max_delay) = (21.0, Some(20.0));
    max_age_ms is "0", "greater than 0"; |c| c.max_age_ms = Some(0.0);
    timeout_ms is "0", "greater than 0"; |c| c.timeout_ms = Some(0.0);
    attempt_timeout_ms is "0", "greater than 0"; |c| c.attempt_timeout_ms = Some(0.0);
    min_samples is "301", "1 to 300"; |c| (c.window_size, c.min_samples) = (300, Some(301));
    window_size is "998", "large enough that one sample lies above the `percentile`"; |c| {
        (c.percentile, c.window_size) = (99.9, 998);
    };
    exponential_base_delay is "9", "10 to 5000"; |c| c.exponential_base_delay = 9.0;
    exponential_base_delay is "5001", "10 to 5000"; |c| c.exponential_base_delay = 5001.0;
    exponential_base_delay is "100", "101 to 5000"; |c| c.exponential_min_delay = 101.0;
    exponential_max_delay is "10", "greater than 10"; |c| c.exponential_max_delay = 10.0;
    exponential_max_delay is "5000", "greater than 5000"; |c| c.exponential_min_delay = 5000.0;
    replicas is "65", "at most 64 in number"; |c| c.replicas = core::iter::repeat_n(ReplicaOptions::default(), 65).collect();
    latency_ms is "0", "0.000001 to 31536000000"; |c| c.replicas = [latency(0.0)].into();
    latency_ms is "NaN", "0.000001 to 31536000000"; |c| c.replicas = [latency(1.0), latency(f64::NAN)].into();
    budget_percent is "200.5", "0 to 200"; |c| (c.max_hedges, c.budget_percent) = (2, 200.5);
};

fn latency(millis: f64) -> ReplicaOptions {
    ReplicaOptions {
        latency_ms: Some(millis),
        ..ReplicaOptions::default()
    }
}

/// The options for which every value of their type is valid.
const FREE: &[&str] = &[
    "warmup",
    "model_complexity",
    "time_of_day",
    "priority",
    "enable_cancellation",
    "enabled",
    "observe_only",
    "guard",
];

/// Returns the options in the tables of these tests, in alphabetical order.
fn tested() -> Vec<&'static str> {
    let mut options: Vec<_> = FLOATS
        .iter()
        .chain(INTEGERS)
        .map(|number| number.option)
        .collect();
    options.extend(WRONG.iter().map(|wrong| wrong.option));
    options.extend(FREE);
    // `latency_ms` is an option of a replica.
    options.retain(|option| *option != "latency_ms");
    options.sort_unstable();
    options.dedup();
    options
}

/// Every strategy that is built in.
const KINDS: [StrategyKind; 6] = [
    StrategyKind::Off,
    StrategyKind::OnFailure,
    StrategyKind::Fixed,
    StrategyKind::Percentile,
    StrategyKind::WorkloadAware,
    StrategyKind::ExponentialBackoff,
];

fn config(edit: impl FnOnce(&mut HedgeConfig)) -> HedgeConfig {
    let mut config = HedgeConfig::default();
    edit(&mut config);
    config
}

fn strategy(edit: impl FnOnce(&mut HedgeConfig)) -> AnyStrategy {
    config(edit).validate().unwrap().strategy
}

fn delay(mut strategy: impl Strategy) -> Option<Duration> {
    strategy.plan(&Hints::NONE, Instant::ZERO).delay()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Checks that the error names the option, its value and what is valid.
#[track_caller]
fn assert_refused(config: &HedgeConfig, option: &str, value: &str, expected: &str) {
    let error = config.validate().expect_err(option);
    assert_eq!(error.option(), option);
    let text = error.to_string();
    let start = std::format!("`{option}` is {value}, ");
    assert!(text.starts_with(&start), "{text}, not {start}");
    assert!(text.contains(expected), "{text}, not {expected}");
}

#[test]
fn the_default_is_the_default_of_every_part() {
    let settings = HedgeConfig::default().validate().unwrap();
    // Only a config has a timeout by default.
    let mut options = settings.options;
    assert_eq!(options.timeout.take(), Some(Duration::from_secs(30)));
    assert_eq!(options, Options::DEFAULT);
    assert_eq!(settings.budget, Budget::default());
    assert_eq!(settings.cost_per_attempt, 1.0);
    assert_eq!(settings.strategy_name, Name::EMPTY);
    assert_eq!(settings.telemetry_prefix.as_str(), "hedging");
    let AnyStrategy::Percentile(percentile) = settings.strategy else {
        panic!("not percentile")
    };
    // Neither has a `PartialEq`; both print every field.
    let default = crate::strategy::Percentile::new(95.0);
    assert_eq!(std::format!("{percentile:?}"), std::format!("{default:?}"));
    let default = crate::strategy::ExponentialBackoff::new();
    match strategy(|c| c.strategy = StrategyKind::ExponentialBackoff) {
        AnyStrategy::ExponentialBackoff(backoff) => assert_eq!(backoff, default),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_are_right_up_to_their_edges() {
    for number in FLOATS.iter().chain(INTEGERS) {
        for &right in number.right {
            let config = config(|config| (number.set)(config, right));
            assert_eq!(
                config.validate().map(drop),
                Ok(()),
                "{} {right}",
                number.option
            );
        }
    }
}

#[test]
fn numbers_are_wrong_beyond_their_edges_whatever_the_strategy() {
    let not_finite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let floats = FLOATS.iter().map(|number| (number, &not_finite[..]));
    let integers = INTEGERS.iter().map(|number| (number, &[][..]));
    for (number, more) in floats.chain(integers) {
        for &wrong in number.wrong.iter().chain(more) {
            for kind in KINDS {
                let mut config = HedgeConfig {
                    strategy: kind,
                    ..HedgeConfig::default()
                };
                (number.set)(&mut config, wrong);
                assert_refused(&config, number.option, &shown(wrong), number.expected);
            }
        }
    }
}

/// Returns a number as errors display it, without hundreds of zeros.
fn shown(number: f64) -> std::string::String {
    match number {
        -5e-324 => "-5e-324".to_string(),
        f64::MAX => "1.7976931348623157e308".to_string(),
        _ => number.to_string(),
    }
}

#[test]
fn invalid_values_are_named() {
    for wrong in WRONG {
        assert_refused(
            &config(wrong.edit),
            wrong.option,
            wrong.value,
            wrong.expected,
        );
    }
}

#[test]
fn more_of_what_can_be_right() {
    let right: &[fn(&mut HedgeConfig)] = &[
        |c| c.delay_ms = None,
        |c| c.strategy_name = Some(Name::truncated("a name of all of thirty-two bytes")),
        |c| c.telemetry_prefix = Name::truncated("my_app.v2.hedging"),
        |c| c.delay_candidates = [1e-6, LONGEST].into(),
        |c| c.delay_candidates = (1..=16).map(f64::from).collect(),
        |c| (c.min_delay, c.max_delay) = (20.0, Some(20.000_001)),
        |c| (c.window_size, c.min_samples) = (200, Some(200)),
        |c| (c.max_hedges, c.budget_percent) = (7, 700.0),
        |c| c.workload_inner = Some(StrategyKind::Optimal),
        |c| c.strategy = StrategyKind::Fixed,
        |c| c.replicas = core::iter::repeat_n(latency(1e-6), 64).collect(),
        |c| c.replicas = [latency(31_536_000_000.0)].into(),
    ];
    for (i, edit) in right.iter().enumerate() {
        assert_eq!(config(edit).validate().map(drop), Ok(()), "{i}");
    }
}

#[test]
fn the_strategy_is_the_one_named_with_its_options() {
    assert_eq!(delay(strategy(|c| c.strategy = StrategyKind::Off)), None);
    let fixed = strategy(|c| (c.strategy, c.delay_ms) = (StrategyKind::Fixed, Some(0.25)));
    assert_eq!(
        (fixed.kind(), delay(fixed)),
        (StrategyKind::Fixed, Some(ms(1) / 4))
    );
    let backoff = strategy(|c| {
        c.strategy = StrategyKind::ExponentialBackoff;
        c.exponential_base_delay = 70.0;
    });
    assert_eq!(delay(backoff), Some(ms(70)));
    let learned = strategy(|c| c.initial_delay = Some(30.0));
    assert_eq!(
        (learned.kind(), delay(learned)),
        (StrategyKind::Percentile, Some(ms(30)))
    );
}

#[test]
fn percentile_has_all_of_its_options() {
    let configured = config(|c| {
        c.percentile = 70.0;
        c.window_size = 500;
        c.initial_delay = Some(30.0);
        c.min_samples = Some(20);
        c.warmup = Warmup::Off;
        c.max_age_ms = Some(5000.0);
    });
    let AnyStrategy::Percentile(configured) = configured.validate().unwrap().strategy else {
        panic!("not percentile");
    };
    let built = crate::strategy::Percentile::new(70.0)
        .window_size(500)
        .initial_delay(ms(30))
        .min_samples(20)
        .warmup(Warmup::Off)
        .max_age(ms(5000));
    assert_eq!(std::format!("{configured:?}"), std::format!("{built:?}"));
}

#[test]
fn exponential_backoff_has_all_of_its_options() {
    let configured = strategy(|c| {
        c.strategy = StrategyKind::ExponentialBackoff;
        c.exponential_base_delay = 30.0;
        c.exponential_min_delay = 20.0;
        c.exponential_max_delay = 40.0;
        c.exponential_increase_factor = 3.0;
        c.exponential_decrease_factor = 0.5;
        c.exponential_error_factor = 4.0;
    });
    let built = crate::strategy::ExponentialBackoff::new()
        .base_delay(ms(30))
        .min_delay(ms(20))
        .max_delay(ms(40))
        .increase_factor(3.0)
        .decrease_factor(0.5)
        .error_factor(4.0);
    match configured {
        AnyStrategy::ExponentialBackoff(configured) => assert_eq!(configured, built),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hints_scale_the_base_delay_or_an_inner_strategy() {
    let inner = |inner| {
        let strategy = strategy(|c| {
            c.strategy = StrategyKind::WorkloadAware;
            c.workload_inner = inner;
            c.base_delay = 60.0;
            c.delay_ms = Some(70.0);
            c.initial_delay = Some(80.0);
            c.exponential_base_delay = 90.0;
        });
        assert_eq!(strategy.kind(), StrategyKind::WorkloadAware);
        let AnyStrategy::WorkloadAware(scaled) = &strategy else {
            panic!("not workload-aware")
        };
        let kind = AnyInner::kind(scaled.inner());
        (kind, delay(strategy))
    };
    use StrategyKind::{ExponentialBackoff, Fixed, Off, Percentile};
    assert_eq!(inner(None), (Fixed, Some(ms(60))));
    assert_eq!(inner(Some(Off)), (Off, None));
    assert_eq!(inner(Some(Fixed)), (Fixed, Some(ms(70))));
    assert_eq!(inner(Some(Percentile)), (Percentile, Some(ms(80))));
    assert_eq!(
        inner(Some(ExponentialBackoff)),
        (ExponentialBackoff, Some(ms(90)))
    );
}

#[test]
fn everything_else_arrives() {
    let config = config(|c| {
        c.strategy_name = Some(Name::truncated("search"));
        c.min_delay = 1.5;
        c.max_delay = Some(2000.0);
        c.prompt_length = Some(5000);
        c.model_complexity = Some(ModelComplexity::Complex);
        c.time_of_day = Some(TimeOfDay::Peak);
        c.priority = Some(Priority::Low);
        c.max_hedges = 3;
        c.budget_percent = 25.0;
        c.budget_min_per_second = 2.5;
        c.budget_burst = 4;
        c.max_in_flight = Some(5);
        c.timeout_ms = Some(700.0);
        c.attempt_timeout_ms = Some(300.0);
        c.max_pushback_ms = Some(200.0);
        c.enable_cancellation = false;
        c.enabled = false;
        c.observe_only = true;
        c.holdback_percent = 2.5;
        c.guard = Some(false);
        c.max_keys = 7;
        c.replicas = [latency(3.0), ReplicaOptions::default()].into();
        c.cost_per_attempt = 0.03;
        c.telemetry_prefix = Name::truncated("my_app.hedging");
    });
    let settings = config.validate().unwrap();
    let options = Options {
        enabled: false,
        observe_only: true,
        holdback_percent: 2.5,
        max_hedges: 3,
        timeout: Some(ms(700)),
        attempt_timeout: Some(ms(300)),
        max_pushback: Some(ms(200)),
        enable_cancellation: false,
        min_delay: Duration::from_micros(1500),
        max_delay: Some(ms(2000)),
        guard: Some(false),
        hints: Hints::NONE
            .prompt_length(5000)
            .model_complexity(ModelComplexity::Complex)
            .time_of_day(TimeOfDay::Peak)
            .priority(Priority::Low),
    };
    let budget = Budget::percent(25.0)
        .min_per_second(2.5)
        .burst(4)
        .max_in_flight(5);
    assert_eq!(
        (settings.options, settings.budget.clone()),
        (options, budget)
    );
    assert_eq!(settings.cost_per_attempt, 0.03);
    assert_eq!((settings.max_keys, settings.replicas.len()), (7, 2));

    let clock = ManualTimer::<4>::new();
    let builder = Hedger::builder(&clock).attempts::<4>().settings(settings);
    let hedger = builder.build_local().unwrap();
    assert_eq!(hedger.strategy_name().as_str(), "search");
    assert_eq!(hedger.telemetry_prefix().as_str(), "my_app.hedging");
    assert_eq!(hedger.options(), options);
    assert_eq!(hedger.budget().borrow().tokens(), 4.0);
    let hedged = clock
        .drive(hedger.request(async |_| Ok::<_, ()>(1)))
        .unwrap();
    assert_eq!(hedged.outcome.cost, 0.03);
}

#[test]
fn more_hedges_than_the_type_has_room_for_are_refused_when_it_is_built() {
    let clock = ManualTimer::<4>::new();
    let settings = config(|c| c.max_hedges = 4).validate().unwrap();
    let builder = Hedger::builder(&clock).settings(settings).attempts::<4>();
    assert_eq!(
        builder.clone().build_local().unwrap_err().option(),
        "max_hedges"
    );
    assert!(builder.attempts::<5>().build_local().is_ok());
}

#[test]
fn times_are_rounded_to_the_nanosecond() {
    let timeout = |millis| {
        config(|c| c.timeout_ms = Some(millis))
            .validate()
            .unwrap()
            .options
            .timeout
    };
    assert_eq!(timeout(1e-6), Some(Duration::from_nanos(1)));
    assert_eq!(timeout(0.1), Some(Duration::from_micros(100)));
    assert_eq!(
        timeout(123.456_789),
        Some(Duration::from_nanos(123_456_789))
    );
    assert_eq!(timeout(LONGEST), Some(Duration::from_secs(1_000_000_000)));
}

#[test]
fn every_field_is_tested() {
    let printed = std::format!("{:#?}", HedgeConfig::default());
    let fields = printed
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    let mut fields: Vec<_> = fields.map(|(field, _)| field).collect();
    fields.retain(|field| !field.starts_with(' '));
    fields.sort_unstable();
    assert_eq!(fields, tested());
}
