//! What a pushed alert changes: what is remembered of it, and its seats in the groups of the routes that it takes.

use std::sync::Arc;

use super::agenda::{GroupId, Task};
use super::plan::Plan;
use super::state::{Known, Place, Seat, StateKey, Table, is_finite};
use super::{ALERTS_MAX, ENDED_MS, PENDING_MAX, Policy};
use crate::alert::Alert;
use crate::event::Severity;

impl Policy {
    /// Takes in an alert. Nothing is told here: what there is to tell is pending afterwards.
    pub(super) fn take_in(&mut self, alert: Alert, now: i64) {
        let id = alert.id().to_owned();
        if self.ended.get(&id).is_some_and(|at| now < at.saturating_add(ENDED_MS)) {
            self.counters.repeated += 1;
            return;
        }
        match (self.known.get(&id), alert.is_firing()) {
            (None, true) => self.begin(id, alert, now),
            // Its begin was never seen, or has been dropped. It must not fire when it comes late.
            (None, false) => self.remember_ended(id, now),
            (Some(known), _) if !known.is_firing() => self.counters.repeated += 1,
            (Some(_), true) => self.go_on(&id, alert, now),
            (Some(_), false) => self.end(&id, alert, now),
        }
    }

    fn begin(&mut self, id: String, alert: Alert, now: i64) {
        let known = Known::new(alert, now);
        self.by_weight.insert((known.alert.event.severity, now, id.clone()));
        if known.alert.is_correction {
            self.counters.corrections += 1;
        }
        self.known.insert(id.clone(), Box::new(known));
        self.mark(&id);
        self.look_at_source(&id, now);
        self.reseat(&id);
        self.pend_news(&id, now, true);
        if self.known.get(&id).is_some_and(|known| known.seats.is_empty() && known.is_live()) {
            self.counters.unrouted += 1;
        }
        self.settle(&id);
        while self.known.len() > ALERTS_MAX {
            self.drop_lightest(now);
        }
    }

    fn go_on(&mut self, id: &str, mut alert: Alert, now: i64) {
        let Some(known) = self.known.get_mut(id) else { return };
        let was = known.alert.event.severity;
        alert.chart = alert.chart.filter(is_finite);
        if alert.is_correction && !known.alert.is_correction {
            // A correction may annotate what people know of, not make it graver.
            alert.is_correction = false;
            alert.event.severity = was;
        }
        let is_news = alert.event.severity > was || alert.is_correction != known.alert.is_correction;
        if !is_news && known.alert.chart.is_none() {
            alert.chart = None;
        }
        if known.alert == alert {
            self.counters.repeated += 1;
            return;
        }
        let severity = alert.event.severity;
        known.alert = alert;
        if known.ack.as_ref().is_some_and(|ack| severity > ack.severity) {
            known.ack = None;
            known.waits_from = Some(now);
        }
        let since = known.since;
        self.by_weight.remove(&(was, since, id.to_owned()));
        self.by_weight.insert((severity, since, id.to_owned()));
        self.mark(id);
        self.look_at_source(id, now);
        self.reseat(id);
        self.pend_news(id, now, true);
        self.attend(id, now);
        self.settle(id);
    }

    fn end(&mut self, id: &str, alert: Alert, now: i64) {
        let plan = Arc::clone(&self.plan);
        let Some(known) = self.known.get_mut(id) else { return };
        let was_live = known.is_live();
        self.by_weight.remove(&(known.alert.event.severity, known.since, id.to_owned()));
        self.by_weight.insert((alert.event.severity, known.since, id.to_owned()));
        known.ended_as = Some(known.severity_known());
        known.alert = alert;
        known.alert.chart = known.alert.chart.take().filter(is_finite);
        known.ended_at = Some(now);
        known.ack = None;
        close_untellable(&plan, known);
        let is_held = known.seats.values().any(|seat| seat.place == Place::Held);
        if was_live && known.told.is_empty() && !known.seats.is_empty() && !is_held {
            self.counters.ended_untold += 1;
        }
        self.mark(id);
        self.look_at_source(id, now);
        for (group, place, has_news) in self.seats(id) {
            if has_news {
                self.pend(id, &group, now, true);
            } else if place != Place::Held {
                self.set_place(id, &group, Place::Idle);
            } else if let Some(known) = self.known.get(id) {
                // What others were told is graver, or it fell: other hours may hold it now.
                let until = self.plan.held_until(group.route, known.severity_to_judge(), now);
                self.agenda.sooner(Task::Digest, until.unwrap_or(now));
            }
        }
        self.settle(id);
    }

