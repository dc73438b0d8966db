//! How unusual a rate is: z-scores against exact sums, a robust one against median and MAD, and what that makes of it.
//!
//! Rates are per 8 h, integers of 1e-12. Deviations are of a sample (n − 1). Scores are rounded to nine decimals and deviations to
//! 1e-15, so that a limit can be met exactly, whatever the order of the arithmetic.

use crate::config::Funding as Settings;
use crate::fixed::Rate;
use crate::model::{Real, Reasons, Scores};

/// A rate per 8 h of 1,000 (100,000 %). No real rate comes near; sums of squares of rates up to it are exact.
const RATE_MAX: i128 = 1_000 * crate::fixed::ONE;

/// A rate of any interval per 8 h, rounded to the nearest 1e-12, half away from zero.
pub(crate) fn per_8h(rate: Rate, interval_hours: u8) -> i64 {
    let hours = i128::from(interval_hours.max(1));
    let whole = divide(i128::from(rate.0) * 8, hours).clamp(-RATE_MAX, RATE_MAX);
    whole as i64 // its bound fits
}

/// a / b to the nearest integer, half away from zero. b > 0.
pub(crate) fn divide(a: i128, b: i128) -> i128 {
    (2 * a.abs() + b).div_euclid(2 * b) * a.signum()
}

/// Number, sum and sum of squares of rates: what is added can be taken away without residue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sums {
    pub count: i64,
    pub sum: i128,
    pub squares: i128,
}

impl Sums {
    pub fn add(&mut self, rate: i64) {
        self.merge(&Self::of(rate), 1);
    }

    pub fn remove(&mut self, rate: i64) {
        self.merge(&Self::of(rate), -1);
    }

    /// Of one rate.
    pub fn of(rate: i64) -> Self {
        let wide = i128::from(rate);
        Self { count: 1, sum: wide, squares: wide * wide }
    }

    /// Adds (`sign` 1) or takes away (−1).
    pub fn merge(&mut self, other: &Self, sign: i8) {
        self.count += i64::from(sign) * other.count;
        self.sum += i128::from(sign) * other.sum;
        self.squares += i128::from(sign) * other.squares;
    }

    /// The mean, rounded.
    pub fn mean(&self) -> Option<i64> {
        (self.count > 0).then(|| divide(self.sum, i128::from(self.count)) as i64) // no larger than a rate
    }

    /// The deviation, as a fraction. `None` below `count_min` samples, or below two.
    pub fn deviation(&self, count_min: i64) -> Option<f64> {
        if self.count < count_min.max(2) {
            return None;
        }
        let n = i128::from(self.count);
        let spread = n * self.squares - self.sum * self.sum;
        Some(round((spread as f64 / (n * (n - 1)) as f64).sqrt() * 1e-12, 1e15))
    }

    /// (rate − mean) / max(deviation, floor).
    fn z(&self, rate: i64, count_min: i64, floor: f64) -> Option<f64> {
        let scale = self.deviation(count_min)?.max(floor);
        let n = i128::from(self.count);
        let distance = (i128::from(rate) * n - self.sum) as f64 / n as f64 * 1e-12;
        Some(round(distance / scale, 1e9))
    }
}

/// To a multiple of 1 / `parts`.
fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// What 30 days of hourly means (or settlements) say.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Baseline {
    sums: Sums,
    count_min: i64,
    /// Twice the median, and twice the median distance from it: halves of integers.
    median: i64,
    mad: i64,
    /// Volatility above it is high.
    high_volatility: Option<f64>,
}

impl Baseline {
    /// Of 30 days of rates, and of volatilities. `None` where `rates` are fewer than `count_min`, or than two.
    pub fn of(mut rates: Vec<i64>, volatilities: Vec<f64>, count_min: i64, settings: &Settings) -> Option<Self> {
        if (rates.len() as i64) < count_min.max(2) {
            return None;
        }
        let mut sums = Sums::default();
        rates.iter().for_each(|&rate| sums.add(rate));
        let median = twice_the_median(&mut rates);
        rates.iter_mut().for_each(|rate| *rate = (2 * *rate - median).abs());
        let mad = twice_the_median(&mut rates) / 2; // of doubled distances: a half less than 1e-12 is cut off
        let enough = volatilities.len() as i64 >= count_min.max(2);
        let high_volatility = enough.then(|| quantile(volatilities, settings.high_volatility_quantile));
        Some(Self { sums, count_min, median, mad, high_volatility })
    }

    /// rate − median, doubled.
    fn off_median(&self, rate: i64) -> i64 {
        2 * rate - self.median
    }

    fn robust_z(&self, rate: i64, floor: f64) -> f64 {
        let scale = (1.4826 * self.mad as f64 / 2.0 * 1e-12).max(floor);
        round(self.off_median(rate) as f64 / 2.0 * 1e-12 / scale, 1e9)
    }
}

fn twice_the_median(values: &mut [i64]) -> i64 {
    let is_even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable(values.len() / 2);
    let lower = if is_even { below.iter().copied().max() } else { None };
    lower.unwrap_or(upper) + upper
}

