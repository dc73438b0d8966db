//! For people at the command line: what fires, what is silenced, and who looks after it.

use super::matcher::Matcher;
use super::silence::Silence;
use super::state::{Ack, Known};
use super::{Judgement, Policy};
use crate::alert::Alert;
use crate::notice::Notice;

/// What is acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub enum AckTarget {
    /// The alert of this id.
    Alert(String),
    /// All of a group, by the name that its notices bear ([`Notice::group`]).
    Group(String),
    /// All that match now.
    Matching(Matcher),
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertView<'a> {
    /// What was pushed last.
    pub alert: &'a Alert,
    /// When it was first pushed, UTC ms.
    pub since: i64,
    /// Who looks after it now.
    pub ack: Option<&'a Ack>,
    /// What mutes it now, in words.
    pub muted_by: Option<String>,
    /// Channels that were told of it.
    pub told: Vec<&'a str>,
}

impl Policy {
    /// Somebody (`by`) looks after what fires: neither reminders nor escalation until `until_ms` (a snooze), or until it is
    /// over or grows graver. Returns the ids, and what else was due.
    pub fn ack(&mut self, target: &AckTarget, by: &str, until_ms: Option<i64>, now_ms: i64) -> (Vec<String>, Vec<Notice>) {
        let ids = self.targets(target);
        for id in &ids {
            let Some(known) = self.known.get_mut(id) else { continue };
            let severity = known.alert.event.severity;
            known.ack = Some(Ack { by: by.to_owned(), at: now_ms, until: until_ms, severity });
            self.mark(id);
            self.attend(id, now_ms);
        }
        (ids, self.due(now_ms))
    }

    /// Takes acknowledgements back: reminders go on, and the time until escalation begins anew.
    pub fn unack(&mut self, target: &AckTarget, now_ms: i64) -> (Vec<String>, Vec<Notice>) {
        let mut ids = self.targets(target);
        ids.retain(|id| self.known.get(id).is_some_and(|known| known.is_acked(now_ms)));
        for id in &ids {
            let Some(known) = self.known.get_mut(id) else { continue };
            known.ack = None;
            known.waits_from = known.waits_from.map(|_| now_ms);
            self.mark(id);
            self.attend(id, now_ms);
        }
        (ids, self.due(now_ms))
    }

    fn targets(&self, target: &AckTarget) -> Vec<String> {
        let is_meant = |id: &String, known: &Known| match target {
            AckTarget::Alert(wanted) => id == wanted,
            AckTarget::Matching(matcher) => matcher.matches(&known.alert),
            AckTarget::Group(wanted) => known.seats.iter().any(|(name, seat)| {
                self.plan.route(name).is_some_and(|route| self.plan.label(route, &seat.key, &known.alert) == *wanted)
            }),
        };
        let live = self.known.iter().filter(|(_, known)| known.is_live());
        live.filter(|(id, known)| is_meant(id, known)).map(|(id, _)| id.clone()).collect()
    }

    /// What fires, by id. Corrections are not among it.
    pub fn alerts(&self, now_ms: i64) -> impl Iterator<Item = AlertView<'_>> {
        self.known.values().filter(|known| known.is_live()).map(move |known| AlertView {
            alert: &known.alert,
            since: known.since,
            ack: known.ack.as_ref().filter(|_| known.is_acked(now_ms)),
            muted_by: self.muted_by(&known.alert, now_ms),
            told: known.told.keys().map(String::as_str).collect(),
        })
    }

    /// Silences that last or are to come, by id.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    pub(super) fn muted_by(&self, alert: &Alert, now: i64) -> Option<String> {
        if let Some(silence) = self.silence_of(alert, now) {
            let comment = if silence.comment.is_empty() { String::new() } else { format!(": {}", silence.comment) };
            return Some(format!("silence `{}` by {}{comment}", silence.id, silence.author));
        }
        let inhibition = self.sources.muting(&self.plan.inhibitions, alert, now)?;
        Some(format!("inhibition `{}`", inhibition.name))
    }

    pub(super) fn when(&self, known: &Known, route: usize, now: i64) -> super::When {
        use super::When;
        match self.judge(known, route, now) {
            Judgement::Muted => When::Muted(self.muted_by(&known.alert, now).unwrap_or_default()),
            Judgement::Held(until) => When::Held(until),
            Judgement::Tell => {
                let key = self.plan.key(route, &known.alert);
                let due = self.news_due(known, &super::GroupId { route, key }, now, true);
                if due <= now { When::Now } else { When::At(due) }
            }
        }
    }
}
