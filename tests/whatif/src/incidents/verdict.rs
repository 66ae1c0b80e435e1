//! Rows: what was measured, and whether that will do.

use serde::Serialize;

/// A row, as people and programs read it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

impl Row {
    /// A row that is met if all of its figures are.
    pub(crate) fn new(name: impl Into<String>, figures: Vec<Figure>) -> Self {
        let join = |of: fn(&Figure) -> String| {
            let parts: Vec<String> = figures.iter().map(of).collect();
            parts.join("; ")
        };
        Self {
            name: name.into(),
            target: join(|figure| format!("{} {}", figure.what, figure.target)),
            measured: join(|figure| figure.measured.clone()),
            met: figures.iter().all(|figure| figure.met),
        }
    }
}

/// One figure and what it should be.
pub(crate) struct Figure {
    what: String,
    target: String,
    measured: String,
    met: bool,
}

/// How a number is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As {
    /// A share, as percent.
    Percent,
    /// A number with so many digits.
    Number(usize),
}

impl As {
    fn text(self, value: f64) -> String {
        match self {
            Self::Percent => {
                let percent = format!("{:.2}", 100.0 * value);
                let percent = percent.trim_end_matches('0').trim_end_matches('.');
                format!("{percent} %")
            }
            Self::Number(digits) => format!("{value:.digits$}"),
        }
    }
}

impl Figure {
    pub(crate) fn at_most(what: &str, how: As, value: f64, most: f64) -> Self {
        Self::new(
            what,
            how,
            value,
            format!("≤ {}", how.text(most)),
            value <= most,
        )
    }

    pub(crate) fn at_least(what: &str, how: As, value: f64, least: f64) -> Self {
        Self::new(
            what,
            how,
            value,
            format!("≥ {}", how.text(least)),
            value >= least,
        )
    }

    pub(crate) fn within(what: &str, how: As, value: f64, low: f64, high: f64) -> Self {
        let target = format!("{} to {}", how.text(low), how.text(high));
        Self::new(what, how, value, target, (low..=high).contains(&value))
    }

    /// One that is no number.
    pub(crate) fn said(what: &str, target: &str, measured: String, met: bool) -> Self {
        Self {
            what: what.into(),
            target: target.into(),
            measured,
            met,
        }
    }

    fn new(what: &str, how: As, value: f64, target: String, met: bool) -> Self {
        Self {
            what: what.into(),
            target,
            measured: how.text(value),
            met,
        }
    }

    /// With something beside the measured value, for comparison.
    pub(crate) fn beside(mut self, text: &str) -> Self {
        self.measured += &format!(" ({text})");
        self
    }
}

/// A table as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | target | measured | met |\n|---|---|---|---|\n");
    for row in rows {
        text += &line(row);
    }
    text
}

pub(crate) fn line(row: &Row) -> String {
    let met = if row.met { "yes" } else { "**no**" };
    let Row {
        name,
        target,
        measured,
        ..
    } = row;
    format!("| `{name}` | {target} | {measured} | {met} |\n")
}

/// An array of objects, a line each.
pub(crate) fn json(rows: &[Row]) -> Result<String, String> {
    let lines = rows
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    Ok(format!("[{}]\n", lines.join(",\n ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_met_if_every_figure_is() {
        let good = || Figure::at_least("rescued", As::Percent, 0.97, 0.95);
        let bad = || Figure::at_most("delay, ms", As::Number(1), 90.0, 82.1);
        assert!(Row::new("a", vec![good(), good()]).met);
        let row = Row::new("a", vec![good(), bad().beside("off: 7")]);
        assert!(!row.met);
        assert_eq!(row.target, "rescued ≥ 95 %; delay, ms ≤ 82.1");
        assert_eq!(row.measured, "97 %; 90.0 (off: 7)");
        assert!(!Figure::at_most("", As::Percent, f64::NAN, 1.0).met);
        assert!(Figure::within("", As::Percent, 0.05, 0.03, 0.07).met);
    }
}
