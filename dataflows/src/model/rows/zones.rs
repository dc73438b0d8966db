//! Rows of support zones: price ranges in which much was liquidated, and the price's returns to them.

use serde::{Deserialize, Serialize};

use super::Real;
use crate::fixed::{Notional, Price};
use crate::model::{Coverage, InstrumentId, PositionSide};

/// View `support_zones`. Key: instrument, ts, side, rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SupportZone {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// A full minute: the window that ends with it, UTC ms.
    pub ts: i64,
    /// Whose positions were closed in it.
    pub side: PositionSide,
    /// By notional, from 1.
    pub rank: u32,
    /// The lowest price inside.
    pub price_low: Price,
    /// The lowest price above it.
    pub price_high: Price,
    /// Liquidated in it over the window, quote units.
    pub notional: Notional,
    /// From the reference price to the zone's nearest edge, basis points of that price: positive above, negative below, 0 inside.
    pub distance_bps: Real,
    /// How often the price came back to it within the window.
    pub touches: u32,
    /// How complete the feed is, at the worst of the window.
    pub coverage: Coverage,
}

/// View `zone_touches`: the price came back to a support zone. Key: instrument, side, onset, price_low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZoneTouch {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Whose positions were closed in the zone.
    pub side: PositionSide,
    /// The end of the minute in which the price came back, UTC ms.
    pub onset: i64,
    /// The zone's lowest price, as it was published the minute before.
    pub price_low: Price,
    /// The lowest price above the zone.
    pub price_high: Price,
    /// The end of the minute by which it had left again, UTC ms; `None`: it has not.
    pub ended_at: Option<i64>,
    /// The zone's rank then.
    pub rank: u32,
    /// Liquidated in the zone over the window then, quote units.
    pub notional: Notional,
    /// The how many-th return to the zone within the window.
    pub touches: u32,
    /// How complete the feed is.
    pub coverage: Coverage,
}
