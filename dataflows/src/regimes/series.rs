//! One instrument's feature rows of one time frame, in order, packed.

use std::collections::VecDeque;

/// Rows by the opening of their bar; each as wide as a row of features. NaN: not known.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Series {
    width: usize,
    times: VecDeque<i64>,
    values: VecDeque<f64>,
}

impl Series {
    pub fn new(width: usize) -> Self {
        Self { width, times: VecDeque::new(), values: VecDeque::new() }
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn ts(&self, at: usize) -> i64 {
        self.times[at]
    }

    /// The place of the first row at or after `ts`.
    pub fn place(&self, ts: i64) -> usize {
        match (self.times.front(), self.times.back()) {
            (Some(&first), _) if ts <= first => 0,
            (_, Some(&last)) if last < ts => self.len(),
            (_, Some(&last)) if last == ts => self.len() - 1,
            _ => self.times.partition_point(|&time| time < ts),
        }
    }

    pub fn value(&self, at: usize, column: usize) -> f64 {
        self.values[at * self.width + column]
    }

    pub fn set(&mut self, ts: i64, row: impl Iterator<Item = f64>) {
        let at = self.place(ts);
        if at == self.len() {
            self.times.push_back(ts);
            self.values.extend(row.take(self.width));
            return;
        }
        let is_new = self.times[at] != ts;
        if is_new {
            self.times.insert(at, ts);
        }
        for (column, value) in row.take(self.width).enumerate() {
            let place = at * self.width + column;
            if is_new { self.values.insert(place, value) } else { self.values[place] = value }
        }
    }

    pub fn remove(&mut self, ts: i64) {
        let at = self.place(ts);
        if self.times.get(at) == Some(&ts) {
            self.times.remove(at);
            self.values.drain(at * self.width..(at + 1) * self.width);
        }
    }

    pub fn forget_first(&mut self, rows: usize) {
        self.times.drain(..rows);
        self.values.drain(..rows * self.width);
    }
}
