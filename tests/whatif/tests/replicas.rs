//! `whatif replicas`: what is printed, and that it is the same every time.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_whatif"))
        .arg("replicas")
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

fn printed(arguments: &str) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

const RARE: &str = "--scenario rare-slow --seeds 2";

#[test]
fn a_scenario_has_a_row_for_each_rule() {
    let text = printed(RARE);
    let rules = [
        "random",
        "round robin",
        "least outstanding",
        "P2C peak-EWMA",
        "hedge",
        "told which is bad",
    ];
    for rule in rules {
        assert_eq!(
            text.lines().filter(|line| line.starts_with(rule)).count(),
            1,
            "{rule}:\n{text}"
        );
    }
    assert_eq!(text, printed(RARE));
    assert_ne!(text, printed(&format!("{RARE} --first-seed 9")));
}

#[test]
fn hedge_leaves_a_slow_replica_alone_and_random_does_not() {
    let text = printed(RARE);
    let bad_share = |rule: &str| -> f64 {
        let row = text.lines().find(|line| line.starts_with(rule)).unwrap();
        let columns: Vec<_> = row[18..].split_whitespace().collect();
        columns[6].parse().unwrap()
    };
    assert!(bad_share("random") > 25.0, "{text}");
    assert!(bad_share("hedge") < 5.0, "{text}");
    assert_eq!(bad_share("told"), 0.0, "{text}");
}

#[test]
fn an_incident_can_be_drawn() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("incident.svg");
    printed(&format!("{RARE} --svg {}", file.display()));
    let svg = fs::read_to_string(file).unwrap();
    for text in [
        "hedge: share, %",
        "replica 3",
        "P99, random",
        "prefers-color-scheme: dark",
    ] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn options_that_are_wrong_are_refused() {
    for arguments in [
        "--load 2",
        "--clients 0",
        "--svg a.svg --scenario slow --scenario hang",
    ] {
        assert!(!run(arguments).status.success(), "{arguments}");
    }
}
