//! What a stage says of itself.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::Value;

/// What a stage is called, needs and takes. It serialises to the schema that pipelines of this kind share:
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
    /// The version of this schema.
    #[serde(rename = "__schema_version__")]
    pub schema_version: &'static str,
    /// What a [`StageDef`](super::StageDef) calls the stage.
    pub name: String,
    /// What it does.
    pub description: String,
    /// What it has to be given.
    pub required: Vec<String>,
    /// What it may be given.
    pub optional: Vec<String>,
    /// The type of each.
    pub types: BTreeMap<String, Value>,
    /// What is taken for those that are not given, if that is known beforehand.
    pub defaults: BTreeMap<String, Value>,
    /// What else tools may want to know.
    #[serde(rename = "__extensions__")]
    pub extensions: BTreeMap<String, Value>,
}

impl Description {
    /// A stage that needs and takes nothing.
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

    /// What it has to be given.
    #[must_use]
    pub fn required(mut self, name: &str, kind: impl Into<Value>) -> Self {
        self.required.push(name.into());
        self.types.insert(name.into(), kind.into());
        self
    }

    /// What it may be given; nothing is the default if that is [`Value::Null`].
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

    /// What else tools may want to know.
    #[must_use]
    pub fn extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }
}
