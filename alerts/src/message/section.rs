//! One alert in words: the frame that all templates share.

use super::row::{Row, field};
use super::{Field, Section, events, one_line};
use crate::alert::Alert;

/// What a template says of an event.
pub(super) struct Words {
    /// What happened, to stand behind the symbol: `long liquidation cascade, $1.50M`.
    pub(super) what: String,
    /// What it means, and what the numbers leave out.
    pub(super) text: String,
    /// The numbers.
    pub(super) fields: Vec<Field>,
}

/// An alert with all that is known of it.
pub(super) fn section(alert: &Alert) -> Section {
    let row = Row { event: &alert.event };
    let words = events::words(row);
    let mut text = words.text;
    if alert.is_correction {
        text.push_str(" This is a correction: it was learnt only after the fact.");
    }
    let mut fields = words.fields;
    if !alert.event.venue.is_empty() {
        fields.push(field("Venue", &alert.event.venue));
    }
    fields.push(row.period());
    Section { text: text.trim().to_owned(), fields, ..framed(row, &words.what) }
}

/// An alert in one line, for digests.
pub(super) fn short(alert: &Alert) -> Section {
    let row = Row { event: &alert.event };
    framed(row, &events::words(row).what)
}

/// `CRITICAL BTC-USDT-PERP: … on binance-usdm`, `RESOLVED BTC-USDT-PERP: … on binance-usdm, over after 12 min 34 s`.
fn framed(row: Row<'_>, what: &str) -> Section {
    let event = row.event;
    let word = if row.is_resolved() { "RESOLVED" } else { event.severity.as_str() };
    let symbol = if event.symbol.is_empty() { "MARKET" } else { &event.symbol };
    let mut title = format!("{word} {symbol}: {what}");
    if !event.venue.is_empty() {
        title.push_str(&format!(" on {}", event.venue));
    }
    if let Some(lasted) = row.lasted() {
        title.push_str(&format!(", over after {lasted}"));
    }
    Section {
        title: one_line(&title),
        text: String::new(),
        fields: Vec::new(),
        severity: event.severity,
        status: event.status,
        at_ms: event.timestamp,
    }
}
