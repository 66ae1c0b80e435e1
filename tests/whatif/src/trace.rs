//! A user's own latencies: a line each, in milliseconds.

use std::io::BufRead;

/// The longest latency that is simulated, in milliseconds: ten million of them are as much as a clock holds.
pub(crate) const LONGEST: f64 = 1.8e6;

/// Latencies of the attempts of a request: one, or two that belong together.
pub(crate) type Line = [Option<f64>; 2];

/// What was read from one file or several.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) lines: Vec<Line>,
    /// How many latencies were longer than [`LONGEST`].
    pub(crate) longer: u64,
}

impl Reader {
    /// Reads latencies: a number in milliseconds per line, or two with a comma between them, of two attempts
    /// at the same request. What follows a `#` is a comment.
    ///
    /// # Errors
    ///
    /// Says which line is wrong, and how; or that there is none.
    pub(crate) fn read(&mut self, input: impl BufRead, name: &str) -> Result<(), String> {
        let before = self.lines.len();
        for (number, line) in (1..).zip(input.lines()) {
            let line = line
                .map_err(|error| error.to_string())
                .and_then(|line| self.parse(line.split('#').next().unwrap_or_default().trim()))
                .map_err(|error| format!("{name}, line {number}: {error}"))?;
            self.lines.extend(line);
        }
        if self.lines.len() == before {
            return Err(format!(
                "{name} has no latencies: a number in milliseconds per line is expected"
            ));
        }
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<Option<Line>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut columns = text.split(',').map(str::trim);
        let pair = [columns.next(), columns.next()];
        if columns.next().is_some() {
            return Err(format!("more than two latencies in `{text}`"));
        }
        let paired = pair[1].is_some();
        if self
            .lines
            .first()
            .is_some_and(|[_, second]| second.is_some() != paired)
        {
            let [has, had] = if paired {
                ["two", "one"]
            } else {
                ["one", "two"]
            };
            return Err(format!("`{text}` has {has} where lines before have {had}"));
        }
        let [first, second] = pair.map(|column| column.map(|text| self.latency(text)).transpose());
        Ok(Some([first?, second?]))
    }

    fn latency(&mut self, text: &str) -> Result<f64, String> {
        let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
        if !number.is_finite() || number < 0.0 {
            return Err(format!("a latency is {text}, but must be at least 0 ms"));
        }
        self.longer += u64::from(number > LONGEST);
        Ok(number.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Reader, String> {
        let mut trace = Reader::default();
        trace.read(text.as_bytes(), "t").map(|()| trace)
    }

    #[test]
    fn a_column_and_comments() {
        let trace = read("# ms\n12.5\n\n 7 # fast\r\n").unwrap();
        assert_eq!(trace.lines, [[Some(12.5), None], [Some(7.0), None]]);
    }

    #[test]
    fn two_columns_are_pairs() {
        assert_eq!(read("1,2\n3, 4").unwrap().lines[1], [Some(3.0), Some(4.0)]);
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
            ("1,2,3", "t, line 1: more than two latencies in `1,2,3`"),
            ("1,", "t, line 1: `` is no number"),
            (
                "1,2\n3",
                "t, line 2: `3` has one where lines before have two",
            ),
            (
                "1\n2,3",
                "t, line 2: `2,3` has two where lines before have one",
            ),
            (
                "# nothing",
                "t has no latencies: a number in milliseconds per line is expected",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), said);
        }
    }
}
