//! The returns of the last bars, by bar.

use std::collections::VecDeque;

use super::returns::ABSENT;

/// Rows of returns, one a bar, one number a symbol. A row ends with the last symbol that has a return.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Rows {
    /// The bar of the first row.
    first: i64,
    rows: VecDeque<Vec<i32>>,
}

impl Rows {
    fn at(&self, bar: i64) -> Option<usize> {
        usize::try_from(bar - self.first).ok().filter(|&at| at < self.rows.len())
    }

    /// A bar's returns; empty where there are none.
    pub fn of(&self, bar: i64) -> &[i32] {
        self.at(bar).map_or(&[], |at| &self.rows[at])
    }

    pub fn set(&mut self, bar: i64, symbol: usize, value: i32) {
        if self.rows.is_empty() {
            self.first = bar;
        }
        while bar < self.first {
            self.rows.push_front(Vec::new());
            self.first -= 1;
        }
        while bar >= self.first + self.rows.len() as i64 {
            self.rows.push_back(Vec::new());
        }
        let Some(row) = self.at(bar).map(|at| &mut self.rows[at]) else { return };
        if row.len() <= symbol {
            row.resize(symbol + 1, ABSENT);
        }
        row[symbol] = value;
        while row.last() == Some(&ABSENT) {
            row.pop();
        }
    }

    /// The first bar from `bar` on that has returns.
    pub fn next_from(&self, bar: i64) -> Option<i64> {
        (bar.max(self.first)..self.first + self.rows.len() as i64).find(|&bar| !self.of(bar).is_empty())
    }

    pub fn forget_before(&mut self, bar: i64) {
        while self.first < bar && self.rows.pop_front().is_some() {
            self.first += 1;
        }
    }
}
