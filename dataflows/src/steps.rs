//! A quantity that venues report now and then (a mark price, a funding rate) as a step function of event time.

use crate::by_time::ByTime;

/// The last observation of each minute. Observations may come in any order and repeatedly.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Steps<V>(ByTime<((i64, u64), V)>);

impl<V> Default for Steps<V> {
    fn default() -> Self {
        Self(ByTime::default())
    }
}

impl<V: Copy + Ord> Steps<V> {
    /// Takes in what was reported at (`ts`, `order`), inside `minute`. Equal times are decided by the value, so that no order of arrival matters.
    pub fn observe(&mut self, minute: i64, at: (i64, u64), value: V) {
        let slot = self.0.get_or_insert_with(minute, || (at, value));
        *slot = (*slot).max((at, value));
    }

    /// The last value observed by the end of `minute`, and the minute of its observation.
    pub fn at(&self, minute: i64) -> Option<(i64, V)> {
        self.0.range(..=minute).next_back().map(|(seen, &(_, value))| (seen, value))
    }

    /// The next minute after `minute` with an observation.
    pub fn next_after(&self, minute: i64) -> Option<i64> {
        self.0.range(minute + 1..).next().map(|(next, _)| next)
    }

    /// Drops what lies before `minute` and repeats the observation before it: the function stays as it is.
    pub fn forget_repeats_before(&mut self, minute: i64) {
        let mut last = None;
        self.0.retain(|at, (_, value)| at >= minute || last.replace(*value) != Some(*value));
    }

    /// Drops what lies before `minute`, but for the last observation, which still holds.
    pub fn forget_before(&mut self, minute: i64) {
        let last = self.0.range(..=minute).next_back().map(|(last, _)| last);
        last.into_iter().for_each(|last| self.0.forget_before(last));
    }
}
