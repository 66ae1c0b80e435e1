//! Runs the program, and looks at what it prints. Nothing is said about how long anything takes.

use std::process::Command;

use serde_json::Value;

fn run(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hedge-bench"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

const QUICK: [&str; 5] = ["--json", "--rounds", "1", "--requests", "20"];

#[test]
fn no_built_in_strategy_allocates_for_a_request_hedged_or_not() {
    let hedgers = ["--case", "hedge/", "--runtime", "current_thread"];
    let rows = run(&[QUICK.as_slice(), &hedgers].concat());
    let rows = rows.as_array().unwrap();
    let allocating = |row: &&Value| row["allocs"] != 0.0;
    // The layers of tower box their futures; nothing else may.
    for row in rows.iter().filter(allocating) {
        let case = row["case"].as_str().unwrap();
        assert!(case.starts_with("hedge/percentile, tower"), "{row}");
        // One each, and a few more for lists that grow.
        assert!(row["allocs"].as_f64().unwrap() < 1.5, "{row}");
    }

    for strategy in [
        "fixed",
        "percentile",
        "adaptive",
        "workload_aware",
        "exponential_backoff",
        "optimal",
    ] {
        let case = format!("hedge/{strategy}");
        let kinds = rows.iter().filter(|row| row["case"] == case.as_str());
        let kinds: Vec<_> = kinds.map(|row| row["kind"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            ["ready", "pending", "hedge_wins", "hedge_loses"],
            "{case}"
        );
    }
}

#[test]
fn every_library_is_measured_on_both_runtimes_beside_the_one_by_hand() {
    let rows = run(&[QUICK.as_slice(), &["--kind", "ready"]].concat());
    let rows = rows.as_array().unwrap();
    for runtime in ["current_thread", "multi_thread"] {
        for case in [
            "bare",
            "hand/learning",
            "hedge/percentile",
            "fure",
            "do-over",
            "seatbelt",
            "tower-resilience-hedge",
            "tower::hedge",
            "hedged, every 10",
        ] {
            let mut found = rows.iter();
            let row = found.find(|row| row["case"] == case && row["runtime"] == runtime);
            let row = row.unwrap_or_else(|| panic!("{case} on {runtime}"));
            assert_eq!(row["kind"], "ready");
            assert!(row["median_ns"].as_f64().unwrap() > 0.0, "{row}");
            if case == "hand/learning" {
                assert_eq!(row["ratio_to_hand_learning"], 1.0);
            }
        }
    }
}

#[test]
fn contention_is_relative_to_one_task() {
    let case = ["--case", "hedge/percentile"];
    let rows = run(&[["contention"].as_slice(), &QUICK, &case].concat());
    let rows = rows.as_array().unwrap();
    let of_case = rows.iter().filter(|row| row["case"] == "hedge/percentile");
    let tasks: Vec<_> = of_case
        .clone()
        .map(|row| row["tasks"].as_u64().unwrap())
        .collect();
    assert_eq!(tasks, [1, 2, 4, 8]);
    let ones = of_case.clone().filter(|row| row["tasks"] == 1);
    assert!(ones.clone().all(|row| row["ratio_to_one"] == 1.0));
    assert!(
        rows.iter()
            .all(|row| row["requests_per_second"].as_f64().unwrap() > 0.0)
    );
}

#[test]
fn requests_in_flight_are_counted_and_their_answers_checked() {
    let measured = run(&["in-flight", "--json", "--requests", "2000", "--delay", "2"]);
    assert_eq!(
        (&measured["requests"], &measured["hedged"]),
        (&2000.into(), &100.into())
    );
    let bytes = measured["bytes_per_request"].as_u64().unwrap();
    assert!((100..4000).contains(&bytes), "{bytes}");
}

#[test]
fn a_hedged_stream_allocates_nothing() {
    let rows = run(&["streams", "--json", "--rounds", "3", "--items", "1000"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!(row["allocations"], 0, "{row}");
        assert!(row["ns_per_item"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn a_request_of_ours_holds_its_attempts_in_its_future() {
    let measured = run(&["memory", "--json"]);
    let attempt = measured["attempt_bytes"].as_u64().unwrap();
    let requests = measured["requests_in_flight"].as_array().unwrap();
    let of_case = |case: &str| requests.iter().find(|row| row["case"] == case).unwrap();
    let ours = of_case("hedge/percentile");
    assert!(
        ours["future_bytes"].as_u64().unwrap() > 2 * attempt,
        "{ours}"
    );
    assert_eq!(ours["allocated_bytes"], 0);
    // What boxes its attempts is seen to.
    assert!(of_case("do-over")["allocated_bytes"].as_u64().unwrap() > 2 * attempt);
}
