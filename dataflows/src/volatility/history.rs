//! What the last 90 days were like: a symbol's own boundaries, its usual level, and how fast its volatility returns to it.
//!
//! Kept per symbol: the level (max(close-to-close, Parkinson) over 24 h) at the end of each UTC hour, and each UTC day's variance. A row asks for the
//! [`Baseline`] of its own UTC day: everything in it comes from the days before, complete by then, so it is the same for all minutes of a day.
//!
//! - Samples: an hour whose last minute has no level (an outage, a start) has none. The baseline exists once there are `coverage_min` × 24 of them
//!   for each of `history_days_min` days, wherever they lie inside the `history_days`. Quantiles interpolate between order statistics
//!   (Hyndman and Fan's type 7, numpy's default).
//! - A day's variance: 1,440 × the mean squared 1m return between its midnights, where `coverage_min` of the returns are there.
//! - Half-life: x(t+1) = a + φ·x(t) by least squares over the pairs of adjacent days, x the logarithm of the variance; ln ½ / ln φ days. Absent
//!   below `history_days_min` pairs, and where φ lies outside (0, 1): then it does not decay.
//!
//! Limits: 24 h levels an hour apart are nearly the same number, so 90 days are some 90 independent ones, and a quantile of 0.98 rests on the worst two days.

use crate::config::Volatility as Settings;
use crate::minutes::{Known, Minutes};
use crate::model::Real;

const DAY_HOURS: i64 = 24;
const DAY_MINUTES: f64 = 1_440.0;

/// What the days before one day were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Baseline {
    /// The upper bounds of STABLE, HIGH_VOL and EXPLOSIVE by the symbol's own quantiles.
    pub boundaries: Option<[f64; 3]>,
    /// The median level.
    pub median: Option<f64>,
    /// Half-life of log daily variance.
    pub half_life_minutes: Option<Real>,
}

/// A symbol's days, as far back as a row can need them.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct History {
    /// Levels by hour since the epoch.
    samples: Minutes<Known>,
    /// Variances by day since the epoch.
    variances: Minutes<Known>,
    baseline: Option<(i64, Baseline)>,
}

impl History {
    /// Nothing is known yet.
    pub fn new(settings: &Settings) -> Self {
        let days = settings.history_days + KEEP_MORE_DAYS;
        Self { samples: Minutes::new(days * DAY_HOURS), variances: Minutes::new(days), baseline: None }
    }

    /// The level at the end of an hour.
    pub fn set_sample(&mut self, hour: i64, level: f64) {
        if set(&mut self.samples, hour, level) {
            self.baseline = None;
        }
    }

    /// A day's variance.
    pub fn set_variance(&mut self, day: i64, variance: f64) {
        if set(&mut self.variances, day, variance) {
            self.baseline = None;
        }
    }

    /// What the days before `day` were like.
    pub fn before(&mut self, day: i64, settings: &Settings) -> Baseline {
        match self.baseline {
            Some((of, baseline)) if of == day => baseline,
            _ => {
                let baseline = self.compute(day, settings);
                self.baseline = Some((day, baseline));
                baseline
            }
        }
    }

    fn compute(&self, day: i64, settings: &Settings) -> Baseline {
        let first = day - settings.history_days;
        let mut levels: Vec<f64> = (first * DAY_HOURS..day * DAY_HOURS)
            .filter_map(|hour| Some(self.samples.get(hour)?.0))
            .filter(|level| level.is_finite())
            .collect();
        let needed = settings.coverage_min * (settings.history_days_min * DAY_HOURS) as f64;
        let enough = !levels.is_empty() && levels.len() as f64 >= needed;
        levels.sort_unstable_by(f64::total_cmp);
        Baseline {
            boundaries: enough.then(|| settings.quantiles.map(|q| quantile(&levels, q))),
            median: enough.then(|| quantile(&levels, 0.5)),
            half_life_minutes: self.half_life_minutes(first, day, settings.history_days_min),
        }
    }

    fn half_life_minutes(&self, first: i64, day: i64, pairs_min: i64) -> Option<Real> {
        let logs: Vec<f64> = (first..day).map(|day| self.variances.get(day).unwrap_or_default().0.ln()).collect();
        let pairs: Vec<(f64, f64)> =
            logs.windows(2).map(|w| (w[0], w[1])).filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        let slope = slope(&pairs).filter(|slope| (pairs.len() as i64) >= pairs_min && *slope > 0.0 && *slope < 1.0)?;
        Some(Real(0.5f64.ln() / slope.ln() * DAY_MINUTES))
    }
}

