//! Numbers that are beyond what a rule allows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::words::object;
use crate::event::{Event, EventType, Severity, Status, event_id};

/// What is known of a number that a rule watches.
#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdFacts {
    /// The rule's name.
    pub rule: String,
    /// The view whose number it is.
    pub view: String,
    /// The number's column.
    pub column: String,
    /// `above`, `below` or `outside`.
    pub comparison: &'static str,
    /// It fires beyond this.
    pub fire: f64,
    /// It is over at this or within.
    pub clear: f64,
    /// Whose; empty: all venues together.
    pub venue: String,
    /// Canonical symbol; empty: the market.
    pub symbol: String,
    /// What else tells the row from others, but for its time: `timeframe`, `window`.
    pub rest: BTreeMap<String, String>,
    /// Where it fired; once over, the value that ended it.
    pub value: f64,
    /// The furthest value, known once it is over; the one where it fired before.
    pub extreme: f64,
    /// When it fired, event time.
    pub onset_ms: i64,
    /// Set once it is over.
    pub ended_at_ms: Option<i64>,
    /// How grave the rule says it is.
    pub severity: Severity,
    /// When the program knew.
    pub known_at_ms: i64,
}

impl Event {
    /// A number beyond a rule's bound: firing until it is back.
    #[must_use]
    pub fn threshold(facts: ThresholdFacts) -> Self {
        let ThresholdFacts { rule, view, column, comparison, fire, clear, value, extreme, .. } = &facts;
        let mut key = vec![rule.as_str(), view, &facts.venue, &facts.symbol];
        key.extend(facts.rest.values().map(String::as_str));
        let whose = [&facts.symbol].into_iter().chain(facts.rest.values()).filter(|part| !part.is_empty());
        let whose = whose.map(String::as_str).collect::<Vec<_>>().join(" ");
        let whose = if whose.is_empty() { "the market" } else { &whose };
        let (title, description) = match facts.ended_at_ms {
            None => (
                format!("{whose}: {column} {comparison} {fire}"),
                format!("{column} of {view} is {value}, {comparison} {fire}. It is over at {clear}."),
            ),
            Some(_) => (
                format!("{whose}: {column} is back at {value}"),
                format!("{column} of {view} was {comparison} {fire}, {extreme} at the furthest, and is {value} now."),
            ),
        };
        let mut data = Map::from_iter(facts.rest.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
        data.extend(object(json!({
            "rule": rule, "view": view, "column": column, "comparison": comparison,
            "fire": fire, "clear": clear, "value": value, "extreme": extreme,
        })));
        Self {
            id: event_id(EventType::Threshold, &key, facts.onset_ms),
            event_type: EventType::Threshold,
            status: if facts.ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: facts.ended_at_ms.unwrap_or(facts.onset_ms),
            known_at: facts.known_at_ms,
            title,
            description,
            source: facts.view.into(),
            data,
            symbol: facts.symbol,
            venue: facts.venue,
            severity: facts.severity,
        }
    }
}
