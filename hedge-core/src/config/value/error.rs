//! Errors of data that cannot be read.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;

use serde::de::{Expected, Unexpected};

use crate::error::ConfigError;

/// An error that names an invalid field, its value, and what would be valid.
///
/// ```
/// use hedge_core::experiment::Experiment;
///
/// let error = serde_json::from_str::<Experiment>(r#"{
///     "id": "latency",
///     "backend": { "id": "openai" },
///     "reliability": { "hedging": { "strategy": "percentile", "percentile": 120 } }
/// }"#);
/// let text = error.unwrap_err().to_string();
/// assert!(text.contains("`reliability.hedging.percentile` is 120, but must be 50 to 99.9"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReadError {
    path: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq)]
enum Problem {
    Unknown { expected: &'static [&'static str] },
    Is { found: String, expected: String },
    Other(String),
}

impl ReadError {
    /// Returns the error of an invalid option at `path`.
    pub(crate) fn option(path: String, error: &ConfigError) -> Self {
        Self::other(path, error.to_string())
    }

    pub(crate) fn other(path: String, problem: String) -> Self {
        Self {
            path,
            problem: Problem::Other(problem),
        }
    }

    /// Returns the path of the field, such as `pipeline[0].options.percentile`; empty if the error concerns the whole
    /// file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the error with the field `name` in front of its path.
    #[must_use]
    pub(crate) fn inside(mut self, name: &str) -> Self {
        let separator = match self.path.chars().next() {
            None | Some('[') => "",
            Some(_) => ".",
        };
        self.path.insert_str(0, separator);
        self.path.insert_str(0, name);
        self
    }

    /// Returns the error with the index of a list in front of its path.
    #[must_use]
    pub(crate) fn at(self, index: usize) -> Self {
        self.inside(&format!("[{index}]"))
    }

    /// Returns the last name of the path.
    fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.problem {
            Problem::Unknown { expected } => {
                write!(f, "unknown field `{path}`")?;
                match (closest(self.name(), expected), expected) {
                    (Some(name), _) => write!(f, "; did you mean `{name}`?"),
                    (None, []) => f.write_str("; there must be none"),
                    (None, [first, more @ ..]) => {
                        write!(f, ", but must be one of `{first}`")?;
                        more.iter().try_for_each(|name| write!(f, ", `{name}`"))
                    }
                }
            }
            Problem::Is { found, expected } if path.is_empty() => {
                write!(f, "the whole is {found}, but must be {expected}")
            }
            Problem::Is { found, expected } => {
                write!(f, "`{path}` is {found}, but must be {expected}")
            }
            Problem::Other(problem) if path.is_empty() => f.write_str(problem),
            Problem::Other(problem) => {
                // The error starts with the option's name, which is replaced by its full path.
                let own = format!("`{}` ", self.name());
                match problem.strip_prefix(&own) {
                    Some(rest) => write!(f, "`{path}` {rest}"),
                    None => write!(f, "`{path}`: {problem}"),
                }
            }
        }
    }
}

impl core::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::other(String::new(), problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self {
            path: String::new(),
            problem: Problem::Is {
                found: what(found),
                expected: describe_type(&expected.to_string()),
            },
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            path: field.to_owned(),
            problem: Problem::Unknown { expected },
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let problem = format!("`{field}` is missing, but has to be given");
        Self::other(field.to_owned(), problem)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::duplicate(field)
    }
}

impl ReadError {
    pub(super) fn duplicate(field: &str) -> Self {
        Self::other(String::new(), format!("duplicate field `{field}`"))
    }
}

/// Returns the value that was found, as it is written in a file.
fn what(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        // The decimal point distinguishes it from a whole number.
        Unexpected::Float(number) => format!("{number:?}"),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the name of a Rust type in the terms of a config file.
fn describe_type(expected: &str) -> String {
    match expected {
        "f32" | "f64" => "a number".to_owned(),
        "u8" => format!("a whole number, 0 to {}", u8::MAX),
        "u32" => format!("a whole number, 0 to {}", u32::MAX),
        "a nonzero u16" => format!("a whole number, 1 to {}", u16::MAX),
        "i8" => format!("a whole number, {} to {}", i8::MIN, i8::MAX),
        "u16" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        _ => match expected.strip_prefix("struct ") {
            Some(_) => "a table of fields".to_owned(),
            None => expected.to_owned(),
        },
    }
}

/// Returns the name that is most likely meant by `found`: one that starts with it, or one that differs by a typing
/// error.
pub(crate) fn closest(found: &str, names: &[&'static str]) -> Option<&'static str> {
    let longer = names
        .iter()
        .filter(|name| found.len() >= 3 && name.starts_with(found));
    if let Some(name) = longer.min_by_key(|name| name.len()) {
        return Some(name);
    }
    let distances = names.iter().map(|name| (distance(found, name), *name));
    let (least, name) = distances.min_by_key(|(distance, _)| *distance)?;
    // Accept a distance of up to a third of the letters, and at least one.
    (least <= 1.max(found.chars().count() / 3)).then_some(name)
}

/// Returns how many letters have to be inserted, removed or replaced to turn `b` into `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (pair, y) in row.windows(2).zip(b.chars()) {
            let [diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            let changed = diagonal + usize::from(x != y);
            next.push(changed.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
