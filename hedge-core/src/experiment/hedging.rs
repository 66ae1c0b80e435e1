//! The hedging options of an experiment.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ReadError, Value};
use crate::config::{HedgeConfig, Overrides};
use crate::error::ConfigError;
use crate::hedger::check_room;
use crate::outcome::StrategyKind;

/// The hedging options of an experiment: the most important ones as fields, and all others under
/// `options`.
///
/// ```
/// use hedge_core::experiment::Hedging;
/// use hedge_core::{HedgeConfig, Overrides, StrategyKind};
///
/// let hedging = Hedging {
///     strategy: StrategyKind::Fixed,
///     delay_ms: Some(100.0),
///     options: Overrides { timeout_ms: Some(2000.0), ..Overrides::default() }.into(),
///     ..Hedging::default()
/// };
/// let config = HedgeConfig::from(hedging);
/// assert_eq!((config.delay_ms, config.timeout_ms), (Some(100.0), 2000.0));
/// ```
///
/// Options that are not set have the defaults of [`HedgeConfig`]. At most 3 hedges are allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(transform = super::schema::hedging))]
pub struct Hedging {
    /// The strategy. Default: `percentile`.
    pub strategy: StrategyKind,
    /// `fixed`: the hedge delay, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<f64>,
    /// `percentile`: the percentile of recent latencies that is the hedge delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// The maximum number of hedges per request, 1 to 3. Default: 1; 2 in a stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hedges: Option<u8>,
    /// The maximum share of requests that are hedged, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_percent: Option<f64>,
    /// All other options.
    #[serde(skip_serializing_if = "HedgingOptions::is_empty")]
    pub options: HedgingOptions,
}

impl Default for Hedging {
    fn default() -> Self {
        Self {
            strategy: StrategyKind::Percentile,
            delay_ms: None,
            percentile: None,
            max_hedges: None,
            budget_percent: None,
            options: HedgingOptions::default(),
        }
    }
}

/// Hedging options by name.
///
/// Unknown options are kept and reported but are no error, since other programs may read the same
/// file. The values of known options must be valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HedgingOptions {
    /// The known options.
    pub known: Overrides,
    /// The unknown options.
    pub unknown: BTreeMap<String, Value>,
}

impl HedgingOptions {
    /// Returns whether there are no options.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unknown.is_empty()
    }
}

impl From<Overrides> for HedgingOptions {
    fn from(known: Overrides) -> Self {
        Self {
            known,
            unknown: BTreeMap::new(),
        }
    }
}

impl Hedging {
    /// The maximum number of hedges in a config of this kind.
    const MAX_HEDGES: usize = 3;

    /// Returns the options as a config for a hedger. Fields take precedence over `options`.
    pub fn config(&self) -> HedgeConfig {
        let options = &self.options.known;
        let fields = Overrides {
            strategy: Some(self.strategy),
            delay_ms: self.delay_ms,
            percentile: self.percentile,
            max_hedges: self.max_hedges,
            budget_percent: self.budget_percent,
            ..Overrides::default()
        };
        fields.or(options.clone()).to_config()
    }

    /// Returns the names of unknown options, which have no effect.
    pub fn unknown_options(&self) -> impl Iterator<Item = &str> {
        self.options.unknown.keys().map(String::as_str)
    }

    /// Validates all options.
    ///
    /// # Errors
    ///
    /// Returns the path of an invalid field, its value and what is valid.
    pub fn validate(&self) -> Result<(), ReadError> {
        let given = |option: &str| match option {
            "strategy" => true,
            "delay_ms" => self.delay_ms.is_some(),
            "percentile" => self.percentile.is_some(),
            "max_hedges" => self.max_hedges.is_some(),
            "budget_percent" => self.budget_percent.is_some(),
            _ => false,
        };
        let mut optional = self.options.known.names();
        if let Some(option) = optional.find(|option| given(option)) {
            let problem = format!(
                "`{option}` is given twice, but must be given only as `{option}` of `hedging`"
            );
            return Err(ReadError::other(format!("options.{option}"), problem));
        }
        check(&self.config()).map_err(|error| {
            let path = self.path_of(error.option());
            ReadError::option(path, &error)
        })
    }

    /// Returns the path of an option within these options.
    pub(crate) fn path_of(&self, option: &str) -> String {
        if self.options.known.names().any(|name| name == option) {
            format!("options.{option}")
        } else {
            option.into()
        }
    }

