//! The JSON Schema of a config: for editors, and to check files before they are used.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::Overrides;
use super::kind::Choice;
use crate::config::HedgeConfig;
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::replicas::{ReplicaList, ReplicaOptions};
use crate::strategy::{ModelComplexity, Priority, TimeOfDay, Warmup};

/// The ranges of numbers. A schema cannot express the rules between options.
const RANGES: &[(&str, &str, f64)] = &[
    ("percentile", "minimum", 50.0),
    ("percentile", "maximum", 99.9),
    ("window_size", "minimum", 200.0),
    ("window_size", "maximum", 8000.0),
    ("min_samples", "minimum", 1.0),
    ("min_samples", "maximum", 8000.0),
    ("max_age_ms", "exclusiveMinimum", 0.0),
    ("learning_rate", "minimum", 0.0),
    ("learning_rate", "maximum", 1.0),
    ("cost_weight", "minimum", 0.0),
    ("optimal_target", "minimum", 50.0),
    ("optimal_target", "maximum", 99.9),
    ("optimal_budget_percent", "exclusiveMinimum", 0.0),
    ("exponential_increase_factor", "exclusiveMinimum", 1.0),
    ("exponential_decrease_factor", "exclusiveMinimum", 0.0),
    ("exponential_decrease_factor", "exclusiveMaximum", 1.0),
    ("exponential_error_factor", "exclusiveMinimum", 1.0),
    ("max_hedges", "minimum", 1.0),
    ("max_hedges", "maximum", 7.0),
    ("budget_percent", "minimum", 0.0),
    ("budget_percent", "maximum", 700.0),
    ("budget_min_per_second", "minimum", 0.0),
    ("max_in_flight", "minimum", 1.0),
    ("timeout_ms", "exclusiveMinimum", 0.0),
    ("attempt_timeout_ms", "exclusiveMinimum", 0.0),
    ("holdback_percent", "minimum", 0.0),
    ("holdback_percent", "maximum", 50.0),
    ("max_keys", "maximum", HedgeConfig::MAX_KEYS as f64),
    ("cost_per_attempt", "minimum", 0.0),
];

/// The options that are times.
const TIMES: &[&str] = &[
    "delay_ms",
    "initial_delay",
    "min_delay",
    "max_delay",
    "max_age_ms",
    "base_delay",
    "exponential_base_delay",
    "exponential_min_delay",
    "exponential_max_delay",
    "timeout_ms",
    "attempt_timeout_ms",
    "max_pushback_ms",
];

/// Adds the ranges of options to the schema of a struct.
pub(crate) fn add_ranges(schema: &mut Schema) {
    for &(option, bound, value) in RANGES {
        add(schema, option, json_schema!({ bound: value }));
    }
    for option in TIMES {
        let range = json_schema!({ "minimum": 0, "maximum": HedgeConfig::MAX_MILLIS });
        add(schema, option, range);
    }
    // A file that omits `delay_ms` has no delay, unlike `HedgeConfig::default`.
    if let Some(delay) = schema.pointer_mut("/properties/delay_ms") {
        delay.as_object_mut().map(|delay| delay.remove("default"));
    }
}

/// Adds keywords to the schema of a property.
pub(crate) fn add(schema: &mut Schema, property: &str, mut keywords: Schema) {
    let properties = schema.get_mut("properties");
    let property = properties.and_then(|properties| properties.get_mut(property));
    if let Some(property) = property.and_then(|property| property.as_object_mut()) {
        property.append(keywords.ensure_object());
    }
}

macro_rules! words {
    ($($type:ident: $words:expr;)*) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words = $words.into_iter().map(|word| word.as_str());
                let words: Vec<_> = words.collect();
                json_schema!({ "type": "string", "enum": words })
            }
        })*
    };
}

/// Returns the kinds that an option may name.
fn kinds(choice: Choice) -> impl Iterator<Item = StrategyKind> {
    let all = StrategyKind::ALL.into_iter();
    all.filter(move |kind| choice.check(*kind).is_ok())
}

words! {
    StrategyKind: kinds(Choice::STRATEGY);
    Warmup: Self::ALL;
    ModelComplexity: Self::ALL;
    TimeOfDay: Self::ALL;
    Priority: Self::ALL;
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // JSON Schema counts characters and the limit is in bytes, so the schema accepts every valid name and some
        // invalid ones.
        json_schema!({ "type": "string", "minLength": 1, "maxLength": Self::CAPACITY })
    }
}

/// Returns the schema of `telemetry_prefix`.
pub(super) fn prefix(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_]+(\\.[A-Za-z0-9_]+)*$",
        "maxLength": Name::CAPACITY,
    })
}

/// Returns the schema of `workload_inner`.
pub(super) fn inner(_: &mut SchemaGenerator) -> Schema {
    let words = kinds(Choice::INNER).map(|kind| Some(kind.as_str()));
    let words: Vec<_> = words.chain([None]).collect();
    json_schema!({ "type": ["string", "null"], "enum": words })
}

/// Returns the schema of `delay_candidates`.
pub(super) fn candidates(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "number", "exclusiveMinimum": 0, "maximum": HedgeConfig::MAX_MILLIS },
        "minItems": 2,
        "maxItems": 16,
        "uniqueItems": true,
    })
}

/// Returns the schema of `replicas`.
pub(super) fn replicas(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": ReplicaList::CAPACITY,
        "items": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "weight": {
                    "description": "The share of the requests, relative to the weights of the others.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": u16::MAX,
                    "default": 1,
                },
                "bias": {
                    "description": "How much less the replica is preferred, in 1/16 octaves.",
                    "type": "integer",
                    "minimum": i8::MIN,
                    "maximum": i8::MAX,
                    "default": 0,
                },
                "latency_ms": {
                    "description": "The latency, if it is known.",
                    "type": ["number", "null"],
                    "minimum": ReplicaOptions::MIN_MS,
                    "maximum": ReplicaOptions::MAX_MS,
                },
            },
        },
    })
}

/// The schema is that of [`HedgeConfig`] without defaults, since an option that is left out does not change.
impl JsonSchema for Overrides {
    fn schema_name() -> Cow<'static, str> {
        "Overrides".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = HedgeConfig::json_schema(generator);
        schema.remove("description");
        for option in Self::NAMES {
            let option = alloc::format!("/properties/{option}");
            if let Some(option) = schema.pointer_mut(&option) {
                option
                    .as_object_mut()
                    .map(|option| option.remove("default"));
            }
        }
        schema
    }
}
