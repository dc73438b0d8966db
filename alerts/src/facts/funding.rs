//! What is unusual about funding, and open interest that confirms a cascade.

use serde_json::json;

use super::words::{duration, object, percent};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// What kind of episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FundingEpisode {
    /// Far from what it was.
    Anomaly,
    /// On the other side, for hours.
    Reversal,
    /// Venues disagree.
    Spread,
}

/// What is known of an episode of unusual funding. Its figures are those of its onset.
#[derive(Clone, Debug, PartialEq)]
pub struct FundingFacts {
    /// What kind of episode.
    pub episode: FundingEpisode,
    /// Whose; empty for [`FundingEpisode::Spread`].
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// When it began.
    pub onset_ms: i64,
    /// Set once it is over.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// Per 8 h, a fraction; the spread per 8 h for [`FundingEpisode::Spread`].
    pub rate_8h: f64,
    /// Against 30 days, where they are known.
    pub z_score: Option<f64>,
    /// How unusual, in deviations.
    pub anomaly_score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
}

impl Event {
    /// An episode of unusual funding: firing while it has no end, then resolved with the same id.
    #[must_use]
    pub fn funding(facts: FundingFacts) -> Self {
        let event_type = match facts.episode {
            FundingEpisode::Anomaly => EventType::FundingAnomaly,
            FundingEpisode::Reversal => EventType::FundingReversal,
            FundingEpisode::Spread => EventType::FundingSpread,
        };
        let data = object(json!({
            "onset": iso(facts.onset_ms), "ended_at": facts.ended_at_ms.map(iso), "funding_rate": facts.rate_8h,
            "funding_z_score": facts.z_score, "anomaly_score": facts.anomaly_score, "reasons": facts.reasons,
        }));
        Self {
            id: event_id(event_type, &[&facts.venue, &facts.symbol], facts.onset_ms),
            event_type,
            status: if facts.ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: facts.ended_at_ms.unwrap_or(facts.onset_ms),
            known_at: facts.known_at_ms,
            severity: Severity::Warning,
            title: title(&facts),
            description: description(&facts),
            source: "funding_anomalies".into(),
            data,
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }
}

fn title(facts: &FundingFacts) -> String {
    let FundingFacts { symbol, venue, .. } = facts;
    let rate = signed(facts.rate_8h);
    let text = match facts.episode {
        FundingEpisode::Anomaly => format!("{symbol} funding is unusual: {rate} per 8 h on {venue}"),
        FundingEpisode::Reversal if facts.rate_8h < 0.0 => {
            format!("{symbol} funding turned negative: {rate} per 8 h on {venue}")
        }
        FundingEpisode::Reversal => format!("{symbol} funding turned positive: {rate} per 8 h on {venue}"),
        FundingEpisode::Spread => {
            format!("{symbol} funding differs by {} per 8 h between venues", percent_of_rate(facts.rate_8h))
        }
    };
    if facts.ended_at_ms.is_some() { format!("Resolved: {text}") } else { text }
}

fn description(facts: &FundingFacts) -> String {
    let mut text = facts.reasons.join(". ");
    text.push_str(&format!(". Anomaly score {:.2} at its onset, {}.", facts.anomaly_score, iso(facts.onset_ms)));
    if let Some(ended) = facts.ended_at_ms {
        text.push_str(&format!(" It lasted {}.", duration(ended.saturating_sub(facts.onset_ms))));
    }
    text
}

/// Rates are small: four decimals of a per cent.
fn percent_of_rate(rate: f64) -> String {
    format!("{:.4} %", rate * 100.0)
}

fn signed(rate: f64) -> String {
    format!("{:+.4} %", rate * 100.0)
}

/// What is known of a fall of open interest during a cascade.
#[derive(Clone, Debug, PartialEq)]
pub struct OiShockFacts {
    /// Whose.
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// When it had fallen far enough.
    pub onset_ms: i64,
    /// Set once it is over.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// The change over 5 minutes, a fraction.
    pub change: f64,
    /// The cascade that it confirms: its key in the view `cascades`.
    pub cascade_id: u64,
}

impl Event {
    /// Open interest fell during a cascade.
    #[must_use]
    pub fn oi_shock(facts: OiShockFacts) -> Self {
        let fall = percent(facts.change.abs());
        let title = format!("{} open interest fell {fall} in 5 min during a cascade on {}", facts.symbol, facts.venue);
        let lasted = facts.ended_at_ms.map(|ended| format!(" It lasted {}.", duration(ended.saturating_sub(facts.onset_ms))));
        Self {
            id: event_id(EventType::OiShock, &[&facts.venue, &facts.symbol], facts.onset_ms),
            event_type: EventType::OiShock,
            status: if facts.ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: facts.ended_at_ms.unwrap_or(facts.onset_ms),
            known_at: facts.known_at_ms,
            severity: Severity::Warning,
            title: if facts.ended_at_ms.is_some() { format!("Resolved: {title}") } else { title },
            description: format!(
                "Open interest fell {fall} in the 5 minutes before {} while a liquidation cascade was going on: positions were closed, \
                 which confirms it.{}",
                iso(facts.onset_ms),
                lasted.unwrap_or_default(),
            ),
            source: "oi_shocks".into(),
            data: object(json!({
                "onset": iso(facts.onset_ms), "ended_at": facts.ended_at_ms.map(iso), "change_5m": facts.change,
                // As text, as the cascade's own event has it.
                "cascade_id": facts.cascade_id.to_string(),
            })),
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }
}
