//! What is printed, and that it follows from what is read.

mod lab;

use std::fs;
use std::io::Read;
use std::path::Path;

use lab::{bimodal, command, number, printed, row, rows, run, uniform};
use serde_json::Value;

const KEYS: [&str; 12] = [
    "strategy",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "p999_ms",
    "hedge_rate",
    "extra_load",
    "cost",
    "p99_vs_optimum",
    "share_of_possible",
    "failed",
    "timed_out",
];
/// Those that have no number where nothing is to be had.
const MAY_BE_ABSENT: &str = "share_of_possible";
const STRATEGIES: [&str; 8] = [
    "off",
    "on_failure",
    "fixed",
    "percentile",
    "adaptive",
    "workload_aware",
    "exponential_backoff",
    "optimal",
];

/// A file that other tests leave alone, where the program finds it by its name.
fn write(name: &str, text: &str) {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), text).unwrap();
}

#[test]
fn json_has_a_row_for_each_strategy_with_these_keys() {
    let text = printed("--json --requests 2000", &bimodal(500));
    // In this order, which a map would not keep.
    let places: Vec<_> = KEYS.map(|key| text.find(&format!("\"{key}\":"))).to_vec();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}");

    let rows = rows("--requests 2000", &bimodal(500));
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["strategy"].as_str().unwrap())
        .collect();
    assert_eq!(names, STRATEGIES);
    for row in &rows {
        assert_eq!(row.as_object().unwrap().len(), KEYS.len());
        for key in KEYS[1..].iter().filter(|key| **key != MAY_BE_ABSENT) {
            assert!(number(row, key).is_finite(), "{key} of {row}");
        }
    }
    assert!(rows[0][MAY_BE_ABSENT].is_null());
    assert!(number(&rows[3], MAY_BE_ABSENT) > 0.9, "{}", rows[3]);
    assert_eq!(number(&rows[0], "extra_load"), 0.0);
    assert_eq!(number(&rows[0], "cost"), 1.0);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for format in ["", "--json"] {
        let with = |seed| {
            printed(
                &format!("--workload pareto --requests 5000 --seed {seed} {format}"),
                "",
            )
        };
        assert_eq!(with(7), with(7));
        assert_ne!(with(7), with(8));
    }
}

/// What is printed, but for what was understood of each file.
fn figures(arguments: &str, input: &str) -> String {
    let text = printed(arguments, input);
    let (_, figures) = text.split_once("\n\n").unwrap();
    figures.to_owned()
}

#[test]
fn standard_input_and_files_are_alike() {
    write("alike.txt", &bimodal(300));
    let piped = figures("--requests 1000", &bimodal(300));
    assert_eq!(figures("--requests 1000 -", &bimodal(300)), piped);
    assert_eq!(figures("--requests 1000 alike.txt", ""), piped);
    let windows = format!(
        "# latency\r\n\r\n{}",
        bimodal(300).replace('\n', " # ms\r\n")
    );
    assert_eq!(figures("--requests 1000", &windows), piped);
}

#[test]
fn several_files_count_as_one() {
    let all = bimodal(300);
    let hundredth = all.match_indices('\n').nth(99).unwrap().0;
    let (first, second) = all.split_at(hundredth + 1);
    write("first.txt", first);
    write("second.txt", second);
    assert_eq!(
        figures("--requests 1000 first.txt second.txt", ""),
        figures("--requests 1000", &all)
    );
}

#[test]
fn a_table_is_read_and_what_was_understood_is_said() {
    let table: String = bimodal(300)
        .lines()
        .enumerate()
        .map(|(n, ms)| format!("{n},GET,{}\n", ms.parse::<f64>().unwrap() * 1e3))
        .collect();
    let table = format!("time,method,latency_us\n{table}");
    let text = printed("--requests 1000", &table);
    let said = "standard input: 300 latencies in microseconds (by the column's name), column `latency_us` of 3\n";
    assert!(text.starts_with(said), "{text}");
    let (_, rest) = text.split_once("\n\n").unwrap();
    assert_eq!(rest, figures("--requests 1000", &bimodal(300)));
    // A user may know better.
    let text = printed("--requests 1000 --unit s --column time", &table);
    assert!(text.contains("300 latencies in seconds (as asked for), column `time` of 3"));
}

#[test]
fn the_second_column_is_what_a_hedge_takes() {
    let hedged = |second: fn(f64, f64) -> f64| {
        let lines: String = uniform(1)
            .zip(uniform(2))
            .map(|(u, v)| (-100.0 * u.ln(), -100.0 * v.ln()))
            .map(|(first, other)| format!("{first},{}\n", second(first, other)))
            .take(20_000)
            .collect();
        row(
            "--requests 20000 --strategy fixed:delay_ms=200 --budget 100",
            &lines,
        )
    };
    let [alike, apart, quick] = [
        hedged(|first, _| first),
        hedged(|_, other| other),
        hedged(|_, _| 1.0),
    ];
    // P99 is 100 ln 100 = 460 unhedged, and 200 + 100 ln 13.5 / 2 = 330 if a hedge is another draw.
    assert!((number(&alike, "p99_ms") - 460.0).abs() < 20.0, "{alike}");
    assert!((number(&apart, "p99_ms") - 330.0).abs() < 15.0, "{apart}");
    assert!((number(&quick, "p99_ms") - 201.0).abs() < 0.1, "{quick}");
    assert!(
        (number(&alike, "hedge_rate") - 0.135).abs() < 0.01,
        "{alike}"
    );
    // The optimum knows that these hedges are useless.
    assert!(
        (number(&alike, "p99_vs_optimum") - 1.0).abs() < 0.04,
        "{alike}"
    );
}

