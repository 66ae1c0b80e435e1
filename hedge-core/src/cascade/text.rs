//! The config file format of tiers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Tier;
use crate::config::{name, optional_time};
use crate::error::ConfigError;
use crate::name::Name;
use crate::time::millis;

/// A tier with the field names of a config file.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Tier", deny_unknown_fields)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
struct Text {
    #[serde(deserialize_with = "name")]
    name: Name,
    /// The delay after which the next tier starts too, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(range(min = 0.0, max = 1e12)))]
    delay_ms: Option<f64>,
    /// The cost of a request to this tier, in any unit.
    #[serde(default = "one")]
    #[cfg_attr(feature = "schemars", schemars(range(min = 0.0)))]
    cost: f64,
    /// The quality that an answer must have, on the scale of the cascade's quality function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality_threshold: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl Text {
    fn tier(self) -> Result<Tier, ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::text("name", "", "1 to 32 bytes"));
        }
        let tier = Tier {
            name: self.name,
            delay: optional_time("delay_ms", self.delay_ms)?,
            cost: self.cost,
            threshold: self.quality_threshold,
        };
        tier.validate()?;
        Ok(tier)
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Text {
            name: self.name,
            delay_ms: self.delay.map(millis),
            cost: self.cost,
            quality_threshold: self.threshold,
        };
        text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "alloc")]
        return crate::config::value::located(deserializer, |value| {
            let tier = Text::deserialize(value)?.tier();
            tier.map_err(|error| {
                crate::config::value::ReadError::option(error.option().into(), &error)
            })
        });
        #[cfg(not(feature = "alloc"))]
        Text::deserialize(deserializer)?
            .tier()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Tier {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        Text::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Text::json_schema(generator)
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use core::time::Duration;
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct File {
        tiers: Vec<Tier>,
    }

    #[test]
    fn tiers_are_read_and_written() {
        let file = r#"
            [[tiers]]
            name = "gpt4"
            delay_ms = 500
            cost = 0.03
            quality_threshold = 0.95

            [[tiers]]
            name = "gemini"
        "#;
        let file: File = toml::from_str(file).unwrap();
        let tiers = [
            Tier::new("gpt4")
                .delay(Duration::from_millis(500))
                .cost(0.03)
                .quality_threshold(0.95),
            Tier::new("gemini"),
        ];
        assert_eq!(file.tiers, tiers);
        let written = toml::to_string(&file).unwrap();
        assert_eq!(toml::from_str::<File>(&written).unwrap(), file);
    }

    #[test]
    fn invalid_values_are_named() {
        let cases = [
            (r#"{}"#, "`name` is missing, but has to be given"),
            (
                r#"{ "name": "" }"#,
                "`name` is \"\", but must be 1 to 32 bytes",
            ),
            (
                r#"{ "name": "the-search-backend-of-the-european-region" }"#,
                "`name` is \"the-search-backend-of-the-european-region\", but must be at most 32 bytes",
            ),
            (
                r#"{ "name": "a", "delay": 5 }"#,
                "unknown field `delay`; did you mean `delay_ms`?",
            ),
            (
                r#"{ "name": "a", "delay_ms": -1 }"#,
                "`delay_ms` is -1, but must be 0 to 1000000000000",
            ),
            (
                r#"{ "name": "a", "cost": -0.5 }"#,
                "`cost` is -0.5, but must be at least 0",
            ),
            (
                r#"{ "name": "a", "quality_threshold": "high" }"#,
                "`quality_threshold` is \"high\", but must be a number",
            ),
        ];
        for (json, expected) in cases {
            let error = serde_json::from_str::<Tier>(json).expect_err(json);
            assert_eq!(error.to_string(), expected);
        }
    }
}
