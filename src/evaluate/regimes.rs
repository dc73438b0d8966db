//! Volatility regimes minute by minute: what was said against what the simulator did.

use dataflows::model::{InstrumentId, MINUTE_MS, VolatilityRegime};
use serde::Serialize;

use super::Observed;
use crate::simulate::{Burst, RegimeRun, Truth};

const DAY_MINUTES: usize = 1_440;
/// STABLE, HIGH_VOL, EXPLOSIVE, EXTREME.
const CLASSES: usize = 4;

/// Minutes by what was true and what was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// `minutes[truth][said]`, in the order STABLE, HIGH_VOL, EXPLOSIVE, EXTREME.
    pub minutes: [[u64; CLASSES]; CLASSES],
}

impl Confusion {
    /// Minutes that were compared.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.minutes.iter().flatten().sum()
    }

    /// Share of minutes that are right.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..CLASSES).map(|class| self.minutes[class][class]).sum();
        (self.total() > 0).then(|| right as f64 / self.total() as f64)
    }

    /// The mean over the classes that were true of the share that was right, so that rare ones weigh as much as usual ones.
    #[must_use]
    pub fn balanced(&self) -> Option<f64> {
        let shares = (0..CLASSES).filter_map(|class| {
            let total: u64 = self.minutes[class].iter().sum();
            (total > 0).then(|| self.minutes[class][class] as f64 / total as f64)
        });
        let (count, sum) = shares.fold((0u32, 0.0), |(count, sum), share| (count + 1, sum + share));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// Takes in another market's.
    pub fn add(&mut self, other: &Self) {
        self.minutes.iter_mut().flatten().zip(other.minutes.iter().flatten()).for_each(|(sum, more)| *sum += more);
    }
}

/// Against the volatility of the minute, and against its root mean square over the 24 h that end with it.
#[must_use]
pub fn compare(truth: &Truth, observed: &Observed, boundaries: &[f64; 3]) -> [Confusion; 2] {
    let mut confusions = [Confusion::default(), Confusion::default()];
    let start = truth.settings.start_ms;
    for runs in truth.regimes.chunk_by(|a, b| a.symbol == b.symbol) {
        let bursts: Vec<&Burst> = truth.bursts.iter().filter(|burst| burst.symbol == runs[0].symbol).collect();
        let minutes = Minutes::new(runs, &bursts, start);
        for &venue in &truth.settings.venues {
            let instrument = InstrumentId::of(venue, &runs[0].symbol);
            for (minute, (sigma, sigma_24h)) in minutes.sigma.iter().zip(minutes.over_a_day()).enumerate() {
                let Some(said) = observed.regime(instrument, start + minute as i64 * MINUTE_MS) else { continue };
                for (confusion, sigma) in confusions.iter_mut().zip([*sigma, sigma_24h]) {
                    confusion.minutes[class(sigma, boundaries)][place(said)] += 1;
                }
            }
        }
    }
    confusions
}

/// A symbol's latent volatility, a value a minute.
struct Minutes {
    /// Deviation per day, cascades aside.
    sigma: Vec<f64>,
    /// Expected square of the minute's return.
    variance: Vec<f64>,
}

impl Minutes {
    fn new(runs: &[RegimeRun], bursts: &[&Burst], start: i64) -> Self {
        let mut sigma = Vec::new();
        for run in runs {
            sigma.resize(((run.to_ts - start) / MINUTE_MS) as usize, run.sigma_per_day);
        }
        let mut variance: Vec<f64> = sigma.iter().map(|sigma| sigma * sigma / DAY_MINUTES as f64).collect();
        for burst in bursts {
            let minute = |ts: i64| (ts - start).div_euclid(MINUTE_MS);
            for minute in minute(burst.onset_ts)..=minute(burst.end_ts) {
                let from = start + minute * MINUTE_MS;
                if let Some(variance) = usize::try_from(minute).ok().and_then(|at| variance.get_mut(at)) {
                    *variance += burst.pushed(from, from + MINUTE_MS).powi(2);
                }
            }
        }
        Self { sigma, variance }
    }

    /// √(1440 · mean variance) over the minutes of the last 24 h, as many as there are.
    fn over_a_day(&self) -> impl Iterator<Item = f64> {
        let mut sum = 0.0;
        self.variance.iter().enumerate().map(move |(minute, variance)| {
            sum += variance - minute.checked_sub(DAY_MINUTES).map_or(0.0, |gone| self.variance[gone]);
            (sum / (minute + 1).min(DAY_MINUTES) as f64 * DAY_MINUTES as f64).max(0.0).sqrt()
        })
    }
}

fn class(sigma: f64, boundaries: &[f64; 3]) -> usize {
    boundaries.iter().filter(|&&boundary| sigma > boundary).count()
}

fn place(regime: VolatilityRegime) -> usize {
    match regime {
        VolatilityRegime::Stable => 0,
        VolatilityRegime::HighVol => 1,
        VolatilityRegime::Explosive => 2,
        VolatilityRegime::Extreme => 3,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn balanced_accuracy_gives_each_true_class_the_same_weight() {
        let mut confusion = Confusion::default();
        assert_eq!((confusion.accuracy(), confusion.balanced()), (None, None));
        confusion.minutes[0] = [90, 10, 0, 0];
        confusion.minutes[3] = [0, 0, 5, 5];
        assert!((confusion.accuracy().unwrap() - 95.0 / 110.0).abs() < 1e-12);
        assert!((confusion.balanced().unwrap() - 0.7).abs() < 1e-12);
    }

    #[test]
    fn a_day_s_volatility_is_the_root_mean_square_of_its_minutes_and_pushes() {
        let run = |from: i64, to: i64, sigma_per_day| RegimeRun {
            symbol: "BTC-USDT-PERP".into(),
            from_ts: from * MINUTE_MS,
            to_ts: to * MINUTE_MS,
            state: 0,
            name: String::new(),
            sigma_per_day,
        };
        let runs = [run(0, 1_440, 0.01), run(1_440, 2_880, 0.03)];
        let days: Vec<f64> = Minutes::new(&runs, &[], 0).over_a_day().collect();
        assert_eq!(days.len(), 2_880);
        for (minute, expected) in [(9, 0.01), (1_439, 0.01), (2_159, (0.5f64 * 1e-4 + 0.5 * 9e-4).sqrt()), (2_879, 0.03)] {
            assert!((days[minute] - expected).abs() < 1e-9, "minute {minute}: {} instead of {expected}", days[minute]);
        }
        // All of a push inside one minute adds its square.
        let burst = Burst {
            symbol: "BTC-USDT-PERP".into(),
            side: dataflows::model::PositionSide::Long,
            onset_ts: 100 * MINUTE_MS,
            end_ts: 101 * MINUTE_MS,
            expected_notional_usd: 0.0,
            decoy: false,
            market_wide: false,
            log_price_move: -0.02,
            open_interest_drop: 0.0,
            venues: Vec::new(),
        };
        let days: Vec<f64> = Minutes::new(&runs, &[&burst], 0).over_a_day().collect();
        assert!((days[1_439] - (1e-4f64 + 4e-4).sqrt()).abs() < 1e-9);
        assert!((days[2_879] - 0.03).abs() < 1e-9, "a day later it is forgotten");
    }
}
