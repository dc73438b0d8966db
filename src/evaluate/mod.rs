//! How much of a simulated market's truth the program finds: recall and precision of what it tells, how soon, how right.
//!
//! [`Observed`] looks on while the real pipeline runs (no store) and keeps what the views said in the end. [`Evaluation`] compares it
//! with the simulator's [`Truth`], and sums over markets. What counts as found, and what as false:
//!
//! - **Cascades** ([`cascades`]), per window and on each venue. Planted: the simulator's latent bursts, [onset, end + 5 min). Told: rows of
//!   `cascades`, [onset, last_active]. They belong together if the instrument is the same and the times overlap. With "the threshold" the
//!   notional that the window needs (its minimum or its critical velocity × its hours, whichever is more), a burst of an expected
//!   notional ≥ 2 × the threshold must be found; one between 1 × and 2 × counts neither for nor against; one below is a decoy, and a row
//!   that overlaps nothing but decoys, or nothing at all, is false.
//! - **Delay**: from the arrival of the frame that made the shown 5m total exceed the simulator's threshold to the `known_at` of the
//!   first row of `alerts` that speaks of it. Knowledge time is the end of a quantum, so it is at least 0 and half a quantum in the mean.
//! - **Volatility regimes** ([`regimes`]), minute by minute where the view names one: against the class of the simulator's volatility *of that
//!   minute*, and against the class of its root mean square over the 24 h that end there (cascades' pushes included). The second is what
//!   a 24 h window can know; the first also counts how far such a window lags behind a market that changes within hours.
//! - **Funding** ([`funding`]), on each venue: planted are the premium episodes for as long as they show in the predicted rate, and one hour more
//!   (the rule looks back that far); told are the FUNDING_ANOMALY alerts.
//!
//! Limits: the simulator's market is simpler than a real one (see [`crate::simulate`]), so these figures compare versions of this program, not venues.

pub mod cascades;
pub mod episodes;
pub mod funding;
mod observed;
pub mod regimes;

use dataflows::config::Config;
use dataflows::model::Window;
use serde::Serialize;

use crate::simulate::Truth;
pub use episodes::Matches;
pub use observed::Observed;
pub use regimes::Confusion;

/// What was found of one market, or of many.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evaluation {
    /// Markets summed.
    pub markets: u32,
    /// By window: 5m, 1h, 4h.
    pub cascades: [Matches; 3],
    /// From the arrival that crossed the 5m threshold to the alert, ms, of each found cascade.
    #[serde(skip)]
    pub delays_ms: Vec<f64>,
    /// Cascades that were found and crossed the threshold, but of which no alert speaks.
    pub untold: u32,
    /// Against the volatility of the minute.
    pub regimes: Confusion,
    /// Against the root mean square of the 24 h before.
    pub regimes_24h: Confusion,
    /// Minutes of all instruments.
    pub minutes: u64,
    /// Funding anomalies.
    pub funding: Matches,
}

impl Evaluation {
    /// Compares what was said about one market with the truth about it.
    #[must_use]
    pub fn of(truth: &Truth, observed: &Observed, config: &Config) -> Self {
        let instruments = truth.regimes.chunk_by(|a, b| a.symbol == b.symbol).count() * truth.settings.venues.len();
        let (delays_ms, untold) = cascades::delays(truth, observed);
        let [regimes, regimes_24h] = regimes::compare(truth, observed, &config.volatility.boundaries);
        Self {
            markets: 1,
            cascades: cascades::WINDOWS.map(|window| {
                let planted = cascades::planted(truth, cascades::needed_usd(window, &config.cascades));
                episodes::compare(&planted, &observed.cascades(window))
            }),
            delays_ms,
            untold,
            regimes,
            regimes_24h,
            minutes: instruments as u64 * truth.settings.minutes.unsigned_abs(),
            funding: episodes::compare(&funding::planted(truth), &observed.funding()),
        }
    }

    /// Takes in another market.
    pub fn add(&mut self, other: Self) {
        self.markets += other.markets;
        self.cascades.iter_mut().zip(other.cascades).for_each(|(sum, more)| sum.add(more));
        self.delays_ms.extend(other.delays_ms);
        self.untold += other.untold;
        self.regimes.add(&other.regimes);
        self.regimes_24h.add(&other.regimes_24h);
        self.minutes += other.minutes;
        self.funding.add(other.funding);
    }

    /// The delay that a share of alerts does not exceed, ms. `None`: there were none.
    #[must_use]
    pub fn delay_ms(&self, share: f64) -> Option<f64> {
        let mut sorted = self.delays_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize; // nearest rank
        sorted.get(rank.max(1) - 1).copied()
    }

    /// What was found of a window's cascades.
    #[must_use]
    pub fn of_window(&self, window: Window) -> Matches {
        cascades::WINDOWS.iter().position(|&w| w == window).map_or_else(Matches::default, |at| self.cascades[at])
    }
}
