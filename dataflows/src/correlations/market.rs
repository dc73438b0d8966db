//! Each symbol against the rest of the market: the equal-weighted mean return of all other symbols, in whole units.
//!
//! A symbol is left out of its own market, or among few symbols it would mostly meet itself. The mean exists where at least ten others have the
//! bar. Sums are exact, as those of pairs.

use super::products::{Joint, value};
use super::returns::ABSENT;

/// Others that a market needs.
const OTHERS_MIN: i64 = 10;

/// Running sums of each symbol and its market.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Against(Vec<Joint>);

/// A bar's sum over all symbols, and their number.
#[derive(Clone, Copy)]
pub(super) struct Total {
    sum: i64,
    symbols: i64,
}

impl Total {
    pub fn of(row: &[i32]) -> Self {
        let there = row.iter().filter(|&&value| value != ABSENT);
        there.fold(Self { sum: 0, symbols: 0 }, |t, &value| Self { sum: t.sum + i64::from(value), symbols: t.symbols + 1 })
    }

    /// The mean of all but one symbol that has `own`, half away from zero.
    pub fn without(self, own: i32) -> Option<i64> {
        let (sum, others) = (self.sum - i64::from(own), self.symbols - 1);
        let half = others / 2 * sum.signum();
        (others >= OTHERS_MIN).then(|| (sum + half) / others)
    }
}

impl Against {
    pub fn grow(&mut self, symbols: usize) {
        if symbols > self.0.len() {
            self.0.resize(symbols, Joint::default());
        }
    }

    /// Takes one bar in and another out.
    pub fn exchange(&mut self, added: &[i32], removed: &[i32]) {
        for (row, sign) in [(removed, -1), (added, 1)] {
            let total = Total::of(row);
            for (symbol, joint) in self.0.iter_mut().enumerate() {
                let Some(own) = value(row, symbol) else { continue };
                let Some(market) = total.without(own) else { continue };
                let own = i64::from(own);
                joint.bars = joint.bars.wrapping_add_signed(sign as i32);
                joint.sums = [joint.sums[0] + sign * own, joint.sums[1] + sign * market];
                joint.squares = [joint.squares[0] + sign * own * own, joint.squares[1] + sign * market * market];
                joint.products += sign * own * market;
            }
        }
    }

    pub fn joint(&self, symbol: usize) -> Joint {
        self.0[symbol]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_leaves_the_symbol_out_and_rounds_half_away() {
        let row: Vec<i32> = (0..11).map(|i| if i == 0 { 1_000 } else { i }).chain([ABSENT]).collect();
        assert_eq!(Total::of(&row).without(1_000), Some(6), "5.5");
        let falling: Vec<i32> = row.iter().map(|&x| if x == ABSENT { x } else { -x }).collect();
        assert_eq!(Total::of(&falling).without(-1_000), Some(-6));
        assert_eq!(Total::of(&row[1..]).without(1), None, "nine others");
    }
}
