//! The descriptions of stages.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::Value;

/// A description of a stage: its name, and the options that it requires and accepts.
///
/// It serialises to the schema that pipelines of this kind share:
///
/// ```
/// use hedge_core::experiment::Description;
///
/// let judge = Description::new("judge", "Says how good an answer is")
///     .required("answer", "string")
///     .optional("threshold", "number", 0.8);
/// let json = serde_json::to_value(judge)?;
/// assert_eq!(json["__schema_version__"], "1.0.0");
/// assert_eq!(json["defaults"]["threshold"], 0.8);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// The version of the schema.
    #[serde(rename = "__schema_version__")]
    pub schema_version: &'static str,
    /// The name of the stage, as used in a [`StageDef`](super::StageDef).
    pub name: String,
    /// A description for users.
    pub description: String,
    /// The names of required options.
    pub required: Vec<String>,
    /// The names of optional options.
    pub optional: Vec<String>,
    /// The types of the options.
    pub types: BTreeMap<String, Value>,
    /// The default values of optional options, where they are known in advance.
    pub defaults: BTreeMap<String, Value>,
    /// Additional information for tools.
    #[serde(rename = "__extensions__")]
    pub extensions: BTreeMap<String, Value>,
}

impl Description {
    /// Creates a description without options.
    pub fn new(name: &str, description: &str) -> Self {
        Self {
            schema_version: "1.0.0",
            name: name.into(),
            description: description.into(),
            required: Vec::new(),
            optional: Vec::new(),
            types: BTreeMap::new(),
            defaults: BTreeMap::new(),
            extensions: BTreeMap::new(),
        }
    }

    /// Adds a required option.
    #[must_use]
    pub fn required(mut self, name: &str, kind: impl Into<Value>) -> Self {
        self.required.push(name.into());
        self.types.insert(name.into(), kind.into());
        self
    }

    /// Adds an optional option. It has no default if `default` is [`Value::Null`].
    #[must_use]
    pub fn optional(
        mut self,
        name: &str,
        kind: impl Into<Value>,
        default: impl Into<Value>,
    ) -> Self {
        self.optional.push(name.into());
        self.types.insert(name.into(), kind.into());
        let default = default.into();
        if !default.is_null() {
            self.defaults.insert(name.into(), default);
        }
        self
    }

    /// Adds information for tools.
    #[must_use]
    pub fn extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }
}
