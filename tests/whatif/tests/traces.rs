//! A folder of traces, and two of its rows by another way.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{number, printed, refused, rows, uniform};
use serde_json::Value;

/// An empty folder that other tests leave alone.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Pairs of exponential latencies of a mean of 100, whose second column is what hedges take.
fn pairs() -> Vec<[f64; 2]> {
    let exponential = |u: f64| -100.0 * (1.0 - u).ln();
    let pairs = uniform(1).zip(uniform(2)).take(8_000);
    pairs
        .map(|(u, v)| [exponential(u), exponential(v)])
        .collect()
}

fn lines(pairs: &[[f64; 2]]) -> String {
    pairs.iter().map(|[x, y]| format!("{x},{y}\n")).collect()
}

fn find<'a>(rows: &'a [Value], trace: &str, rule: &str, target: f64) -> &'a Value {
    let wanted =
        |row: &&Value| row["trace"] == trace && row["rule"] == rule && row["target"] == target;
    rows.iter().find(wanted).unwrap()
}

#[test]
fn rows_have_these_keys_and_a_mean() {
    let folder = folder("keys");
    fs::write(folder.join("one.csv"), lines(&pairs())).unwrap();
    fs::write(folder.join("short.txt"), "# seconds\n0.1\n0.2\n").unwrap();
    fs::write(folder.join("README.md"), "not a trace").unwrap();
    let rows = rows("traces keys", "");
    assert_eq!(rows.len(), 3 * 6 * 2);
    for row in &rows {
        let keys: Vec<_> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected = [
            "budget",
            "extra",
            "first_100",
            "over_guard_off",
            "ratio",
            "ratio_at_spent",
            "rule",
            "target",
            "trace",
            "worst_1000",
        ];
        assert_eq!(keys, expected);
        assert_eq!(number(row, "budget"), 0.05);
        for share in ["extra", "first_100", "worst_1000"] {
            assert!((0.0..=1.0).contains(&number(row, share)), "{row}");
        }
    }
    // The mean is over traces that are long enough: one.
    for rule in ["percentile", "optimal", "naive"] {
        let (mean, one) = (
            find(&rows, "mean", rule, 99.0),
            find(&rows, "one", rule, 99.0),
        );
        assert!((number(mean, "ratio") / number(one, "ratio") - 1.0).abs() < 1e-9);
    }
    let text = printed("traces keys", "");
    assert!(
        text.contains("short.txt: 2 latencies in seconds (by a comment)"),
        "{text}"
    );
    assert!(text.contains("Means are over the 1 traces"), "{text}");
    assert_eq!(text, printed("traces keys", ""));
}

/// The naive rule again, in a few lines, and the best that one delay could do by its closed form.
#[test]
fn the_naive_rule_and_the_best_by_another_way() {
    let folder = folder("naive");
    let pairs = pairs();
    fs::write(folder.join("one.csv"), lines(&pairs)).unwrap();
    let rows = rows("traces naive", "");

    let (mut waited, mut hedges) = (Vec::<f64>::new(), 0.0);
    for [primary, hedge] in &pairs {
        let mut last = waited[waited.len().saturating_sub(1000)..].to_vec();
        last.sort_by(f64::total_cmp);
        let rank = (0.95 * last.len() as f64).ceil() as usize;
        let delay = if last.len() < 10 {
            f64::MAX
        } else {
            last[rank - 1]
        };
        hedges += f64::from(u8::from(*primary > delay));
        waited.push(primary.min(delay + hedge));
    }
    waited.sort_by(f64::total_cmp);
    let p99 = waited[(0.99 * waited.len() as f64).ceil() as usize - 1];

    // P(slower than t) = e^(−t/m) (1 − q (1 − e^(−(t−d)/m))) at a cost of q e^(−d/m).
    let tail = |t: f64| (-t / 100.0).exp();
    let reached = |d: f64| {
        let q = (0.05 / tail(d)).min(1.0);
        let slower = |t: f64| tail(t) * (1.0 - q * (1.0 - tail((t - d).max(0.0))));
        (0..5000)
            .map(|n| f64::from(n) / 10.0)
            .find(|t| slower(*t) <= 0.01)
            .unwrap()
    };
    let best = (0..400)
        .map(|d| reached(f64::from(d)))
        .fold(f64::MAX, f64::min);

    let row = find(&rows, "one", "naive", 99.0);
    let extra = hedges / pairs.len() as f64;
    assert!((number(row, "extra") - extra).abs() < 1e-9, "{row} {extra}");
    let ratio = p99 / best;
    // The closed form is of the distribution, the row of 8000 draws.
    assert!(
        (number(row, "ratio") / ratio - 1.0).abs() < 0.05,
        "{row} {ratio}"
    );
    // A percentile that is not biased hedges one in twenty.
    let ours = number(find(&rows, "one", "percentile_guard_off", 99.0), "extra");
    assert!((ours - 0.05).abs() < 0.005, "{ours}");
}

#[test]
fn a_picture_has_a_point_for_each_rule_and_trace() {
    let folder = folder("picture");
    fs::write(folder.join("one.csv"), lines(&pairs())).unwrap();
    fs::write(folder.join("two.csv"), lines(&pairs()[..6000])).unwrap();
    printed("traces picture --svg picture.svg", "");
    let svg =
        fs::read_to_string(Path::new(env!("CARGO_TARGET_TMPDIR")).join("picture.svg")).unwrap();
    for rule in ["percentile", "optimal", "adaptive", "tower_hedge", "naive"] {
        assert!(svg.contains(rule), "{rule}");
    }
    // Two traces, the mean and the legend.
    assert_eq!(svg.matches("<circle").count(), 6 * (2 + 1 + 1));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn what_is_no_folder_of_traces_is_said() {
    let error = refused("traces no/such/folder", "");
    assert!(error.contains("no/such/folder: "), "{error}");
    folder("empty");
    let error = refused("traces empty", "");
    assert!(error.contains("empty has no files of latencies"), "{error}");
    let bad = folder("bad");
    fs::write(bad.join("a.csv"), "1\n2\nfast\n").unwrap();
    let error = refused("traces bad", "");
    assert!(
        error.contains("a.csv, line 3: `fast` is no number"),
        "{error}"
    );
    let error = refused("traces bad --budget 60", "");
    assert!(
        error.contains("`--budget` is 60, but must be 0.1 to 50"),
        "{error}"
    );
}
