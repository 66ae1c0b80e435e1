//! Configs that are written to JSON and read again.

use super::*;

fn read(json: &str) -> Result<HedgeConfig, serde_json::Error> {
    serde_json::from_str(json)
}

/// Returns a config in which no option has its default.
fn unlike_the_default() -> HedgeConfig {
    HedgeConfig {
        strategy: StrategyKind::WorkloadAware,
        strategy_name: Some(Name::truncated("search")),
        delay_ms: Some(0.125),
        percentile: 99.5,
        window_size: 500,
        initial_delay: Some(20.0),
        min_delay: 1.5,
        max_delay: Some(1e12),
        min_samples: Some(30),
        warmup: Warmup::Prior,
        max_age_ms: Some(60_000.0),
        delay_candidates: [1.0, 2.5].into(),
        learning_rate: 0.0,
        cost_weight: 0.1,
        optimal_target: 99.9,
        optimal_budget_percent: 2.0,
        base_delay: 33.3,
        workload_inner: Some(StrategyKind::ExponentialBackoff),
        prompt_length: Some(1500),
        model_complexity: Some(ModelComplexity::Simple),
        time_of_day: Some(TimeOfDay::OffPeak),
        priority: Some(Priority::High),
        exponential_base_delay: 50.0,
        exponential_min_delay: 25.0,
        exponential_max_delay: 4000.0,
        exponential_increase_factor: 1.25,
        exponential_decrease_factor: 0.75,
        exponential_error_factor: 3.0,
        max_hedges: 3,
        budget_percent: 300.0,
        budget_min_per_second: 0.1,
        budget_burst: 0,
        max_in_flight: Some(7),
        timeout_ms: None,
        attempt_timeout_ms: Some(2500.0),
        max_pushback_ms: Some(1500.0),
        enable_cancellation: false,
        enabled: false,
        observe_only: true,
        holdback_percent: 12.5,
        guard: Some(true),
        max_keys: 3,
        replicas: [
            latency(0.25),
            ReplicaOptions {
                weight: core::num::NonZero::new(3).unwrap(),
                bias: -16,
                latency_ms: None,
            },
        ]
        .into(),
        cost_per_attempt: 0.03,
        telemetry_prefix: Name::truncated("my_app.hedging"),
    }
}

#[test]
fn what_is_written_is_read() {
    for config in [HedgeConfig::default(), unlike_the_default()] {
        assert_eq!(config.validate().map(drop), Ok(()));
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(read(&json).unwrap(), config, "{json}");
    }
}

#[test]
fn the_default_is_as_documented_and_what_is_not_there_is_not_written() {
    let written = serde_json::to_value(HedgeConfig::default()).unwrap();
    let documented = serde_json::json!({
        "strategy": "percentile",
        "delay_ms": 100.0,
        "percentile": 95.0,
        "window_size": 4000,
        "min_delay": 0.0,
        "warmup": "delay",
        "delay_candidates": [50.0, 100.0, 200.0, 500.0, 1000.0],
        "learning_rate": 0.1,
        "cost_weight": 0.25,
        "optimal_target": 99.0,
        "optimal_budget_percent": 5.0,
        "base_delay": 100.0,
        "exponential_base_delay": 100.0,
        "exponential_min_delay": 10.0,
        "exponential_max_delay": 5000.0,
        "exponential_increase_factor": 1.5,
        "exponential_decrease_factor": 0.9,
        "exponential_error_factor": 2.0,
        "max_hedges": 1,
        "budget_percent": 10.0,
        "budget_min_per_second": 0.0,
        "budget_burst": 80,
        "timeout_ms": 30_000.0,
        "enable_cancellation": true,
        "enabled": true,
        "observe_only": false,
        "holdback_percent": 0.0,
        "max_keys": 64,
        "cost_per_attempt": 1.0,
        "telemetry_prefix": "hedging",
    });
    assert_eq!(written, documented);
}

#[test]
fn the_fields_are_the_options() {
    let json = serde_json::to_value(unlike_the_default()).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, tested());
}

