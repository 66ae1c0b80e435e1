//! The last line says what to use, with a config that can be pasted.

mod lab;

use hedge_core::{HedgeConfig, StrategyKind};
use lab::{bimodal, printed};

/// The last line, and the config in it.
fn advice(arguments: &str, input: &str) -> (String, HedgeConfig) {
    let text = printed(&format!("{arguments} --requests 20000"), input);
    let line = text.lines().last().unwrap().to_owned();
    let (_, config) = line.split_once("Config: ").unwrap();
    let config: HedgeConfig = serde_json::from_str(config).unwrap();
    assert!(config.validate().is_ok(), "{line}");
    (line, config)
}

#[test]
fn a_tail_is_worth_hedging() {
    let (line, config) = advice("", &bimodal(5000));
    assert_eq!(config.strategy, StrategyKind::Percentile);
    assert!(
        line.starts_with("Use percentile: P99 falls from 400.0 to "),
        "{line}"
    );
}

#[test]
fn every_strategy_that_is_recommended_can_be_pasted() {
    for strategy in [
        "fixed:delay_ms=25",
        "percentile:percentile=96.5,min_samples=20,warmup=off",
        "adaptive:delay_candidates=[25,50],learning_rate=0.05",
        "workload_aware:workload_inner=percentile",
        "exponential_backoff:exponential_base_delay=30,exponential_min_delay=25",
        "optimal:optimal_budget_percent=4,max_age_ms=60000",
    ] {
        let (line, config) = advice(&format!("--strategy {strategy}"), &bimodal(5000));
        let name = strategy.split(':').next().unwrap();
        assert!(line.starts_with(&format!("Use {name}: ")), "{line}");
        assert_eq!(config.strategy.as_str(), name);
    }
}

#[test]
fn the_config_has_the_options_it_was_tried_with() {
    let (_, config) = advice(
        "--workload bimodal --budget 2 --max-hedges 2 --target 98.5 --strategy optimal:max_age_ms=60000",
        "",
    );
    let tried = HedgeConfig {
        strategy: StrategyKind::Optimal,
        optimal_budget_percent: 2.0,
        optimal_target: 98.5,
        budget_percent: 4.0,
        max_hedges: 2,
        max_age_ms: Some(60_000.0),
        delay_ms: None,
        ..HedgeConfig::default()
    };
    assert_eq!(config, tried);
}

#[test]
fn requests_that_take_minutes_get_the_time() {
    // Two to eighty seconds, one time in fifty ten minutes.
    let latency = |n| match n % 50 {
        0 => 600_000,
        _ => 2000 + n * 37 % 1000 * 78,
    };
    let lines: String = (0..1000).map(|n| format!("{}\n", latency(n))).collect();
    let (_, config) = advice("", &lines);
    let timeout = config.timeout_ms.unwrap();
    assert!(timeout > 80_000.0, "{timeout}");
}

#[test]
fn what_does_not_help_is_not_recommended() {
    let equal = "20\n".repeat(1000);
    let together: String = (1..2000).map(|n| format!("{n},{n}\n")).collect();
    for (arguments, input) in [
        ("", &equal[..]),
        ("", "12.5\n"),
        ("--strategy percentile --strategy optimal", &together),
        ("--workload correlated:1 --strategy optimal", ""),
        ("--workload queue:0.9", ""),
        ("--workload lognormal --budget 0", ""),
        // Nor for want of others.
        ("--workload queue:0.9 --strategy fixed:delay_ms=200", ""),
    ] {
        let (line, config) = advice(arguments, input);
        assert!(line.starts_with("Do not hedge: "), "{arguments}: {line}");
        assert_eq!(config.strategy, StrategyKind::Off);
    }
}

#[test]
fn a_timeout_is_no_latency() {
    // A third takes a minute: those that are cut off at 30 s have no answer.
    let lines: String = (0..3000)
        .map(|n| format!("{}\n", if n % 3 == 0 { 60_000 } else { 100 + n % 7 }))
        .collect();
    let arguments = "--strategy percentile:timeout_ms=30000,budget_percent=1";
    let (line, _) = advice(arguments, &lines);
    assert!(line.starts_with("Do not hedge: "), "{line}");
    let row = lab::row(&format!("{arguments} --requests 3000"), &lines);
    assert!(lab::number(&row, "timed_out") > 0.3, "{row}");
    assert_eq!(lab::number(&row, "failed"), 0.0);
    assert!(row["p99_ms"].is_null(), "{row}");
    // Of 100 to 106, what half of all requests do not exceed: three quarters of those that are answered.
    assert_eq!(lab::number(&row, "p50_ms"), 105.0);
}

#[test]
fn the_advice_says_what_it_rests_on() {
    let (line, _) = advice("--seed 3", &bimodal(5000));
    let said = "That rests on 20000 requests of a trace of 5000 lines, in its order, hedges as another line within ±50 \
                places, seed 3.";
    assert!(line.contains(said), "{line}");
    let (line, _) = advice("--workload lognormal", "");
    assert!(
        line.contains("of a model (lognormal), each independent"),
        "{line}"
    );
}
