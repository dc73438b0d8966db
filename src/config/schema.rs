//! The configuration's JSON Schema (draft 2020-12), derived from the structs. `schemas/config.schema.json` is a copy for
//! editors, which a test keeps current.

use alerts::EventType;
use serde_json::{Value, json};

use super::Config;

/// The schema of a configuration file.
#[must_use]
pub fn config() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    if let Some(types) = schema.pointer_mut("/$defs/Webhook/properties/event_types/items") {
        types["enum"] = EventType::ALL.iter().map(|t| t.as_str()).collect();
    }
    for (name, key) in [("Matcher", "event_types")] {
        if let Some(types) = schema.pointer_mut(&format!("/$defs/{name}/properties/{key}/items")) {
            types["enum"] = EventType::ALL.iter().map(|t| t.as_str()).collect();
        }
    }
    for path in ["Matcher/properties/severity_min", "QuietHours/properties/lets_through"] {
        if let Some(severity) = schema.pointer_mut(&format!("/$defs/{path}")) {
            severity["enum"] = json!(["INFO", "WARNING", "CRITICAL"]);
        }
    }
    if let Some(limits) = schema.pointer_mut("/$defs/Feed/properties/silence_ms/additionalProperties") {
        limits["maximum"] = json!(86_400_000);
    }
    if let Some(weights) = schema.pointer_mut("/$defs/Feed/properties/weights/additionalProperties") {
        (weights["minimum"], weights["maximum"]) = (json!(1), json!(1_000_000));
    }
    schema
}

/// As it is committed and printed.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", config())
}