    /// Returns the config for a stage.
    pub(crate) fn stage_config(&self) -> HedgeConfig {
        let mut config = self.config();
        if self.max_hedges.or(self.options.known.max_hedges).is_none() {
            config.max_hedges = 2;
        }
        config
    }
}

/// The options of a run with overrides.
#[derive(Clone, Debug)]
// Without `std` there is no hedging stage, and the options are only validated.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub(crate) struct Run {
    /// The config of the run's hedger.
    pub(crate) config: HedgeConfig,
    /// Overrides that apply to all requests of a hedger. If there are any, the run needs a separate
    /// hedger.
    pub(crate) apart: Overrides,
    /// Overrides that apply to a single request.
    pub(crate) alone: Overrides,
}

impl Run {
    /// Applies `overrides` to `base`.
    ///
    /// # Errors
    ///
    /// Returns the path of an invalid option, as in a [`StageDef`](super::StageDef).
    pub(crate) fn new(base: HedgeConfig, overrides: &Overrides) -> Result<Self, ReadError> {
        let mut config = base;
        config.strategy_name = overrides.strategy_name.or(config.strategy_name);
        let mut apart = overrides.unlike(&config);
        let alone = Overrides {
            strategy: apart.strategy.take_if(|kind| *kind == StrategyKind::Off),
            prompt_length: apart.prompt_length.take(),
            model_complexity: apart.model_complexity.take(),
            time_of_day: apart.time_of_day.take(),
            priority: apart.priority.take(),
            max_hedges: apart
                .max_hedges
                .take_if(|hedges| *hedges < config.max_hedges),
            timeout_ms: apart
                .timeout_ms
                .take_if(|timeout| *timeout < config.timeout_ms),
            enabled: apart.enabled.take_if(|enabled| !*enabled),
            ..Overrides::default()
        };
        apart.apply(&mut config);
        // A file with the strategy `fixed` must set a delay. An override to `fixed` need not, and
        // gets a default.
        if apart.strategy.is_some() && config.delay_ms.is_none() {
            config.delay_ms = Some(100.0);
        }
        let run = Self {
            config,
            apart,
            alone,
        };
        run.check().map_err(|error| {
            let option = error.option();
            let path = if overrides.names().any(|name| name == option) {
                format!("options.{option}")
            } else {
                // The error is about an option that conflicts with an override.
                "options".into()
            };
            ReadError::option(path, &error)
        })?;
        Ok(run)
    }

    fn check(&self) -> Result<(), ConfigError> {
        // Options of a single request must be in range, but may conflict with those of the hedger:
        // for example, allowing fewer hedges than the budget is meant for is valid.
        let mut alone = HedgeConfig::default();
        self.alone.apply(&mut alone);
        check(&alone)?;
        check(&self.config)
    }
}

/// Validates all options for a hedger with room for the maximum number of hedges.
fn check(config: &HedgeConfig) -> Result<(), ConfigError> {
    config.validate()?;
    check_room(config.max_hedges, Hedging::MAX_HEDGES + 1)
}

/// Converts like [`Hedging::config`]. [`Hedging::unknown_options`] returns what has no effect.
impl From<Hedging> for HedgeConfig {
    fn from(hedging: Hedging) -> Self {
        hedging.config()
    }
}

impl From<&Hedging> for HedgeConfig {
    fn from(hedging: &Hedging) -> Self {
        hedging.config()
    }
}

impl Serialize for HedgingOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = self.known.names().count() + self.unknown.len();
        let mut map = serializer.serialize_map(Some(len))?;
        self.known.write(&mut map)?;
        for (name, value) in &self.unknown {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for HedgingOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(Lenient)
    }
}

struct Lenient;

impl<'de> Visitor<'de> for Lenient {
    type Value = HedgingOptions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of options")
    }

    fn visit_none<E>(self) -> Result<HedgingOptions, E> {
        Ok(HedgingOptions::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<HedgingOptions, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HedgingOptions, A::Error> {
        let mut options = HedgingOptions::default();
        while let Some(name) = map.next_key::<String>()? {
            if !options.known.read(&name, &mut map, true)? {
                options.unknown.insert(name, map.next_value()?);
            }
        }
        Ok(options)
    }
}
