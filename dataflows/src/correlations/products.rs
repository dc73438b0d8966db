//! Running sums of the products of all pairs of returns over a window of bars: exact, so that a bar can be taken out again.
//!
//! One bar in and one bar out is a rank-one update and a rank-one downdate, 125,000 multiplications for 500 symbols. Where a symbol lacks bars,
//! a pair counts the bars that both have: beside each such symbol stand the sums of all others over the bars that it lacks, which
//! are taken off theirs. A complete market pays nothing for that.
//!
//! Limits: a sum of products fits 64 bits for 360,000 bars at the clip; up to 428 bars the correlation's numerator does too.

use super::returns::ABSENT;

/// The largest |r| that is said.
pub const R_MAX: f64 = 0.9999;
/// n·Σxy of so many bars at the clip is below 2^63.
const NARROW_BARS: u32 = 428;

/// Sums over one or two series' joint bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Joint {
    /// Bars that both have.
    pub bars: u32,
    /// Σx and Σy.
    pub sums: [i64; 2],
    /// Σx² and Σy².
    pub squares: [i64; 2],
    /// Σxy.
    pub products: i64,
}

impl Joint {
    /// n·Σxy − Σx·Σy, n·Σx² − (Σx)², n·Σy² − (Σy)²: n² times covariance and variances, without any rounding but the last.
    #[must_use]
    #[inline]
    pub fn moments(&self) -> [f64; 3] {
        let Self { bars, sums: [x, y], squares: [xx, yy], products: xy } = *self;
        let centred = |product: i64, a: i64, b: i64| {
            if bars <= NARROW_BARS {
                (i64::from(bars) * product - a * b) as f64
            } else {
                (i128::from(bars) * i128::from(product) - i128::from(a) * i128::from(b)) as f64
            }
        };
        [centred(xy, x, y), centred(xx, x, x), centred(yy, y, y)]
    }

    /// Pearson's correlation, within ±0.9999. `None` at zero variance.
    #[must_use]
    #[inline]
    pub fn r(&self) -> Option<f64> {
        let [covariance, x, y] = self.moments();
        (x > 0.0 && y > 0.0).then(|| correlation(covariance, x.sqrt().recip(), y.sqrt().recip()))
    }
}

/// From a covariance and the reciprocal deviations, the same for (x, y) and (y, x) to the bit.
#[inline]
fn correlation(covariance: f64, x: f64, y: f64) -> f64 {
    (covariance * (x * y)).clamp(-R_MAX, R_MAX)
}

/// Of one symbol over the bars that another lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Marginal {
    bars: u32,
    sum: i64,
    square: i64,
}

impl Marginal {
    #[inline]
    fn count(&mut self, value: i32, sign: i64) {
        self.bars = self.bars.wrapping_add_signed(sign as i32);
        self.sum += sign * i64::from(value);
        self.square += sign * i64::from(value) * i64::from(value);
    }
}

/// The sums of all symbols and pairs. Symbols are numbered from 0; a bar is a row of returns, shorter where symbols came later.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CrossProducts {
    bars: u32,
    all: Vec<Marginal>,
    /// Σxy of the pair (a, b), a < b, at b(b − 1)/2 + a: a new symbol's pairs come last.
    pairs: Vec<i64>,
    /// Per symbol that has some but not all bars: the others over the bars that it lacks.
    lacking: Vec<Option<Box<[Marginal]>>>,
    wide: [Vec<i64>; 2],
}

/// Where the pair (a, b) stands, a ≠ b.
#[must_use]
#[inline]
pub fn pair(a: usize, b: usize) -> usize {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    high * (high - 1) / 2 + low
}

/// A symbol's return in a row.
#[must_use]
#[inline]
pub fn value(row: &[i32], symbol: usize) -> Option<i32> {
    row.get(symbol).copied().filter(|&value| value != ABSENT)
}

