use super::*;

fn read_as(format: Format, text: &str) -> Result<Reader, String> {
    let mut trace = Reader {
        format,
        ..Reader::default()
    };
    trace.read(text.as_bytes(), "t").map(|()| trace)
}

fn read(text: &str) -> Result<Reader, String> {
    read_as(Format::default(), text)
}

#[test]
fn a_column_and_comments() {
    let trace = read("# ms\n12.5\n\n 7 # fast\r\n").unwrap();
    assert_eq!(trace.lines, [[Some(12.5), None], [Some(7.0), None]]);
    assert_eq!(
        trace.understood,
        ["t: 2 latencies in milliseconds (by a comment)"]
    );
}

#[test]
fn two_columns_are_pairs() {
    let trace = read("1,2\n3, 4").unwrap();
    assert_eq!(trace.lines[1], [Some(3.0), Some(4.0)]);
    assert!(trace.understood[0].contains("of two attempts at each request"));
}

#[test]
fn units_are_recognised() {
    let asked = Format {
        unit: Some(Unit::Nanoseconds),
        ..Format::default()
    };
    for (format, text, source) in [
        (
            Format::default(),
            "# seconds\n0.0125\n",
            "seconds (by a comment)",
        ),
        (
            Format::default(),
            "latency_us\n12500\n",
            "microseconds (by the column's name)",
        ),
        (Format::default(), "12500µs\n", "each with a unit"),
        (Format::default(), "12.5\n", "milliseconds (assumed)"),
        (asked, "# seconds\n12500000\n", "nanoseconds (as asked for)"),
    ] {
        let trace = read_as(format, text).unwrap();
        let latency = trace.lines[0][0].unwrap();
        assert!((latency - 12.5).abs() < 1e-9, "{text}: {latency}");
        assert!(
            trace.understood[0].contains(source),
            "{:?}",
            trace.understood
        );
    }
}

#[test]
fn a_column_of_a_table_is_found() {
    let text = "time,method,duration_s,bytes\n17,GET,0.25,100\n18,PUT,0.5,90\n";
    let trace = read(text).unwrap();
    assert_eq!(trace.lines, [[Some(250.0), None], [Some(500.0), None]]);
    assert_eq!(
        trace.understood,
        ["t: 2 latencies in seconds (by the column's name), column `duration_s` of 4"]
    );

    let asked = Format {
        columns: vec!["bytes".into()],
        ..Format::default()
    };
    assert_eq!(read_as(asked, text).unwrap().lines[1], [Some(90.0), None]);
}

#[test]
fn what_is_too_long_is_cut_and_counted() {
    let trace = read("1\n1e12\n").unwrap();
    assert_eq!(trace.lines[1], [Some(LONGEST), None]);
    assert_eq!(trace.longer, 1);
}

#[test]
fn a_bad_line_is_named() {
    for (text, said) in [
        ("1\nabc\n", "t, line 2: `abc` is no number"),
        ("abc\n", "t, line 1: `abc` is no number"),
        (
            "1\n2\n-3",
            "t, line 3: a latency is -3, but must be at least 0 ms",
        ),
        (
            "nan",
            "t, line 1: a latency is nan, but must be at least 0 ms",
        ),
        (
            "inf",
            "t, line 1: a latency is inf, but must be at least 0 ms",
        ),
        (
            "1,2,3",
            "t, line 1: more than two latencies in `1,2,3`; say which column with `--column NUMBER`",
        ),
        ("1,", "t, line 1: `` is no number"),
        (
            "1,2\n3",
            "t, line 2: `3` has one where lines before have two",
        ),
        (
            "1\n2,3",
            "t, line 2: `2,3` has two where lines before have one",
        ),
        ("latency_ms\n5\nfast\n", "t, line 3: `fast` is no number"),
        (
            "# nothing",
            "t has no latencies: a number in milliseconds per line is expected",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), said);
    }
}
