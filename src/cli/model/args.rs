//! Words of these commands: times, spans of time, time frames, names of models.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate};
use dataflows::model::{DAY_MS, HOUR_MS, ModelId, Timeframe};

/// `2025-10-10`, `2025-10-10T14:00:00Z`, or UTC ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub i64);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let date = |text: &str| {
            Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
        };
        let instant = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
        let known = text.parse().ok().or_else(|| date(text)).or_else(|| instant(text));
        known.map(Self).ok_or_else(|| format!("`{text}` is no time; write 2025-10-10, 2025-10-10T14:00:00Z, or UTC milliseconds"))
    }
}

/// `36h`, `365d`, `4w`, `1q` (91 days), `2y` (of 365 days).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub i64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = |unit: &str| {
            Some(match unit {
                "h" => HOUR_MS,
                "d" => DAY_MS,
                "w" => 7 * DAY_MS,
                "q" => 91 * DAY_MS,
                "y" => 365 * DAY_MS,
                _ => return None,
            })
        };
        let cut = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let span = || text[..cut].parse::<i64>().ok().filter(|count| *count > 0)?.checked_mul(unit(&text[cut..])?);
        span().map(Self).ok_or_else(|| format!("`{text}` is no span of time; write 36h, 365d, 4w, 1q (91 days) or 2y"))
    }
}

/// A time frame's name.
pub(super) fn timeframe(text: &str) -> Result<Timeframe, String> {
    Timeframe::from_name(text).ok_or_else(|| format!("`{text}` is no time frame; there are 1m, 5m, 15m, 1h, 4h, 1d and 1w"))
}

/// `NAME`, or `NAME.vN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of all versions.
    pub name: String,
    /// `None`: the active one, or else the newest.
    pub version: Option<u32>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let versioned = text.rsplit_once(".v").and_then(|(name, version)| Some((name, version.parse().ok()?)));
        Ok(match versioned {
            Some((name, version)) => Self { name: name.to_owned(), version: Some(version) },
            None => Self { name: text.to_owned(), version: None },
        })
    }
}

impl Wanted {
    /// Of a known version.
    pub fn id(&self, version: u32) -> ModelId {
        ModelId { name: self.name.as_str().into(), version }
    }
}

/// UTC, to the minute, as tables show it.
pub(super) fn shown(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans() {
        let day = Ok(Time(1_760_054_400_000));
        assert_eq!("2025-10-10".parse::<Time>(), day);
        assert_eq!("2025-10-10T00:00:00Z".parse::<Time>(), day);
        assert_eq!("1760054400000".parse::<Time>(), day);
        assert!("yesterday".parse::<Time>().is_err_and(|error| error.contains("`yesterday` is no time; write 2025-10-10")));
        for (text, days) in [("365d", 365), ("2y", 730), ("1q", 91), ("4w", 28), ("48h", 2)] {
            assert_eq!(text.parse::<Span>(), Ok(Span(days * DAY_MS)), "{text}");
        }
        for text in ["", "d", "0d", "3m", "-1d", "99999999999999y"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!("btc.v2-4h.v12".parse::<Wanted>(), Ok(Wanted { name: "btc.v2-4h".into(), version: Some(12) }));
        assert_eq!("btc-4h".parse::<Wanted>(), Ok(Wanted { name: "btc-4h".into(), version: None }));
        assert!(timeframe("2h").is_err_and(|error| error.contains("`2h` is no time frame")));
    }
}
