//! Time frames and windows. All times are UTC milliseconds since the epoch.

use serde::{Deserialize, Serialize};

/// One second.
pub const SECOND_MS: i64 = 1_000;
/// One minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// 1970-01-01 was a Thursday; weeks start on Monday, three days before it.
const WEEK_OFFSET_MS: i64 = 3 * DAY_MS;

/// The length of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Timeframe {
    M1,
    M5,
    M15,
    H1,
    H4,
    D1,
    W1,
}

impl Timeframe {
    /// All, from the shortest.
    pub const ALL: [Self; 7] = [Self::M1, Self::M5, Self::M15, Self::H1, Self::H4, Self::D1, Self::W1];

    /// As SQL and the venues write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::M1 => "1m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::H1 => "1h",
            Self::H4 => "4h",
            Self::D1 => "1d",
            Self::W1 => "1w",
        }
    }

    /// Reads what [`Self::as_str`] writes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|timeframe| timeframe.as_str() == name)
    }

    /// The length in milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        match self {
            Self::M1 => MINUTE_MS,
            Self::M5 => 5 * MINUTE_MS,
            Self::M15 => 15 * MINUTE_MS,
            Self::H1 => HOUR_MS,
            Self::H4 => 4 * HOUR_MS,
            Self::D1 => DAY_MS,
            Self::W1 => 7 * DAY_MS,
        }
    }

    /// The opening time of the bar that holds `ts`. Weeks open on Monday 00:00 UTC.
    #[must_use]
    pub const fn open_of(self, ts: i64) -> i64 {
        let offset = if matches!(self, Self::W1) { WEEK_OFFSET_MS } else { 0 };
        (ts + offset).div_euclid(self.ms()) * self.ms() - offset
    }
}

/// The length of a trailing window of liquidations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Window {
    M1,
    M5,
    H1,
    H4,
}

impl Window {
    /// All, from the shortest.
    pub const ALL: [Self; 4] = [Self::M1, Self::M5, Self::H1, Self::H4];

    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::M1 => "1m",
            Self::M5 => "5m",
            Self::H1 => "1h",
            Self::H4 => "4h",
        }
    }

    /// The length in seconds.
    #[must_use]
    pub const fn secs(self) -> i64 {
        match self {
            Self::M1 => 60,
            Self::M5 => 300,
            Self::H1 => 3_600,
            Self::H4 => 14_400,
        }
    }
}

/// The beginning of the month that holds `ts`, UTC ms.
#[must_use]
pub const fn month_of(ts: i64) -> i64 {
    // Years that begin in March put the leap day last; 400 of them have 146,097 days, and months from March follow a pattern of 153 days in five.
    let day = ts.div_euclid(DAY_MS) + 719_468; // since 0000-03-01
    let in_era = day.rem_euclid(146_097);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let in_month = in_year - (153 * month + 2) / 5;
    (ts.div_euclid(DAY_MS) - in_month) * DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        // Days of each month from 2023-01-01 (19,358 days after the epoch), over a leap day.
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29, 31];
        let mut first = 19_358;
        for length in lengths {
            for day in first..first + length {
                assert_eq!(month_of(day * DAY_MS + 12_345), first * DAY_MS, "day {day}");
            }
            first += length;
        }
        assert_eq!(month_of(-1), -31 * DAY_MS, "1969-12-01");
    }
}
