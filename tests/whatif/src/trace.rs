//! A user's own latencies: a line each, in milliseconds.

use std::io::BufRead;

/// Reads latencies: a number in milliseconds per line, or two with a comma between them, of two attempts at
/// the same request. What follows a `#` is a comment.
///
/// # Errors
///
/// Says which line is wrong, and how; or that there is none.
pub(crate) fn read(input: impl BufRead, name: &str) -> Result<Vec<[Option<f64>; 2]>, String> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.map_err(|error| format!("{name}, line {number}: {error}"))?;
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let pair = parse(text).map_err(|error| format!("{name}, line {number}: {error}"))?;
        lines.push(pair);
    }
    if lines.is_empty() {
        return Err(format!(
            "{name} has no latencies: a number in milliseconds per line is expected"
        ));
    }
    if lines
        .iter()
        .any(|[_, second]| second.is_some() != lines[0][1].is_some())
    {
        return Err(format!("{name} has lines of one latency and lines of two"));
    }
    Ok(lines)
}

fn parse(text: &str) -> Result<[Option<f64>; 2], String> {
    let mut columns = text.split(',').map(str::trim);
    let pair = [columns.next(), columns.next()];
    if columns.next().is_some() {
        return Err(format!("more than two latencies in `{text}`"));
    }
    let [first, second] = pair.map(|column| column.map(latency).transpose());
    Ok([first?, second?])
}

fn latency(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    // Half an hour is what a strategy's window can hold.
    if (0.0..=1.8e6).contains(&number) {
        Ok(number)
    } else {
        Err(format!("a latency is {text}, but must be 0 to 1800000 ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_and_comments() {
        let lines = read(&b"# ms\n12.5\n\n 7 # fast\n"[..], "t").unwrap();
        assert_eq!(lines, [[Some(12.5), None], [Some(7.0), None]]);
    }

    #[test]
    fn two_columns_are_pairs() {
        assert_eq!(
            read(&b"1,2\n3, 4"[..], "t").unwrap()[1],
            [Some(3.0), Some(4.0)]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, said) in [
            ("1\nabc\n", "t, line 2: `abc` is no number"),
            (
                "1\n2\n-3",
                "t, line 3: a latency is -3, but must be 0 to 1800000 ms",
            ),
            (
                "nan",
                "t, line 1: a latency is nan, but must be 0 to 1800000 ms",
            ),
            (
                "inf",
                "t, line 1: a latency is inf, but must be 0 to 1800000 ms",
            ),
            ("1,2,3", "t, line 1: more than two latencies in `1,2,3`"),
            ("1,", "t, line 1: `` is no number"),
            ("1,2\n3", "t has lines of one latency and lines of two"),
            (
                "# nothing",
                "t has no latencies: a number in milliseconds per line is expected",
            ),
        ] {
            assert_eq!(read(text.as_bytes(), "t").unwrap_err(), said);
        }
    }
}
