//! The rows of one key that are out and can still change.

use std::collections::BTreeMap;

use crate::operators::replace;

/// By event time.
pub(crate) struct Standing<R>(BTreeMap<i64, R>);

impl<R> Default for Standing<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Clone + PartialEq> Standing<R> {
    /// From `from` on the rows are `new`, in order of time, and no others. Says what changed.
    pub fn become_from<O>(&mut self, from: i64, new: Vec<(i64, R)>, wrap: impl Fn(R) -> O, changes: &mut Vec<(O, isize)>) {
        let is_extended = self.0.last_key_value().is_none_or(|(&last, _)| last < from);
        let mut old = if is_extended { BTreeMap::new() } else { self.0.split_off(&from) };
        for (ts, row) in new {
            replace(old.remove(&ts), Some(row.clone()), &wrap, changes);
            self.0.insert(ts, row);
        }
        changes.extend(old.into_values().map(|gone| (wrap(gone), -1)));
    }

    /// What lies before `limit` stays as it is.
    pub fn forget_before(&mut self, limit: i64) {
        while let Some(first) = self.0.first_entry().filter(|first| *first.key() < limit) {
            first.remove();
        }
    }
}
