//! Facts, and the events that tell them: plain numbers in, sentences that a trader can act on out.
//!
//! All money is USD, all times are UTC ms, volatilities are fractions per day. The numbers must be finite.

use serde::Serialize;
use serde_json::{Map, Value, json};

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
    /// Peak velocity / critical velocity.
    pub severity: f64,
    /// The severity in words.
    pub severity_label: Severity,
    /// From the last price at onset to the extreme, signed. `None` without trades.
    pub price_move_bps: Option<f64>,
    /// How complete the feed is.
    pub coverage: Coverage,
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
            source: "cascades",
            data: cascade_data(&facts),
            symbol: facts.symbol,
            venue: facts.venue,
        }
    }

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
            source: "volatility",
            data,
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
    match facts.coverage {
        Coverage::Full => {}
        Coverage::Sampled1s => text.push_str(" The venue reports at most one liquidation a second: the true size is larger."),
        Coverage::Partial => text.push_str(" The venue reports only part of its liquidations: the true size is larger."),
    }
    text
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
        "severity": facts.severity,
        "price_move_bps": facts.price_move_bps,
        "coverage": facts.coverage,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `$1.50M`: three significant digits.
fn usd(amount: f64) -> String {
    let sign = if amount < 0.0 { "-" } else { "" };
    let mut scaled = amount.abs();
    let mut unit = 0;
    const UNITS: [&str; 5] = ["", "k", "M", "B", "T"];
    // 999.5 would print as 1000: it is the next unit's 1.00.
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let digits = if scaled >= 99.95 {
        0
    } else if scaled >= 9.995 {
        1
    } else {
        2
    };
    format!("{sign}${scaled:.digits$}{}", UNITS[unit])
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

fn duration(ms: i64) -> String {
    let secs = ms.max(0) / 1_000;
    match (secs / 3_600, secs / 60 % 60, secs % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_three_digits() {
        let check = |amount, text: &str| assert_eq!(usd(amount), text);
        check(0.0, "$0.00");
        check(12.345, "$12.3");
        check(999.4, "$999");
        check(999.5, "$1.00k");
        check(375_000.0, "$375k");
        check(1_500_000.0, "$1.50M");
        check(19_160_000_000.0, "$19.2B");
        check(-2_500.0, "-$2.50k");
        check(5e18, "$5000000T");
    }

    #[test]
    fn durations_read_well() {
        let check = |secs: i64, text: &str| assert_eq!(duration(secs * 1_000), text);
        check(-5, "0 s");
        check(59, "59 s");
        check(754, "12 min 34 s");
        check(7_260, "2 h 1 min");
    }
}
