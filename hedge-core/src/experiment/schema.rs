//! The JSON Schema of experiments.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{HedgingOptions, Value};
use crate::config::Overrides;
use crate::config::schema::{add, add_ranges};

/// Extends the schema of [`Hedging`](super::Hedging) by constraints that its types do not express.
pub(super) fn hedging(schema: &mut Schema) {
    add_ranges(schema);
    add(schema, "max_hedges", json_schema!({ "maximum": 3 }));
    add(schema, "budget_percent", json_schema!({ "maximum": 300 }));
}

/// Returns the schema of a non-empty text.
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

/// The schema of [`Overrides`], with additional properties allowed.
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
