//! How names, words and lists are read and written.

use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kind::Choice;
use crate::strategy::{ModelComplexity, Priority, TimeOfDay, Warmup};
use crate::{ConfigError, Name, StrategyKind};

macro_rules! as_text {
    ($($type:ty,)*) => {
        $(
            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.as_str())
                }
            }

            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_str(Text(str::parse))
                }
            }
        )*
    };
}

as_text! {
    Name,
    StrategyKind,
    Warmup,
    ModelComplexity,
    TimeOfDay,
    Priority,
}

/// Reads text as `T`. A derived enum would list what is valid, but not name the option.
struct Text<T>(fn(&str) -> Result<T, ConfigError>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.0(text).map_err(E::custom)
    }
}

/// Reads the option `telemetry_prefix`.
pub(super) fn telemetry_prefix<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Name, D::Error> {
    deserializer.deserialize_str(Text(crate::builder::telemetry_prefix))
}

/// Reads the option `workload_inner`.
pub(super) fn workload_inner<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<StrategyKind>, D::Error> {
    struct Inner(StrategyKind);

    impl<'de> Deserialize<'de> for Inner {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Text(|text| Choice::INNER.parse(text).map(Self)))
        }
    }

    let inner = Option::<Inner>::deserialize(deserializer)?;
    Ok(inner.map(|Inner(kind)| kind))
}

/// Reads and writes the option `delay_candidates`.
pub(super) mod candidates {
    use heapless::Vec;

    use super::*;
    use crate::config::validate::check_candidates_len;

    pub(crate) fn serialize<S: Serializer>(
        candidates: &Vec<f64, 16>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(candidates)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f64, 16>, D::Error> {
        deserializer.deserialize_seq(List)
    }

    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<f64, 16>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut candidates = Vec::new();
            let mut len: usize = 0;
            while let Some(candidate) = list.next_element()? {
                len = len.saturating_add(1);
                // What does not fit is only counted.
                let _ = candidates.push(candidate);
            }
            check_candidates_len(len).map_err(A::Error::custom)?;
            Ok(candidates)
        }
    }
}
