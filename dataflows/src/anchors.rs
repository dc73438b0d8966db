//! Where recursions restart (ANALYTICS "Finite memory"): frames up to 1h at midnight UTC, slower ones at the first of the month.

use crate::model::{Timeframe, month_of};

/// The last anchor at or before `ts`, UTC ms.
#[must_use]
pub const fn anchor_of(timeframe: Timeframe, ts: i64) -> i64 {
    match timeframe {
        Timeframe::M1 | Timeframe::M5 | Timeframe::M15 | Timeframe::H1 => Timeframe::D1.open_of(ts),
        Timeframe::H4 | Timeframe::D1 | Timeframe::W1 => month_of(ts),
    }
}
