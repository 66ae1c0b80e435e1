//! How an experiment is hedged.

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

/// How an experiment is hedged: the options that matter most, and all others under `options`.
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
/// What is not given is as in [`HedgeConfig`]. A config of this kind may ask for 3 hedges at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(transform = super::schema::hedging))]
pub struct Hedging {
    /// When to hedge. Default: `percentile`.
    pub strategy: StrategyKind,
    /// `fixed`: the hedge delay, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<f64>,
    /// `percentile`: which percentile of the last latencies the hedge delay is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// How many hedges a request may have, 1 to 3. Default: 1; 2 in a stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hedges: Option<u8>,
    /// What share of the requests hedges may be, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_percent: Option<f64>,
    /// Every other option.
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

/// Options by name. They are read leniently: one that does not exist is kept and reported, and is no error,
/// since others may read the same file. The value of one that exists has to be right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HedgingOptions {
    /// Those that exist.
    pub known: Overrides,
    /// Those that do not.
    pub unknown: BTreeMap<String, Value>,
}

impl HedgingOptions {
    /// Whether there is none.
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
    /// The most hedges that it may ask for.
    const MAX_HEDGES: usize = 3;

    /// The options, ready for a hedger. What is given by
    /// field counts, and not what `options` says of the same.
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

    /// The options of which the names do not exist, and which have no effect.
    pub fn unknown_options(&self) -> impl Iterator<Item = &str> {
        self.options.unknown.keys().map(String::as_str)
    }

    /// Checks every option.
    ///
    /// # Errors
    ///
    /// Tells the path of a field that cannot be right, its value and what would be.
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

    /// Where in here the option is.
    pub(crate) fn path_of(&self, option: &str) -> String {
        if self.options.known.names().any(|name| name == option) {
            format!("options.{option}")
        } else {
            option.into()
        }
    }

    /// The options in a stage.
    pub(crate) fn stage_config(&self) -> HedgeConfig {
        let mut config = self.config();
        if self.max_hedges.or(self.options.known.max_hedges).is_none() {
            config.max_hedges = 2;
        }
        config
    }
}

/// What a run comes to that has options of its own.
#[derive(Clone, Debug)]
// Without std there is no stage that hedges, and it is only checked.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub(crate) struct Run {
    /// What its hedger is made from.
    pub(crate) config: HedgeConfig,
    /// Options of its own that a hedger has for all its requests: with any, the run needs another hedger
    /// than runs without.
    pub(crate) apart: Overrides,
    /// Options of its own that a request can have alone.
    pub(crate) alone: Overrides,
}

impl Run {
    /// `base` with `overrides` in its place.
    ///
    /// # Errors
    ///
    /// Tells the path of an option that cannot be right, as in a [`StageDef`](super::StageDef).
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
        // A file that names `fixed` has to say for how long; whoever names it for one run need not.
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
                // It goes with one that is overridden.
                "options".into()
            };
            ReadError::option(path, &error)
        })?;
        Ok(run)
    }

    fn check(&self) -> Result<(), ConfigError> {
        // What a request has alone has to be in range, but need not go with what its hedger has: fewer hedges
        // than a budget is meant for are no mistake.
        let mut alone = HedgeConfig::default();
        self.alone.apply(&mut alone);
        check(&alone)?;
        check(&self.config)
    }
}

/// Checks every option, for a hedger with room for as many hedges as a file may ask for.
fn check(config: &HedgeConfig) -> Result<(), ConfigError> {
    config.validate()?;
    check_room(config.max_hedges, Hedging::MAX_HEDGES + 1)
}

/// As [`Hedging::config`] says. See [`Hedging::unknown_options`] for what has no effect.
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
