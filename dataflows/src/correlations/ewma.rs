//! Weighted correlations over the same window: weights halve each half-life, and end with the window.
//!
//! Nothing is carried from bar to bar: a figure is worked out from the window's returns when its row is written, in two passes. So it needs no restart, no
//! drift can build up, and a correction is nothing special.

use super::market::Total;
use super::products::{R_MAX, value};

/// The window's returns by symbol, as they are asked for.
pub(super) struct Columns<'a> {
    /// From the oldest bar; empty where nobody has one.
    rows: Vec<&'a [i32]>,
    weights: Vec<f64>,
    columns: Vec<Option<Column>>,
}

/// One symbol's returns: NaN where it has none.
type Column = Box<[f64]>;

impl<'a> Columns<'a> {
    /// `half_life` in bars.
    pub fn new(rows: Vec<&'a [i32]>, half_life: f64, symbols: usize) -> Self {
        let weights = (0..rows.len()).rev().map(|age| 0.5f64.powf(age as f64 / half_life)).collect();
        Self { rows, weights, columns: vec![None; symbols] }
    }

    /// Of two symbols. `None` at zero variance.
    pub fn pair(&mut self, a: usize, b: usize) -> Option<f64> {
        for symbol in [a, b] {
            if self.columns[symbol].is_none() {
                let of = |row: &&[i32]| value(row, symbol).map_or(f64::NAN, f64::from);
                self.columns[symbol] = Some(self.rows.iter().map(of).collect());
            }
        }
        weighted_r(&self.weights, self.columns[a].as_ref()?, self.columns[b].as_ref()?)
    }

    /// Of a symbol and the rest of the market.
    pub fn market(&self, symbol: usize) -> Option<f64> {
        let own: Column = self.rows.iter().map(|row| value(row, symbol).map_or(f64::NAN, f64::from)).collect();
        let rest = |row: &&[i32]| value(row, symbol).and_then(|own| Total::of(row).without(own)).map_or(f64::NAN, |x| x as f64);
        weighted_r(&self.weights, &own, &self.rows.iter().map(rest).collect::<Column>())
    }
}

fn weighted_r(weights: &[f64], x: &[f64], y: &[f64]) -> Option<f64> {
    let joint = || {
        let both = weights.iter().zip(x).zip(y).map(|((&w, &x), &y)| (w, x, y));
        both.filter(|(_, x, y)| !x.is_nan() && !y.is_nan())
    };
    let [w, wx, wy] = joint().fold([0.0; 3], |[s, sx, sy], (w, x, y)| [s + w, sx + w * x, sy + w * y]);
    let (mean_x, mean_y) = (wx / w, wy / w);
    let [xx, yy, xy] = joint().fold([0.0; 3], |[xx, yy, xy], (w, x, y)| {
        let (x, y) = (x - mean_x, y - mean_y);
        [xx + w * x * x, yy + w * y * y, xy + w * x * y]
    });
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-R_MAX, R_MAX))
}
