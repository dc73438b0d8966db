//! Rows about symbols that move together. They speak of symbols across venues ([`super::super::Instruments::across`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::InstrumentId;
use super::Real;

/// A trailing window, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Horizon(pub u32);

impl fmt::Display for Horizon {
    /// As SQL writes it: `4h`, `24h`, `15m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 0 && self.0 % 60 == 0 { write!(f, "{}h", self.0 / 60) } else { write!(f, "{}m", self.0) }
    }
}

/// A pair's own history: Fisher's z, sampled once an hour, over the last complete UTC days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Baseline {
    /// Mean of Fisher's z.
    pub mean: Real,
    /// Its sample deviation (n − 1).
    pub sd: Real,
    /// By how many deviations z lies above the mean; the deviation is floored (0.15) for this.
    pub delta_z: Real,
}

/// View `correlations`. Key: symbol_a, symbol_b, horizon, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Correlation {
    /// The symbol whose name comes first.
    pub symbol_a: InstrumentId,
    /// The other symbol; the market (``): the equal-weighted mean return of all symbols but `symbol_a`.
    pub symbol_b: InstrumentId,
    /// The window's length.
    pub horizon: Horizon,
    /// The window's end, UTC ms.
    pub ts: i64,
    /// Pearson's correlation, within ±0.9999.
    pub r: Real,
    /// The same with weights that halve each quarter of the window.
    pub ewma_r: Real,
    /// atanh r.
    pub fisher_z: Real,
    /// Against its own history.
    pub baseline: Option<Baseline>,
    /// Bars that both have.
    pub bars: u32,
}

/// View `market_mode`. Key: horizon, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MarketMode {
    /// The market, across venues.
    pub market: InstrumentId,
    /// The window's length.
    pub horizon: Horizon,
    /// The window's end, UTC ms.
    pub ts: i64,
    /// The first eigenvector's share of the variance of all symbols' standardised returns.
    pub absorption_ratio: Real,
    /// Against 24 h before.
    pub change_24h: Option<Real>,
    /// Symbols in the matrix.
    pub symbols: u32,
}

/// View `betas`. Key: instrument, horizon, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Beta {
    /// The symbol, across venues.
    pub instrument: InstrumentId,
    /// The window's length.
    pub horizon: Horizon,
    /// The window's end, UTC ms.
    pub ts: i64,
    /// Slope of its returns on the benchmark's.
    pub beta: Real,
    /// Standard error of that regression (n − 2), per day.
    pub residual_volatility: Real,
    /// Share of its variance that the benchmark explains.
    pub r2: Real,
    /// Bars that both have.
    pub bars: u32,
}

/// View `correlation_breaks`: a pair that no longer moves together, from its onset to its end. Key: symbol_a, symbol_b, horizon, onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CorrelationBreak {
    /// As in [`Correlation`].
    pub symbol_a: InstrumentId,
    /// As in [`Correlation`].
    pub symbol_b: InstrumentId,
    /// The window's length.
    pub horizon: Horizon,
    /// The end of the bar at which it had held for long enough, UTC ms.
    pub onset: i64,
    /// The end of the bar that cleared it, UTC ms; `None`: it lasts.
    pub ended_at: Option<i64>,
    /// r at its onset.
    pub return_correlation: Real,
    /// |r| where r is below its bound, |Δz|/3 where the fall is; the larger where both.
    pub divergence_strength: Real,
    /// The baseline's mean was at least that of r = 0.5: the two may come together again.
    pub is_pair_trade: bool,
    /// Against its own history, at its onset.
    pub baseline: Option<Baseline>,
}
