//! The telling: a group's news, and what quiet hours held back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::agenda::{GroupId, Task};
use super::state::{Place, Told};
use super::{Judgement, Policy};
use crate::alert::Alert;
use crate::event::Severity;
use crate::notice::{NAMED_MAX, Notice, NoticeKind, count, news_id, notice_id};

/// Ids by channel, in the order of telling.
type ByChannel = BTreeMap<String, Vec<String>>;

impl Policy {
    /// Tells what the group has collected, but for what is muted or held.
    pub(super) fn tell_news(&mut self, group: &GroupId, now: i64, notices: &mut Vec<Notice>) {
        let plan = Arc::clone(&self.plan);
        let route = &plan.routes[group.route];
        let Some(at) = self.groups.get_mut(group) else { return };
        at.news_due = None;
        let pending = std::mem::take(&mut at.pending);
        let mut news = ByChannel::new();
        for id in &pending {
            self.sort_out(id, group, now, &mut news);
        }
        for (channel, ids) in &news {
            let label = self.known.get(&ids[0]).map(|known| plan.label(group.route, &group.key, &known.alert));
            let id = match ids.as_slice() {
                [one] => self.news_id_of(one, channel),
                _ => None,
            };
            let id = id.unwrap_or_else(|| self.id_of(NoticeKind::News, group, channel, ids, now));
            notices.push(self.compose(NoticeKind::News, id, channel, label.unwrap_or_default(), ids, String::new(), now));
        }
        self.note_told(&news, now);
        if let Some(at) = self.groups.get_mut(group) {
            if !news.is_empty() && !route.group_by.is_empty() {
                at.last_at = Some(now);
            }
            let next = at.last_at.map(|last| last.saturating_add(route.group_interval_ms)).filter(|next| *next > now);
            if next.is_none() {
                at.last_at = None;
            }
            at.news_due = next;
        }
        if let Some(next) = self.groups.get(group).and_then(|at| at.news_due) {
            self.agenda.set(Task::News(group.clone()), next);
        }
        self.touched.insert(group.clone());
        for id in pending {
            self.settle(&id);
        }
        self.drop_if_empty(group);
    }

    /// Puts a pending alert aside if it may not be told now, else notes the channels that have to hear of it.
    fn sort_out(&mut self, id: &str, group: &GroupId, now: i64, news: &mut ByChannel) {
        let plan = Arc::clone(&self.plan);
        let Some(known) = self.known.get(id) else { return };
        let Some(seat) = known.seats.get(&plan.routes[group.route].name) else { return };
        let channels = plan.channels_of(group.route, seat);
        let channels: Vec<&str> = channels.into_iter().filter(|c| plan.has_news(known, group.route, seat, c)).collect();
        let judgement = if channels.is_empty() { Judgement::Tell } else { self.judge(known, group.route, now) };
        self.set_place(id, group, judgement.place());
        match judgement {
            Judgement::Tell => channels.iter().for_each(|c| news.entry((*c).to_owned()).or_default().push(id.to_owned())),
            Judgement::Held(until) => self.agenda.sooner(Task::Digest, until),
            Judgement::Muted => {}
        }
    }

    /// Tells what was held back by quiet hours that are over: one digest a channel.
    pub(super) fn tell_digests(&mut self, now: i64, notices: &mut Vec<Notice>) {
        let plan = Arc::clone(&self.plan);
        let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        let mut free = Vec::new();
        for (group, id) in self.held.clone() {
            let Some(known) = self.known.get(&id) else { continue };
            let Some(seat) = known.seats.get(&plan.routes[group.route].name) else { continue };
            // The hours first: what is muted while they last is looked at when they are over.
            if let Some(until) = plan.held_until(group.route, known.severity_to_judge(), now) {
                self.agenda.sooner(Task::Digest, until.max(now.saturating_add(1)));
                continue;
            }
            if self.is_muted(&known.alert, now) {
                let is_worth_it = known.is_firing() || !known.told.is_empty();
                self.counters.ended_untold += u64::from(!is_worth_it);
                free.push((group, id, if is_worth_it { Place::Muted } else { Place::Idle }));
                continue;
            }
            for channel in plan.channels_of(group.route, seat) {
                let came_and_went = !known.is_firing() && !known.told.contains_key(channel);
                if came_and_went || plan.has_news(known, group.route, seat, channel) {
                    held.entry(channel.to_owned()).or_default().insert(id.clone());
                    names.entry(channel.to_owned()).or_default().extend(plan.quiet_names(group.route));
                }
            }
            free.push((group, id, Place::Idle));
        }
        let digests: ByChannel = held.into_iter().map(|(channel, ids)| (channel, ids.into_iter().collect())).collect();
        for (channel, ids) in &digests {
            let names: Vec<&str> = names.remove(channel).unwrap_or_default().into_iter().collect();
            let remark = format!("Held back in quiet hours ({}).", names.join(", "));
            let parts: Vec<&str> = std::iter::once(channel.as_str()).chain(ids.iter().map(String::as_str)).collect();
            let id = notice_id(NoticeKind::Digest, &parts, now);
            notices.push(self.compose(NoticeKind::Digest, id, channel, String::new(), ids, remark, now));
        }
        for (group, id, place) in &free {
            self.set_place(id, group, *place);
        }
        self.note_told(&digests, now);
        for (_, id, _) in free {
            self.settle(&id);
        }
    }

    /// Notes what channels were told of alerts, as these are now.
    pub(super) fn note_told(&mut self, told: &ByChannel, now: i64) {
        let mut all = BTreeSet::new();
        for (channel, ids) in told {
            for id in ids {
                let Some(known) = self.known.get_mut(id) else { continue };
                let severity = known.alert.event.severity;
                let is_over = !known.is_firing();
                let told = known.told.entry(channel.clone()).or_insert(Told { severity, at: now, is_over });
                *told = Told { severity: severity.max(told.severity), at: now, is_over };
                known.waits_from.get_or_insert(now);
                all.insert(id);
            }
        }
        for id in all {
            self.mark(id);
            self.attend(id, now);
        }
    }

    fn news_id_of(&self, id: &str, channel: &str) -> Option<String> {
        let known = self.known.get(id)?;
        Some(news_id(&known.alert, known.told.contains_key(channel)))
    }

    pub(super) fn id_of(&self, kind: NoticeKind, group: &GroupId, channel: &str, ids: &[String], now: i64) -> String {
        let route = self.plan.routes[group.route].name.as_str();
        let parts: Vec<&str> = [channel, route, &group.key].into_iter().chain(ids.iter().map(String::as_str)).collect();
        notice_id(kind, &parts, now)
    }

    #[expect(clippy::too_many_arguments, reason = "a notice has so many parts")]
    pub(super) fn compose(
        &self,
        kind: NoticeKind,
        id: String,
        channel: &str,
        group: String,
        ids: &[String],
        remark: String,
        now: i64,
    ) -> Notice {
        let mut alerts: Vec<&Alert> = ids.iter().filter_map(|id| self.known.get(id)).map(|known| &known.alert).collect();
        alerts.sort_by(|a, b| {
            let key = |alert: &Alert| (alert.event.severity, alert.event.timestamp);
            key(b).cmp(&key(a)).then_with(|| a.id().cmp(b.id()))
        });
        Notice {
            id,
            channel: channel.to_owned(),
            kind,
            is_urgent: alerts.iter().any(|alert| alert.is_firing() && alert.event.severity == Severity::Critical),
            group,
            counts: count(alerts.iter().copied()),
            alerts: alerts.into_iter().take(NAMED_MAX).cloned().collect(),
            remark,
            decided_at: now,
        }
    }
}
