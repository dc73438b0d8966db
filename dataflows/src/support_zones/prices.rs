//! What an instrument was traded at: the last price of each second inside the correction horizon, the range of each minute of the window.

use crate::by_time::ByTime;
use crate::model::{PrintOrder, SECOND_MS};
use crate::prices::Prices as BySecond;

use super::minute_of;

/// An instrument's price path. Prices are whole units of 1e-12.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Prices {
    closes: BySecond,
    /// The range of each minute with trades.
    ranges: ByTime<Range>,
}

/// Lowest and highest price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Range {
    pub low: i64,
    pub high: i64,
}

impl Prices {
    /// Takes in prints of one second. True: a last price or a range is another now.
    pub fn add(&mut self, close: (PrintOrder, i64), range: Range) -> bool {
        let second = close.0.0.div_euclid(SECOND_MS);
        let is_wider = match self.ranges.get_mut(minute_of(second)) {
            Some(known) => {
                let widened = Range { low: known.low.min(range.low), high: known.high.max(range.high) };
                std::mem::replace(known, widened) != widened
            }
            None => self.ranges.insert(minute_of(second), range).is_none(),
        };
        self.closes.add(second, (close.1, close.1), close) || is_wider
    }

    /// Forgets last prices before the minute of `second` and ranges before `minute`.
    pub fn forget_before(&mut self, second: i64, minute: i64) {
        self.closes.forget_before(second);
        self.ranges.forget_before(minute);
    }

    /// The last price up to the end of `second`, traded not longer ago than `look_back_secs`.
    pub fn at(&self, second: i64, look_back_secs: i64) -> Option<i64> {
        self.closes.at(second, look_back_secs)
    }

    /// The minutes with trades in (after, to], with their ranges.
    pub fn ranges(&self, after: i64, to: i64) -> impl Iterator<Item = (i64, &Range)> {
        self.ranges.range(after + 1..=to)
    }
}
