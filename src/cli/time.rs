//! Times and lengths of time, as people write them and as tables show them. All times are UTC.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate};
use dataflows::model::{DAY_MS, HOUR_MS};

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

/// A span of history: `36h`, `365d`, `4w`, `1q` (91 days), `2y` (of 365 days).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub i64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = count_of(text, |unit| match unit {
            "q" => Some(91 * DAY_MS),
            "y" => Some(365 * DAY_MS),
            "s" | "m" => None, // nobody trains on minutes, and some would mean months
            _ => unit_ms(unit),
        });
        found.map(Self).ok_or_else(|| format!("`{text}` is no span of time; write 36h, 365d, 4w, 1q (91 days) or 2y"))
    }
}

/// A length of time: `90s`, `15m`, `2h`, `7d`, `4w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length(pub i64);

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = count_of(text, unit_ms).map(Self);
        found.ok_or_else(|| format!("`{text}` is no length of time; write 90s, 15m, 2h, 7d or 4w"))
    }
}

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Ago(Length),
    At(Time),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.parse().map(Self::Ago);
        let at = |_| text.parse().map(Self::At);
        ago.or_else(at)
            .map_err(|_: String| format!("`{text}` is neither how long ago (2h, 7d) nor a time (2025-10-10T14:00:00Z)"))
    }
}

impl Since {
    /// UTC ms.
    pub fn ms(self, now_ms: i64) -> i64 {
        match self {
            Self::Ago(length) => now_ms.saturating_sub(length.0),
            Self::At(time) => time.0,
        }
    }
}

/// `15m`: fifteen of what `unit` says of `m`. More than 0.
fn count_of(text: &str, unit: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    let cut = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..cut].parse::<i64>().ok().filter(|count| *count > 0)?.checked_mul(unit(&text[cut..])?)
}

fn unit_ms(unit: &str) -> Option<i64> {
    Some(match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        "w" => 7 * DAY_MS,
        _ => return None,
    })
}

/// To the minute, as tables show it.
pub(super) fn shown(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

/// To the second.
pub(super) fn shown_s(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// `90 s`, `15 min`, `2 h 5 min`, `3 d 4 h`: two units at most.
pub(super) fn length(ms: i64) -> String {
    let s = ms.max(0) / 1_000;
    let two = |n: i64, unit: &str, m: i64, smaller: &str| match m {
        0 => format!("{n} {unit}"),
        _ => format!("{n} {unit} {m} {smaller}"),
    };
    match s {
        0..120 => format!("{s} s"),
        120..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
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
    }

    #[test]
    fn lengths() {
        for (text, ms, shown) in
            [("90s", 90_000, "90 s"), ("15m", 900_000, "15 min"), ("2h", 7_200_000, "2 h"), ("9d", 9 * DAY_MS, "9 d")]
        {
            assert_eq!(text.parse::<Length>(), Ok(Length(ms)), "{text}");
            assert_eq!(length(ms), shown);
        }
        assert_eq!((length(7_530_000).as_str(), length(-5).as_str()), ("2 h 5 min", "0 s"));
        for text in ["", "m", "0m", "1.5h", "-1h", "1y", "2 h", "99999999999999w", "1ü"] {
            assert!(text.parse::<Length>().is_err(), "{text}");
        }
        assert_eq!("2h".parse::<Since>().map(|since| since.ms(10_000_000)), Ok(2_800_000));
        assert_eq!("1970-01-02".parse::<Since>().map(|since| since.ms(0)), Ok(DAY_MS));
        assert!("soon".parse::<Since>().is_err());
    }
}