/// Rows inside the correction horizon may still ask for the day before.
const KEEP_MORE_DAYS: i64 = 3;

/// The value below which a share `q` of sorted values lies; there must be one.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

/// Least squares of y on x. `None` where x does not vary.
fn slope(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let (x_mean, y_mean) = pairs.iter().fold((0.0, 0.0), |(x, y), pair| (x + pair.0 / n, y + pair.1 / n));
    let xx: f64 = pairs.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let xy: f64 = pairs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    (xx > 0.0).then(|| xy / xx)
}

/// Sets a value. True: it was another.
fn set(values: &mut Minutes<Known>, at: i64, value: f64) -> bool {
    let value = Known::of(value);
    values.slot(at).is_some_and(|slot| std::mem::replace(slot, value) != value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(history_days: i64, history_days_min: i64) -> Settings {
        Settings { history_days, history_days_min, ..Config::default().volatility }
    }

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        let check = |values: &[f64], q: f64, expected: f64| assert!((quantile(values, q) - expected).abs() < 1e-12);
        check(&[3.0], 0.98, 3.0);
        check(&[1.0, 2.0], 0.25, 1.25);
        check(&[1.0, 2.0, 4.0, 8.0, 16.0], 0.85, 11.2);
        check(&[1.0, 2.0, 4.0, 8.0, 16.0], 1.0, 16.0);
    }

    #[test]
    fn the_half_life_is_that_of_the_sequence() {
        let settings = settings(90, 30);
        // x(t+1) = φ·x(t) + noise, evenly spread and always the same.
        let phi = 0.8f64;
        let mut history = History::new(&settings);
        let mut x = 0.0;
        let mut seed = 11u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let mut logs = Vec::new();
        for day in 0..90 {
            x = phi * x + noise();
            logs.push(x);
            history.set_variance(day, x.exp());
        }
        let pairs: Vec<(f64, f64)> = logs.windows(2).map(|w| (w[0], w[1])).collect();
        let half_life = history.before(90, &settings).half_life_minutes.unwrap().0;
        let fitted = 0.5f64.powf(1_440.0 / half_life);
        assert!((fitted - slope(&pairs).unwrap()).abs() < 1e-12);
        assert!((fitted - phi).abs() < 0.2, "φ of {fitted}"); // 90 days tell it to ± .07, and low
        assert_eq!(history.before(30, &settings).half_life_minutes, None, "29 pairs");
        assert!(history.before(31, &settings).half_life_minutes.is_some(), "30 pairs");
    }

    #[test]
    fn what_does_not_decay_has_no_half_life() {
        let settings = settings(90, 3);
        let half_life = |log: fn(i64) -> f64| {
            let mut history = History::new(&settings);
            (0..90).for_each(|day| history.set_variance(day, log(day).exp()));
            history.before(90, &settings).half_life_minutes
        };
        assert_eq!(half_life(|day| (day % 2) as f64), None, "it alternates");
        assert_eq!(half_life(|day| 1.1f64.powi(day as i32)), None, "it explodes");
        assert_eq!(half_life(|_| 1.0), None, "it never changes");
    }

    #[test]
    fn a_baseline_needs_enough_samples_of_the_days_before_and_forgets_older_ones() {
        let settings = settings(2, 2);
        let mut history = History::new(&settings);
        (0..4 * 24).for_each(|hour| history.set_sample(hour, (hour / 24 + 1) as f64));
        let median = |history: &mut History, day| history.before(day, &settings).median;
        assert_eq!(median(&mut history, 1), None, "24 samples of 48 × 0.8");
        assert_eq!(median(&mut history, 2), Some(1.5));
        assert_eq!(median(&mut history, 4), Some(3.5));
        assert_eq!(median(&mut history, 5), None, "the last day has none yet");
        history.set_sample(71, 100.0);
        assert_eq!(history.before(4, &settings).boundaries.map(|b| b[2] > 4.0), Some(true), "a corrected sample corrects it");
    }

    #[test]
    fn only_so_much_is_kept() {
        let settings = settings(2, 1);
        let mut history = History::new(&settings);
        (0..10_000).for_each(|hour| history.set_sample(hour, 1.0));
        assert_eq!(history.samples.end() - history.samples.first(), 5 * 24);
        history.set_sample(1_000_000, 1.0);
        assert_eq!(history.samples.end() - history.samples.first(), 1);
    }
}
