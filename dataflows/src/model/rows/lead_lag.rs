//! Rows about who moves first. They speak of symbols across venues.

use serde::{Deserialize, Serialize};

use super::super::InstrumentId;
use super::Real;

/// View `lead_lag`. Key: symbol_a, symbol_b, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeadLag {
    /// The symbol whose name comes first.
    pub symbol_a: InstrumentId,
    /// The other symbol.
    pub symbol_b: InstrumentId,
    /// The window's end, a full minute, UTC ms.
    pub ts: i64,
    /// The lag with the largest |r|, in buckets (100 ms): positive where `symbol_a` moves first.
    pub best_lag: i32,
    /// r at that lag.
    pub lag_r: Real,
    /// r without a lag.
    pub r: Real,
    /// (ρ₊₁ − ρ₋₁)/√(2/n).
    pub strength: Real,
    /// The one that leads, where either does.
    pub leader: Option<InstrumentId>,
    /// Buckets that were compared (n).
    pub buckets: u32,
}

/// View `lead_scores`. Key: instrument, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeadScore {
    /// The symbol, across venues.
    pub instrument: InstrumentId,
    /// The window's end, a full minute, UTC ms.
    pub ts: i64,
    /// Symbols that it leads.
    pub leads: u32,
    /// Symbols that lead it.
    pub lags: u32,
}

/// View `leaders`: who leads, from a change to the next. Key: onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leader {
    /// The symbol, across venues.
    pub instrument: InstrumentId,
    /// The minute at which it was settled, UTC ms.
    pub onset: i64,
    /// When the next one was settled; `None`: it leads.
    pub ended_at: Option<i64>,
    /// Who led before; `None`: nobody yet.
    pub before: Option<InstrumentId>,
    /// Leads − lags at the onset.
    pub score: i32,
}
