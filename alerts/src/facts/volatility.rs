//! Changes of volatility regime.

use serde::Serialize;
use serde_json::json;

use super::words::{object, percent};
use crate::event::{Event, EventType, Severity, Status, event_id};

/// A day's volatility, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Regime {
    Stable,
    HighVol,
    Explosive,
    Extreme,
}

impl Regime {
    /// As JSON and SQL write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "STABLE",
            Self::HighVol => "HIGH_VOL",
            Self::Explosive => "EXPLOSIVE",
            Self::Extreme => "EXTREME",
        }
    }
}

/// What is known of a change of volatility regime.
#[derive(Clone, Debug, PartialEq)]
pub struct VolatilityFacts {
    /// Whose.
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// The end of the minute that changed it.
    pub ts_ms: i64,
    /// When the program knew.
    pub known_at_ms: i64,
    /// The regime before.
    pub from: Regime,
    /// The regime now.
    pub to: Regime,
    /// Close-to-close over 24 h, per day.
    pub close_to_close: f64,
    /// Parkinson over 24 h, per day.
    pub parkinson: Option<f64>,
    /// By how much to scale risk before.
    pub risk_multiplier_before: f64,
    /// By how much to scale risk now.
    pub risk_multiplier: f64,
}

impl Event {
    /// A change of volatility regime. A change to EXTREME is critical. It has no end of its own: it is
    /// [resolved](Event::resolved) when a correction takes it back.
    #[must_use]
    pub fn volatility_regime_change(facts: VolatilityFacts) -> Self {
        let used = facts.parkinson.map_or(facts.close_to_close, |p| p.max(facts.close_to_close));
        let (from, to) = (facts.from.as_str(), facts.to.as_str());
        let direction = if facts.to > facts.from { "up" } else { "down" };
        let parkinson = facts.parkinson.map_or_else(|| "no Parkinson yet".to_owned(), |p| format!("Parkinson {}", percent(p)));
        let data = object(json!({
            "from": from, "to": to, "volatility_per_day": used, "close_to_close": facts.close_to_close,
            "parkinson": facts.parkinson, "risk_multiplier": facts.risk_multiplier,
            "risk_multiplier_before": facts.risk_multiplier_before, "window": "24h",
        }));
        Self {
            id: event_id(EventType::VolatilityRegimeChange, &[&facts.venue, &facts.symbol], facts.ts_ms),
            event_type: EventType::VolatilityRegimeChange,
            status: Status::Firing,
            timestamp: facts.ts_ms,
            known_at: facts.known_at_ms,
            severity: if facts.to == Regime::Extreme { Severity::Critical } else { Severity::Warning },
            title: format!(
                "{} volatility {direction}: {from} → {to} at {} per day on {}",
                facts.symbol,
                percent(used),
                facts.venue
            ),
            description: format!(
                "24 h volatility is {} per day (close-to-close {}, {parkinson}). Risk multiplier {:.1} → {:.1}.",
                percent(used),
                percent(facts.close_to_close),
                facts.risk_multiplier_before,
                facts.risk_multiplier,
            ),
            source: "volatility".into(),
            data,
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }
}
