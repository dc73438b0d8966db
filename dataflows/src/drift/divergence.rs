//! How far the features of the last bars lie from those that a model was trained on: the symmetric Kullback–Leibler divergence.
//!
//! Standardised features have mean 0 and variance 1 over the training rows. A feature's mean m and variance v over the last bars make
//! another Gaussian, and KL(p‖q) + KL(q‖p) of the two is ½ (v + m² + (1 + m²) / v) − 1, in nats. Features are taken as independent, so
//! theirs are added up. Left out: missing values; a feature that is missing in more than half of the bars or is the same in all.
//!
//! Features are kept in millionths of a deviation, clipped to ±100 deviations, so that sums are exact and may slide. Even of training
//! bars 500 in a row are rarely as spread as all of them, so this number is reported, and nothing is concluded from it.

use std::collections::VecDeque;

use crate::model::FEATURES;

/// Deviations to millionths.
const MICRO: f64 = 1e6;
/// Deviations beyond this count as this.
const LIMIT: f64 = 100.0;
const ABSENT: i32 = i32::MIN;

/// A bar's features as the model reads them, in millionths of a deviation.
pub(super) type Row = [i32; FEATURES.len()];

/// Of standardised values; NaN: missing. A model that names a feature twice may have more than fit: they say nothing new.
pub(super) fn row_of(standardised: &[f64]) -> Row {
    let mut row = [ABSENT; FEATURES.len()];
    for (slot, value) in row.iter_mut().zip(standardised).filter(|(_, value)| !value.is_nan()) {
        *slot = (value.clamp(-LIMIT, LIMIT) * MICRO).round() as i32;
    }
    row
}

/// Rows in order of bars, packed as wide as the widest was.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Rows {
    width: usize,
    values: VecDeque<i32>,
}

impl Default for Rows {
    fn default() -> Self {
        Self { width: 1, values: VecDeque::new() }
    }
}

impl Rows {
    /// Puts a row at a place, before the one that is there.
    pub fn insert(&mut self, at: usize, row: &Row) {
        self.make_room_for(row);
        let place = at * self.width;
        if place == self.values.len() {
            self.values.extend(&row[..self.width]);
        } else {
            row[..self.width].iter().enumerate().for_each(|(column, value)| self.values.insert(place + column, *value));
        }
    }

    pub fn set(&mut self, at: usize, row: &Row) {
        self.make_room_for(row);
        let slots = self.values.range_mut(at * self.width..(at + 1) * self.width);
        slots.zip(row).for_each(|(slot, value)| *slot = *value);
    }

    pub fn remove(&mut self, at: usize) {
        self.values.drain(at * self.width..(at + 1) * self.width);
    }

    pub fn forget_first(&mut self, rows: usize) {
        self.values.drain(..rows * self.width);
    }

    fn row(&self, at: usize) -> impl Iterator<Item = i32> {
        self.values.range(at * self.width..(at + 1) * self.width).copied()
    }

    fn make_room_for(&mut self, row: &Row) {
        let width = row.iter().rposition(|&value| value != ABSENT).map_or(0, |last| last + 1);
        if width <= self.width {
            return;
        }
        let rows = self.values.len() / self.width;
        let wide = |at: usize| self.row(at).chain(std::iter::repeat(ABSENT)).take(width).collect::<Vec<i32>>();
        self.values = (0..rows).flat_map(wide).collect();
        self.width = width;
    }
}

/// The moments of the last rows, which move on by a row at a time.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Sums([Moments; FEATURES.len()]);

#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Moments {
    count: i64,
    sum: i64,
    squares: i128,
}

impl Sums {
    pub fn of(rows: &Rows, places: std::ops::Range<usize>) -> Self {
        let mut sums = Self::default();
        places.for_each(|at| sums.add(rows, at, 1));
        sums
    }

    /// The row at `leaves` goes, the one at `enters` comes.
    pub fn slide(&mut self, rows: &Rows, leaves: usize, enters: usize) {
        self.add(rows, leaves, -1);
        self.add(rows, enters, 1);
    }

