//! Regimes by hidden Markov models: changes, confirmations over time frames, models that no longer fit.

use serde_json::json;

use super::words::{duration, object, percent};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// What an episode of regimes is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegimeTopic {
    /// The decided regime of a time frame became another.
    Change,
    /// The time frames of a symbol agree.
    Confirmed,
    /// The model of a time frame no longer fits.
    Drift,
}

impl RegimeTopic {
    const fn event_type(self) -> EventType {
        match self {
            Self::Change => EventType::RegimeChange,
            Self::Confirmed => EventType::RegimeConfirmed,
            Self::Drift => EventType::ModelDrift,
        }
    }
}

/// What is known of an episode of regimes.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeFacts {
    /// What it is about.
    pub topic: RegimeTopic,
    /// Whose; empty: all venues together.
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Of which bars; empty for a confirmation.
    pub timeframe: String,
    /// The end of the bar that began it.
    pub onset_ms: i64,
    /// The end of the bar that ended it, once it has ended.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// The regime before, where there was one.
    pub from: Option<&'static str>,
    /// The regime since; `None` for drift.
    pub to: Option<&'static str>,
    /// The model, where it is of one.
    pub model: Option<String>,
    /// At the onset: probability of the new regime, share of the frames that agree, or drift score.
    pub strength: f64,
}

impl Event {
    /// An episode of regimes: firing while it lasts, then resolved with the same id. Drift is a warning, the others are information.
    #[must_use]
    pub fn regime(facts: RegimeFacts) -> Self {
        let RegimeFacts { topic, venue, symbol, timeframe, onset_ms, ended_at_ms, from, to, strength, .. } = &facts;
        let (before, now) = (from.unwrap_or("none"), to.unwrap_or("none"));
        let model = facts.model.as_deref().unwrap_or("the model");
        let title = match topic {
            RegimeTopic::Change => format!("{symbol} {timeframe} regime: {before} → {now} on {venue}"),
            RegimeTopic::Confirmed => format!("{symbol}: {now} confirmed by its time frames"),
            RegimeTopic::Drift => format!("{symbol} {timeframe}: model {model} no longer fits on {venue}"),
        };
        let mut description = match topic {
            RegimeTopic::Change => {
                format!("Model {model} decided {now} with a probability of {}; before, it was {before}.", percent(*strength))
            }
            RegimeTopic::Confirmed => format!("{} of the weight of its time frames agrees on {now}.", percent(*strength)),
            RegimeTopic::Drift => {
                format!(
                    "The drift score is {strength:.2}: recent bars surprise {model} far more than those it was trained on. Refit it."
                )
            }
        };
        if let Some(ended_at) = ended_at_ms {
            description.push_str(&format!(" It lasted for {}.", duration(ended_at.saturating_sub(*onset_ms))));
        }
        Self {
            id: event_id(topic.event_type(), &[venue, symbol, timeframe], *onset_ms),
            event_type: topic.event_type(),
            status: if ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: ended_at_ms.unwrap_or(*onset_ms),
            known_at: facts.known_at_ms,
            severity: if *topic == RegimeTopic::Drift { Severity::Warning } else { Severity::Info },
            title: if ended_at_ms.is_some() { format!("Resolved: {title}") } else { title },
            description,
            source: "regime_episodes".into(),
            data: object(json!({
                "timeframe": timeframe, "onset": iso(*onset_ms), "ended_at": ended_at_ms.map(iso), "from": from, "to": to,
                "model": facts.model, "strength": strength,
            })),
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }
}
