//! Pairs that no longer move together, and who moves first.

use serde_json::json;

use super::words::object;
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// What is known of a pair that broke apart.
#[derive(Clone, Debug, PartialEq)]
pub struct CorrelationFacts {
    /// Canonical symbol.
    pub symbol_a: String,
    /// Canonical symbol; empty: the rest of the market.
    pub symbol_b: String,
    /// The window: `24h`.
    pub horizon: String,
    /// When it had held for long enough.
    pub onset_ms: i64,
    /// Set once it is over.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// r at its onset.
    pub return_correlation: f64,
    /// How strong, at its onset.
    pub divergence_strength: f64,
    /// The pair used to move together.
    pub is_pair_trade: bool,
    /// The usual correlation, and z against it in deviations, where it is known.
    pub baseline: Option<(f64, f64)>,
}

/// What is known of a change of the leader.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderFacts {
    /// Canonical symbol.
    pub symbol: String,
    /// Who led before.
    pub before: String,
    /// When it was settled.
    pub onset_ms: i64,
    /// When the program knew.
    pub known_at_ms: i64,
    /// Symbols that it leads minus those that lead it.
    pub score: i32,
}

impl Event {
    /// Another symbol moves first. It has no end of its own: it is [resolved](Event::resolved) by the next change.
    #[must_use]
    pub fn leader_change(facts: LeaderFacts) -> Self {
        let LeaderFacts { symbol, before, onset_ms, known_at_ms, score } = facts;
        Self {
            id: event_id(EventType::LeaderChange, &[&symbol], onset_ms),
            event_type: EventType::LeaderChange,
            status: Status::Firing,
            timestamp: onset_ms,
            known_at: known_at_ms,
            venue: String::new(),
            severity: Severity::Info,
            title: format!("{symbol} leads instead of {before}"),
            description: format!(
                "By fractions of a second {symbol} now moves before {score} more of the compared symbols than move before it. \
                 {before} led until now."
            ),
            source: "leaders".into(),
            data: object(json!({ "leader": symbol, "before": before, "score": score })),
            symbol,
        }
    }

    /// A pair that broke apart: firing while it has no end, then resolved with the same id.
    #[must_use]
    pub fn correlation_break(facts: CorrelationFacts) -> Self {
        let other = if facts.symbol_b.is_empty() { "MARKET" } else { &facts.symbol_b };
        let CorrelationFacts { symbol_a, horizon, return_correlation: r, divergence_strength, .. } = &facts;
        let usual = facts.baseline.map_or(String::new(), |(usual, _)| format!(", usually {usual:.2}"));
        let resolved = if facts.ended_at_ms.is_some() { "Resolved: " } else { "" };
        let against = match facts.baseline {
            Some((usual, delta_z)) => {
                format!("It was {usual:.2} over the last month; this is {delta_z:+.1} deviations from that.")
            }
            None => "There is no month of history to compare it with.".to_owned(),
        };
        let trade = if facts.is_pair_trade { " Potential pair trade: the two used to move together." } else { "" };
        let signal = facts.is_pair_trade.then_some("POTENTIAL_PAIR_TRADE");
        Self {
            id: event_id(EventType::CorrelationBreak, &[symbol_a, &facts.symbol_b, horizon], facts.onset_ms),
            event_type: EventType::CorrelationBreak,
            status: if facts.ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: facts.ended_at_ms.unwrap_or(facts.onset_ms),
            known_at: facts.known_at_ms,
            venue: String::new(),
            severity: Severity::Warning,
            title: format!("{resolved}{symbol_a} and {other} moved apart: correlation {r:.2} over {horizon}{usual}"),
            description: format!("The correlation of returns over {horizon} fell to {r:.2}. {against}{trade}"),
            source: "correlation_breaks".into(),
            data: object(json!({
                "return_correlation": r,
                "divergence_strength": divergence_strength,
                "signal": signal,
                "horizon": horizon,
                "onset": iso(facts.onset_ms),
                "ended_at": facts.ended_at_ms.map(iso),
                "baseline_correlation": facts.baseline.map(|(usual, _)| usual),
                "delta_z": facts.baseline.map(|(_, delta_z)| delta_z),
            })),
            symbol: format!("{symbol_a}/{other}"),
        }
    }
}
