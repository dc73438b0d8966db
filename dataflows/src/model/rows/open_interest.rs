//! View rows about open interest, and the basis.

use serde::{Deserialize, Serialize};

use super::super::InstrumentId;
use super::Real;
use crate::fixed::{Notional, Price, Quantity};

/// View `open_interest`, one row per minute. Key: instrument, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpenInterestRow {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The minute's opening, UTC ms.
    pub ts: i64,
    /// One side, base units, the last of the minute.
    pub base: Quantity,
    /// base × the last mark price up to the end of the minute.
    pub usd: Option<Notional>,
    /// In base units, against 5 min, 1 h, 24 h before.
    pub changes: InterestChanges,
    /// What the hour's change says together with the price's.
    pub quadrant: Option<Quadrant>,
}

/// Changes of open interest as fractions: 0.01 is one per cent more. Absent where it was not known then, or was zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InterestChanges {
    /// Against 5 minutes before.
    pub m5: Option<Real>,
    /// Against an hour before.
    pub h1: Option<Real>,
    /// Against 24 hours before.
    pub h24: Option<Real>,
}

/// Open interest and price over an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Quadrant {
    /// Both rise: new longs.
    LongBuildUp,
    /// Interest rises, the price falls: new shorts.
    ShortBuildUp,
    /// Interest falls, the price rises: shorts close.
    ShortCovering,
    /// Both fall: longs close.
    LongUnwinding,
    /// Either hardly moves.
    Neutral,
}

impl Quadrant {
    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LongBuildUp => "LONG_BUILD_UP",
            Self::ShortBuildUp => "SHORT_BUILD_UP",
            Self::ShortCovering => "SHORT_COVERING",
            Self::LongUnwinding => "LONG_UNWINDING",
            Self::Neutral => "NEUTRAL",
        }
    }
}

/// View `oi_shocks`: open interest fell at once while a cascade was going on, which confirms it. Key: instrument, onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OiShock {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The end of the minute at which it had fallen far enough, UTC ms.
    pub onset: i64,
    /// The end of the first minute at which that is over, UTC ms. `None`: it lasts.
    pub ended_at: Option<i64>,
    /// The change over 5 minutes at its onset, a fraction.
    pub change: Real,
    /// The cascade that it confirms.
    pub cascade_id: u64,
}

/// View `open_interest_totals`: over all venues of one symbol, one row per minute. Key: instrument, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpenInterestTotal {
    /// The symbol on all venues.
    pub instrument: InstrumentId,
    /// The minute's opening, UTC ms.
    pub ts: i64,
    /// One side, base units.
    pub base: Quantity,
    /// Absent unless each venue's is known.
    pub usd: Option<Notional>,
    /// How many venues.
    pub venues: u8,
}

/// View `basis`: a perpetual's (or future's) mark price against its index, one row per minute. Key: instrument, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BasisRow {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The minute's opening, UTC ms.
    pub ts: i64,
    /// The last of the minute.
    pub mark: Price,
    /// The spot index, the last of the minute.
    pub index: Price,
    /// (mark / index − 1) × 10,000.
    pub basis_bps: Real,
    /// The basis as a fraction a year, up to expiry. `None`: it never expires.
    pub annualised: Option<Real>,
}
