//! Returns of the price to a support zone: a price range in which much was liquidated.

use serde::Serialize;
use serde_json::json;

use super::Coverage;
use super::words::{duration, object, price, usd};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// Whose positions were closed in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum ZoneSide {
    Long,
    Short,
}

impl ZoneSide {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Long => "LONG",
            Self::Short => "SHORT",
        }
    }
}

/// What is known of a return to a support zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneTouchFacts {
    /// Whose.
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Whose positions were closed in the zone.
    pub side: ZoneSide,
    /// The end of the minute in which the price came back.
    pub onset_ms: i64,
    /// The end of the minute by which it had left, once it has.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// The zone's lowest price.
    pub price_low: f64,
    /// The lowest price above it.
    pub price_high: f64,
    /// The zone's rank by notional among the symbol's zones of its side, from 1.
    pub rank: u32,
    /// Liquidated in it over the window.
    pub notional_usd: f64,
    /// The how many-th return within the window.
    pub touches: u32,
    /// How complete the venue's feed is.
    pub coverage: Coverage,
}

impl Event {
    /// A return to a support zone: firing while the price has not left again, then resolved with the same id.
    #[must_use]
    pub fn support_zone_touched(facts: ZoneTouchFacts) -> Self {
        let ZoneTouchFacts { venue, symbol, side, onset_ms, ended_at_ms, price_low, price_high, .. } = &facts;
        let range = format!("{}–{}", price(*price_low), price(*price_high));
        let whose = match side {
            ZoneSide::Long => "long",
            ZoneSide::Short => "short",
        };
        let title = match ended_at_ms {
            None => format!("{symbol} back in a {whose} liquidation zone at {range} on {venue}"),
            Some(_) => format!("Resolved: {symbol} left the {whose} liquidation zone at {range} on {venue}"),
        };
        let mut description = format!(
            "{} of {whose}s were liquidated at {range}, the symbol's number {} zone of that side. Return number {} of the window.",
            usd(facts.notional_usd),
            facts.rank,
            facts.touches,
        );
        if let Some(ended_at) = ended_at_ms {
            description.push_str(&format!(" The price stayed for {}.", duration(ended_at.saturating_sub(*onset_ms))));
        }
        if facts.coverage != Coverage::Full {
            description.push_str(" The venue reports only part of its liquidations: the true size is larger.");
        }
        // The zone is part of what it is: two may be entered in one minute.
        let low = price_low.to_string();
        Self {
            id: event_id(EventType::SupportZoneTouched, &[venue, symbol, side.as_str(), &low], *onset_ms),
            event_type: EventType::SupportZoneTouched,
            status: if ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: ended_at_ms.unwrap_or(*onset_ms),
            known_at: facts.known_at_ms,
            severity: Severity::Info,
            title,
            description,
            source: "zone_touches".into(),
            data: object(json!({
                "side": side, "onset": iso(*onset_ms), "ended_at": ended_at_ms.map(iso), "price_low": price_low,
                "price_high": price_high, "rank": facts.rank, "notional_usd": facts.notional_usd, "touches": facts.touches,
                "coverage": facts.coverage,
            })),
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }
}