/// With linear interpolation between the order statistics (Hyndman and Fan's type 7).
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = share * (values.len() - 1) as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    round(low + (high - low) * at.fract(), 1e15)
}

/// A sample and what is before it.
pub(crate) struct Sample<'a> {
    /// Per 8 h.
    pub rate: i64,
    /// Of the 24 h before it, and how many there must be.
    pub day: (&'a Sums, i64),
    /// Of the 30 days before it.
    pub month: Option<&'a Baseline>,
    /// The rate an hour before it.
    pub hour_ago: Option<i64>,
}

/// What is to be said of a sample.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Verdict {
    pub rate: i64,
    pub scores: Scores,
    pub signs: Signs,
    /// The larger of |z_30d| and |change| / limit, and 0.5 more when volatility is high.
    score: f64,
    reasons: Reasons,
}

/// What the machine needs to know of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Signs(u8);

impl Signs {
    const ANOMALOUS: u8 = 1;
    const CALM: u8 = 2;
    const DEVIATES: u8 = 4;
    const NEAR: u8 = 8;
    const POSITIVE: u8 = 16;
    const NEGATIVE: u8 = 32;
    const THERE: u8 = 64;
    /// Whether the anomaly goes on after this sample, if `before` said so at the one before.
    pub fn anomaly(self, before: bool) -> bool {
        self.0 & Self::ANOMALOUS != 0 || (before && self.0 & Self::CALM == 0)
    }

    /// The same of a deviation from the last 24 h.
    pub fn deviation(self, before: bool) -> bool {
        self.0 & Self::DEVIATES != 0 || (before && self.0 & Self::NEAR == 0)
    }

    /// Beyond the limit of a reversal: +1, −1, or 0.
    pub fn side(self) -> i8 {
        i8::from(self.0 & Self::POSITIVE != 0) - i8::from(self.0 & Self::NEGATIVE != 0)
    }
}

impl Verdict {
    pub fn of(sample: &Sample<'_>, settings: &Settings) -> Self {
        let Sample { rate, day: (day, day_min), month, hour_ago } = *sample;
        let floor = settings.scale_floor;
        let z_30d = month.and_then(|m| m.sums.z(rate, m.count_min, floor));
        let z_24h = day.z(rate, day_min, floor);
        let volatility = day.deviation(day_min);
        let change = hour_ago.map(|before| rate - before);

        let magnitude = z_30d.map_or(0.0, f64::abs);
        let is_far = month.is_some_and(|m| m.off_median(rate).abs() >= 2 * settings.anomaly_deviation_min.0);
        let by_z = magnitude > settings.anomaly_z && is_far;
        let by_change = change.is_some_and(|change| change.abs() > settings.change_max.0);
        let is_volatile = volatility.zip(month.and_then(|m| m.high_volatility)).is_some_and(|(now, high)| now > high);
        let short = z_24h.map_or(0.0, f64::abs);
        let signs = [
            (by_z || by_change, Signs::ANOMALOUS),
            (magnitude < settings.clear_z, Signs::CALM),
            (short > settings.deviation_z, Signs::DEVIATES),
            (short < settings.clear_z, Signs::NEAR),
            (rate > settings.reversal_min.0, Signs::POSITIVE),
            (rate < -settings.reversal_min.0, Signs::NEGATIVE),
        ];
        let signs = signs.into_iter().filter(|(is, _)| *is).fold(Signs::THERE, |all, (_, sign)| all | sign);
        let by_limit = change.map_or(0.0, |change| change.abs() as f64 / settings.change_max.0.max(1) as f64);
        Self {
            rate,
            scores: Scores {
                z_24h: z_24h.map(Real),
                z_30d: z_30d.map(Real),
                robust_z: month.map(|m| Real(m.robust_z(rate, floor))),
                volatility: volatility.map(Real),
            },
            signs: Signs(signs),
            score: magnitude.max(by_limit) + if is_volatile { 0.5 } else { 0.0 },
            reasons: Reasons {
                z: z_30d.filter(|_| by_z).map(Real),
                change: change.filter(|_| by_change).map(Rate),
                volatility: volatility.filter(|_| is_volatile).map(Real),
                reversed: None,
            },
        }
    }

    /// The z-score, the score and the reasons of an anomaly that begins with this sample.
    pub fn of_anomaly(&self) -> (Option<Real>, Real, Reasons) {
        (self.scores.z_30d, Real(self.score), self.reasons)
    }

    /// The same of a deviation from the last 24 h.
    pub fn of_deviation(&self) -> (Option<Real>, Real, Reasons) {
        let z = self.scores.z_24h;
        (z, Real(z.map_or(0.0, |z| z.0.abs())), Reasons { z, change: None, ..self.reasons })
    }

    /// The same of a reversal to a side on which it has been for `minutes`.
    pub fn of_reversal(&self, side: i8, minutes: i64) -> (Option<Real>, Real, Reasons) {
        (self.scores.z_30d, Real(self.score), Reasons { reversed: Some((side, minutes)), ..self.reasons })
    }
}