#[test]
fn what_is_left_out_is_the_default_but_for_the_fixed_delay() {
    let empty = read("{}").unwrap();
    assert_eq!(
        empty,
        HedgeConfig {
            delay_ms: None,
            ..HedgeConfig::default()
        }
    );
    assert_eq!(empty.validate().map(drop), Ok(()));
    let fixed = read(r#"{ "strategy": "fixed" }"#).unwrap();
    assert_refused(&fixed, "delay_ms", "missing", "`fixed`");
}

#[test]
fn every_word_is_read() {
    for kind in StrategyKind::ALL
        .into_iter()
        .filter(|&kind| kind != StrategyKind::Custom)
    {
        let json = std::format!(r#"{{ "strategy": "{kind}" }}"#);
        assert_eq!(read(&json).unwrap().strategy, kind);
    }
    for warmup in Warmup::ALL {
        assert_eq!(
            read(&std::format!(r#"{{ "warmup": "{warmup}" }}"#))
                .unwrap()
                .warmup,
            warmup
        );
    }
    let json = r#"{ "workload_inner": null, "priority": null, "guard": null }"#;
    assert_eq!(read(json).unwrap(), read("{}").unwrap());
}

#[test]
fn a_whole_number_is_a_number() {
    let config = read(r#"{ "percentile": 99, "delay_ms": 5, "delay_candidates": [1, 2.5] }"#);
    let config = config.unwrap();
    assert_eq!((config.percentile, config.delay_ms), (99.0, Some(5.0)));
    assert_eq!(*config.delay_candidates, [1.0, 2.5]);
}

#[cfg(feature = "alloc")]
#[test]
fn a_whole_number_may_be_written_as_a_float() {
    let config = read(r#"{ "max_hedges": 2.0, "window_size": 1e3, "min_samples": 30.0 }"#).unwrap();
    assert_eq!(
        (config.max_hedges, config.window_size, config.min_samples),
        (2, 1000, Some(30))
    );
}

#[test]
fn a_time_above_zero_does_not_become_zero() {
    let config = read(r#"{ "timeout_ms": 1e-10, "attempt_timeout_ms": 1e-300 }"#).unwrap();
    let timeout = config.validate().unwrap().options.timeout;
    assert_eq!(timeout, Some(Duration::from_nanos(1)));
}

// Without an allocator, an error does not name the field whose type is wrong.
#[cfg(feature = "alloc")]
#[test]
fn what_cannot_be_read_is_named() {
    let seventeen = std::format!(r#"{{ "delay_candidates": {:?} }}"#, [1; 17]);
    let sixty_five = std::format!(r#"{{ "replicas": [{}{{}}] }}"#, "{},".repeat(64));
    let long = std::format!(r#"{{ "telemetry_prefix": "{}" }}"#, "x".repeat(33));
    let cases = [
        (
            r#"{ "delay": 5 }"#,
            "unknown field `delay`; did you mean `delay_ms`?",
        ),
        (r#"{ "percentiles": 5 }"#, "unknown field `percentiles`"),
        (
            r#"{ "percentile": 99, "percentile": 99 }"#,
            "duplicate field `percentile`",
        ),
        (
            r#"{ "strategy": "fast" }"#,
            "`strategy` is \"fast\", but must be off, on_failure, fixed, percentile",
        ),
        (
            r#"{ "strategy": "custom" }"#,
            "`strategy` is \"custom\", but must be off, on_failure, fixed",
        ),
        (
            r#"{ "strategy": "Fixed" }"#,
            "`strategy` is \"Fixed\", but must be off, on_failure, fixed",
        ),
        (
            r#"{ "strategy": 5 }"#,
            "`strategy` is 5, but must be off, on_failure, fixed, percentile",
        ),
        (
            r#"{ "workload_inner": "slow" }"#,
            "`workload_inner` is \"slow\", but must be off",
        ),
        (
            r#"{ "workload_inner": "workload_aware" }"#,
            "`workload_inner` is \"workload_aware\"",
        ),
        (
            r#"{ "warmup": "on" }"#,
            "`warmup` is \"on\", but must be delay, off or prior",
        ),
        (
            r#"{ "model_complexity": "" }"#,
            "`model_complexity` is \"\", but must be simple",
        ),
        (
            r#"{ "time_of_day": "night" }"#,
            "`time_of_day` is \"night\", but must be peak",
        ),
        (
            r#"{ "priority": "urgent" }"#,
            "`priority` is \"urgent\", but must be low",
        ),
        (
            r#"{ "telemetry_prefix": "a b" }"#,
            "`telemetry_prefix` is \"a b\", but must be names",
        ),
        (&long, "`telemetry_prefix` is \"xxxx"),
        (
            r#"{ "strategy_name": "a name that is longer than thirty-two bytes" }"#,
            "`strategy_name` is \"a name that is longer than thirty-two bytes\", but must be at most 32",
        ),
        (
            &seventeen,
            "`delay_candidates` is 17, but must be 2 to 16 in number",
        ),
        (
            r#"{ "delay_candidates": [5] }"#,
            "`delay_candidates` is 1, but must be 2 to 16 in number",
        ),
        (
            r#"{ "delay_candidates": 5 }"#,
            "`delay_candidates` is 5, but must be a list of numbers",
        ),
        (
            r#"{ "percentile": "99" }"#,
            "`percentile` is \"99\", but must be a number",
        ),
        (
            r#"{ "percentile": null }"#,
            "`percentile` is null, but must be a number",
        ),
        (
            r#"{ "max_hedges": 256 }"#,
            "`max_hedges` is 256, but must be a whole number, 1 to 7",
        ),
        (
            r#"{ "max_hedges": 2.5 }"#,
            "`max_hedges` is 2.5, but must be a whole number, 1 to 7",
        ),
        (
            r#"{ "window_size": -1 }"#,
            "`window_size` is -1, but must be a whole number, 200 to 8000",
        ),
        (
            r#"{ "max_in_flight": 4294967296 }"#,
            "`max_in_flight` is 4294967296, but must be a whole number, 1 to 4294967295",
        ),
        (
            r#"{ "prompt_length": 1.5 }"#,
            "`prompt_length` is 1.5, but must be a whole number",
        ),
        (
            r#"{ "max_keys": -1 }"#,
            "`max_keys` is -1, but must be a whole number, 0 to",
        ),
        (
            r#"{ "replicas": [{}, { "weight": 0 }] }"#,
            "`replicas[1].weight` is 0, but must be a whole number, 1 to 65535",
        ),
        (
            r#"{ "replicas": [{ "bias": 128 }] }"#,
            "`replicas[0].bias` is 128, but must be a whole number, -128 to 127",
        ),
        (
            r#"{ "replicas": [{ "latency_ms": 0 }] }"#,
            "`replicas[0].latency_ms` is 0, but must be 0.000001 to 31536000000",
        ),
        (
            r#"{ "replicas": [{ "wieght": 2 }] }"#,
            "unknown field `replicas[0].wieght`; did you mean `weight`?",
        ),
        (
            r#"{ "replicas": 3 }"#,
            "`replicas` is 3, but must be a list of tables, one for each replica",
        ),
        (
            &sixty_five,
            "`replicas` is 65, but must be at most 64 in number",
        ),
    ];
    for (json, expected) in cases {
        let error = read(json).expect_err(json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}
