//! Correlations of many symbols over the last bars of a window, for whoever has rows of returns: no instruments, no events, no corrections.

use std::collections::VecDeque;

use super::eigen::{self, First};
use super::products::CrossProducts;

/// The returns of the last `window` bars, and what comes of them.
///
/// ```
/// use dataflows::correlations::{RollingCorrelation, between};
/// let mut rolling = RollingCorrelation::new(2, 3, 0.8);
/// for prices in [[100.0, 10.0], [101.0, 10.1], [100.0, 10.0], [102.0, 10.2]].windows(2) {
///     rolling.push(&[between(prices[0][0], prices[1][0]), between(prices[0][1], prices[1][1])]);
/// }
/// assert!(rolling.r(0, 1).is_some_and(|r| r > 0.99));
/// assert!(rolling.absorption_ratio().is_some_and(|share| share > 0.99));
/// ```
#[derive(Clone, Debug)]
pub struct RollingCorrelation {
    window: usize,
    joint_min: u32,
    bars: VecDeque<Box<[i32]>>,
    products: CrossProducts,
}

impl RollingCorrelation {
    /// Of `symbols` (numbered from 0) over `window` bars; a pair with less than `coverage_min` (0–1) of the window's bars in
    /// common has no figure.
    #[must_use]
    pub fn new(symbols: usize, window: usize, coverage_min: f64) -> Self {
        let mut products = CrossProducts::default();
        products.grow(symbols);
        Self { window: window.max(1), joint_min: joint_min(window, coverage_min), bars: VecDeque::new(), products }
    }

    /// The next bar: each symbol's log return in units of 1e-7 ([`super::units`], [`super::between`]), [`super::ABSENT`] where it has none. Missing at the end: absent.
    /// More than there are symbols: left out.
    pub fn push(&mut self, returns: &[i32]) {
        let row = &returns[..returns.len().min(self.products.symbols())];
        let gone = if self.bars.len() == self.window { self.bars.pop_front() } else { None };
        self.products.exchange(row, gone.as_deref().unwrap_or_default());
        self.bars.push_back(row.into());
    }

    /// Pearson's correlation of two different symbols, within ±0.9999.
    #[must_use]
    pub fn r(&self, a: usize, b: usize) -> Option<f64> {
        let joint = self.products.joint(a, b);
        if joint.bars >= self.joint_min { joint.r() } else { None }
    }

    /// All correlations: (0, 1), (0, 2), (1, 2), (0, 3), … NaN where there is none.
    #[must_use]
    pub fn triangle(&self) -> Vec<f64> {
        let (among, mut triangle): (Vec<usize>, _) = ((0..self.products.symbols()).collect(), Vec::new());
        self.products.triangle(&among, self.joint_min, &mut triangle);
        triangle
    }

    /// The slope of `symbol` on `benchmark`: covariance / the benchmark's variance.
    #[must_use]
    pub fn beta(&self, symbol: usize, benchmark: usize) -> Option<f64> {
        let joint = self.products.joint(symbol, benchmark);
        let [covariance, _, variance] = joint.moments();
        (joint.bars >= self.joint_min && variance > 0.0).then(|| covariance / variance)
    }

    /// The first eigenvector of the correlation matrix of `among`, symbols whose pairs are all there ([`Self::covered`]).
    #[must_use]
    pub fn first_eigenvector(&self, among: &[usize]) -> Option<First> {
        let mut triangle = Vec::new();
        self.products.triangle(among, self.joint_min, &mut triangle);
        eigen::first(among.len(), &triangle)
    }

    /// Symbols that move and lack so few bars that any two of them have enough in common.
    #[must_use]
    pub fn covered(&self) -> Vec<usize> {
        let enough = bars_min(self.window, self.joint_min);
        (0..self.products.symbols())
            .filter(|&symbol| self.products.bars_of(symbol) >= enough && self.products.variance(symbol) > 0.0)
            .collect()
    }

    /// The first eigenvector's share of the variance of all [`covered`](Self::covered) symbols (Kritzman et al., 2011). `None` of fewer than two.
    #[must_use]
    pub fn absorption_ratio(&self) -> Option<f64> {
        let among = self.covered();
        let first = if among.len() >= 2 { self.first_eigenvector(&among) } else { None };
        first.map(|first| first.value / among.len() as f64)
    }
}

/// The fewest bars that are `coverage_min` of `window`.
pub(crate) fn joint_min(window: usize, coverage_min: f64) -> u32 {
    (1..=window.max(1)).find(|&bars| bars as f64 >= coverage_min * window as f64).unwrap_or(window).max(2) as u32
}

/// With so many bars each, any two symbols have `joint_min` in common.
pub(crate) fn bars_min(window: usize, joint_min: u32) -> u32 {
    (window as u32 + joint_min).div_ceil(2)
}