impl CrossProducts {
    /// Number of symbols.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.all.len()
    }

    /// Makes room for `symbols`.
    pub fn grow(&mut self, symbols: usize) {
        if symbols > self.all.len() {
            self.all.resize(symbols, Marginal::default());
            self.lacking.resize(symbols, None);
            self.pairs.resize(symbols * symbols.saturating_sub(1) / 2, 0);
            for others in self.lacking.iter_mut().flatten() {
                let mut longer = std::mem::take(others).into_vec();
                longer.resize(symbols, Marginal::default());
                *others = longer.into_boxed_slice();
            }
        }
    }

    /// Takes one bar in and another out, either of which may be empty. Rows are no longer than there are symbols.
    pub fn exchange(&mut self, added: &[i32], removed: &[i32]) {
        self.remove(removed);
        self.add(added);
        let [plus, minus] = &mut self.wide;
        for (wide, row) in [(&mut *plus, added), (&mut *minus, removed)] {
            wide.clear();
            wide.extend(row.iter().map(|&value| if value == ABSENT { 0 } else { i64::from(value) }));
            wide.resize(self.all.len(), 0);
        }
        let mut rest = &mut self.pairs[..];
        for high in 1..self.all.len() {
            let (row, after) = rest.split_at_mut(high);
            rest = after;
            let (x, y) = (plus[high], minus[high]);
            if x == 0 && y == 0 {
                continue;
            }
            for ((sum, &a), &b) in row.iter_mut().zip(&plus[..high]).zip(&minus[..high]) {
                *sum += a * x - b * y;
            }
        }
    }

    fn add(&mut self, row: &[i32]) {
        if row.iter().all(|&value| value == ABSENT) {
            return;
        }
        for symbol in 0..self.all.len() {
            let is_there = value(row, symbol).is_some();
            if is_there && self.all[symbol].bars == 0 && self.bars > 0 {
                self.lacking[symbol] = Some(self.all.clone().into_boxed_slice()); // it lacked every bar so far
            } else if !is_there && self.all[symbol].bars > 0 {
                self.lack(symbol, row, 1);
            }
        }
        self.bars += 1;
        self.count(row, 1);
    }

    fn remove(&mut self, row: &[i32]) {
        if row.iter().all(|&value| value == ABSENT) {
            return;
        }
        for symbol in 0..self.all.len() {
            if value(row, symbol).is_none() && self.all[symbol].bars > 0 {
                self.lack(symbol, row, -1);
            }
        }
        self.bars -= 1;
        self.count(row, -1);
        for (of, lacking) in self.all.iter().zip(&mut self.lacking) {
            if of.bars == 0 || of.bars == self.bars {
                *lacking = None;
            }
        }
    }

    fn lack(&mut self, symbol: usize, row: &[i32], sign: i64) {
        let symbols = self.all.len();
        let others = self.lacking[symbol].get_or_insert_with(|| vec![Marginal::default(); symbols].into_boxed_slice());
        for (other, &value) in others.iter_mut().zip(row) {
            if value != ABSENT {
                other.count(value, sign);
            }
        }
    }

    fn count(&mut self, row: &[i32], sign: i64) {
        for (of, &value) in self.all.iter_mut().zip(row) {
            if value != ABSENT {
                of.count(value, sign);
            }
        }
    }

    /// Bars that any symbol has.
    #[must_use]
    pub fn bars(&self) -> u32 {
        self.bars
    }

    /// Bars that a symbol has.
    #[must_use]
    pub fn bars_of(&self, symbol: usize) -> u32 {
        self.all[symbol].bars
    }

    /// It has all bars that any symbol has.
    #[must_use]
    pub fn is_complete(&self, symbol: usize) -> bool {
        self.lacking[symbol].is_none() && self.all[symbol].bars > 0
    }

    /// n²·variance of a symbol over the bars that it has.
    #[must_use]
    pub fn variance(&self, symbol: usize) -> f64 {
        let Marginal { bars, sum, square } = self.all[symbol];
        Joint { bars, sums: [sum, sum], squares: [square, square], products: square }.moments()[0]
    }

    /// The sums of a pair over its joint bars, in the order asked for.
    #[must_use]
    #[inline]
    pub fn joint(&self, a: usize, b: usize) -> Joint {
        if self.all[a].bars == 0 || self.all[b].bars == 0 {
            return Joint::default(); // what such a symbol lacks is not kept
        }
        let over = |of: usize, with: usize| {
            let lacks = self.lacking[with].as_ref().map_or(Marginal::default(), |others| others[of]);
            let all = self.all[of];
            Marginal { bars: all.bars - lacks.bars, sum: all.sum - lacks.sum, square: all.square - lacks.square }
        };
        let (x, y) = (over(a, b), over(b, a));
        Joint { bars: x.bars, sums: [x.sum, y.sum], squares: [x.square, y.square], products: self.pairs[pair(a, b)] }
    }

    /// Correlations of all pairs of `among`, in the order of a triangle: (0, 1), (0, 2), (1, 2), (0, 3), … NaN where there is none: fewer
    /// than `joint_min` joint bars, or zero variance.
    pub fn triangle(&self, among: &[usize], joint_min: u32, triangle: &mut Vec<f64>) {
        triangle.clear();
        triangle.reserve(among.len() * among.len().saturating_sub(1) / 2);
        // Over the same bars the deviations are the symbols' own.
        let deviation = |&symbol: &usize| if self.is_complete(symbol) { self.variance(symbol).sqrt().recip() } else { f64::NAN };
        let deviations: Vec<f64> = among.iter().map(deviation).collect();
        let plain = self.bars >= joint_min;
        for (high, &b) in among.iter().enumerate() {
            for (low, &a) in among[..high].iter().enumerate() {
                let (x, y) = (deviations[low], deviations[high]);
                let r = if plain && (x * y).is_finite() {
                    let product = self.pairs[pair(a, b)];
                    correlation(self.covariance(product, self.all[a].sum, self.all[b].sum), x, y)
                } else {
                    let joint = self.joint(a, b);
                    if joint.bars >= joint_min { joint.r().unwrap_or(f64::NAN) } else { f64::NAN }
                };
                triangle.push(r);
            }
        }
    }

    #[inline]
    fn covariance(&self, product: i64, a: i64, b: i64) -> f64 {
        if self.bars <= NARROW_BARS {
            (i64::from(self.bars) * product - a * b) as f64
        } else {
            (i128::from(self.bars) * i128::from(product) - i128::from(a) * i128::from(b)) as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn naive(rows: &[&Vec<i32>], a: usize, b: usize) -> Joint {
        let mut joint = Joint::default();
        for (x, y) in rows.iter().filter_map(|row| Some((i64::from(value(row, a)?), i64::from(value(row, b)?)))) {
            joint.bars += 1;
            joint.sums = [joint.sums[0] + x, joint.sums[1] + y];
            joint.squares = [joint.squares[0] + x * x, joint.squares[1] + y * y];
            joint.products += x * y;
        }
        joint
    }

    fn check(products: &CrossProducts, rows: &[&Vec<i32>]) {
        let symbols = products.symbols();
        for a in 0..symbols {
            for b in (0..symbols).filter(|&b| b != a) {
                assert_eq!(products.joint(a, b), naive(rows, a, b), "{a} {b} of {rows:?}");
            }
        }
        let among: Vec<usize> = (0..symbols).rev().collect();
        let mut triangle = Vec::new();
        products.triangle(&among, 2, &mut triangle);
        for (high, &b) in among.iter().enumerate() {
            for (low, &a) in among[..high].iter().enumerate() {
                let joint = naive(rows, a, b);
                let expected = if joint.bars < 2 { None } else { joint.r() };
                let ours = Some(triangle[pair(low, high)]).filter(|r| !r.is_nan());
                assert_eq!(ours.is_some(), expected.is_some());
                assert!((ours.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12);
            }
        }
    }

    proptest! {
        /// Bars come in, older ones go out, and the newest are taken back: the sums are those of the bars that are in.
        #[test]
        fn sums_are_those_of_the_bars_inside(
            rows in vec(vec(prop_oneof![2 => Just(ABSENT), 5 => -3i32..3, 1 => Just(-5_000_000), 1 => Just(5_000_000)], 0..6), 1..25),
            window in 1usize..8,
            back in 0usize..10,
        ) {
            let (mut products, nothing) = (CrossProducts::default(), Vec::new());
            let of = |at: usize| at.checked_sub(window).map_or(&nothing, |at| &rows[at]);
            for (at, row) in rows.iter().enumerate() {
                products.grow(row.len());
                products.exchange(row, of(at));
                check(&products, &rows[(at + 1).saturating_sub(window)..=at].iter().collect::<Vec<_>>());
            }
            for at in (0..rows.len()).rev().take(back) {
                products.exchange(of(at), &rows[at]);
                check(&products, &rows[at.saturating_sub(window)..at].iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn long_windows_at_the_clip_do_not_overflow() {
        let mut products = CrossProducts::default();
        products.grow(2);
        for i in 0..10_000 {
            let x = if i % 2 == 0 { 5_000_000 } else { -4_999_999 };
            products.exchange(&[x, -x], &[]);
        }
        assert_eq!(products.joint(0, 1).r(), Some(-R_MAX));
    }
}
