//! What has to be done when.
//!
//! What is due at the same call is done in the order of [`Task`], not of its times: whether a task was set early (after a
//! restart all are looked at) or exactly, the notices come in the same order.

use std::collections::{BTreeMap, BTreeSet};

/// A group of a route: the route's index, the group's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId {
    pub route: usize,
    pub key: String,
}

/// Something to do, in the order in which it is done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// A silence or an inhibition's hold ends: look at what was muted.
    Wake,
    /// Tell a group's news.
    News(GroupId),
    /// Quiet hours end: tell what was held.
    Digest,
    /// Remind and escalate.
    Care(GroupId),
}

/// Tasks by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    by_time: BTreeSet<(i64, Task)>,
    at: BTreeMap<Task, i64>,
}

impl Agenda {
    pub fn next(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub fn set(&mut self, task: Task, at: i64) {
        self.cancel(&task);
        self.by_time.insert((at, task.clone()));
        self.at.insert(task, at);
    }

    /// Sets it unless it is due earlier.
    pub fn sooner(&mut self, task: Task, at: i64) {
        if self.at.get(&task).is_none_or(|was| at < *was) {
            self.set(task, at);
        }
    }

    pub fn cancel(&mut self, task: &Task) {
        if let Some(at) = self.at.remove(task) {
            self.by_time.remove(&(at, task.clone()));
        }
    }

    /// Takes the tasks that are due.
    pub fn take_due(&mut self, now: i64, into: &mut BTreeSet<Task>) {
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, task)) = self.by_time.pop_first() {
                self.at.remove(&task);
                into.insert(task);
            }
        }
    }
}
