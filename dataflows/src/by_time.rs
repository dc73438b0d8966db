//! Values by time: what views keep for the correction horizon.
//!
//! Nearly everything comes at the end and leaves at the front, so a sorted ring is smaller than a tree (whose nodes stay half empty when it
//! grows at one end only) and quicker. What comes late is put in between.

use std::collections::VecDeque;
use std::ops::{Bound, Range, RangeBounds};

/// An ordered map from a time (whatever its unit) to `T`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct ByTime<T>(VecDeque<(i64, T)>);

impl<T> Default for ByTime<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> ByTime<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<(i64, &T)> {
        self.0.front().map(|(at, value)| (*at, value))
    }

    pub fn last(&self) -> Option<(i64, &T)> {
        self.0.back().map(|(at, value)| (*at, value))
    }

    pub fn contains(&self, at: i64) -> bool {
        self.find(at).is_ok()
    }

    pub fn get(&self, at: i64) -> Option<&T> {
        self.find(at).ok().map(|place| &self.0[place].1)
    }

    pub fn get_mut(&mut self, at: i64) -> Option<&mut T> {
        self.find(at).ok().map(|place| &mut self.0[place].1)
    }

    /// What is kept of `at`; made by `new` if there was nothing.
    pub fn get_or_insert_with(&mut self, at: i64, new: impl FnOnce() -> T) -> &mut T {
        let place = self.find(at).unwrap_or_else(|place| {
            self.put(place, at, new());
            place
        });
        &mut self.0[place].1
    }

    /// Answers with what was there before.
    pub fn insert(&mut self, at: i64, value: T) -> Option<T> {
        match self.find(at) {
            Ok(place) => Some(std::mem::replace(&mut self.0[place].1, value)),
            Err(place) => {
                self.put(place, at, value);
                None
            }
        }
    }

    pub fn remove(&mut self, at: i64) -> Option<T> {
        let place = self.find(at).ok()?;
        self.0.remove(place).map(|(_, value)| value)
    }

    /// Sets what is kept of `at`, or that nothing is. Answers with what was there before.
    pub fn set(&mut self, at: i64, value: Option<T>) -> Option<T> {
        match value {
            Some(value) => self.insert(at, value),
            None => self.remove(at),
        }
    }

    /// In order. An empty or inverted range is empty.
    pub fn range(&self, range: impl RangeBounds<i64>) -> impl DoubleEndedIterator<Item = (i64, &T)> {
        self.0.range(self.places(range)).map(|(at, value)| (*at, value))
    }

    /// In order.
    pub fn range_mut(&mut self, range: impl RangeBounds<i64>) -> impl DoubleEndedIterator<Item = (i64, &mut T)> {
        let places = self.places(range);
        self.0.range_mut(places).map(|(at, value)| (*at, value))
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &T)> {
        self.range(..)
    }

    /// In order of time.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    pub fn pop_first(&mut self) -> Option<(i64, T)> {
        self.0.pop_front()
    }

    /// Drops what lies before `limit`.
    pub fn forget_before(&mut self, limit: i64) {
        while self.0.front().is_some_and(|(at, _)| *at < limit) {
            self.0.pop_front();
        }
        if self.0.capacity() > 2 * self.0.len() + 16 {
            self.0.shrink_to(self.0.len() + self.0.len() / 4);
        }
    }

    /// Takes out what lies at `from` and after it.
    pub fn split_off(&mut self, from: i64) -> Self {
        let place = self.0.partition_point(|(at, _)| *at < from);
        Self(self.0.split_off(place))
    }

    pub fn retain(&mut self, mut keep: impl FnMut(i64, &T) -> bool) {
        self.0.retain(|(at, value)| keep(*at, value));
    }

    fn find(&self, at: i64) -> Result<usize, usize> {
        match self.0.back() {
            Some((last, _)) if *last == at => Ok(self.0.len() - 1), // nearly always it is the last one or the next
            Some((last, _)) if *last > at => self.0.binary_search_by_key(&at, |(at, _)| *at),
            _ => Err(self.0.len()),
        }
    }

    /// Grows by a quarter instead of doubling: thousands of these are kept for months.
    fn put(&mut self, place: usize, at: i64, value: T) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(self.0.len() / 4 + 2);
        }
        if place == self.0.len() { self.0.push_back((at, value)) } else { self.0.insert(place, (at, value)) }
    }

    fn places(&self, range: impl RangeBounds<i64>) -> Range<usize> {
        let before = |limit: i64| self.0.partition_point(|(at, _)| *at < limit);
        let up_to = |limit: i64| self.0.partition_point(|(at, _)| *at <= limit);
        let from = match range.start_bound() {
            Bound::Included(&from) => before(from),
            Bound::Excluded(&from) => up_to(from),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&to) => up_to(to),
            Bound::Excluded(&to) => before(to),
            Bound::Unbounded => self.0.len(),
        };
        from..to.max(from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Do {
        Insert(i64),
        Remove(i64),
        Touch(i64),
        Forget(i64),
        SplitOff(i64),
    }

    fn anything() -> impl Strategy<Value = Do> {
        let at = || 0i64..40;
        prop_oneof![
            6 => at().prop_map(Do::Insert),
            2 => at().prop_map(Do::Remove),
            2 => at().prop_map(Do::Touch),
            1 => at().prop_map(Do::Forget),
            1 => at().prop_map(Do::SplitOff),
        ]
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_map(steps in prop::collection::vec(anything(), 1..80), (from, to) in (0i64..40, 0i64..40)) {
            let (mut line, mut map) = (ByTime::default(), BTreeMap::new());
            for (value, step) in steps.into_iter().enumerate() {
                match step {
                    Do::Insert(at) => prop_assert_eq!(line.insert(at, value), map.insert(at, value)),
                    Do::Remove(at) => prop_assert_eq!(line.remove(at), map.remove(&at)),
                    Do::Touch(at) => *line.get_or_insert_with(at, || 7) += *map.entry(at).and_modify(|known| *known += *known).or_insert(14) / 2,
                    Do::Forget(limit) => {
                        line.forget_before(limit);
                        map = map.split_off(&limit);
                    }
                    Do::SplitOff(limit) => prop_assert!(line.split_off(limit).values().eq(map.split_off(&limit).values())),
                }
                prop_assert!(line.iter().eq(map.iter().map(|(at, value)| (*at, value))));
            }
            let plain = |range: Range<i64>| map.iter().filter(|(at, _)| range.contains(at)).map(|(at, value)| (*at, value)).collect::<Vec<_>>();
            prop_assert_eq!(line.range(from..to).collect::<Vec<_>>(), plain(from..to));
            prop_assert_eq!(line.range(from..=to).collect::<Vec<_>>(), plain(from..to + 1));
            prop_assert_eq!(line.range(..=to).next_back(), plain(0..to + 1).last().copied());
            prop_assert_eq!((line.get(from), line.contains(from)), (map.get(&from), map.contains_key(&from)));
            prop_assert_eq!((line.first(), line.last()), (plain(0..99).first().copied(), plain(0..99).last().copied()));
        }
    }
}
