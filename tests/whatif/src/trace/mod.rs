//! A user's own latencies: a line each.

mod columns;
mod unit;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use columns::Columns;
pub(crate) use unit::Unit;

/// The longest latency that is simulated, in milliseconds: ten million of them are as much as a clock holds.
pub(crate) const LONGEST: f64 = 1.8e6;

/// Latencies of the attempts of a request: one, or two that belong together.
pub(crate) type Line = [Option<f64>; 2];

/// What a user says about files, where it does not go without saying.
#[derive(Clone, Debug, Default)]
pub(crate) struct Format {
    pub(crate) unit: Option<Unit>,
    /// Names or numbers of one column, or of two: the first and the second attempt's.
    pub(crate) columns: Vec<String>,
}

/// What was read from one file or several.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) format: Format,
    /// In milliseconds.
    pub(crate) lines: Vec<Line>,
    /// How many latencies were longer than [`LONGEST`].
    pub(crate) longer: u64,
    /// What was made of each file, a sentence for each.
    pub(crate) understood: Vec<String>,
}

impl Reader {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); or says why it cannot be opened.
    pub(crate) fn read_file(&mut self, file: &Path) -> Result<(), String> {
        let name = file.display().to_string();
        let opened = File::open(file).map_err(|error| format!("{name}: {error}"))?;
        self.read(BufReader::new(opened), &name)
    }

    /// Reads latencies: a number per line, or two of two attempts at the same request, or a column of a table. What
    /// follows a `#` is a comment.
    ///
    /// # Errors
    ///
    /// Says which line is wrong, and how; or that there is none.
    pub(crate) fn read(&mut self, input: impl BufRead, name: &str) -> Result<(), String> {
        let mut said = None;
        let mut texts = Vec::new();
        for (number, line) in (1_usize..).zip(input.lines()) {
            let line = line.map_err(|error| format!("{name}, line {number}: {error}"))?;
            // A file may begin with a byte order mark.
            let line = line.trim_start_matches('\u{feff}');
            let (text, comment) = line.split_once('#').unwrap_or((line, ""));
            said = said.or_else(|| Unit::of_comment(comment));
            if !text.trim().is_empty() {
                texts.push((number, text.trim().to_owned()));
            }
        }
        let lines: Vec<_> = texts
            .iter()
            .map(|(number, text)| (*number, columns::cells(text)))
            .collect();
        let (header, lines) = match lines.split_first() {
            Some(((_, first), rest)) if columns::is_header(first) && !rest.is_empty() => {
                (first.as_slice(), rest)
            }
            _ => (&[][..], &lines[..]),
        };
        let Some((number, first)) = lines.first() else {
            return Err(format!(
                "{name} has no latencies: a number in milliseconds per line is expected"
            ));
        };
        let at = |number: &usize, error: String| format!("{name}, line {number}: {error}");
        let columns = self
            .columns(header, lines)
            .map_err(|error| at(number, error))?;
        let by_name = columns.name.as_deref().and_then(Unit::of_name);
        let (unit, source) = match (self.format.unit, by_name, said) {
            (Some(unit), _, _) => (unit, "as asked for"),
            (_, Some(unit), _) => (unit, "by the column's name"),
            (_, _, Some(unit)) => (unit, "by a comment"),
            _ => (Unit::Milliseconds, "assumed"),
        };
        let (before, width) = (self.lines.len(), first.len());
        let mut own = false;
        for (number, cells) in lines {
            let line = self
                .parse(cells, width, &columns, unit, &mut own)
                .map_err(|error| at(number, error))?;
            self.lines.push(line);
        }
        let source = if own { "each with a unit" } else { source };
        let mut sentence = format!(
            "{name}: {} latencies in {} ({source})",
            self.lines.len() - before,
            unit.name()
        );
        if !columns.reason.is_empty() {
            sentence += &format!(", {}", columns.reason);
        } else if columns.places.len() == 2 {
            sentence += ", of two attempts at each request";
        }
        self.understood.push(sentence);
        Ok(())
    }

    fn columns(&self, header: &[&str], lines: &[(usize, Vec<&str>)]) -> Result<Columns, String> {
        let first = lines.first().map(|(_, cells)| cells.as_slice());
        let first = first.unwrap_or_default();
        if !self.format.columns.is_empty() {
            return columns::asked(&self.format.columns, header, first.len());
        }
        if !header.is_empty() {
            return columns::named(header, first);
        }
        let cells: Vec<_> = lines.iter().map(|(_, cells)| cells.clone()).collect();
        columns::bare(&cells)
    }

    fn parse(
        &mut self,
        cells: &[&str],
        width: usize,
        columns: &Columns,
        unit: Unit,
        own: &mut bool,
    ) -> Result<Line, String> {
        let count = |count: usize| match count {
            1 => "one".to_owned(),
            2 => "two".to_owned(),
            more => more.to_string(),
        };
        if cells.len() != width {
            let (line, has, had) = (cells.join(","), count(cells.len()), count(width));
            return Err(format!("`{line}` has {has} where lines before have {had}"));
        }
        let paired = columns.places.len() == 2;
        if self
            .lines
            .first()
            .is_some_and(|[_, second]| second.is_some() != paired)
        {
            let (line, has) = (cells.join(","), count(columns.places.len()));
            let had = count(if paired { 1 } else { 2 });
            return Err(format!("`{line}` has {has} where lines before have {had}"));
        }
        let mut latency = |index: usize| -> Result<Option<f64>, String> {
            let cell = columns
                .places
                .get(index)
                .and_then(|place| cells.get(*place));
            let Some(cell) = cell else { return Ok(None) };
            let (number, suffix) = Unit::split(cell);
            *own |= suffix.is_some();
            self.latency(number, suffix.unwrap_or(unit)).map(Some)
        };
        Ok([latency(0)?, latency(1)?])
    }

    fn latency(&mut self, text: &str, unit: Unit) -> Result<f64, String> {
        let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
        if !number.is_finite() || number < 0.0 {
            return Err(format!("a latency is {text}, but must be at least 0 ms"));
        }
        let millis = number * unit.millis();
        self.longer += u64::from(millis > LONGEST);
        Ok(millis.min(LONGEST))
    }
}

#[cfg(test)]
mod tests;
