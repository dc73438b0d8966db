//! Who has to be looked at when, by the time of its venue, so that a quantum costs what is due in it and not what exists.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::model::{InstrumentId, Venue};

/// Instruments by the time at which something of theirs happens by itself. Each stands at one time at most.
#[derive(Debug, Default)]
pub(crate) struct Due {
    times: FxHashMap<InstrumentId, i64>,
    queues: [BTreeSet<(i64, InstrumentId)>; Venue::ALL.len()],
}

impl Due {
    /// From now on `id` is due at `time` of its venue's clock, or never.
    pub fn of(&self, id: InstrumentId) -> Option<i64> {
        self.times.get(&id).copied()
    }

    pub fn set(&mut self, venue: Venue, id: InstrumentId, time: Option<i64>) {
        let old = match time {
            Some(time) => self.times.insert(id, time),
            None => self.times.remove(&id),
        };
        if old == time {
            return;
        }
        let Some(queue) = self.queues.get_mut(venue as usize) else { return }; // nothing trades on all venues together
        old.map(|old| queue.remove(&(old, id)));
        queue.extend(time.map(|time| (time, id)));
    }

    /// Moves those of `venue` that are due at `now` to `found`.
    pub fn take(&mut self, venue: Venue, now: i64, found: &mut Vec<InstrumentId>) {
        let Some(queue) = self.queues.get_mut(venue as usize) else { return };
        while let Some(&(time, id)) = queue.first().filter(|(time, _)| *time <= now) {
            queue.remove(&(time, id));
            self.times.remove(&id);
            found.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_due_once_and_at_its_last_time() {
        let (mut due, venue, mut found) = (Due::default(), Venue::OkxSwap, Vec::new());
        let id = InstrumentId;
        due.set(venue, id(1), Some(5));
        due.set(venue, id(1), Some(7));
        due.set(venue, id(2), Some(6));
        due.set(venue, id(3), Some(6));
        due.set(venue, id(3), None);
        due.set(Venue::BybitLinear, id(4), Some(1));
        due.take(venue, 5, &mut found);
        assert_eq!(found, []);
        due.take(venue, 7, &mut found);
        assert_eq!(found, [id(2), id(1)]);
        due.take(venue, 100, &mut found);
        assert_eq!(found.len(), 2);
    }
}
