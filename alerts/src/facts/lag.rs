//! The program itself is late.

use serde_json::json;

use super::words::{duration, object};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// What is known of a lag of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineLagFacts {
    /// Since when it is late, UTC ms.
    pub onset_ms: i64,
    /// When it had caught up, UTC ms. `None`: it is still late.
    pub ended_at_ms: Option<i64>,
    /// The longest so far, ms.
    pub worst_ms: u64,
    /// What is allowed, ms.
    pub limit_ms: u64,
    /// When the program knew.
    pub known_at_ms: i64,
}

impl Event {
    /// The pipeline lags: firing while what it tells and stores is late.
    #[must_use]
    pub fn pipeline_lag(facts: PipelineLagFacts) -> Self {
        let PipelineLagFacts { onset_ms, ended_at_ms, worst_ms, limit_ms, known_at_ms } = facts;
        let ms = |ms: u64| duration(i64::try_from(ms).unwrap_or(i64::MAX));
        let (title, description) = match ended_at_ms {
            None => (
                format!("The pipeline is {} behind", ms(worst_ms)),
                format!(
                    "Since {} more than {} lie between what happens and what is told. Alerts are late, and views show the past.",
                    iso(onset_ms),
                    ms(limit_ms)
                ),
            ),
            Some(ended_at) => (
                format!("The pipeline keeps up again after {}", duration(ended_at - onset_ms)),
                format!("From {} to {} it was behind, by {} at most.", iso(onset_ms), iso(ended_at), ms(worst_ms)),
            ),
        };
        let mut data = json!({ "from": iso(onset_ms), "worst_ms": worst_ms, "limit_ms": limit_ms });
        if let Some(ended_at) = ended_at_ms {
            data["to"] = iso(ended_at).into();
        }
        Self {
            id: event_id(EventType::PipelineLag, &[], onset_ms),
            event_type: EventType::PipelineLag,
            status: if ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: ended_at_ms.unwrap_or(onset_ms),
            known_at: known_at_ms,
            symbol: String::new(),
            venue: String::new(),
            severity: Severity::Warning,
            title,
            description,
            source: "pipeline".into(),
            data: object(data),
        }
    }
}