#[test]
fn a_trace_is_run_to_its_end() {
    let lines = "1\n".repeat(100_000) + "50\n";
    let text = printed("--strategy off", &lines);
    assert!(
        text.contains("trace of 100001 lines, in its order"),
        "{text}"
    );
    assert!(text.contains(", 100001 requests"), "{text}");
}

#[test]
fn odd_traces_make_no_nonsense() {
    let [equal, zeros] = ["20\n", "0\n"].map(|line| line.repeat(1000));
    let huge = "10\n".repeat(49) + "1e12\n";
    for (input, note) in [
        ("12.5\n", ""),
        (&equal, ""),
        (&zeros, ""),
        ("0\n1000\n", ""),
        ("1e-9\n2e-9\n", ""),
        (&huge, "note: latencies above 1800000 ms count as that: 1\n"),
    ] {
        let output = run("--json --requests 2000", input);
        assert_eq!(String::from_utf8_lossy(&output.stderr), note);
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows.len(), STRATEGIES.len());
        for row in &rows {
            for key in KEYS[1..].iter().filter(|key| **key != MAY_BE_ABSENT) {
                assert!(number(row, key) >= 0.0, "{key} of {row}");
            }
            assert!(number(row, "p99_ms") <= number(&rows[0], "p99_ms"), "{row}");
            assert!(number(row, "extra_load") <= 0.105, "{row}");
        }
    }
}

#[test]
fn the_budget_is_the_most() {
    for budget in [0.0, 1.0, 2.0, 5.0, 25.0] {
        let arguments = format!("--workload lognormal --requests 20000 --budget {budget}");
        for row in rows(&arguments, "") {
            // And the ten that a budget starts with.
            let most = budget / 100.0 + 10.0 / 20_000.0;
            assert!(number(&row, "extra_load") <= most, "{budget}: {row}");
        }
    }
}

#[test]
fn a_small_budget_is_enough_for_a_rare_slow_mode() {
    let optimal = row(
        "--workload bimodal --requests 20000 --budget 2 --strategy optimal",
        "",
    );
    assert!(number(&optimal, "p99_ms") <= 30.0, "{optimal}");
    assert!(number(&optimal, "extra_load") <= 0.0204, "{optimal}");
}

#[test]
fn optimal_is_near_the_optimum() {
    for workload in ["lognormal", "exponential", "bimodal", "correlated:0.3"] {
        let strategy = "optimal:window_size=4000";
        let row = row(
            &format!("--workload {workload} --requests 40000 --strategy {strategy}"),
            "",
        );
        let ratio = number(&row, "p99_vs_optimum");
        assert!((0.93..=1.10).contains(&ratio), "{workload}: {ratio}");
    }
}

#[test]
fn options_of_a_strategy_are_heard() {
    let hedged = |strategy| {
        let arguments = format!("--workload exponential --requests 20000 --strategy {strategy}");
        number(&row(&arguments, ""), "hedge_rate")
    };
    assert!((hedged("percentile:percentile=98") - 0.02).abs() < 0.005);
    assert!((hedged("fixed:delay_ms=300") - 0.05).abs() < 0.005);
    assert!((hedged("fixed:delay_ms=0,budget_percent=30") - 0.30).abs() < 0.005);
    assert_eq!(hedged("fixed:delay_ms=0,enabled=false"), 0.0);
    assert_eq!(hedged("off"), 0.0);
}

#[test]
fn a_request_may_have_several_hedges() {
    let extra = |hedges: u32| {
        let budget = 100 * hedges;
        let arguments = format!(
            "--workload exponential --requests 2000 --strategy fixed:delay_ms=0 --max-hedges {hedges} --budget {budget}"
        );
        number(&row(&arguments, ""), "extra_load")
    };
    assert_eq!(extra(1), 1.0);
    assert_eq!(extra(3), 3.0);
}

#[test]
fn a_reader_may_leave() {
    let mut child = command("--workload pareto --requests 1000")
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert_eq!(errors, "");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_chart_names_what_it_shows() {
    let text = printed("--svg chart.svg --requests 2000 --json", &bimodal(500));
    assert!(text.starts_with('['));
    let svg = fs::read_to_string(Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart.svg")).unwrap();
    let words = [
        "<svg",
        "prefers-color-scheme: dark",
        "no hedging",
        "optimum",
        "P99, ms",
        "extra load, %",
    ];
    for word in words.iter().chain(&STRATEGIES[1..]) {
        assert!(svg.contains(word), "{word}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}
