//! Which prints have been seen: de-duplication by the venue's own ids, exact and small.
//!
//! Dense ids (Binance) become a few disjoint ranges; unique names (Bybit) are kept by event minute for as long as an event
//! can still be applied. Limits: 4,096 ranges an instrument (the lowest are then closed up, so a print older than 4,096
//! holes counts as seen); names live for the correction horizon.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use crate::model::{MINUTE_MS, Seen, Trade, TradeId};

const RANGES_MAX: usize = 4_096;

/// The prints of one instrument that were seen.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SeenPrints {
    ranges: Ranges,
    names: SeenNames<(u64, u64)>,
}

impl SeenPrints {
    /// Marks a print. False: it was there before, wholly or in part.
    #[inline]
    pub fn insert(&mut self, trade: &Trade) -> bool {
        match trade.id {
            TradeId::Dense(first, last) => self.ranges.insert(first, last),
            TradeId::Unique(high, low) => self.names.insert(trade.ts, (high, low)),
        }
    }

    /// Marks what was seen before a restart.
    pub fn restore(&mut self, seen: Seen) {
        match seen {
            Seen::Dense { first, last, .. } => self.ranges.insert(first, last),
            Seen::Unique { ts, name, .. } => self.names.insert(ts, name),
        };
    }

    /// Forgets names of events before `ts`.
    pub fn forget_before(&mut self, ts: i64) {
        self.names.forget_before(ts);
    }
}

/// Names of events, by event minute.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(bound(deserialize = "N: std::hash::Hash + Eq + serde::Deserialize<'de>"))]
pub struct SeenNames<N> {
    by_minute: BTreeMap<i64, FxHashSet<N>>,
}

impl<N> Default for SeenNames<N> {
    fn default() -> Self {
        Self { by_minute: BTreeMap::new() }
    }
}

impl<N: std::hash::Hash + Eq> SeenNames<N> {
    /// Marks a name. False: it was there before.
    pub fn insert(&mut self, ts: i64, name: N) -> bool {
        self.by_minute.entry(ts.div_euclid(MINUTE_MS)).or_default().insert(name)
    }

    /// Forgets names of events before `ts`.
    pub fn forget_before(&mut self, ts: i64) {
        let minute = ts.div_euclid(MINUTE_MS);
        while self.by_minute.first_key_value().is_some_and(|(&first, _)| first < minute) {
            self.by_minute.pop_first();
        }
    }
}

/// Disjoint inclusive ranges, not adjacent, rising. Most often just one, and the next id extends it.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    #[inline]
    fn insert(&mut self, first: u64, last: u64) -> bool {
        if last < first {
            return false;
        }
        match self.0.last_mut() {
            Some(top) if top.1.checked_add(1) == Some(first) => {
                top.1 = last;
                return true;
            }
            Some(top) if top.1 >= first => return self.insert_below(first, last),
            _ => self.0.push((first, last)),
        }
        self.close_up();
        true
    }

    fn insert_below(&mut self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < first); // the first range that ends at or after `first`
        if self.0[at].0 <= last {
            return false;
        }
        let joins_left = at > 0 && self.0[at - 1].1 + 1 == first;
        let joins_right = last + 1 == self.0[at].0;
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = last,
            (false, true) => self.0[at].0 = first,
            (false, false) => self.0.insert(at, (first, last)),
        }
        self.close_up();
        true
    }

    fn close_up(&mut self) {
        if self.0.len() > RANGES_MAX {
            self.0[1].0 = self.0[0].0;
            self.0.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    proptest::proptest! {
        #[test]
        fn ranges_are_a_set_of_ids(inserts in proptest::collection::vec((0u64..60, 0u64..4), 0..120)) {
            let (mut ranges, mut ids) = (Ranges::default(), HashSet::new());
            for (first, length) in inserts {
                let span = first..=first + length;
                let is_new = span.clone().all(|id| !ids.contains(&id));
                proptest::prop_assert_eq!(ranges.insert(first, first + length), is_new);
                if is_new {
                    ids.extend(span);
                }
                proptest::prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }

    #[test]
    fn holes_are_bounded() {
        let mut ranges = Ranges::default();
        for i in 0..2 * RANGES_MAX as u64 {
            assert!(ranges.insert(i * 10, i * 10));
        }
        assert_eq!(ranges.0.len(), RANGES_MAX);
        assert!(!ranges.insert(15, 15), "closed up");
        assert!(ranges.insert(u64::MAX, u64::MAX));
        assert!(!ranges.insert(u64::MAX, u64::MAX));
    }
}
