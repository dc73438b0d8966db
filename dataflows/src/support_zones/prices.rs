//! What an instrument was traded at: the last price of each second inside the correction horizon, the range of each minute of the window.

use std::collections::VecDeque;

use crate::model::{PrintOrder, SECOND_MS};

use super::minute_of;

/// An instrument's price path. Prices are whole units of 1e-12.
#[derive(Debug, Default)]
pub(super) struct Prices {
    /// The last print of each second with trades, rising. Its event time says which second.
    closes: VecDeque<(PrintOrder, i64)>,
    /// The range of each minute with trades, rising.
    ranges: VecDeque<(i64, Range)>,
}

/// Lowest and highest price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub low: i64,
    pub high: i64,
}

impl Prices {
    /// Takes in prints of one second. True: a last price or a range is another now.
    pub fn add(&mut self, close: (PrintOrder, i64), range: Range) -> bool {
        let second = second_of(&close);
        let is_wider = match entry(&mut self.ranges, minute_of(second), |known| known.0) {
            Ok((_, known)) => {
                let widened = Range { low: known.low.min(range.low), high: known.high.max(range.high) };
                std::mem::replace(known, widened) != widened
            }
            Err(at) => {
                self.ranges.insert(at, (minute_of(second), range));
                true
            }
        };
        match entry(&mut self.closes, second, second_of) {
            Ok(known) => {
                let before = known.1;
                *known = (*known).max(close);
                is_wider || known.1 != before
            }
            Err(at) => {
                self.closes.insert(at, close);
                true
            }
        }
    }

    /// Forgets last prices before `second` and ranges before `minute`.
    pub fn forget_before(&mut self, second: i64, minute: i64) {
        while self.closes.front().is_some_and(|first| second_of(first) < second) {
            self.closes.pop_front();
        }
        while self.ranges.front().is_some_and(|first| first.0 < minute) {
            self.ranges.pop_front();
        }
    }

    /// The last price up to the end of `second`, traded not longer ago than `look_back_secs`.
    pub fn at(&self, second: i64, look_back_secs: i64) -> Option<i64> {
        let before = self.closes.partition_point(|known| second_of(known) <= second).checked_sub(1)?;
        self.closes.get(before).filter(|known| second_of(known) >= second - look_back_secs).map(|known| known.1)
    }

    /// The minutes with trades in (after, to], with their ranges.
    pub fn ranges(&self, after: i64, to: i64) -> impl Iterator<Item = &(i64, Range)> {
        let up_to = |minute| self.ranges.partition_point(|known| known.0 <= minute);
        self.ranges.range(up_to(after)..up_to(to.max(after)))
    }
}

/// The entry of `key`, or where it belongs. Nearly always it is the last one or the next.
fn entry<T>(sorted: &mut VecDeque<T>, key: i64, key_of: impl Fn(&T) -> i64) -> Result<&mut T, usize> {
    let at = match sorted.back().map(&key_of) {
        Some(last) if last == key => sorted.len() - 1,
        Some(last) if last > key => sorted.partition_point(|known| key_of(known) < key),
        _ => return Err(sorted.len()),
    };
    match sorted.get_mut(at) {
        Some(known) if key_of(known) == key => Ok(known),
        _ => Err(at),
    }
}

fn second_of(close: &(PrintOrder, i64)) -> i64 {
    close.0.0.div_euclid(SECOND_MS)
}
