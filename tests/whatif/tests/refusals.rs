//! Invalid input is refused with an error that says what, where and why.

mod lab;

use lab::refused;

#[test]
fn a_bad_line_is_named() {
    for (input, said) in [
        ("1\n2\nabc\n", "standard input, line 3: `abc` is no number"),
        (
            "1\r\n-2\r\n",
            "line 2: a latency is -2, but must be at least 0 ms",
        ),
        (
            "# ms\nNaN\n",
            "line 2: a latency is NaN, but must be at least 0 ms",
        ),
        (
            "inf\n",
            "line 1: a latency is inf, but must be at least 0 ms",
        ),
        (
            "1e999\n",
            "line 1: a latency is 1e999, but must be at least 0 ms",
        ),
        ("1,2,3\n", "line 1: more than two latencies in `1,2,3`"),
        ("1,\n", "line 1: `` is no number"),
        (
            "1\n2,3\n",
            "line 2: `2,3` has two where lines before have one",
        ),
        (
            "1,2\n\n3\n",
            "line 3: `3` has one where lines before have two",
        ),
    ] {
        let error = refused("", input);
        assert!(error.contains(said), "{input:?}: {error}");
    }
}

#[test]
fn nothing_to_read_is_said() {
    for input in ["", "\n\n", "# only\n  # comments\n"] {
        let error = refused("", input);
        assert!(error.contains("standard input has no latencies"), "{error}");
    }
    let error = refused("no/such/file", "");
    assert!(error.contains("no/such/file: "), "{error}");
}

#[test]
fn options_name_value_and_range() {
    for (arguments, said) in [
        ("--budget -1", "`--budget` is -1, but must be 0 to 100"),
        ("--budget 101", "`--budget` is 101, but must be 0 to 100"),
        ("--budget NaN", "`--budget` is NaN, but must be 0 to 100"),
        (
            "--budget 201 --max-hedges 2",
            "`--budget` is 201, but must be 0 to 200",
        ),
        ("--target 49", "`--target` is 49, but must be 50 to 99.9"),
        ("--target 100", "`--target` is 100, but must be 50 to 99.9"),
        ("--target -5", "`--target` is -5, but must be 50 to 99.9"),
        (
            "--requests 0",
            "'0' for '--requests <REQUESTS>': 0 is not in 100..=10000000",
        ),
        (
            "--max-hedges 0",
            "'0' for '--max-hedges <MAX_HEDGES>': 0 is not in 1..=7",
        ),
        (
            "--max-hedges 8",
            "'8' for '--max-hedges <MAX_HEDGES>': 8 is not in 1..=7",
        ),
        ("--seed -1", "'-1' for '--seed <SEED>'"),
    ] {
        let error = refused(&format!("--workload pareto {arguments}"), "");
        assert!(error.contains(said), "{arguments}: {error}");
    }
}

#[test]
fn workloads_name_value_and_range() {
    for (workload, said) in [
        (
            "gaussian",
            "no workload `gaussian`; there are lognormal, pareto,",
        ),
        (
            "correlated",
            "`correlated` needs a correlation, as in `correlated:0.5`",
        ),
        ("correlated:2", "a correlation is 2, but must be 0 to 1"),
        ("correlated:NaN", "a correlation is NaN, but must be 0 to 1"),
        ("queue:0", "a load is 0, but must be 0.01 to 0.99"),
        ("queue:1.5", "a load is 1.5, but must be 0.01 to 0.99"),
        ("queue:high", "a load `high` is no number"),
        ("pareto:2", "`pareto` takes no `2`"),
    ] {
        let error = refused(&format!("--workload {workload}"), "");
        assert!(error.contains(said), "{workload}: {error}");
    }
    let error = refused("--workload pareto some.txt", "");
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn strategies_name_option_value_and_range() {
    for (strategy, said) in [
        (
            "perzentile",
            "`strategy` is \"perzentile\", but must be off, on_failure, fixed, percentile, adaptive, workload_aware, \
             exponential_backoff or optimal",
        ),
        (
            "percentile:quantile=5",
            "unknown field `quantile`, but must be one of `strategy`",
        ),
        (
            "percentile:percentile=20",
            "`percentile` is 20, but must be 50 to 99.9",
        ),
        (
            "percentile:percentile=high",
            "`percentile` is \"high\", but must be a number",
        ),
        (
            "percentile:percentile",
            "`percentile` is not of the form option=value",
        ),
        (
            "percentile:percentile=90,percentile=95",
            "`percentile` is given twice",
        ),
        ("percentile:strategy=off", "`strategy` is given twice"),
        (
            "percentile:window_size=100000",
            "`window_size` is 100000, but must be 200 to 8000",
        ),
        (
            "percentile:budget_percent=-1",
            "`budget_percent` is -1, but must be 0 to 100",
        ),
        ("fixed", "`delay_ms` is missing"),
        (
            "adaptive:delay_candidates=[1,2",
            "`delay_candidates` is \"[1,2\", but must be a list of numbers",
        ),
        ("adaptive:delay_candidates=[5]", "`delay_candidates`"),
        (
            "optimal:optimal_budget_percent=0",
            "`optimal_budget_percent` is 0, but must be greater than 0",
        ),
    ] {
        // Told before anything is read.
        let error = refused(&format!("--strategy {strategy} no/such/file"), "");
        assert!(error.contains(said), "{strategy}: {error}");
    }
}

#[test]
fn a_chart_that_cannot_be_written_is_said() {
    let error = refused("--requests 100 --svg no/such/place.svg", "1\n2\n");
    assert!(error.contains("no/such/place.svg: "), "{error}");
}
