//! Liquidation cascades of several assets at once.

use serde_json::{Map, Value, json};

use super::cascade::{Coverage, SideBias};
use super::words::{duration, object, usd};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// Assets named in the title.
const NAMED_MAX: usize = 3;

/// What is known of a cascade of the market.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketCascadeFacts {
    /// When enough assets had begun to cascade.
    pub onset_ms: i64,
    /// The last second up to which two of them were active.
    pub last_active_ms: i64,
    /// Set once it is over.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// Base assets, by name.
    pub assets: Vec<String>,
    /// 5m cascades in it.
    pub cascades: u64,
    /// Longs closed.
    pub long_notional_usd: f64,
    /// Shorts closed.
    pub short_notional_usd: f64,
    /// Liquidations in it.
    pub count: u64,
    /// Whose positions it closes.
    pub side_bias: SideBias,
    /// The asset with the largest notional.
    pub largest_asset: String,
    /// Its notional.
    pub largest_notional_usd: f64,
    /// How complete the feeds are, the least of them.
    pub coverage: Coverage,
}

impl Event {
    /// A cascade of the market: firing while it has no end, then resolved with the same id. It is of no symbol and no venue.
    #[must_use]
    pub fn market_cascade(facts: MarketCascadeFacts) -> Self {
        Self {
            id: event_id(EventType::MarketCascade, &[], facts.onset_ms),
            event_type: EventType::MarketCascade,
            status: if facts.ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: facts.ended_at_ms.unwrap_or(facts.onset_ms),
            known_at: facts.known_at_ms,
            severity: Severity::Critical,
            title: title(&facts),
            description: description(&facts),
            source: "market_cascades".into(),
            data: data(&facts),
            symbol: String::new(),
            venue: String::new(),
        }
    }
}

fn title(facts: &MarketCascadeFacts) -> String {
    let side = match facts.side_bias {
        SideBias::Long => "long liquidation cascade",
        SideBias::Short => "short liquidation cascade",
        SideBias::Balanced => "two-sided liquidation cascade",
    };
    let (named, others) = facts.assets.split_at(facts.assets.len().min(NAMED_MAX));
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let what = format!("Market-wide {side}: {} in {}{others}", usd(total(facts)), named.join(", "));
    if facts.ended_at_ms.is_some() { format!("Resolved: {what}") } else { what }
}

fn description(facts: &MarketCascadeFacts) -> String {
    let mut text = format!(
        "{} assets cascade at once since {}: {} of longs and {} of shorts in {} liquidations. Largest: {} with {}.",
        facts.assets.len(),
        iso(facts.onset_ms),
        usd(facts.long_notional_usd),
        usd(facts.short_notional_usd),
        facts.count,
        facts.largest_asset,
        usd(facts.largest_notional_usd),
    );
    if facts.ended_at_ms.is_some() {
        text.push_str(&format!(" It lasted {}.", duration(facts.last_active_ms.saturating_sub(facts.onset_ms))));
    }
    match facts.coverage {
        Coverage::Full => {}
        Coverage::Sampled1s | Coverage::Partial => {
            text.push_str(" Not every venue reports all its liquidations: the true size is larger.")
        }
    }
    text
}

fn data(facts: &MarketCascadeFacts) -> Map<String, Value> {
    object(json!({
        "onset": iso(facts.onset_ms),
        "last_active": iso(facts.last_active_ms),
        "ended_at": facts.ended_at_ms.map(iso),
        "assets": facts.assets,
        "cascades": facts.cascades,
        "total_liquidated_usd": total(facts),
        "long_notional_usd": facts.long_notional_usd,
        "short_notional_usd": facts.short_notional_usd,
        "count": facts.count,
        "side_bias": facts.side_bias,
        "largest_asset": facts.largest_asset,
        "largest_notional_usd": facts.largest_notional_usd,
        "coverage": facts.coverage,
    }))
}

fn total(facts: &MarketCascadeFacts) -> f64 {
    facts.long_notional_usd + facts.short_notional_usd
}
