//! What may be forgotten: the knowledge time up to which every row is in ClickHouse or durable in the spool.

use std::collections::BTreeMap;

/// Knowledge times of rows that are neither yet.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// How many batches begin with a quantum of this time.
    outstanding: BTreeMap<u64, usize>,
    reached: u64,
}

impl Marks {
    /// A quantum has come, with rows for so many tables that had none waiting.
    pub fn reach(&mut self, known_at: u64, tables: usize) {
        self.reached = self.reached.max(known_at);
        if tables > 0 {
            *self.outstanding.entry(known_at).or_default() += tables;
        }
    }

    /// A batch that begins with a quantum of this time is safe.
    pub fn done(&mut self, known_at: u64) {
        if let Some(count) = self.outstanding.get_mut(&known_at) {
            *count -= 1;
            if *count == 0 {
                self.outstanding.remove(&known_at);
            }
        }
    }

    /// Every quantum that came with this time or an earlier one is safe.
    pub fn acknowledged(&self) -> u64 {
        self.outstanding.keys().next().map_or(self.reached, |&first| first.saturating_sub(1).min(self.reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_batch_holds_the_mark() {
        let mut marks = Marks::default();
        let check = |marks: &Marks, expected| assert_eq!(marks.acknowledged(), expected);
        check(&marks, 0);
        marks.reach(10, 0);
        check(&marks, 10); // nothing in it
        marks.reach(20, 2);
        marks.reach(30, 1);
        check(&marks, 19);
        marks.done(30); // another insert was quicker
        check(&marks, 19);
        marks.done(20);
        check(&marks, 19); // one of its two tables
        marks.done(20);
        check(&marks, 30);
        marks.reach(40, 0);
        check(&marks, 40);
    }
}
