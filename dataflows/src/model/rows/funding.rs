//! View rows about funding: rates, what is unusual about them, how venues differ.

use serde::{Deserialize, Serialize};

use super::super::{FundingKind, InstrumentId, Venue};
use super::{Real, Severity};
use crate::fixed::Rate;

/// View `funding`, one row per minute (predicted) or settlement. Key: instrument, kind, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FundingRow {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Predicted or settled.
    pub kind: FundingKind,
    /// The minute's opening (predicted) or the settlement (settled), UTC ms.
    pub ts: i64,
    /// Per interval, the last of the minute.
    pub rate: Rate,
    /// Hours between settlements.
    pub interval_hours: u8,
    /// Against the series before it.
    pub scores: Scores,
    /// What has been paid. Settled only.
    pub paid: Paid,
}

/// How far a rate per 8 h is from what it was. Absent where too little was before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scores {
    /// Against the samples of the 24 h before it: (rate − mean) / deviation.
    pub z_24h: Option<Real>,
    /// Against the 30 days before it.
    pub z_30d: Option<Real>,
    /// (rate − median) / (1.4826 · MAD) against the 30 days before it.
    pub robust_z: Option<Real>,
    /// Deviation of the samples of the 24 h before it, per 8 h.
    pub volatility: Option<Real>,
}

/// Settled rates summed up to a settlement, itself included. Absent where settlements are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Paid {
    /// Over 24 h.
    pub day: Option<Rate>,
    /// Over 7 days.
    pub week: Option<Rate>,
    /// Over 30 days.
    pub month: Option<Rate>,
}

/// What is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AnomalyKind {
    /// Far from the 30 days before it, or a jump within an hour.
    Anomaly,
    /// It changed its side and stayed there for hours.
    Reversal,
    /// Venues disagree more than they use to.
    Spread,
    /// Far from the 24 h before it: common, nothing to be called for.
    Deviation,
}

impl AnomalyKind {
    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anomaly => "ANOMALY",
            Self::Reversal => "REVERSAL",
            Self::Spread => "SPREAD",
            Self::Deviation => "DEVIATION",
        }
    }

    /// How grave it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        if matches!(self, Self::Deviation) { Severity::Info } else { Severity::Warning }
    }
}

/// View `funding_anomalies`: something unusual, from its beginning to its end, with the figures of its beginning.
/// Key: instrument, onset, kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FundingAnomaly {
    /// Of which instrument; of the symbol on all venues for [`AnomalyKind::Spread`].
    pub instrument: InstrumentId,
    /// The end of the minute (or the settlement) at which it began, UTC ms.
    pub onset: i64,
    /// What it is.
    pub kind: AnomalyKind,
    /// The end of the minute (or the settlement) at which it was over, UTC ms. `None`: it lasts.
    pub ended_at: Option<i64>,
    /// The rate per 8 h; the spread per 8 h for [`AnomalyKind::Spread`].
    pub rate_8h: Rate,
    /// The z-score that it is judged by: against 24 h for [`AnomalyKind::Deviation`], else against 30 days.
    pub z: Option<Real>,
    /// max(|z|, |change| / limit), and 0.5 more when volatility is high.
    pub score: Real,
    /// Why.
    pub reasons: Reasons,
}

/// Why something is unusual, in figures. At least one is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reasons {
    /// Far from its mean, in deviations.
    pub z: Option<Real>,
    /// The change of the rate per 8 h within an hour.
    pub change: Option<Rate>,
    /// The deviation of 24 h, where it is high.
    pub volatility: Option<Real>,
    /// The side on which it now is: +1 longs pay, −1 shorts pay; and for how many minutes it has been there.
    pub reversed: Option<(i8, i64)>,
}

impl Reasons {
    /// In words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let side = |side: i8| if side > 0 { "positive: longs pay" } else { "negative: shorts pay" };
        [
            self.z.map(|z| format!("Z-score anomaly: {:.2}σ", z.0)),
            self.change.map(|change| format!("Rate change: {:+.5} in 1 h", change.to_f64())),
            self.reversed.map(|(to, minutes)| format!("Rate reversal: {} for {:.1} h", side(to), minutes as f64 / 60.0)),
            self.volatility.map(|volatility| format!("High volatility: {:.5}", volatility.0)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// View `funding_spreads`: how the venues' predicted rates of one symbol differ, one row per minute. Key: instrument, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FundingSpread {
    /// The symbol on all venues.
    pub instrument: InstrumentId,
    /// The minute's opening, UTC ms.
    pub ts: i64,
    /// Highest − lowest rate per 8 h.
    pub spread: Rate,
    /// Where it is highest, and the rate per 8 h there.
    pub highest: (Venue, Rate),
    /// Where it is lowest, and the rate per 8 h there.
    pub lowest: (Venue, Rate),
    /// How many venues.
    pub venues: u8,
    /// Mean rate per 8 h, weighted by open interest in base units, over the venues of which both are known.
    pub weighted_mean: Option<Real>,
    /// Of the spread, against the series before it.
    pub scores: Scores,
}
