//! The care for what was told and still fires: reminders, and escalation when nobody acknowledges.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agenda::{GroupId, Task};
use super::config::Route;
use super::state::{Known, Seat, Told};
use super::{Judgement, Policy};
use crate::facts::words::duration;
use crate::notice::{Notice, NoticeKind};

/// When somebody has to look after an alert again.
enum Next {
    Never,
    At(i64),
    /// When it is no longer muted.
    Unmuted,
}

impl Policy {
    /// Escalates and reminds of what is due in the group.
    pub(super) fn take_care(&mut self, group: &GroupId, now: i64, notices: &mut Vec<Notice>) {
        self.escalate(group, now, notices);
        self.remind(group, now, notices);
        let Some(at) = self.groups.get(group) else { return };
        let mut next: Option<i64> = None;
        let mut is_blocked = false;
        for id in &at.members {
            match self.next_care(id, group.route, now) {
                Next::Never => {}
                Next::At(at) => next = Some(next.map_or(at, |next| next.min(at))),
                Next::Unmuted => is_blocked = true,
            }
        }
        if is_blocked {
            self.blocked.insert(group.clone());
        }
        if let Some(next) = next {
            self.agenda.set(Task::Care(group.clone()), next.max(now.saturating_add(1)));
        }
    }

    /// Sets when the alert has to be looked after again, in each of its groups.
    pub(super) fn attend(&mut self, id: &str, now: i64) {
        for (group, ..) in self.seats(id) {
            match self.next_care(id, group.route, now) {
                Next::Never => {}
                Next::At(at) => self.agenda.sooner(Task::Care(group), at),
                Next::Unmuted => _ = self.blocked.insert(group),
            }
        }
    }

    fn next_care(&self, id: &str, route: usize, now: i64) -> Next {
        let Some(known) = self.known.get(id) else { return Next::Never };
        let plan = &self.plan;
        let Some(seat) = known.seats.get(&plan.routes[route].name).filter(|seat| seat.is_matching) else { return Next::Never };
        if !known.is_live() {
            return Next::Never;
        }
        if known.is_acked(now) {
            return known.snoozed_until().map_or(Next::Never, Next::At);
        }
        let told = plan.channels_of(route, seat).into_iter().filter_map(|channel| known.told.get(channel));
        let reminder = told.filter_map(|told| reminder_due(known, told, &plan.routes[route])).min();
        let Some(due) = reminder.into_iter().chain(escalation_due(known, seat, &plan.routes[route])).min() else {
            return Next::Never;
        };
        match self.judge(known, route, now) {
            _ if due > now => Next::At(due),
            Judgement::Tell => Next::At(due),
            Judgement::Muted => Next::Unmuted,
            Judgement::Held(until) => Next::At(until),
        }
    }

    /// The members that may be reminded of or escalated now: they fire, nobody has acknowledged them, nothing mutes them.
    fn unattended(&self, group: &GroupId, now: i64) -> Vec<(&String, &Known, &Seat)> {
        let Some(at) = self.groups.get(group) else { return Vec::new() };
        let name = &self.plan.routes[group.route].name;
        let members = at.members.iter().filter_map(|id| {
            let known: &Known = self.known.get(id).filter(|known| known.is_live() && !known.is_acked(now))?;
            let seat: &Seat = known.seats.get(name).filter(|seat| seat.is_matching)?;
            (self.judge(known, group.route, now) == Judgement::Tell).then_some((id, known, seat))
        });
        members.collect()
    }

    fn escalate(&mut self, group: &GroupId, now: i64, notices: &mut Vec<Notice>) {
        let plan = Arc::clone(&self.plan);
        let route = &plan.routes[group.route];
        let Some(escalation) = &route.escalation else { return };
        let is_due =
            |(_, known, seat): &(&String, &Known, &Seat)| escalation_due(known, seat, route).is_some_and(|due| due <= now);
        let due: Vec<_> = self.unattended(group, now).into_iter().filter(is_due).collect();
        let Some(from) = due.iter().filter_map(|(_, known, _)| waits_from(known)).min() else { return };
        let ids: Vec<String> = due.into_iter().map(|(id, ..)| id.clone()).collect();
        let remark = format!("Nobody acknowledged it for {}.", duration(now.saturating_sub(from)));
        let mut told = BTreeMap::new();
        for channel in &escalation.channels {
            if told.insert(channel.clone(), ids.clone()).is_none() {
                notices.push(self.care_notice(NoticeKind::Escalation, group, channel, &ids, remark.clone(), now));
            }
        }
        for id in &ids {
            if let Some(seat) = self.known.get_mut(id).and_then(|known| known.seats.get_mut(&route.name)) {
                seat.escalated_at = Some(now);
            }
        }
        self.note_told(&told, now);
        for id in &ids {
            self.settle(id);
        }
    }

    fn remind(&mut self, group: &GroupId, now: i64, notices: &mut Vec<Notice>) {
        let plan = Arc::clone(&self.plan);
        let route = &plan.routes[group.route];
        let mut reminders: BTreeMap<String, (bool, i64, Vec<String>)> = BTreeMap::new();
        for (id, known, seat) in self.unattended(group, now) {
            for channel in plan.channels_of(group.route, seat) {
                let Some(told) = known.told.get(channel).filter(|told| told.at < now) else { continue };
                let (is_due, since, ids) = reminders.entry(channel.to_owned()).or_insert((false, now, Vec::new()));
                *is_due |= reminder_due(known, told, route).is_some_and(|due| due <= now);
                *since = known.since.min(*since);
                ids.push(id.clone());
            }
        }
        reminders.retain(|_, (is_due, ..)| *is_due);
        let mut told = BTreeMap::new();
        for (channel, (_, since, ids)) in reminders {
            let remark = format!("Still firing after {}.", duration(now.saturating_sub(since)));
            notices.push(self.care_notice(NoticeKind::Reminder, group, &channel, &ids, remark, now));
            told.insert(channel, ids);
        }
        self.note_told(&told, now);
    }

    fn care_notice(&self, kind: NoticeKind, group: &GroupId, channel: &str, ids: &[String], remark: String, now: i64) -> Notice {
        let first = ids.first().and_then(|id| self.known.get(id));
        let label = first.map(|known| self.plan.label(group.route, &group.key, &known.alert)).unwrap_or_default();
        self.compose(kind, self.id_of(kind, group, channel, ids, now), channel, label, ids, remark, now)
    }
}

/// When a channel is told again of an alert that it was told of.
fn reminder_due(known: &Known, told: &Told, route: &Route) -> Option<i64> {
    let repeat = route.repeat_ms.map(|repeat| told.at.saturating_add(repeat));
    let snooze = known.snoozed_until().filter(|until| told.at < *until);
    repeat.into_iter().chain(snooze).min()
}

/// Since when nobody has acknowledged it.
fn waits_from(known: &Known) -> Option<i64> {
    known.waits_from.into_iter().chain(known.snoozed_until()).max()
}

/// When the route escalates the alert.
fn escalation_due(known: &Known, seat: &Seat, route: &Route) -> Option<i64> {
    let escalation = route.escalation.as_ref()?;
    let from = waits_from(known)?;
    let is_told = route.channels.iter().any(|channel| known.told.contains_key(channel));
    let is_new = seat.escalated_at.is_none_or(|at| at < from);
    (is_told && is_new).then(|| from.saturating_add(escalation.after_ms))
}
