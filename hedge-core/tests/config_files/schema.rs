//! The JSON Schemas say of every file what reading it says, as far as a schema can.

use serde_json::Value;

use hedge_core::HedgeConfig;
use hedge_core::experiment::Experiment;

use super::{KINDS, Kind, files, is_toml, short};

/// What only reading finds: what holds between options, and NaN, which JSON has not.
const BEYOND: &[&str] = &[
    "config/backoff_base_below_min.toml",
    "config/backoff_min_above_max.toml",
    "config/budget_above_all_hedges.toml",
    "config/delay_missing_for_fixed.toml",
    "config/delay_missing_for_inner_fixed.json",
    "config/max_delay_below_min.toml",
    "config/min_samples_above_window.toml",
    "experiment/hedging_budget_above.toml",
    "experiment/hedging_delay_missing.toml",
    "experiment/hedging_given_twice.toml",
    "experiment/hedging_strategy_in_options.toml",
    // The options of a stage are known to that stage only.
    "experiment/stage_hedging_option_out_of_range.toml",
    "experiment/stage_hedging_option_unknown.toml",
    "experiment/stage_hedging_option_wrong_type.toml",
];

fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Config => schemars::schema_for!(HedgeConfig),
        Kind::Experiment => schemars::schema_for!(Experiment),
    }
    .to_value()
}

/// The file as JSON, if it can be parsed and has nothing that JSON has not.
fn parse(text: &str, toml: bool) -> Option<Value> {
    if toml {
        let table: toml::Table = toml::from_str(text).ok()?;
        // JSON has neither; `serde_json` would make of it a null.
        let finite = !["nan", "inf"].iter().any(|word| text.contains(word));
        finite.then(|| serde_json::to_value(table).ok())?
    } else {
        serde_json::from_str(text).ok()
    }
}

#[test]
fn the_schemas_accept_what_is_right() {
    for (kind, folder) in KINDS {
        for (path, text) in files("right", folder) {
            let value = parse(&text, is_toml(&path)).unwrap();
            let (schema, name) = (schema(kind), short(&path, folder));
            assert_eq!(check(&value, &schema, &schema), Ok(()), "{name}");
        }
    }
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    for (kind, folder) in KINDS {
        for (path, text) in files("wrong", folder) {
            let name = short(&path, folder);
            let Some(value) = parse(&text, is_toml(&path)) else {
                continue;
            };
            // Of two fields of a name JSON's parser keeps one.
            if name.contains("duplicate_field") {
                continue;
            }
            let schema = schema(kind);
            let accepted = check(&value, &schema, &schema).is_ok();
            assert_eq!(accepted, BEYOND.contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn the_schema_has_every_option_with_its_default_and_what_it_means() {
    let schema = schema(Kind::Config);
    let properties = schema["properties"].as_object().unwrap();
    let mut names: Vec<_> = hedge_core::Overrides::NAMES.to_vec();
    names.sort_unstable();
    assert!(properties.keys().eq(names));
    let defaults = serde_json::to_value(HedgeConfig::default()).unwrap();
    for (name, property) in properties {
        assert!(property["description"].is_string(), "{name}");
        let default = property.get("default").filter(|default| !default.is_null());
        let expected = defaults.get(name).filter(|_| name != "delay_ms");
        assert_eq!(default, expected, "{name}");
    }
}

/// Whether `value` is as `schema` says, of which `root` has the definitions. It knows the keywords that are
/// used, and panics at any other.
fn check(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let keywords = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(keywords) => keywords,
        other => panic!("{other}"),
    };
    let refuse = |keyword: &str| Err(format!("{value} against {keyword}: {}", schema[keyword]));
    for (keyword, expected) in keywords {
        let number = |holds: fn(f64, f64) -> bool| match (value.as_f64(), expected.as_f64()) {
            (Some(value), Some(bound)) => holds(value, bound),
            _ => true,
        };
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" | "format" => true,
            "$ref" => {
                let name = expected.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                return check(value, &root["$defs"][name], root);
            }
            "anyOf" => {
                let mut any = expected.as_array().unwrap().iter();
                any.any(|schema| check(value, schema, root).is_ok())
            }
            "type" => match expected {
                Value::Array(types) => types.iter().any(|name| is(value, name.as_str().unwrap())),
                name => is(value, name.as_str().unwrap()),
            },
            "enum" => expected.as_array().unwrap().contains(value),
            "minimum" => number(|value, bound| value >= bound),
            "maximum" => number(|value, bound| value <= bound),
            "exclusiveMinimum" => number(|value, bound| value > bound),
            "exclusiveMaximum" => number(|value, bound| value < bound),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= expected.as_u64().unwrap()),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 <= expected.as_u64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|list| list.len() as u64 >= expected.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|list| list.len() as u64 <= expected.as_u64().unwrap()),
            "uniqueItems" => value.as_array().is_none_or(|list| {
                let number = |item: &Value| item.as_f64();
                (0..list.len()).all(|i| {
                    list[..i]
                        .iter()
                        .all(|other| number(other) != number(&list[i]))
                })
            }),
            "items" => match value.as_array() {
                Some(list) => list
                    .iter()
                    .try_for_each(|item| check(item, expected, root))
                    .is_ok(),
                None => true,
            },
            // That of `telemetry_prefix`, the only one.
            "pattern" => value.as_str().is_none_or(|text| {
                text.split('.').all(|part| {
                    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                })
            }),
            "required" => {
                let mut names = expected.as_array().unwrap().iter();
                names.all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, schema) in expected.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(value, schema, root)?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert!(expected == false || expected == true, "{expected}");
                let known = &schema["properties"];
                let mut names = value.as_object().into_iter().flat_map(|map| map.keys());
                expected == true || names.all(|name| known.get(name).is_some())
            }
            other => panic!("{other} is not known"),
        };
        if !holds {
            return refuse(keyword);
        }
    }
    Ok(())
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("{other} is no type"),
    }
}
