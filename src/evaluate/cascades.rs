//! The simulator's liquidation bursts as cascades that must, may or must not be told, and how soon they are.

use dataflows::config::Cascades;
use dataflows::model::{InstrumentId, Window};

use super::Observed;
use super::episodes::{Kind, Planted, Stretch};
use crate::simulate::Truth;

/// The windows of the cascades, in the order of their thresholds.
pub const WINDOWS: [Window; 3] = [Window::M5, Window::H1, Window::H4];

/// After a burst nothing new is fed in, but the 5m window still holds it.
const AFTER_MS: i64 = Window::M5.secs() * 1_000;

/// What a window's notional must exceed for a cascade, USD: its minimum, or what its critical velocity is over its length.
#[must_use]
pub fn needed_usd(window: Window, config: &Cascades) -> f64 {
    let at = WINDOWS.iter().position(|&w| w == window).unwrap_or(0); // only these have thresholds
    let threshold = &config.thresholds[at];
    threshold.minimum.to_f64().max(threshold.critical_per_hour.to_f64() * window.secs() as f64 / 3_600.0)
}

/// Every burst on every venue, judged by its expected notional against the one that is needed.
#[must_use]
pub fn planted(truth: &Truth, needed_usd: f64) -> Vec<Planted> {
    let at_venues = truth.bursts.iter().flat_map(|burst| burst.venues.iter().map(move |at| (burst, at.venue)));
    let planted = at_venues.map(|(burst, venue)| Planted {
        at: Stretch {
            instrument: InstrumentId::of(venue, &burst.symbol),
            from_ts: burst.onset_ts,
            to_ts: burst.end_ts + AFTER_MS,
        },
        kind: match burst.expected_notional_usd / needed_usd {
            times if times >= 2.0 => Kind::Clear,
            times if times >= 1.0 => Kind::Doubtful,
            _ => Kind::Decoy,
        },
    });
    planted.collect()
}

/// Of each burst that crossed the 5m threshold and has a 5m cascade then: ms from the arrival of what crossed to the first alert of that cascade
/// (negative if it had begun before); and how many have no alert.
#[must_use]
pub fn delays(truth: &Truth, observed: &Observed) -> (Vec<f64>, u32) {
    let mut delays = Vec::new();
    let mut untold = 0;
    for burst in &truth.bursts {
        for at in &burst.venues {
            let Some((crossed_ts, recv_ns)) = at.crossed_5m_ts.zip(at.crossed_5m_recv_ns) else { continue };
            let instrument = InstrumentId::of(at.venue, &burst.symbol);
            let Some(onset) = observed.onset(instrument, Window::M5, crossed_ts) else { continue }; // counted by recall
            match observed.first_alert(instrument, onset) {
                Some(known_at) => delays.push(known_at as f64 - recv_ns as f64 / 1e6),
                None => untold += 1,
            }
        }
    }
    (delays, untold)
}