    /// An alert's seats: the group, the place, whether there is news for one of its channels.
    pub(super) fn seats(&self, id: &str) -> Vec<(GroupId, Place, bool)> {
        let Some(known) = self.known.get(id) else { return Vec::new() };
        let seat = |name: &String, seat: &Seat| {
            let route = self.plan.route(name)?;
            let has_news = |channel: &&str| self.plan.has_news(known, route, seat, channel);
            let has_news = self.plan.channels_of(route, seat).iter().any(has_news);
            Some((GroupId { route, key: seat.key.clone() }, seat.place, has_news))
        };
        known.seats.iter().filter_map(|(name, at)| seat(name, at)).collect()
    }

    /// Gives the alert the seats that the plan wants it to have.
    pub(super) fn reseat(&mut self, id: &str) {
        let plan = Arc::clone(&self.plan);
        let Some(known) = self.known.get(id) else { return };
        let matching = if known.is_live() { plan.matching(&known.alert) } else { Vec::new() };
        let mut seats = known.seats.clone();
        seats.retain(|name, seat| {
            let Some(route) = plan.route(name).filter(|route| *route != plan.leftovers()) else { return false };
            let is_open = |channel: &&str| known.told.get(*channel).is_some_and(|told| !told.is_over);
            // What is over was asked for while it fired: its seats stay until its end is told.
            let is_waiting = !known.is_firing() && seat.place != Place::Idle;
            matching.contains(&route) || is_waiting || plan.channels_of(route, seat).iter().any(is_open)
        });
        for (name, seat) in &mut seats {
            seat.is_matching = known.is_live() && plan.route(name).is_some_and(|route| matching.contains(&route));
        }
        for route in &matching {
            let key = plan.key(*route, &known.alert);
            let seat = Seat { key: key.clone(), is_matching: true, place: Place::Idle, escalated_at: None };
            seats.entry(plan.routes[*route].name.clone()).or_insert_with(|| Box::new(seat)).key = key;
        }
        let has = |channel: &str| {
            seats.iter().any(|(name, seat)| plan.route(name).is_some_and(|r| plan.channels_of(r, seat).contains(&channel)))
        };
        let is_left =
            |(channel, told): (&String, &super::state::Told)| !told.is_over && plan.channels.contains(channel) && !has(channel);
        if known.told.iter().any(is_left) {
            let place = known.seats.get("").map_or(Place::Idle, |seat| seat.place);
            let seat = Seat { key: id.to_owned(), is_matching: false, place, escalated_at: None };
            seats.insert(String::new(), Box::new(seat));
        }
        self.replace_seats(id, seats);
    }

    /// Lets the alert wait in the seats where there is something to tell, and no longer where there is not. `again`: also
    /// where it was put aside before.
    pub(super) fn pend_news(&mut self, id: &str, now: i64, again: bool) {
        // What quiet hours hold is counted by their digest also if it is over before.
        let came_and_went = self.known.get(id).is_some_and(|known| !known.is_firing());
        for (group, place, has_news) in self.seats(id) {
            if has_news && (again || place == Place::Idle) {
                self.pend(id, &group, now, true);
            } else if !has_news && place != Place::Idle && !came_and_went {
                self.set_place(id, &group, Place::Idle);
            }
        }
    }

    fn replace_seats(&mut self, id: &str, seats: std::collections::BTreeMap<String, Box<Seat>>) {
        let Some(known) = self.known.get_mut(id) else { return };
        if known.seats == seats {
            return;
        }
        let before = std::mem::replace(&mut known.seats, seats.clone());
        for (name, seat) in before.iter().filter(|(name, seat)| seats.get(*name).is_none_or(|now| now.key != seat.key)) {
            if let Some(route) = self.plan.route(name) {
                self.leave(id, &GroupId { route, key: seat.key.clone() });
            }
        }
        for (name, seat) in seats {
            if let Some(route) = self.plan.route(&name) {
                self.sit(id, &GroupId { route, key: seat.key }, seat.place);
            }
        }
        self.mark(id);
    }

