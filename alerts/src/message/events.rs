//! A template for each type of event, and one for types that have none yet.

use serde_json::Value;

use super::Field;
use super::row::{Row, field};
use super::section::Words;
use crate::event::EventType;

mod cascade;
mod correlation;
mod funding;
mod regime;
mod volatility;
mod zone;

/// Numbers that the fallback takes.
const FIELDS_MAX: usize = 10;
/// Characters of a text that the fallback takes.
const TEXT_MAX: usize = 80;

pub(super) fn words(row: Row<'_>) -> Words {
    match row.event.event_type {
        EventType::LiquidationCascade => cascade::liquidation(row),
        EventType::MarketCascade => cascade::market(row),
        EventType::OiShock => cascade::oi_shock(row),
        EventType::SupportZoneTouched => zone::touched(row),
        EventType::FundingAnomaly => funding::anomaly(row),
        EventType::FundingReversal => funding::reversal(row),
        EventType::FundingSpread => funding::spread(row),
        EventType::VolatilityRegimeChange => volatility::change(row),
        EventType::CorrelationBreak => correlation::broken(row),
        EventType::LeaderChange => correlation::leader(row),
        EventType::RegimeChange => regime::change(row),
        EventType::RegimeConfirmed => regime::confirmed(row),
        EventType::ModelDrift => regime::drift(row),
        // For types added later, until they have a template.
        #[allow(unreachable_patterns)]
        _ => generic(row),
    }
}

/// The event's own title and description, and what its data has of numbers, flags and short texts.
fn generic(row: Row<'_>) -> Words {
    let title = row.event.title.strip_prefix("Resolved: ").unwrap_or(&row.event.title);
    // The symbol stands in front of every title already.
    let title = title.strip_prefix(row.event.symbol.as_str()).map_or(title, |rest| rest.trim_start_matches([':', ' ']));
    let fields = row.event.data.iter().filter(|(key, _)| !matches!(key.as_str(), "onset" | "last_active" | "ended_at"));
    Words {
        what: title.to_owned(),
        text: row.event.description.clone(),
        fields: fields.filter_map(|(key, value)| Some(field(&spoken(key), plain(value)?))).take(FIELDS_MAX).collect(),
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "yes" } else { "no" }.to_owned()),
        Value::String(text) if (1..=TEXT_MAX).contains(&text.chars().count()) => Some(text.clone()),
        _ => None,
    }
}

/// `price_move_bps` as `Price move bps`.
fn spoken(key: &str) -> String {
    let mut chars = key.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + &chars.as_str().replace('_', " ")
}

/// Adds a field if its value is known.
fn push(fields: &mut Vec<Field>, name: &str, value: Option<String>) {
    fields.extend(value.map(|value| field(name, value)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{Event, Severity, Status};

    #[test]
    fn an_unknown_type_shows_what_its_data_has() {
        let data = json!({
            "onset": "2024-08-08T00:00:00.000Z", "count": 3, "rate": -0.5, "is_new": true, "why": "because", "none": null,
            "list": [1], "long": "x".repeat(81), "a1": 1, "a2": 2, "a3": 3, "a4": 4, "a5": 5, "a6": 6, "a7": 7,
        });
        let event = Event {
            id: String::new(),
            event_type: EventType::ModelDrift,
            status: Status::Resolved,
            timestamp: 0,
            known_at: 0,
            symbol: "BTC".into(),
            venue: String::new(),
            severity: Severity::Info,
            title: "Resolved: something".into(),
            description: "It happened.".into(),
            source: "somewhere".into(),
            data: data.as_object().cloned().unwrap_or_default(),
        };
        let words = generic(Row { event: &event });
        assert_eq!((words.what.as_str(), words.text.as_str()), ("something", "It happened."));
        let shown: Vec<String> = words.fields.iter().map(|f| format!("{} {}", f.name, f.value)).collect();
        assert_eq!(shown, ["A1 1", "A2 2", "A3 3", "A4 4", "A5 5", "A6 6", "A7 7", "Count 3", "Is new yes", "Rate -0.5"]);
    }
}
