//! The event: one thing that a person is told, as JSON by `schemas/events.schema.json`.
//!
//! Its id is a hash of what it is about (type, key, onset), never of what is known about it so far. So a repeat after a
//! restart, a correction and the resolution all carry the id of the first telling, and a receiver can match them.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What an event is about. The names are the ones of the `alerts` view and of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum EventType {
    /// A liquidation cascade began or ended.
    LiquidationCascade,
    /// Liquidation cascades of several assets at once began or ended.
    MarketCascade,
    /// A symbol's volatility regime changed.
    VolatilityRegimeChange,
    /// The price came back to a support zone, or left it again.
    SupportZoneTouched,
    /// A funding rate is far from what it was.
    FundingAnomaly,
    /// A funding rate changed its side.
    FundingReversal,
    /// Venues' funding rates of a symbol are far apart.
    FundingSpread,
    /// Open interest fell during a cascade.
    OiShock,
    /// Two symbols, or a symbol and the market, no longer move together.
    CorrelationBreak,
    /// Another symbol moves first.
    LeaderChange,
    /// A model decided another regime.
    RegimeChange,
    /// A symbol's time frames confirm a regime.
    RegimeConfirmed,
    /// A model no longer fits.
    ModelDrift,
    /// A number of a view is beyond what a rule allows.
    Threshold,
    /// A venue's stream is not heard.
    FeedGap,
    /// The program itself is late.
    PipelineLag,
}

impl EventType {
    /// All that exist.
    pub const ALL: [Self; 16] = [
        Self::LiquidationCascade,
        Self::MarketCascade,
        Self::SupportZoneTouched,
        Self::FundingAnomaly,
        Self::FundingReversal,
        Self::FundingSpread,
        Self::OiShock,
        Self::VolatilityRegimeChange,
        Self::CorrelationBreak,
        Self::LeaderChange,
        Self::RegimeChange,
        Self::RegimeConfirmed,
        Self::ModelDrift,
        Self::Threshold,
        Self::FeedGap,
        Self::PipelineLag,
    ];

    /// As JSON, SQL and the configuration write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LiquidationCascade => "LIQUIDATION_CASCADE",
            Self::MarketCascade => "MARKET_CASCADE",
            Self::VolatilityRegimeChange => "VOLATILITY_REGIME_CHANGE",
            Self::SupportZoneTouched => "SUPPORT_ZONE_TOUCHED",
            Self::FundingAnomaly => "FUNDING_ANOMALY",
            Self::FundingReversal => "FUNDING_REVERSAL",
            Self::FundingSpread => "FUNDING_SPREAD",
            Self::OiShock => "OI_SHOCK",
            Self::CorrelationBreak => "CORRELATION_BREAK",
            Self::LeaderChange => "LEADER_CHANGE",
            Self::RegimeChange => "REGIME_CHANGE",
            Self::RegimeConfirmed => "REGIME_CONFIRMED",
            Self::ModelDrift => "MODEL_DRIFT",
            Self::Threshold => "THRESHOLD",
            Self::FeedGap => "FEED_GAP",
            Self::PipelineLag => "PIPELINE_LAG",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

/// Whether it is true now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Firing,
    /// It was.
    Resolved,
}

impl Status {
    /// As JSON and SQL write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it.
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// As JSON and SQL write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

/// One thing that a person is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Stable: see [`event_id`].
    pub id: String,
    /// What it is about.
    pub event_type: EventType,
    /// Whether it is true now.
    pub status: Status,
    /// When it happened (firing: the onset; resolved: the end), event time, UTC ms.
    #[serde(serialize_with = "iso_ms", deserialize_with = "ms_of_iso")]
    pub timestamp: i64,
    /// When the program knew, UTC ms.
    #[serde(serialize_with = "iso_ms", deserialize_with = "ms_of_iso")]
    pub known_at: i64,
    /// Canonical symbol: `BTC-USDT-PERP`. Two with a slash between them are written as `asset_pair`.
    #[serde(flatten, serialize_with = "subject", deserialize_with = "symbol_of_subject")]
    pub symbol: String,
    /// Whose.
    pub venue: String,
    /// How grave it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// A few sentences with the numbers.
    pub description: String,
    /// The view that said it: `cascades`, `volatility`.
    pub source: Cow<'static, str>,
    /// The row that it speaks of.
    pub data: Map<String, Value>,
}

