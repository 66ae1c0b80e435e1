//! What an experiment says.

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

/// What is asked, how it is hedged, and which stages it goes through.
///
/// It is read from any format that names its fields, such as JSON or TOML, and is right when it has been
/// read: an error tells the path of the field and what would be right.
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
    /// What it is called.
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::text"))]
    pub id: String,
    /// Which backend it asks.
    pub backend: BackendRef,
    /// The stages, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schemars", schemars(default))]
    pub pipeline: Vec<StageDef>,
    /// What makes its requests reliable.
    #[cfg_attr(feature = "schemars", schemars(default))]
    pub reliability: Reliability,
}

/// The backend of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct BackendRef {
    /// What it is called, at most 32 bytes. Unless the config gives a `strategy_name`, hedging keeps its
    /// state under this name.
    #[serde(deserialize_with = "backend_id")]
    pub id: Name,
    /// Whatever else your stages want to know of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Value>,
}

/// One stage of an experiment's pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct StageDef {
    /// Which stage.
    #[cfg_attr(feature = "schemars", schemars(schema_with = "schema::text"))]
    pub name: String,
    /// What it is told in this place of this pipeline. `hedging` takes every option of [`HedgeConfig`](crate::HedgeConfig), in
    /// the place of those under `reliability.hedging`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Value>,
    /// Whether it is run. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// What makes an experiment's requests reliable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Reliability {
    /// How they are hedged; absent if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedging: Option<Hedging>,
}

impl Experiment {
    /// An experiment without stages, and without hedging.
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

    /// Checks all that is known of it, as is done when it is read: ids, and the options of hedging.
    ///
    /// # Errors
    ///
    /// Tells the path of a field that cannot be right, its value and what would be.
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
                // What is wrong without overrides was found above.
                Run::new(hedging.stage_config(), &overrides).map_err(in_place)?;
            }
        }
        Ok(())
    }

    /// What is ignored of it, and should not go unnoticed: `options` of hedging that do not exist.
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
    /// The backend of this name, without options.
    pub fn new(id: Name) -> Self {
        Self {
            id,
            options: BTreeMap::new(),
        }
    }
}

impl StageDef {
    /// The stage of this name, enabled and without options.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            options: BTreeMap::new(),
            enabled: true,
        }
    }

    /// The options as a type of yours.
    ///
    /// # Errors
    ///
    /// Says where something is wrong, and what would be right.
    pub fn read_options<T: serde::de::DeserializeOwned>(&self) -> Result<T, ReadError> {
        let read = Value::Map(self.options.clone()).read();
        read.map_err(|error| error.inside("options"))
    }

    /// The options as some of a [`HedgeConfig`](crate::HedgeConfig).
    pub(crate) fn overrides(&self) -> Result<Overrides, ReadError> {
        let read = Overrides::strict(Value::Map(self.options.clone()));
        read.map_err(|error| error.inside("options"))
    }
}

fn yes() -> bool {
    true
}

/// Reads a name that is no `strategy_name`.
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
