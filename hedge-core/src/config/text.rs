//! How names, words and lists are read and written.

use core::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kind::Choice;
use super::validate::check_candidates_len;
use super::{HedgeConfig, Overrides};
use crate::error::ConfigError;
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::strategy::{DelayCandidates, ModelComplexity, Priority, TimeOfDay, Warmup};

macro_rules! as_text {
    ($($type:ty: $expected:expr,)*) => {
        $(
            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.as_str())
                }
            }

            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_str(Text(str::parse, $expected))
                }
            }
        )*
    };
}

as_text! {
    Name: "text of at most 32 bytes",
    StrategyKind: Choice::STRATEGY.expected,
    Warmup: Self::EXPECTED,
    ModelComplexity: Self::EXPECTED,
    TimeOfDay: Self::EXPECTED,
    Priority: Self::EXPECTED,
}

/// Reads text as `T`. An error names the option and what is valid; that of a derived enum would not name the option.
struct Text<T>(fn(&str) -> Result<T, ConfigError>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.0(text).map_err(E::custom)
    }
}

/// Reads the field `name`. Its error must not mention `strategy_name`.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = Text(
        |text| Name::parse_for("name", text),
        "text of at most 32 bytes",
    );
    deserializer.deserialize_str(text)
}

/// Options with special rules for reading and writing.
macro_rules! own_rules {
    ($($(#[$meta:meta])* $name:ident($type:ty);)*) => {
        $(
            $(#[$meta])*
            pub(super) struct $name($type);

            impl From<$type> for $name {
                fn from(value: $type) -> Self {
                    Self(value)
                }
            }

            impl From<$name> for $type {
                fn from(value: $name) -> Self {
                    value.0
                }
            }
        )*
    };
}

own_rules! {
    /// The option `telemetry_prefix`, which is a dotted name.
    Prefix(Name);
    /// The option `workload_inner`, which can name fewer strategies than `strategy`.
    Inner(StrategyKind);
    /// The option `delay_candidates`, whose list has a limited length.
    Candidates(DelayCandidates);
}

/// Whole numbers, with the range that each option has.
macro_rules! whole_numbers {
    ($($name:ident($type:ty): $expected:literal;)*) => {
        own_rules! {
            $(
                #[doc = $expected]
                $name($type);
            )*
        }
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    self.0.serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let number = deserializer.deserialize_u32(Whole($expected))?;
                    let fits = <$type>::try_from(number);
                    let unexpected = Unexpected::Unsigned(number);
                    fits.map(Self).map_err(|_| D::Error::invalid_value(unexpected, &$expected))
                }
            }
        )*
    };
}

whole_numbers! {
    MaxHedges(u8): "a whole number, 1 to 7";
    WindowSize(u32): "a whole number, 200 to 8000";
    Samples(u32): "a whole number, 1 to 8000";
    Count(u32): "a whole number, 0 to 4294967295";
    InFlight(u32): "a whole number, 1 to 4294967295";
    Keys(u32): "a whole number, 0 to 16384";
}

/// Reads a whole number that is not negative.
struct Whole(&'static str);

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text(crate::hedger::telemetry_prefix, "a dotted name");
        deserializer.deserialize_str(text).map(Self)
    }
}

impl Serialize for Inner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text(|text| Choice::INNER.parse(text), Choice::INNER.expected);
        deserializer.deserialize_str(text).map(Self)
    }
}

/// Writes the option `delay_candidates`.
pub(super) fn candidates<S: Serializer>(
    candidates: &DelayCandidates,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(candidates.iter())
}

impl Serialize for Candidates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        candidates(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Candidates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List).map(Self)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = DelayCandidates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut candidates = DelayCandidates::default();
        while let Some(candidate) = list.next_element()? {
            candidates.extend([candidate]);
        }
        check_candidates_len(&candidates).map_err(A::Error::custom)?;
        Ok(candidates)
    }
}

impl Serialize for Overrides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names().count()))?;
        self.write(&mut map)?;
        map.end()
    }
}

/// Reads options. An unknown option is an error.
impl<'de> Deserialize<'de> for Overrides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "alloc")]
        return crate::config::value::located(deserializer, Self::strict);
        #[cfg(not(feature = "alloc"))]
        deserializer.deserialize_map(Options)
    }
}

impl<'de> Deserialize<'de> for HedgeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Overrides::deserialize(deserializer).map(|options| options.to_config())
    }
}

impl Overrides {
    /// Reads options, of which none may be unknown. Errors contain the path of the field.
    #[cfg(feature = "alloc")]
    pub(crate) fn strict(
        value: crate::config::value::Value,
    ) -> Result<Self, crate::config::value::ReadError> {
        value.deserialize_map(Options)
    }

    /// Returns the config of a file that has these options.
    pub(crate) fn to_config(&self) -> HedgeConfig {
        let mut config = HedgeConfig {
            delay_ms: None,
            ..HedgeConfig::default()
        };
        self.apply(&mut config);
        config
    }
}

struct Options;

impl<'de> Visitor<'de> for Options {
    type Value = Overrides;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of options")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Overrides, A::Error> {
        let mut options = Overrides::default();
        while let Some(name) = map.next_key_seed(OptionName)? {
            options.read(name, &mut map, false)?;
        }
        Ok(options)
    }
}

/// Reads the name of an option. An unknown name is an error.
struct OptionName;

impl<'de> DeserializeSeed<'de> for OptionName {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for OptionName {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an option")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<&'static str, E> {
        let name = Overrides::NAMES.iter().find(|name| **name == text);
        name.copied()
            .ok_or_else(|| E::unknown_field(text, Overrides::NAMES))
    }
}
