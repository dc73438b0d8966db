//! Cross-correlations of two series of returns, most of which are zero.

use crate::config::LeadLag as Settings;
use crate::correlations::{ABSENT, between};
use crate::model::{InstrumentId, LeadLag, Real};

/// Lags in buckets, either way.
pub(super) const LAGS: usize = 10;

/// A window's returns in units of 1e-7.
pub(super) struct Series {
    /// By bucket, with [`LAGS`] zeros on either side.
    padded: Vec<i64>,
    /// Buckets with a move.
    moves: Vec<usize>,
    /// The first bucket that can have a return: after the first trade.
    first: usize,
}

/// What two series say about each other.
pub(super) struct Found {
    pub strength: f64,
    r: f64,
    best: (i32, f64),
    buckets: u32,
}

impl Series {
    /// From last prices by bucket, in order.
    pub fn of(prices: impl Iterator<Item = (usize, f64)>, buckets: usize) -> Self {
        let mut series = Self { padded: vec![0; buckets + 2 * LAGS], moves: Vec::new(), first: buckets };
        let mut before = None;
        for (bucket, price) in prices {
            match before {
                None => series.first = bucket + 1,
                Some(before) => {
                    let value = between(before, price);
                    if value != 0 && value != ABSENT {
                        series.padded[bucket + LAGS] = i64::from(value);
                        series.moves.push(bucket);
                    }
                }
            }
            before = Some(price);
        }
        series
    }

    fn buckets(&self) -> usize {
        self.padded.len() - 2 * LAGS
    }

    /// Moves from `first` on.
    fn moves_from(&self, first: usize) -> &[usize] {
        &self.moves[self.moves.partition_point(|&bucket| bucket < first)..]
    }
}

/// Compares two series over the buckets in which both can have returns.
pub(super) fn compare(a: &Series, b: &Series, settings: &Settings) -> Option<Found> {
    let first = a.first.max(b.first);
    let n = a.buckets() - first.min(a.buckets());
    let (moves_a, moves_b) = (a.moves_from(first), b.moves_from(first));
    let enough = n as f64 >= settings.coverage_min * a.buckets() as f64;
    if !enough || moves_a.len().min(moves_b.len()) < settings.moves_min {
        return None;
    }
    let sums = |series: &Series, moves: &[usize]| {
        let values = moves.iter().map(|&bucket| series.padded[bucket + LAGS]);
        values.fold((0i64, 0i64), |(sum, squares), x| (sum + x, squares + x * x))
    };
    let ((x, xx), (y, yy)) = (sums(a, moves_a), sums(b, moves_b));
    let mut products = [0i64; 2 * LAGS + 1];
    for &bucket in moves_a {
        let value = a.padded[bucket + LAGS];
        // What lies before both have returns doesn't count.
        let near = &b.padded[bucket..=bucket + 2 * LAGS];
        let skip = (first + LAGS).saturating_sub(bucket);
        for (product, other) in products.iter_mut().zip(near).skip(skip) {
            *product += value * other;
        }
    }
    let count = n as f64;
    let centred = |product: i64, x: i64, y: i64| count * product as f64 - x as f64 * y as f64;
    let (variance_x, variance_y) = (centred(xx, x, x), centred(yy, y, y));
    if variance_x <= 0.0 || variance_y <= 0.0 {
        return None;
    }
    let scale = (variance_x.sqrt() * variance_y.sqrt()).recip();
    let r = products.map(|product| (centred(product, x, y) * scale).clamp(-1.0, 1.0));
    // Of equal ones the shortest lag, and a's lead first.
    let lags = (0..=LAGS as i32).flat_map(|lag| [lag, -lag]);
    let at = |lag: i32| r[(lag + LAGS as i32) as usize];
    let best = lags.fold((0, at(0)), |best, lag| if at(lag).abs() > best.1.abs() { (lag, at(lag)) } else { best });
    Some(Found { strength: (at(1) - at(-1)) / (2.0 / count).sqrt(), r: at(0), best, buckets: n as u32 })
}

impl Found {
    pub fn row(&self, symbol_a: InstrumentId, symbol_b: InstrumentId, ts: i64, leader: Option<InstrumentId>) -> LeadLag {
        let (best_lag, lag_r) = self.best;
        LeadLag {
            symbol_a,
            symbol_b,
            ts,
            best_lag,
            lag_r: Real(lag_r),
            r: Real(self.r),
            strength: Real(self.strength),
            leader,
            buckets: self.buckets,
        }
    }
}
