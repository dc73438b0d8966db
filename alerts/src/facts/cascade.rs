//! Liquidation cascades.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::words::{duration, object, usd};
use crate::event::{Event, EventType, Severity, Status, event_id, iso};

/// Whose positions a cascade closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum SideBias {
    Long,
    Short,
    Balanced,
}

/// How complete a venue's liquidation feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Every liquidation.
    Full,
    /// At most one a second and symbol.
    #[serde(rename = "sampled_1s")]
    Sampled1s,
    /// Less than all, by another rule.
    Partial,
}

/// What is known of a liquidation cascade.
#[derive(Clone, Debug, PartialEq)]
pub struct CascadeFacts {
    /// The row's key in the view `cascades`.
    pub cascade_id: u64,
    /// Whose.
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// The window whose velocity crossed: `5m`, `1h`, `4h`.
    pub window: String,
    /// When it crossed.
    pub onset_ms: i64,
    /// The last second at which it was still going on.
    pub last_active_ms: i64,
    /// Set once it is over.
    pub ended_at_ms: Option<i64>,
    /// When the program knew.
    pub known_at_ms: i64,
    /// Longs closed.
    pub long_notional_usd: f64,
    /// Shorts closed.
    pub short_notional_usd: f64,
    /// Now, USD per hour.
    pub velocity_usd_per_hour: f64,
    /// The largest of its life, USD per hour.
    pub peak_velocity_usd_per_hour: f64,
    /// Liquidations in it.
    pub count: u64,
    /// Whose positions it closes.
    pub side_bias: SideBias,
    /// What the velocity had to exceed, USD per hour.
    pub critical_usd_per_hour: f64,
    /// Which rule set it: `absolute`, `adaptive`.
    pub critical_from: &'static str,
    /// Of the side with the larger notional: liquidations that one begets by itself. `None`: too few to tell.
    pub branching_ratio: Option<f64>,
    /// That side begot its own liquidations at the onset.
    pub self_feeding: bool,
    /// Peak velocity / critical velocity.
    pub severity: f64,
    /// The severity in words.
    pub severity_label: Severity,
    /// From the last price at onset to the extreme, signed. `None` without trades.
    pub price_move_bps: Option<f64>,
    /// How complete the feed is.
    pub coverage: Coverage,
}

impl Event {
    /// A cascade: firing while it has no end, then resolved with the same id.
    #[must_use]
    pub fn cascade(facts: CascadeFacts) -> Self {
        Self {
            id: event_id(EventType::LiquidationCascade, &[&facts.venue, &facts.symbol, &facts.window], facts.onset_ms),
            event_type: EventType::LiquidationCascade,
            status: if facts.ended_at_ms.is_some() { Status::Resolved } else { Status::Firing },
            timestamp: facts.ended_at_ms.unwrap_or(facts.onset_ms),
            known_at: facts.known_at_ms,
            severity: facts.severity_label,
            title: cascade_title(&facts),
            description: cascade_description(&facts),
            source: "cascades".into(),
            data: cascade_data(&facts),
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }
}

fn cascade_title(facts: &CascadeFacts) -> String {
    let side = match facts.side_bias {
        SideBias::Long => "long liquidation cascade",
        SideBias::Short => "short liquidation cascade",
        SideBias::Balanced => "two-sided liquidation cascade",
    };
    let total = usd(facts.long_notional_usd + facts.short_notional_usd);
    let CascadeFacts { symbol, window, venue, .. } = facts;
    match facts.ended_at_ms {
        None => format!("{symbol} {side}: {total}, {}/h over {window} on {venue}", usd(facts.velocity_usd_per_hour)),
        Some(_) => format!("Resolved: {symbol} {side}: {total} in all on {venue}"),
    }
}

fn cascade_description(facts: &CascadeFacts) -> String {
    let mut text = format!(
        "{} of longs and {} of shorts in {} liquidation{}. Peak {}/h over {}, {:.2}× critical ({}).",
        usd(facts.long_notional_usd),
        usd(facts.short_notional_usd),
        facts.count,
        if facts.count == 1 { "" } else { "s" },
        usd(facts.peak_velocity_usd_per_hour),
        facts.window,
        facts.severity,
        facts.severity_label.as_str(),
    );
    if let Some(bps) = facts.price_move_bps {
        text.push_str(&format!(" Price moved {bps:+.0} bps since its onset at {}.", iso(facts.onset_ms)));
    }
    if facts.ended_at_ms.is_some() {
        text.push_str(&format!(" It lasted {}.", duration(facts.last_active_ms.saturating_sub(facts.onset_ms))));
    }
    if let Some(ratio) = facts.branching_ratio.filter(|_| facts.self_feeding) {
        text.push_str(&format!(" It feeds itself: each liquidation begets {ratio:.2} more."));
    }
    text.push_str(incomplete(facts.coverage));
    text
}

/// What to add where the feed leaves liquidations out.
fn incomplete(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Full => "",
        Coverage::Sampled1s => " The venue reports at most one liquidation a second: the true size is larger.",
        Coverage::Partial => " The venue reports only part of its liquidations: the true size is larger.",
    }
}

fn cascade_data(facts: &CascadeFacts) -> Map<String, Value> {
    object(json!({
        // As text: 64 bits don't fit into the numbers of most JSON readers.
        "cascade_id": facts.cascade_id.to_string(),
        "window": facts.window,
        "onset": iso(facts.onset_ms),
        "last_active": iso(facts.last_active_ms),
        "ended_at": facts.ended_at_ms.map(iso),
        "total_liquidated_usd": facts.long_notional_usd + facts.short_notional_usd,
        "long_notional_usd": facts.long_notional_usd,
        "short_notional_usd": facts.short_notional_usd,
        "velocity_usd_per_hour": facts.velocity_usd_per_hour,
        "peak_velocity_usd_per_hour": facts.peak_velocity_usd_per_hour,
        "count": facts.count,
        "side_bias": facts.side_bias,
        "critical_usd_per_hour": facts.critical_usd_per_hour,
        "critical_from": facts.critical_from,
        "branching_ratio": facts.branching_ratio,
        "self_feeding": facts.self_feeding,
        "severity": facts.severity,
        "price_move_bps": facts.price_move_bps,
        "coverage": facts.coverage,
    }))
}
