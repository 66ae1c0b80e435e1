//! What a strategy has learned, as a table: columns of numbers, each with a name.
//!
//! This suits every strategy and every file format, and a microcontroller can write it to flash number by number.

use core::fmt;

#[cfg(feature = "alloc")]
use crate::name::Name;
#[cfg(feature = "alloc")]
use crate::outcome::StrategyKind;

/// A table to which a strategy exports what it has learned; see [`Strategy::export`](super::Strategy::export).
pub trait WriteColumns {
    /// Writes one column. Each name is written at most once.
    fn column(&mut self, name: &'static str, values: &mut dyn Iterator<Item = f64>);
}

/// A table from which a strategy restores what it has learned; see [`Strategy::restore`](super::Strategy::restore).
///
/// The table may be from an untrusted source. Strategies read it with [`numbers`](#method.numbers) and
/// [`number`](#method.number), which check it.
pub trait ReadColumns {
    /// Returns the column of this name, if there is one.
    fn column(&self, name: &str) -> Option<&[f64]>;
}

impl<'c> dyn ReadColumns + 'c {
    /// Returns the column of this name.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, or if a number in it is not `low` to `high`.
    pub fn numbers(&self, name: &'static str, low: f64, high: f64) -> Result<&[f64], RestoreError> {
        let Some(column) = self.column(name) else {
            return Err(RestoreError::new(Problem::Missing { name }));
        };
        // This form finds a NaN.
        let is_wrong = |value: &f64| !(low <= *value && *value <= high);
        match column.iter().position(is_wrong) {
            None => Ok(column),
            Some(at) => Err(RestoreError::new(Problem::Value {
                name,
                at,
                value: column.get(at).copied().unwrap_or(f64::NAN),
                low,
                high,
            })),
        }
    }

    /// Reads the numbers of a column that must have this length.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`numbers`](#method.numbers), and one if there are more or fewer numbers.
    pub fn exactly(
        &self,
        len: usize,
        name: &'static str,
        low: f64,
        high: f64,
    ) -> Result<&[f64], RestoreError> {
        let column = self.numbers(name, low, high)?;
        if column.len() == len {
            Ok(column)
        } else {
            Err(RestoreError::new(Problem::Length {
                name,
                found: column.len(),
                expected: len,
            }))
        }
    }

    /// Returns the number in the column of this name; `None` if the column is empty.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`numbers`](#method.numbers).
    pub fn optional(
        &self,
        name: &'static str,
        low: f64,
        high: f64,
    ) -> Result<Option<f64>, RestoreError> {
        Ok(self.numbers(name, low, high)?.first().copied())
    }

    /// Returns the one number in the column of this name.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`exactly`](#method.exactly) for a length of 1.
    pub fn number(&self, name: &'static str, low: f64, high: f64) -> Result<f64, RestoreError> {
        let column = self.exactly(1, name, low, high)?;
        Ok(column.first().copied().unwrap_or(low))
    }
}

/// Reads columns from an array, as firmware may store them.
///
/// ```
/// use hedge_core::strategy::{ExponentialBackoff, ReadColumns, Strategy};
/// use hedge_core::Instant;
///
/// let columns: [(&str, &[f64]); 4] = [
///     ("delay_ns", &[25e6]),
///     ("ending", &[0.0]),
///     ("streak", &[3.0]),
///     ("adjustments", &[3.0]),
/// ];
/// let mut strategy = ExponentialBackoff::new();
/// strategy.restore(&columns.as_slice(), Instant::ZERO)?;
/// assert_eq!(strategy.stats().delay.as_millis(), 25);
/// # Ok::<(), hedge_core::strategy::RestoreError>(())
/// ```
impl ReadColumns for &[(&str, &[f64])] {
    fn column(&self, name: &str) -> Option<&[f64]> {
        let mut columns = self.iter();
        columns
            .find(|(of, _)| *of == name)
            .map(|(_, column)| *column)
    }
}

/// The error of a state that a strategy cannot restore.
///
/// ```
/// use hedge_core::strategy::{Strategy, WindowedPercentile};
/// use hedge_core::Instant;
///
/// let columns: [(&str, &[f64]); 1] = [("latencies_us", &[12_000.0, f64::NAN])];
/// let mut strategy = WindowedPercentile::new(95.0);
/// let error = strategy.restore(&columns.as_slice(), Instant::ZERO).unwrap_err();
/// let text = "`latencies_us[1]` is NaN, but must be -4399120248832 to 4399120248832";
/// assert_eq!(error.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestoreError {
    problem: Problem,
    /// The key that the error is about; empty if it is about none.
    #[cfg(feature = "alloc")]
    key: Name,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Problem {
    #[cfg(feature = "alloc")]
    Strategy {
        found: StrategyKind,
        expected: StrategyKind,
    },
    Missing {
        name: &'static str,
    },
    Outdated {
        name: &'static str,
    },
    Length {
        name: &'static str,
        found: usize,
        expected: usize,
    },
    #[cfg(feature = "std")]
    TooLong {
        name: &'static str,
        found: usize,
        most: usize,
    },
    Value {
        name: &'static str,
        at: usize,
        value: f64,
        low: f64,
        high: f64,
    },
}

impl RestoreError {
    const fn new(problem: Problem) -> Self {
        Self {
            problem,
            #[cfg(feature = "alloc")]
            key: Name::EMPTY,
        }
    }

    /// Returns the error of the state of a key.
    #[cfg(feature = "alloc")]
    pub(crate) fn of_key(self, name: &str) -> Self {
        let key = Name::truncated(name);
        Self { key, ..self }
    }

    /// Returns the error of a column that has too many numbers.
    #[cfg(feature = "std")]
    pub(crate) const fn too_long(name: &'static str, found: usize, most: usize) -> Self {
        Self::new(Problem::TooLong { name, found, most })
    }

    /// Returns the error of a number that is not within `low` to `high`.
    #[cfg(feature = "std")]
    pub(crate) const fn value(
        name: &'static str,
        at: usize,
        value: f64,
        [low, high]: [f64; 2],
    ) -> Self {
        Self::new(Problem::Value {
            name,
            at,
            value,
            low,
            high,
        })
    }

    /// Returns the error for a column of an older version.
    pub(super) const fn outdated(name: &'static str) -> Self {
        Self::new(Problem::Outdated { name })
    }

    #[cfg(feature = "alloc")]
    pub(super) const fn other_strategy(found: StrategyKind, expected: StrategyKind) -> Self {
        Self::new(Problem::Strategy { found, expected })
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "alloc")]
        if !self.key.is_empty() {
            write!(f, "key `{}`: ", self.key)?;
        }
        match self.problem {
            #[cfg(feature = "alloc")]
            Problem::Strategy { found, expected } => {
                write!(f, "learned by `{found}`, but the strategy is `{expected}`")
            }
            Problem::Missing { name } => write!(f, "`{name}` is missing"),
            Problem::Outdated { name } => write!(
                f,
                "`{name}` was written by an older version or by an exact window, and cannot be read"
            ),
            Problem::Length {
                name,
                found,
                expected,
            } => write!(
                f,
                "`{name}` holds {found} numbers, but must hold {expected}"
            ),
            #[cfg(feature = "std")]
            Problem::TooLong { name, found, most } => write!(
                f,
                "`{name}` holds {found} numbers, but must hold at most {most}"
            ),
            Problem::Value {
                name,
                at,
                value,
                low,
                high,
            } => write!(f, "`{name}[{at}]` is {value}, but must be {low} to {high}"),
        }
    }
}

impl core::error::Error for RestoreError {}
