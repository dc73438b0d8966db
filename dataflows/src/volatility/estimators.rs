//! Estimators of variance per bar, for bars of any length; [`per_day`] makes a deviation per day of them. With u = ln(H/O), d = ln(L/O), c = ln(C/O).
//! None of them reads a bar that isn't given, so of the bars of a window they say what the window knows.

use crate::model::Bar;

/// The prices of one bar.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Candle {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
}

impl Candle {
    /// Of a bar.
    #[must_use]
    pub fn of(bar: &Bar) -> Self {
        Self { open: bar.open.to_f64(), high: bar.high.to_f64(), low: bar.low.to_f64(), close: bar.close.to_f64() }
    }
}

/// A variance per bar as a deviation per day: √(variance × 1,440 / minutes of a bar). `None` where it is negative, as Garman–Klass may be.
#[must_use]
pub fn per_day(variance: f64, bar_minutes: f64) -> Option<f64> {
    (variance >= 0.0).then(|| (variance * 1_440.0 / bar_minutes).sqrt())
}

/// Close-to-close, uncentred: the mean of squared log returns. `None` without one.
#[must_use]
pub fn close_to_close(squared_returns: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = squared_returns.fold((0u32, 0.0), |(count, sum), square| (count + 1, sum + square));
    (count > 0).then(|| sum / f64::from(count))
}

fn mean(candles: &[Candle], term: impl Fn(&Candle) -> f64) -> f64 {
    candles.iter().map(term).sum::<f64>() / candles.len() as f64
}

/// Parkinson (1980): mean of ln(H/L)² / (4 ln 2).
#[must_use]
pub fn parkinson(candles: &[Candle]) -> f64 {
    mean(candles, |c| (c.high / c.low).ln().powi(2)) / (4.0 * std::f64::consts::LN_2)
}

/// Garman and Klass (1980): mean of ½ ln(H/L)² − (2 ln 2 − 1) ln(C/O)².
#[must_use]
pub fn garman_klass(candles: &[Candle]) -> f64 {
    let weight = 2.0 * std::f64::consts::LN_2 - 1.0;
    mean(candles, |c| 0.5 * (c.high / c.low).ln().powi(2) - weight * (c.close / c.open).ln().powi(2))
}

/// Rogers and Satchell (1991): mean of u (u − c) + d (d − c).
#[must_use]
pub fn rogers_satchell(candles: &[Candle]) -> f64 {
    mean(candles, |c| (c.high / c.close).ln() * (c.high / c.open).ln() + (c.low / c.close).ln() * (c.low / c.open).ln())
}

/// Yang and Zhang (2000): σ²(ln(O/C₋₁)) + k σ²(c) + (1 − k) RS, k = 0.34 / (1.34 + (n + 1)/(n − 1)), sample variances. Needs
/// the close before each bar; bars without it are left out. `None` below two bars.
#[must_use]
pub fn yang_zhang(candles: &[(Candle, Option<f64>)]) -> Option<f64> {
    let known: Vec<(Candle, f64)> = candles.iter().filter_map(|&(candle, before)| Some((candle, before?))).collect();
    if known.len() < 2 {
        return None;
    }
    let n = known.len() as f64;
    let gaps: Vec<f64> = known.iter().map(|(c, before)| (c.open / before).ln()).collect();
    let bodies: Vec<f64> = known.iter().map(|(c, _)| (c.close / c.open).ln()).collect();
    let plain: Vec<Candle> = known.iter().map(|(candle, _)| *candle).collect();
    let k = 0.34 / (1.34 + (n + 1.0) / (n - 1.0));
    Some(sample_variance(&gaps) + k * sample_variance(&bodies) + (1.0 - k) * rogers_satchell(&plain))
}

fn sample_variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)
}
