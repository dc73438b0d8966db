//! The simulator's premium episodes as funding anomalies that must be told.

use dataflows::model::{HOUR_MS, InstrumentId};

use super::episodes::{Kind, Planted, Stretch};
use crate::simulate::Truth;

/// How an anomaly is called where it is told.
pub const EVENT_TYPE: &str = "FUNDING_ANOMALY";

/// The rule compares the rate with the one an hour before, so an episode is still seen an hour after it is over.
const AFTER_MS: i64 = HOUR_MS;

/// Every episode on every venue, while the predicted rate shows it. One that never shows can't be found and isn't planted.
#[must_use]
pub fn planted(truth: &Truth) -> Vec<Planted> {
    let mut planted = Vec::new();
    for episode in &truth.funding_episodes {
        let Some((from_ts, to_ts)) = episode.felt_from_ts.zip(episode.felt_to_ts) else { continue };
        planted.extend(truth.settings.venues.iter().map(|&venue| Planted {
            at: Stretch { instrument: InstrumentId::of(venue, &episode.symbol), from_ts, to_ts: to_ts + AFTER_MS },
            kind: Kind::Clear,
        }));
    }
    planted
}
