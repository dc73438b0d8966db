//! Rows of the view `features`.

use serde::{Deserialize, Serialize};

use super::Real;
use crate::model::{InstrumentId, Timeframe};

/// The features, in the order of [`Features::values`].
pub const FEATURES: [&str; 12] = [
    "log_return",
    "trend_24",
    "log_volatility_14",
    "rsi_14",
    "volatility_14",
    "volume_z_50",
    "adx_14",
    "taker_imbalance",
    "log_liquidated_long_usd",
    "log_liquidated_short_usd",
    "oi_change",
    "funding_z_score",
];

/// How many of [`FEATURES`] bars say by themselves. The others are of what flows beside them.
pub const FEATURES_OF_BARS: usize = 8;

/// View `features`: what a closed bar and those before it say, as models read it. Key: instrument, timeframe, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Features {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The bar's length.
    pub timeframe: Timeframe,
    /// The bar's opening, UTC ms.
    pub ts: i64,
    /// By [`FEATURES`]. `None`: not known, because bars are missing or too few, or nobody told.
    pub values: [Option<Real>; FEATURES.len()],
}
