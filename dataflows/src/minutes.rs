//! One value a minute (or an hour) of a bounded stretch of time, side by side, with gaps.

use std::collections::VecDeque;

/// Values by minute since the epoch. Those more than `keep` before the newest are forgotten.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Minutes<T> {
    first: i64,
    values: VecDeque<T>,
    keep: i64,
}

impl<T: Copy + Default + PartialEq> Minutes<T> {
    /// Nothing yet. `T::default()` stands for "absent".
    pub fn new(keep: i64) -> Self {
        Self { first: 0, values: VecDeque::new(), keep }
    }

    /// After the newest.
    pub fn end(&self) -> i64 {
        self.first + self.values.len() as i64
    }

    /// The earliest that could be known.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// What is known of `minute`.
    pub fn get(&self, minute: i64) -> Option<T> {
        let at = usize::try_from(minute - self.first).ok()?;
        self.values.get(at).copied().filter(|value| *value != T::default())
    }

    /// The last that is known in `from..=to`.
    pub fn last_in(&self, from: i64, to: i64) -> Option<T> {
        (from.max(self.first)..=to.min(self.end() - 1)).rev().find_map(|minute| self.get(minute))
    }

    /// Where `minute` is kept; makes room for it and forgets what has become too old. `None`: it is too old itself.
    pub fn slot(&mut self, minute: i64) -> Option<&mut T> {
        if self.values.is_empty() || minute - self.end() >= self.keep {
            self.values.clear();
            self.first = minute;
        }
        if minute < self.end() - self.keep {
            return None;
        }
        let (before, after) = (self.first - minute, minute + 1 - self.end());
        self.make_room(before.max(after).max(0));
        while minute < self.first {
            self.values.push_front(T::default());
            self.first -= 1;
        }
        while minute >= self.end() {
            self.values.push_back(T::default());
        }
        while self.values.len() as i64 > self.keep {
            self.values.pop_front();
            self.first += 1;
        }
        let at = usize::try_from(minute - self.first).ok()?;
        self.values.get_mut(at)
    }

    /// For `more` values. Grows by a quarter instead of doubling: thousands of these are kept for months.
    fn make_room(&mut self, more: i64) {
        let more = usize::try_from(more).unwrap_or(0);
        if self.values.len() + more > self.values.capacity() {
            self.values.reserve_exact(more.max(self.values.len() / 4 + 2));
        }
    }
}

/// A number that may be absent, in eight bytes.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Known(pub f64);

impl Known {
    /// Nothing, where it is NaN.
    pub fn of(value: f64) -> Self {
        if value.is_nan() { Self::default() } else { Self(value) }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_stretch_is_forgotten() {
        let mut minutes = Minutes::<u8>::new(5);
        let set = |minutes: &mut Minutes<u8>, minute, value| minutes.slot(minute).map(|slot| *slot = value).is_some();
        assert!(set(&mut minutes, 10, 1) && set(&mut minutes, 8, 2) && set(&mut minutes, 12, 3));
        assert_eq!((minutes.get(8), minutes.get(9), minutes.get(10), minutes.last_in(0, 11)), (Some(2), None, Some(1), Some(1)));
        assert!(set(&mut minutes, 14, 4) && !set(&mut minutes, 9, 9));
        assert_eq!((minutes.first(), minutes.get(8), minutes.get(10), minutes.end()), (10, None, Some(1), 15));
        assert!(set(&mut minutes, 100, 5) && !set(&mut minutes, 14, 6));
        assert_eq!((minutes.last_in(0, 99), minutes.get(100)), (None, Some(5)));
    }
}
