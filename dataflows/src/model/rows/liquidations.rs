//! Rows of the views that speak of liquidations beyond the sums of one symbol's window.

use serde::{Deserialize, Serialize};

use super::super::{Coverage, InstrumentId, PositionSide, Window};
use super::{Real, SideBias};
use crate::fixed::Notional;

/// View `liquidation_ratios`: what was liquidated in (ts − window, ts], against what was open and what was traded. Key: instrument,
/// window, ts. Each ratio is absent where its denominator is not known, and the row where neither is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LiquidationRatio {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The window's length.
    pub window: Window,
    /// Its end, a full minute, UTC ms.
    pub ts: i64,
    /// Longs closed ÷ open interest, a fraction.
    pub long_to_open_interest: Option<Real>,
    /// Shorts closed ÷ open interest, a fraction.
    pub short_to_open_interest: Option<Real>,
    /// Both ÷ what was traded, a fraction.
    pub to_volume: Option<Real>,
    /// One side, at the window's start, quote units.
    pub open_interest: Option<Real>,
    /// In the window, quote units.
    pub traded: Option<Real>,
    /// How complete the feed of liquidations is, of the window's events the least.
    pub coverage: Coverage,
}

impl LiquidationRatio {
    /// Not all liquidations are reported: the ratios are at least so large.
    #[must_use]
    pub fn is_lower_bound(&self) -> bool {
        self.coverage != Coverage::Full
    }
}

/// View `self_excitation`: how liquidations of one side of a symbol beget others, λ(t) = μ + Σ α·exp(−β(t − tᵢ)), fitted each full
/// hour to the 24 h before it. Key: instrument, position_side, ts. Absent with too few events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SelfExcitation {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Whose positions were closed.
    pub position_side: PositionSide,
    /// A full hour, UTC ms: fitted to (ts − 24 h, ts], used for (ts, ts + 1 h].
    pub ts: i64,
    /// Background events per second, of the hour of day that follows.
    pub mu: Real,
    /// By how much an event raises the intensity, per second.
    pub alpha: Real,
    /// How fast that fades, per second.
    pub beta: Real,
    /// α/β: the events that an event begets by itself.
    pub branching_ratio: Real,
    /// Events it was fitted to.
    pub events: u64,
    /// How complete the feed is, of its events the least.
    pub coverage: Coverage,
}

impl SelfExcitation {
    /// The true branching ratio is larger: the feed leaves events out.
    #[must_use]
    pub fn is_lower_bound(&self) -> bool {
        self.coverage != Coverage::Full
    }
}

/// View `market_cascades`: 5m cascades of several base assets at once, from onset to end as one row. Key: onset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MarketCascade {
    /// The whole market: see [`super::super::Instruments::across`].
    pub instrument: InstrumentId,
    /// The onset of the cascade that made them enough, UTC ms.
    pub onset: i64,
    /// The last second up to which two of its assets were active, UTC ms.
    pub last_active: i64,
    /// When the cascades of fewer than two assets were left, UTC ms.
    pub ended_at: Option<i64>,
    /// Base assets in it, by name.
    pub assets: Vec<String>,
    /// 5m cascades in it.
    pub cascades: u64,
    /// Longs closed in them, quote units.
    pub long_notional: Notional,
    /// Shorts closed in them, quote units.
    pub short_notional: Notional,
    /// Events in them.
    pub count: u64,
    /// Which side bears it.
    pub side_bias: SideBias,
    /// The asset with the largest notional.
    pub largest_asset: String,
    /// Its notional.
    pub largest_notional: Notional,
    /// How complete the feeds are, of its events the least.
    pub coverage: Coverage,
}

impl MarketCascade {
    /// Long + short.
    #[must_use]
    pub fn total(&self) -> Notional {
        self.long_notional + self.short_notional
    }
}
