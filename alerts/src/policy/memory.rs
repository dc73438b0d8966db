//! What is forgotten, and when: what is done with at once, what ended after a while, what is too much when it comes.

use super::state::{Place, Seat, StateKey, Table};
use super::{Dropped, ENDED_MAX, Policy};

impl Policy {
    /// Forgets what is done with: an alert whose end there is nobody left to tell, a chart that was shown.
    pub(super) fn settle(&mut self, id: &str) {
        let Some(known) = self.known.get_mut(id) else { return };
        if known.seats.values().any(|seat| seat.place != Place::Idle) {
            return;
        }
        if let Some(at) = known.ended_at {
            self.forget(id);
            self.remember_ended(id.to_owned(), at);
            return;
        }
        // A chart shows the onset. Who is told on escalation has not seen it yet.
        let escalates = |name: &String, seat: &Seat| {
            let route = self.plan.route(name).map(|route| &self.plan.routes[route]);
            seat.is_matching && seat.escalated_at.is_none() && route.is_some_and(|route| route.escalation.is_some())
        };
        if known.alert.chart.is_some() && !known.seats.iter().any(|(name, seat)| escalates(name, seat)) {
            known.alert.chart = None;
            self.mark(id);
        }
    }

    fn forget(&mut self, id: &str) {
        for (group, ..) in self.seats(id) {
            self.leave(id, &group);
        }
        if let Some(known) = self.known.remove(id) {
            self.by_weight.remove(&(known.alert.event.severity, known.since, id.to_owned()));
        }
        self.mark(id);
    }

    pub(super) fn drop_lightest(&mut self, now: i64) {
        let Some((severity, _, id)) = self.by_weight.first().cloned() else { return };
        self.forget(&id);
        let released = self.sources.update(&self.plan.inhibitions, &id, None, now);
        self.release(&released, now);
        self.counters.dropped += 1;
        let reason = "more alerts fire than are remembered";
        self.last_dropped = Some(Dropped { id, severity, reason });
    }

    pub(super) fn remember_ended(&mut self, id: String, at: i64) {
        self.changes.insert(StateKey::of(Table::Ended, &id));
        if let Some(was) = self.ended.insert(id.clone(), at) {
            self.ended_by_time.remove(&(was, id.clone()));
        }
        self.ended_by_time.insert((at, id));
        while self.ended.len() > ENDED_MAX {
            self.forget_first_ended();
        }
    }

    pub(super) fn forget_first_ended(&mut self) {
        if let Some((_, id)) = self.ended_by_time.pop_first() {
            self.ended.remove(&id);
            self.changes.insert(StateKey::of(Table::Ended, &id));
        }
    }
}