    /// Puts the alert into the group's indexes.
    pub(super) fn sit(&mut self, id: &str, group: &GroupId, place: Place) {
        let at = self.groups.entry(group.clone()).or_default();
        at.members.insert(id.to_owned());
        at.pending.remove(id);
        let member = (group.clone(), id.to_owned());
        self.muted.remove(&member);
        self.held.remove(&member);
        match place {
            Place::Idle => {}
            Place::Pending => _ = at.pending.insert(id.to_owned()),
            Place::Muted => _ = self.muted.insert(member),
            Place::Held => _ = self.held.insert(member),
        }
    }

    pub(super) fn leave(&mut self, id: &str, group: &GroupId) {
        self.sit(id, group, Place::Idle);
        if let Some(at) = self.groups.get_mut(group) {
            at.members.remove(id);
        }
        self.drop_if_empty(group);
    }

    pub(super) fn set_place(&mut self, id: &str, group: &GroupId, place: Place) {
        let name = &self.plan.routes[group.route].name;
        let seat = self.known.get_mut(id).and_then(|known| known.seats.get_mut(name));
        let Some(seat) = seat else { return };
        if seat.place != place {
            seat.place = place;
            self.mark(id);
        }
        self.sit(id, group, place);
    }

    /// Lets the alert wait for the group's next notice, which is set. `waits`: the first of a group waits for others.
    pub(super) fn pend(&mut self, id: &str, group: &GroupId, now: i64, waits: bool) {
        self.set_place(id, group, Place::Pending);
        self.schedule(id, group, now, waits);
    }

    fn schedule(&mut self, id: &str, group: &GroupId, now: i64, waits: bool) {
        let Some(known) = self.known.get(id) else { return };
        let due = self.news_due(known, group, now, waits);
        if let Some(at) = self.groups.get_mut(group) {
            at.news_due = Some(due);
            self.touched.insert(group.clone());
            self.agenda.set(Task::News(group.clone()), due);
        }
    }

    /// When the group tells its news if the alert's is among it.
    pub(super) fn news_due(&self, known: &Known, group: &GroupId, now: i64, waits: bool) -> i64 {
        let route = &self.plan.routes[group.route];
        let at = self.groups.get(group);
        let is_first = known.is_firing() && !route.channels.iter().any(|channel| known.told.contains_key(channel));
        let is_urgent = known.is_firing() && known.alert.event.severity == Severity::Critical;
        let due = match at.and_then(|at| at.last_at) {
            _ if is_urgent || at.is_some_and(|at| at.pending.len() >= PENDING_MAX) => now,
            Some(last) => now.max(last.saturating_add(route.group_interval_ms)),
            None if waits && is_first => now.saturating_add(route.group_wait_ms),
            None => now,
        };
        at.and_then(|at| at.news_due).map_or(due, |was| was.min(due))
    }

    /// Lets inhibitions know what the alert is now.
    pub(super) fn look_at_source(&mut self, id: &str, now: i64) {
        let Some(known) = self.known.get(id) else { return };
        let alert = Some(&known.alert).filter(|_| known.is_live());
        let released = self.sources.update(&self.plan.inhibitions, id, alert, now);
        self.release(&released, now);
    }

    pub(super) fn release(&mut self, released: &super::inhibit::Released, now: i64) {
        for claim in &released.held {
            self.changes.insert(self.hold_key(claim));
            if let Some(until) = self.sources.held_until(claim) {
                self.agenda.sooner(Task::Wake, until);
            }
        }
        if released.at.is_some_and(|at| at <= now) {
            self.wake(now);
        }
    }

    pub(super) fn mark(&mut self, id: &str) {
        self.changes.insert(StateKey::of(Table::Alert, id));
    }
}

/// Closes what no route will tell the end of.
pub(super) fn close_untellable(plan: &Plan, known: &mut Known) {
    if known.is_firing() {
        return;
    }
    let open = known.told.iter().filter(|(_, told)| !told.is_over);
    let untellable: Vec<String> = open.filter(|(c, _)| plan.resolver(known, c).is_none()).map(|(c, _)| c.clone()).collect();
    for channel in untellable {
        if let Some(told) = known.told.get_mut(&channel) {
            told.is_over = true;
        }
    }
}
