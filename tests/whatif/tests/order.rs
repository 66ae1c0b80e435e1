//! A trace's order is kept, for shuffled it promises more than the service will see.

mod lab;

use lab::{number, printed, refused, row, uniform};

/// A service that is ten times slower for 400 requests in a row of every ten thousand.
fn clustered() -> String {
    uniform(7)
        .zip(0..20_000)
        .map(|(u, n)| (10.0 + 5.0 * u) * if n % 10_000 < 400 { 10.0 } else { 1.0 })
        .map(|latency| format!("{latency}\n"))
        .collect()
}

const RULE: &str = "--strategy percentile:guard=false";

/// What hedging takes off P99, as a share.
fn cut(arguments: &str) -> f64 {
    let p99 = |strategy: &str| {
        let row = row(
            &format!("--requests 20000 {strategy} {arguments}"),
            &clustered(),
        );
        number(&row, "p99_ms")
    };
    1.0 - p99(RULE) / p99("--strategy off")
}

#[test]
fn what_is_possible_shuffled_is_not_in_order() {
    let (shuffled, kept) = (cut("--shuffle"), cut(""));
    assert!(shuffled > 0.6, "{shuffled}");
    assert!(kept < 0.1, "{kept}");
    assert_eq!(kept, cut("--in-order"));
}

#[test]
fn clustering_is_measured_and_said() {
    let text = printed("--requests 1000 --strategy off", &clustered());
    assert!(
        text.contains("(5 % if requests were independent)"),
        "{text}"
    );
    assert!(text.contains("100 in a row hold up to 100 such"), "{text}");
    assert!(text.contains("Slow requests cluster: "), "{text}");
    assert!(!text.contains("Warning"), "{text}");
    let text = printed("--requests 1000 --strategy off --shuffle", &clustered());
    assert!(
        text.contains("Warning: shuffled, this trace promises more"),
        "{text}"
    );

    let alone: String = uniform(7).take(5000).map(|u| format!("{u}\n")).collect();
    let text = printed("--requests 1000 --strategy off --shuffle", &alone);
    assert!(text.contains("Slow requests come one by one"), "{text}");
    assert!(!text.contains("Warning"), "{text}");

    let text = printed("--requests 1000 --strategy off --workload pareto", "");
    assert!(
        text.contains("drawn independently of the one before"),
        "{text}"
    );
}

#[test]
fn the_optimum_knows_the_very_pairs() {
    // Hedges that take as long as their primaries win nothing, and the best is not to hedge.
    let arguments = "--requests 20000 --draw same --strategy fixed:delay_ms=50";
    let same = row(arguments, &clustered());
    let ratio = number(&same, "p99_vs_optimum");
    assert!((ratio - 1.0).abs() < 1e-6, "{same}");
    assert!(same["share_of_possible"].is_null(), "{same}");
    // One delay that is known beforehand: nothing learned is better.
    let nearby = row(&format!("--requests 20000 {RULE}"), &clustered());
    assert!(number(&nearby, "p99_vs_optimum") >= 0.999, "{nearby}");
}

#[test]
fn a_hedge_may_be_drawn_from_anywhere() {
    let p99 = |draw: &str| {
        let arguments =
            format!("--requests 20000 --strategy fixed:delay_ms=20 --budget 100 {draw}");
        number(&row(&arguments, &clustered()), "p99_ms")
    };
    assert!(p99("--draw iid") < 40.0);
    assert!(p99("--draw nearby") > 60.0);
    let error = refused("--draw pair", "1\n2\n");
    assert!(
        error.contains("`--draw pair` needs a second column"),
        "{error}"
    );
    let error = refused("--draw iid --workload pareto", "");
    assert!(error.contains("cannot be used with"), "{error}");
}