    fn add(&mut self, rows: &Rows, at: usize, sign: i64) {
        for (moments, value) in self.0.iter_mut().zip(rows.row(at)).filter(|(_, value)| *value != ABSENT) {
            moments.count += sign;
            moments.sum += sign * i64::from(value);
            moments.squares += i128::from(sign) * i128::from(value) * i128::from(value);
        }
    }

    /// Nats; `bars` is how many rows are in the sums. `None`: no feature says anything.
    pub fn divergence(&self, bars: usize) -> Option<f64> {
        let known = self.0.iter().filter(|moments| 2 * moments.count >= bars as i64);
        known.filter_map(Moments::divergence).reduce(|sum, part| sum + part)
    }
}

impl Moments {
    fn divergence(&self) -> Option<f64> {
        let count = i128::from(self.count);
        let spread = count * self.squares - i128::from(self.sum).pow(2); // n² v, exactly
        if spread <= 0 {
            return None;
        }
        let n = self.count as f64;
        let (mean, variance) = (self.sum as f64 / n / MICRO, spread as f64 / (n * n) / (MICRO * MICRO));
        let square = mean * mean;
        Some((0.5 * (variance + square + (1.0 + square) / variance) - 1.0).max(0.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(values: &[[f64; 2]]) -> Option<f64> {
        let mut rows = Rows::default();
        values.iter().enumerate().for_each(|(at, row)| rows.insert(at, &row_of(row)));
        Sums::of(&rows, 0..values.len()).divergence(values.len())
    }

    #[test]
    fn a_gaussian_differs_from_the_standard_one_by_the_textbook() {
        let check = |values: &[[f64; 2]], nats: f64| {
            let ours = of(values).unwrap();
            assert!((ours - nats).abs() < 1e-9, "{values:?}: {ours}, by the textbook {nats}");
        };
        let missing = f64::NAN;
        check(&[[1.0, missing], [-1.0, missing]], 0.0);
        check(&[[3.0, missing], [1.0, missing]], 4.0); // a mean of 2 and a variance of 1: m²
        check(&[[2.0, missing], [-2.0, missing]], 1.125); // a variance of 4: (4 + 1/4)/2 − 1
        check(&[[2.0, 3.0], [-2.0, 1.0]], 5.125);
        check(&[[2.0, missing], [-2.0, 7.0]], 1.125); // one value has no variance
        check(&[[2.0, 5.0], [-2.0, 5.0]], 1.125);
        check(&[[2.0, 3.0], [-2.0, missing], [2.0, missing], [-2.0, 1.0], [0.0, missing]], 0.5 * (3.2 + 1.0 / 3.2) - 1.0);
        check(&[[1e9, missing], [-1e300, missing]], 0.5 * (1e4 + 1e-4) - 1.0);
    }

    #[test]
    fn nothing_known_says_nothing() {
        assert_eq!(of(&[[f64::NAN; 2]; 4]), None);
        assert_eq!(of(&[[7.0, f64::NAN]; 4]), None);
    }

    #[test]
    fn sums_slide_without_a_trace_while_rows_become_wider() {
        let mut rows = Rows::default();
        let value = |i: usize| (i * 7_919 % 13) as f64 / 3.0 - 2.0;
        (0..10).for_each(|i| rows.insert(i, &row_of(&[value(i)])));
        rows.insert(3, &row_of(&[0.25]));
        rows.set(4, &row_of(&[f64::NAN]));
        rows.remove(0);
        (10..20).for_each(|i| rows.insert(i, &row_of(&[value(i), value(i + 1), f64::NAN, 1e-6])));
        rows.forget_first(2);
        assert_eq!(rows.row(0).collect::<Vec<_>>(), [250_000, ABSENT, ABSENT, ABSENT]);
        assert_eq!(rows.row(1).collect::<Vec<_>>(), [ABSENT; 4]);
        assert_eq!(rows.row(17).skip(1).collect::<Vec<_>>(), [(value(20) * 1e6).round() as i32, ABSENT, 1]);
        let mut sums = Sums::of(&rows, 0..6);
        for at in 6..18 {
            sums.slide(&rows, at - 6, at);
            assert_eq!(sums.divergence(6), Sums::of(&rows, at - 5..at + 1).divergence(6), "{at}");
        }
    }
}
