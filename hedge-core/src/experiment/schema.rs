//! The JSON Schema of experiments.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{HedgingOptions, Value};
use crate::config::Overrides;
use crate::config::schema::{add, add_ranges};

/// Adds to the schema of [`Hedging`](super::Hedging) what its types do not say.
pub(super) fn hedging(schema: &mut Schema) {
    add_ranges(schema);
    add(schema, "max_hedges", json_schema!({ "maximum": 3 }));
    add(schema, "budget_percent", json_schema!({ "maximum": 300 }));
}

/// Any text but none.
pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

impl JsonSchema for Value {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// As that of [`Overrides`], but others may be there.
impl JsonSchema for HedgingOptions {
    fn schema_name() -> Cow<'static, str> {
        "HedgingOptions".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Overrides::json_schema(generator);
        schema.remove("additionalProperties");
        if let Some(types) = schema.get_mut("type") {
            *types = json_schema!({ "type": ["object", "null"] }).to_value()["type"].take();
        }
        schema
    }
}