impl Event {
    /// Its JSON, compact. The same event gives the same bytes, so every repeat has the same body.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only a map with keys that are not strings, or a failing `Serialize`, can make serde_json fail; there is neither.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same event after its end (or after a correction took it back), `at_ms` in event time.
    #[must_use]
    pub fn resolved(mut self, at_ms: i64, known_at_ms: i64) -> Self {
        if self.status == Status::Firing {
            self.title = format!("Resolved: {}", self.title);
        }
        Self { status: Status::Resolved, timestamp: at_ms, known_at: known_at_ms, ..self }
    }
}

/// The id of an event: `evt_` and 128 bits of SHA-256 over (type, key, onset) in hex. The parts are length-prefixed, so
/// no two different keys run together. There is no `.` in it: the signed content of a webhook is cut at dots.
#[must_use]
pub fn event_id(event_type: EventType, key: &[&str], onset_ms: i64) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(event_type.as_str()).chain(key.iter().copied()) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(onset_ms.to_le_bytes());
    let digest = hash.finalize();
    let mut id = String::with_capacity(36);
    id.push_str("evt_");
    for byte in &digest[..16] {
        id.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        id.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    id
}

/// ISO-8601 with milliseconds, UTC. A time outside the years 0–9999, which JSON's `date-time` can't write, is cut to them.
#[must_use]
pub fn iso(ms: i64) -> String {
    const YEAR_0: i64 = -62_167_219_200_000;
    const YEAR_9999_END: i64 = 253_402_300_799_999;
    let time = DateTime::<Utc>::from_timestamp_millis(ms.clamp(YEAR_0, YEAR_9999_END)).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn subject<S: Serializer>(symbol: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(if symbol.contains('/') { "asset_pair" } else { "symbol" }, symbol)?;
    map.end()
}

#[derive(Deserialize)]
struct Subject {
    symbol: Option<String>,
    asset_pair: Option<String>,
}

fn symbol_of_subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let Subject { symbol, asset_pair } = Subject::deserialize(deserializer)?;
    symbol.or(asset_pair).ok_or_else(|| D::Error::custom("neither `symbol` nor `asset_pair` is there"))
}

fn ms_of_iso<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp_millis()).map_err(D::Error::custom)
}

fn iso_ms<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&iso(*ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_type_key_and_onset_only() {
        let id = event_id(EventType::LiquidationCascade, &["binance-usdm", "BTC-USDT-PERP", "4h"], 1_723_075_200_000);
        // Receivers store ids: this value must never change.
        assert_eq!(id, "evt_647a315f7be3d13ced17a6d775ec75d8");
        let other = |t, key: &[&str], onset| assert_ne!(event_id(t, key, onset), id);
        other(EventType::VolatilityRegimeChange, &["binance-usdm", "BTC-USDT-PERP", "4h"], 1_723_075_200_000);
        other(EventType::LiquidationCascade, &["binance-usdm", "BTC-USDT-PERP", "1h"], 1_723_075_200_000);
        other(EventType::LiquidationCascade, &["binance-usdm", "BTC-USDT-PERP4", "h"], 1_723_075_200_000);
        other(EventType::LiquidationCascade, &["binance-usdm", "BTC-USDT-PERP", "4h"], 1_723_075_200_001);
    }

    #[test]
    fn times_are_iso_8601_with_milliseconds() {
        assert_eq!(iso(1_723_075_200_007), "2024-08-08T00:00:00.007Z");
        assert_eq!(iso(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(iso(i64::MIN), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn names_read_back() {
        for t in EventType::ALL {
            assert_eq!(EventType::from_name(t.as_str()), Some(t));
            assert_eq!(serde_json::to_value(t).ok(), Some(Value::from(t.as_str())));
        }
        assert_eq!(EventType::from_name("liquidation_cascade"), None);
    }

    #[test]
    fn an_event_comes_back_from_its_json() {
        let check = |symbol: &str| {
            let event = Event {
                id: event_id(EventType::RegimeChange, &["a"], 1),
                event_type: EventType::RegimeChange,
                status: Status::Firing,
                timestamp: 1_723_075_200_007,
                known_at: 1_723_075_200_027,
                symbol: symbol.into(),
                venue: "bybit-linear".into(),
                severity: Severity::Warning,
                title: "t \"x\"".into(),
                description: "d".into(),
                source: "regime_episodes".into(),
                data: Map::from_iter([("a".to_owned(), Value::from(0.1))]),
            };
            assert_eq!(serde_json::from_str::<Event>(&event.to_json()).map_err(|e| e.to_string()), Ok(event));
        };
        check("BTC-USDT-PERP");
        check("BTC-USDT-PERP/MARKET");
        check("");
    }
}
