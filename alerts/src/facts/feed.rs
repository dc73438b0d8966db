//! Streams that are not heard.

use serde_json::json;

use super::words::{duration, object};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// What is known of a gap in a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedGapFacts {
    /// Whose.
    pub venue: String,
    /// Which stream; empty: all of a connection's.
    pub stream: String,
    /// The venue's symbol; empty: all.
    pub symbol: String,
    /// The last frame before it, UTC ms.
    pub from_ms: i64,
    /// The first frame after it, UTC ms. `None`: nothing is heard yet.
    pub to_ms: Option<i64>,
    /// Why.
    pub cause: String,
    /// When the program knew.
    pub known_at_ms: i64,
}

impl Event {
    /// A gap in a feed: firing while nothing is heard.
    #[must_use]
    pub fn feed_gap(facts: FeedGapFacts) -> Self {
        let FeedGapFacts { venue, stream, symbol, from_ms, to_ms, cause, known_at_ms } = facts;
        let whose = [venue.as_str(), symbol.as_str(), stream.as_str()].into_iter().filter(|part| !part.is_empty());
        let whose = whose.collect::<Vec<_>>().join(" ");
        let (title, description) = match to_ms {
            None => (
                format!("{whose}: nothing is heard"),
                format!("Nothing was heard since {} ({cause}). What views say of it since then is not known.", iso(from_ms)),
            ),
            Some(to) => (
                format!("{whose}: heard again after {}", duration(to - from_ms)),
                format!("Nothing was heard from {} to {} ({cause}).", iso(from_ms), iso(to)),
            ),
        };
        let mut data = json!({ "stream": stream, "from": iso(from_ms), "cause": cause });
        if let Some(to) = to_ms {
            data["to"] = iso(to).into();
        }
        Self {
            id: event_id(EventType::FeedGap, &[&venue, &stream, &symbol], from_ms),
            event_type: EventType::FeedGap,
            status: if to_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: to_ms.unwrap_or(from_ms),
            known_at: known_at_ms,
            symbol,
            venue,
            severity: Severity::Warning,
            title,
            description,
            source: "feed_gaps".into(),
            data: object(data),
        }
    }
}
