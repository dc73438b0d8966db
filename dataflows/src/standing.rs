//! The rows of one key that are out and can still change.

use crate::by_time::ByTime;
use crate::operators::replace;

/// By event time.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Standing<R>(ByTime<R>);

impl<R> Default for Standing<R> {
    fn default() -> Self {
        Self(ByTime::default())
    }
}

impl<R: Clone + PartialEq> Standing<R> {
    /// From `from` on the rows are `new`, in order of time, and no others. Says what changed.
    pub fn become_from<O>(&mut self, from: i64, new: Vec<(i64, R)>, wrap: impl Fn(R) -> O, changes: &mut Vec<(O, isize)>) {
        let is_extended = self.0.last().is_none_or(|(last, _)| last < from);
        let mut old = if is_extended { ByTime::default() } else { self.0.split_off(from) };
        for (ts, row) in new {
            replace(old.remove(ts), Some(row.clone()), &wrap, changes);
            self.0.insert(ts, row);
        }
        changes.extend(old.values().map(|gone| (wrap(gone.clone()), -1)));
    }

    /// What lies before `limit` stays as it is.
    pub fn forget_before(&mut self, limit: i64) {
        self.0.forget_before(limit);
    }
}
