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
