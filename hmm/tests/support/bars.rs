//! Recorded 1h bars, made into 4h bars, and the `trend` features of them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part; a broken recording should fail loudly")]

use ndarray::Array2;
use std::process::{Command, Stdio};

const HOUR_MS: i64 = 3_600_000;

/// A bar; `at` is its open in ms.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    pub at: i64,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
}

/// 1h bars of a USD-M perpetual, or `None` (and a note) where there is no recording, or no gzip to read it with.
pub fn hourly(symbol: &str) -> Option<Vec<Bar>> {
    let root = std::env::var_os("REGIMEFLOW_DATA").map(std::path::PathBuf::from);
    let root = root.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
    let path = root.join(format!("bars/1h/binance-usdm/{symbol}.csv.gz"));
    if !path.exists() {
        eprintln!("skipped: no 1h bars of {symbol} (set REGIMEFLOW_DATA)");
        return None;
    }
    let Ok(unzipped) = Command::new("gzip").arg("-dc").arg(&path).stderr(Stdio::inherit()).output() else {
        eprintln!("skipped: no gzip to read {} with", path.display());
        return None;
    };
    let text = String::from_utf8(unzipped.stdout).unwrap();
    let bar = |line: &str| {
        let mut cells = line.split(',').map(str::trim);
        let at = cells.next().unwrap().parse().unwrap();
        let [open, high, low, close] = std::array::from_fn(|_| cells.next().unwrap().parse().unwrap());
        Bar { at, open, high, low, close }
    };
    Some(text.lines().skip(1).map(bar).collect())
}

/// Bars of `hours` hours from whole groups of 1h bars; a group with a gap makes none.
pub fn slower(bars: &[Bar], hours: i64) -> Vec<Bar> {
    let group = |bar: &Bar| bar.at.div_euclid(hours * HOUR_MS);
    bars.chunk_by(|a, b| group(a) == group(b))
        .filter(|hourly| hourly.len() == hours as usize)
        .map(|hourly| Bar {
            at: hourly[0].at,
            open: hourly[0].open,
            high: hourly.iter().map(|b| b.high).fold(f64::MIN, f64::max),
            low: hourly.iter().map(|b| b.low).fold(f64::MAX, f64::min),
            close: hourly[hourly.len() - 1].close,
        })
        .collect()
}

/// The features `trend`, warm-up rows left out, and the returns of the same bars.
pub fn trend(bars: &[Bar]) -> (Array2<f64>, Vec<f64>) {
    let close: Vec<f64> = bars.iter().map(|b| b.close).collect();
    let change = |t: usize, back: usize| (close[t] / close[t - back]).ln();
    let relative_strength = wilder_rsi(&close, 14);
    let (mut rows, mut returns) = (Vec::new(), Vec::new());
    for (t, strength) in relative_strength.into_iter().enumerate().skip(73) {
        let last: Vec<f64> = (t - 71..=t).map(|s| change(s, 1)).collect();
        let mean = last.iter().sum::<f64>() / 72.0;
        let deviation = (last.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 71.0).sqrt();
        let realised = (t - 13..=t).map(|s| change(s, 1).powi(2)).sum::<f64>() / 14.0;
        rows.extend([change(t, 1), change(t, 24) / (deviation * 24f64.sqrt()), 0.5 * realised.max(1e-12).ln(), strength]);
        returns.push(change(t, 1));
    }
    (Array2::from_shape_vec((returns.len(), 4), rows).unwrap(), returns)
}

fn wilder_rsi(close: &[f64], length: usize) -> Vec<f64> {
    let (mut up, mut down) = (0.0, 0.0);
    let n = length as f64;
    let mut out = vec![f64::NAN; close.len()];
    for t in 1..close.len() {
        let change = close[t] - close[t - 1];
        let weight = 1.0 / (t as f64).min(n);
        up += weight * (change.max(0.0) - up);
        down += weight * ((-change).max(0.0) - down);
        if t >= length {
            out[t] = if up + down > 0.0 { 100.0 * up / (up + down) } else { 50.0 };
        }
    }
    out
}
