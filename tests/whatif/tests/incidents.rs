//! Rows of the incidents, and one of them by another way.

mod lab;

use lab::{printed, refused, rows};
use serde_json::Value;

const SUBCOMMAND: &str = "incidents";

fn of(name: &str) -> Vec<Value> {
    rows(&format!("{SUBCOMMAND} {name}"), "")
}

#[test]
fn a_row_has_a_name_a_target_what_was_measured_and_whether_that_will_do() {
    let rows = of("max_in_flight");
    assert_eq!(rows.len(), 1);
    let row = rows[0].as_object().unwrap();
    let keys: Vec<_> = row.keys().map(String::as_str).collect();
    assert_eq!(keys, ["measured", "met", "name", "target"]);
    assert!(row["met"].is_boolean());
    assert!(
        ["name", "target", "measured"]
            .iter()
            .all(|key| row[*key].is_string())
    );

    let text = printed("incidents max_in_flight", "");
    assert!(
        text.contains("| what | target | measured | met |"),
        "{text}"
    );
    assert!(text.contains(" of 1 are met."), "{text}");
}

/// Of latencies that have been steady for thousands of requests, a hedge at P95 hedges one in twenty: the closed form of
/// what is measured after the longest incident.
#[test]
fn a_steady_service_is_hedged_one_time_in_twenty() {
    let rows = of("incident_8000");
    let measured = rows[0]["measured"].as_str().unwrap();
    let percent: f64 = measured.split(' ').next().unwrap().parse().unwrap();
    assert!((percent - 5.0).abs() < 0.5, "{measured}");
    assert_eq!(rows[0]["met"], true);
}

#[test]
fn an_incident_that_is_none_is_said() {
    let error = refused("incidents nothing_like_it", "");
    assert!(
        error.contains("no incident is named like `nothing_like_it`"),
        "{error}"
    );
}
