//! The description of an experiment.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize};

use super::hedging::Run;
#[cfg(feature = "schemars")]
use super::schema;
use super::{Hedging, ReadError, Value};
use crate::config::Overrides;
use crate::config::value::{closest, located};
use crate::name::Name;

/// An experiment: the backend it calls, its hedging options, and the stages it runs.
///
/// An experiment can be read from any format with named fields, such as JSON or TOML. It is
/// validated when it is read: an error contains the path of the field and the valid values.
///
/// ```
/// use hedge_core::experiment::Experiment;
///
/// let experiment: Experiment = toml::from_str(r#"
///     id = "my-experiment"
///     backend.id = "openai"
///     pipeline = [{ name = "hedging" }]
///
///     [reliability.hedging]
///     strategy = "percentile"
///     percentile = 95
///     max_hedges = 1
/// "#)?;
/// assert_eq!(experiment.backend.id.as_str(), "openai");
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(deny_unknown_fields))]
pub struct Experiment {
    /// The name of the experiment.
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::text"))]
    pub id: String,
    /// The backend that is called.
    pub backend: BackendRef,
    /// The stages in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schemars", schemars(default))]
    pub pipeline: Vec<StageDef>,
    /// The options for reliable requests.
    #[cfg_attr(feature = "schemars", schemars(default))]
    pub reliability: Reliability,
}

/// The backend of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct BackendRef {
    /// The name of the backend, at most 32 bytes. Hedging uses it as `strategy_name` if the config
    /// has none.
    #[serde(deserialize_with = "backend_id")]
    pub id: Name,
    /// Further options, for custom stages.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Value>,
}

/// One stage of an experiment's pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct StageDef {
    /// The name of the stage.
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::text"))]
    pub name: String,
    /// The options of the stage. The stage `hedging` accepts every option of
    /// [`HedgeConfig`](crate::HedgeConfig), which override those under `reliability.hedging`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Value>,
    /// Whether the stage is run. Default: true.
    #[serde(default = "default_true")]
    pub enabled: bool,
}

/// The options for reliable requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Reliability {
    /// The hedging options; `None` without hedging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedging: Option<Hedging>,
}

impl Experiment {
    /// Creates an experiment without stages and without hedging.
    ///
    /// ```
    /// use hedge_core::StrategyKind;
    /// use hedge_core::experiment::{BackendRef, Experiment, Hedging, StageDef};
    ///
    /// let mut experiment = Experiment::new("my-experiment", BackendRef::new("openai".parse()?));
    /// experiment.pipeline = vec![StageDef::new("hedging")];
    /// experiment.reliability.hedging = Some(Hedging {
    ///     strategy: StrategyKind::Percentile,
    ///     percentile: Some(95.0),
    ///     ..Hedging::default()
    /// });
    /// assert!(experiment.validate().is_ok());
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn new(id: &str, backend: BackendRef) -> Self {
        Self {
            id: id.into(),
            backend,
            pipeline: Vec::new(),
            reliability: Reliability::default(),
        }
    }

    /// Validates the experiment as when it is read: the ids and the hedging options.
    ///
    /// # Errors
    ///
    /// Returns the path of an invalid field, its value and what is valid.
    pub fn validate(&self) -> Result<(), ReadError> {
        if self.id.is_empty() {
            let problem = "`id` is \"\", but must be 1 byte or more".to_owned();
            return Err(ReadError::other("id".to_owned(), problem));
        }
        if self.backend.id.is_empty() {
            let problem = "`id` is \"\", but must be 1 to 32 bytes".to_owned();
            return Err(ReadError::other("backend.id".to_owned(), problem));
        }
        let hedging = self.reliability.hedging.as_ref();
        if let Some(hedging) = hedging {
            let in_place = |error: ReadError| error.inside("hedging").inside("reliability");
            hedging.validate().map_err(in_place)?;
        }
        for (index, stage) in self.pipeline.iter().enumerate() {
            let in_place = |error: ReadError| error.at(index).inside("pipeline");
            if stage.name.is_empty() {
                let problem = "`name` is \"\", but must be that of a stage".to_owned();
                return Err(in_place(ReadError::other("name".to_owned(), problem)));
            }
            if stage.name == "hedging" {
                let overrides = stage.overrides().map_err(in_place)?;
                let default = Hedging::default();
                let hedging = hedging.unwrap_or(&default);
                // Any error without overrides was returned above.
                Run::new(hedging.stage_config(), &overrides).map_err(in_place)?;
            }
        }
        Ok(())
    }

    /// Returns warnings about ignored parts: unknown hedging `options`.
    ///
    /// ```
    /// use hedge_core::experiment::Experiment;
    ///
    /// let experiment: Experiment = toml::from_str(r#"
    ///     id = "my-experiment"
    ///     backend.id = "openai"
    ///     reliability.hedging.options.min_delya = 5
    /// "#)?;
    /// assert_eq!(
    ///     experiment.warnings(),
    ///     ["`reliability.hedging.options.min_delya` is no option, and is ignored; did you mean `min_delay`?"],
    /// );
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        let hedging = self.reliability.hedging.iter();
        let unknown = hedging.flat_map(|hedging| hedging.options.unknown.keys());
        unknown
            .map(|name| {
                let hint = match closest(name, Overrides::NAMES) {
                    Some(name) => format!("; did you mean `{name}`?"),
                    None => String::new(),
                };
                format!("`reliability.hedging.options.{name}` is no option, and is ignored{hint}")
            })
            .collect()
    }
}

impl BackendRef {
    /// Creates a backend with this name and no options.
    pub fn new(id: Name) -> Self {
        Self {
            id,
            options: BTreeMap::new(),
        }
    }
}

impl StageDef {
    /// Creates an enabled stage with this name and no options.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            options: BTreeMap::new(),
            enabled: true,
        }
    }

    /// Deserialises the options as a custom type.
    ///
    /// # Errors
    ///
    /// Returns where the options are invalid, and what is valid.
    pub fn read_options<T: serde::de::DeserializeOwned>(&self) -> Result<T, ReadError> {
        let read = Value::Map(self.options.clone()).read();
        read.map_err(|error| error.inside("options"))
    }

    /// Parses the options as overrides of a [`HedgeConfig`](crate::HedgeConfig).
    pub(crate) fn overrides(&self) -> Result<Overrides, ReadError> {
        let read = Overrides::strict(Value::Map(self.options.clone()));
        read.map_err(|error| error.inside("options"))
    }
}

fn default_true() -> bool {
    true
}

/// Parses the `id` of a backend. The error does not mention `strategy_name`.
fn backend_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    Name::parse_for("id", &text).map_err(serde::de::Error::custom)
}

impl<'de> Deserialize<'de> for Experiment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Experiment {
            id: String,
            backend: BackendRef,
            #[serde(default)]
            pipeline: Vec<StageDef>,
            #[serde(default)]
            reliability: Reliability,
        }

        located(deserializer, |value| {
            let read = Experiment::deserialize(value)?;
            let experiment = Self {
                id: read.id,
                backend: read.backend,
                pipeline: read.pipeline,
                reliability: read.reliability,
            };
            experiment.validate()?;
            Ok(experiment)
        })
    }
}
