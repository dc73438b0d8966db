//! Last prices by second, for a cascade's price move.

use std::collections::VecDeque;

use crate::model::{Aggregate, PrintOrder};

/// How far before the onset the last trade may lie.
pub(super) const LOOK_BACK_SECS: i64 = 300;

/// Highest, lowest and last price of each second with trades. Fixed point, 12 decimals.
#[derive(Debug, Default)]
pub(super) struct Prices(VecDeque<Second>);

#[derive(Debug)]
struct Second {
    second: i64,
    high: i64,
    low: i64,
    close: (PrintOrder, i64),
}

impl Prices {
    /// Widens a second by what was traded in it; it may come in several parts, in any order.
    pub fn add(&mut self, second: i64, prints: &Aggregate) {
        let (high, low, close) = (prints.high.0, prints.low.0, (prints.close.0, prints.close.1.0));
        let at = self.0.partition_point(|s| s.second < second);
        match self.0.get_mut(at) {
            Some(known) if known.second == second => {
                known.high = known.high.max(high);
                known.low = known.low.min(low);
                known.close = known.close.max(close);
            }
            _ => self.0.insert(at, Second { second, high, low, close }),
        }
    }

    pub fn forget_before(&mut self, second: i64) {
        while self.0.front().is_some_and(|first| first.second < second) {
            self.0.pop_front();
        }
    }

    /// From the last price at `onset` to the price furthest from it up to `last`, basis points, signed.
    pub fn move_bps(&self, onset: i64, last: i64) -> Option<f64> {
        let until = |second: i64| self.0.partition_point(|s| s.second <= second);
        let base = self.0.get(until(onset).checked_sub(1)?).filter(|s| s.second >= onset - LOOK_BACK_SECS)?.close.1;
        let life = self.0.range(until(onset)..until(last).max(until(onset)));
        let (high, low) = life.fold((base, base), |(high, low), s| (high.max(s.high), low.min(s.low)));
        let furthest = if high - base >= base - low { high } else { low };
        Some((furthest - base) as f64 / base as f64 * 1e4)
    }
}
