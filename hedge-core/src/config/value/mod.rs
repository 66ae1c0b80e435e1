//! Data of any shape, as in a config file.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

mod error;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use error::ReadError;
pub(crate) use error::closest;
pub(crate) use read::located;

/// Data of any shape, such as the options and metrics of custom stages.
///
/// ```
/// use hedge_core::experiment::Value;
///
/// let value: Value = serde_json::from_str(r#"{ "model": "large", "temperatures": [0, 0.5] }"#)?;
/// assert_eq!(value.get("model").and_then(Value::as_str), Some("large"));
/// assert_eq!(value.get("temperatures").and_then(|list| list.at(1)?.as_f64()), Some(0.5));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number, which may be infinite or NaN.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Self>),
    /// Values by name.
    Map(BTreeMap<String, Self>),
}

impl Value {
    /// Returns the value of this name; `None` unless this is a map that has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(name),
            _ => None,
        }
    }

    /// Returns the value at this index; `None` unless this is a list that is long enough.
    pub fn at(&self, index: usize) -> Option<&Self> {
        match self {
            Self::List(list) => list.get(index),
            _ => None,
        }
    }

    /// Returns the boolean; `None` if this is not one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number; `None` if this is not a whole number.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the number; `None` if this is not one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the text; `None` if this is not one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns whether this is null.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Deserialises the value as any type.
    ///
    /// ```
    /// use hedge_core::experiment::Value;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct ResultController { threshold: f64 }
    ///
    /// let value: Value = serde_json::from_str(r#"{ "threshold": "high" }"#)?;
    /// let error = value.read::<ResultController>().err().unwrap();
    /// assert_eq!(error.path(), "threshold");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the path of an invalid field, its value and what is valid.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, ReadError> {
        T::deserialize(self.clone())
    }
}

macro_rules! from {
    ($($type:ty, $name:ident => $value:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($name: $type) -> Self {
                $value
            }
        })*
    };
}

from! {
    bool, value => Self::Bool(value);
    i64, number => Self::Integer(number);
    i32, number => Self::Integer(number.into());
    u32, number => Self::Integer(number.into());
    u8, number => Self::Integer(number.into());
    f64, number => Self::Float(number);
    &str, text => Self::Text(text.into());
    String, text => Self::Text(text);
    BTreeMap<String, Self>, map => Self::Map(map);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Collects values into a list.
impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Converts pairs of names and values to a map.
impl<T: Into<Self>, const N: usize> From<[(&str, T); N]> for Value {
    fn from(entries: [(&str, T); N]) -> Self {
        let entries = entries.into_iter();
        Self::Map(
            entries
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
