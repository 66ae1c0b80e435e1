//! The error of an invalid option.

use core::fmt;

use heapless::String;

/// The error of an invalid option: the option's name, its value, and which values are valid.
///
/// ```
/// use hedge_core::HedgeConfig;
///
/// let config = HedgeConfig { percentile: 120.0, ..HedgeConfig::default() };
/// let error = config.validate().unwrap_err();
/// assert_eq!(error.option(), "percentile");
/// assert_eq!(error.to_string(), "`percentile` is 120, but must be 50 to 99.9");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    option: &'static str,
    value: Value,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Text(String<48>),
    Missing,
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Text(&'static str),
    Range { low: f64, high: f64 },
    Above(f64),
    AtLeast(f64),
    AtMost(f64, &'static str),
}

impl ConfigError {
    /// Returns the error of an option whose number is not as `expected`, such as "greater than 0".
    pub fn number(option: &'static str, value: f64, expected: &'static str) -> Self {
        Self::new(option, Value::Number(value), Expected::Text(expected))
    }

    /// Returns the error of an option whose text is not as `expected`. Long text is truncated.
    pub fn text(option: &'static str, value: &str, expected: &'static str) -> Self {
        let mut text = String::new();
        // Truncate the text: the error about an overlong name must not fail because of its length.
        let _ = value.chars().try_for_each(|c| text.push(c));
        Self::new(option, Value::Text(text), Expected::Text(expected))
    }

    /// Returns the error of a required option that is missing.
    pub fn missing(option: &'static str, expected: &'static str) -> Self {
        Self::new(option, Value::Missing, Expected::Text(expected))
    }

    /// Checks that `low ≤ value ≤ high`.
    pub(crate) fn check_range(
        option: &'static str,
        value: f64,
        low: f64,
        high: f64,
    ) -> Result<(), Self> {
        // Compare in this form so that a NaN is an error.
        if low <= value && value <= high {
            return Ok(());
        }
        Err(Self::new(
            option,
            Value::Number(value),
            Expected::Range { low, high },
        ))
    }

    /// Checks that `value` is finite and greater than `bound`.
    pub(crate) fn check_above(option: &'static str, value: f64, bound: f64) -> Result<(), Self> {
        if value > bound && value.is_finite() {
            return Ok(());
        }
        Err(Self::new(
            option,
            Value::Number(value),
            Expected::Above(bound),
        ))
    }

    /// Checks that `value` is finite and at least `bound`.
    pub(crate) fn check_at_least(option: &'static str, value: f64, bound: f64) -> Result<(), Self> {
        if value >= bound && value.is_finite() {
            return Ok(());
        }
        Err(Self::new(
            option,
            Value::Number(value),
            Expected::AtLeast(bound),
        ))
    }

    /// Checks that `value` is at most `bound`; `why` says what `bound` is.
    pub(crate) fn check_at_most(
        option: &'static str,
        value: f64,
        bound: f64,
        why: &'static str,
    ) -> Result<(), Self> {
        if value <= bound {
            return Ok(());
        }
        Err(Self::new(
            option,
            Value::Number(value),
            Expected::AtMost(bound, why),
        ))
    }

    fn new(option: &'static str, value: Value, expected: Expected) -> Self {
        Self {
            option,
            value,
            expected,
        }
    }

    /// Returns the name of the option in a config file.
    pub fn option(&self) -> &'static str {
        self.option
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is ", self.option)?;
        match &self.value {
            Value::Number(number) => match number.abs() {
                // Use the exponential form, since hundreds of zeros are unreadable.
                size if size.is_finite() && size != 0.0 && !(1e-9..1e15).contains(&size) => {
                    write!(f, "{number:e}")?;
                }
                _ => write!(f, "{number}")?,
            },
            Value::Text(text) => write!(f, "{text:?}")?,
            Value::Missing => write!(f, "missing")?,
        }
        match self.expected {
            Expected::Text(text) => write!(f, ", but must be {text}"),
            Expected::Range { low, high } => write!(f, ", but must be {low} to {high}"),
            Expected::Above(bound) => write!(f, ", but must be greater than {bound}"),
            Expected::AtLeast(bound) => write!(f, ", but must be at least {bound}"),
            Expected::AtMost(bound, why) => write!(f, ", but must be at most {bound}, {why}"),
        }
    }
}

impl core::error::Error for ConfigError {}
