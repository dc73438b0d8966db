//! The policy: who is told what, through which channel, and when. Grouping, silences, inhibition, quiet hours, repeats,
//! acknowledgement and escalation, after the model of Alertmanager, for traders: at once unless asked otherwise.
//!
//! A state machine with a virtual clock: no I/O, no clock, no randomness. It looks at what is true (alerts, and what each
//! channel was told of them) rather than at a queue of messages: a notice is decided where the two differ and nothing mutes.
//! The same calls with the same times give the same notices, ids included, and [`Policy::restore`] from the rows of
//! [`Policy::take_changes`] goes on exactly alike.
//!
//! ```text
//! push ─▶ take_in (seats) ─▶ pending ─▶ News ─▶ Notice      seats   an alert in a route's group
//!                             ▲   │                         muted   by a silence or an inhibition, until Wake
//!                       Wake ─┘   ├─▶ muted                 held    by quiet hours, until Digest
//!                                 └─▶ held ─▶ Digest        Care    reminds and escalates what was told
//! ```
//!
//! What people can rely on
//! - A channel is told once that an alert fires, again only when it grows graver than it was told, and that it is over if it
//!   was told that it fires. Falling severity is not told. Two routes with the same channel tell it once.
//! - What began and ended before it could be told (in the same wait, interval, silence or inhibition) is not told; it is
//!   counted in [`Counters::ended_untold`]. In quiet hours it is: the digest counts it as resolved.
//! - What was told and ended while muted or held is told to be over when the mute or the hours end: an open end is worse.
//! - CRITICAL that begins waits for no group. It takes along what the group had collected.
//! - Corrections never page and mute nothing. They may end what was told. A live alert of the same id is told after all.
//! - Quiet hours are over for all routes to a channel at the same time: one digest. The end of what was told as CRITICAL
//!   passes them too.
//! - What comes due while it is muted or held (a reminder, an escalation) comes when the mute or the hours end.
//! - A snooze is an acknowledgement with an end; what still fires then is told again, repeats or not, and may be escalated anew.
//! - A new route, or one that asks for more, is judged against what fires now. Of what a removed route told, channels that
//!   another route still names hear the end; a channel that no route names hears nothing any more.
//! - Bounds: [`ALERTS_MAX`] alerts, the least grave and oldest are dropped and counted; [`ENDED_MAX`] ended ones, for
//!   [`ENDED_MS`]; [`PENDING_MAX`] changes in a group, more don't wait for its interval.

mod agenda;
mod care;
mod check;
mod config;
mod explain;
mod inhibit;
mod listing;
mod matcher;
mod memory;
mod plan;
mod quiet;
mod rebuild;
mod seats;
mod silence;
mod state;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use check::{ConfigError, ConfigErrors};
pub use config::{Day, Escalation, GroupBy, Inhibition, PolicyConfig, QuietHours, Route};
pub use explain::{Explanation, RouteExplained, When};
pub use listing::{AckTarget, AlertView};
pub use matcher::{Matcher, Mismatch, glob_matches};
pub use rebuild::RestoreError;
pub use silence::{SILENCES_MAX, Silence, SilenceError};
pub use state::{Ack, StateKey};

use agenda::{Agenda, GroupId, Task};
use inhibit::Sources;
use plan::Plan;
use state::{Known, Place, Table};

use crate::alert::Alert;
use crate::event::Severity;
use crate::notice::Notice;

/// So many alerts are remembered that fire, or whose end is still to be told.
pub const ALERTS_MAX: usize = 50_000;
/// So many alerts are remembered that ended.
pub const ENDED_MAX: usize = 100_000;
/// An ended alert is remembered for so long: pushed again (a restart, a correction) it does not fire.
pub const ENDED_MS: i64 = 6 * 3_600_000;
/// A group that has collected so many changes does not wait for its interval to end.
pub const PENDING_MAX: usize = 10_000;

/// Who is told what and when.
#[derive(Clone, Debug)]
pub struct Policy {
    plan: Arc<Plan>,
    /// Boxed: a tree's nodes keep room for eleven.
    known: BTreeMap<String, Box<Known>>,
    by_weight: BTreeSet<(Severity, i64, String)>,
    ended: BTreeMap<String, i64>,
    ended_by_time: BTreeSet<(i64, String)>,
    silences: BTreeMap<String, Silence>,
    sources: Sources,
    groups: BTreeMap<GroupId, Group>,
    /// Members that a silence or an inhibition mutes.
    muted: BTreeSet<(GroupId, String)>,
    /// Members that quiet hours hold back.
    held: BTreeSet<(GroupId, String)>,
    /// Groups with members that are to be reminded of, or escalated, and muted.
    blocked: BTreeSet<GroupId>,
    agenda: Agenda,
    /// Groups whose times may have changed in this call.
    touched: BTreeSet<GroupId>,
    changes: BTreeSet<StateKey>,
    counters: Counters,
    last_dropped: Option<Dropped>,
}

/// A group's last notice, while the interval after it runs, and when it tells its next.
type Times = (Option<i64>, Option<i64>);

/// Alerts that a route tells together.
#[derive(Clone, Debug, Default)]
struct Group {
    members: BTreeSet<String>,
    pending: BTreeSet<String>,
    /// The last notice, while the interval after it runs.
    last_at: Option<i64>,
    /// When the wait or the interval ends.
    news_due: Option<i64>,
    /// The two as they were stored.
    saved: Times,
}

/// What was not told and why, since the program began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pushed again with nothing new.
    pub repeated: u64,
    /// Began as a correction.
    pub corrections: u64,
    /// No route asked for it when it began.
    pub unrouted: u64,
    /// Was over before it could be told.
    pub ended_untold: u64,
    /// Was dropped because more than [`ALERTS_MAX`] fire.
    pub dropped: u64,
}

/// An alert that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its id.
    pub id: String,
    /// How grave it was.
    pub severity: Severity,
    /// Why.
    pub reason: &'static str,
}

impl Policy {
    /// A policy that knows of no alert.
    ///
    /// # Errors
    /// All that is wrong with the configuration.
    pub fn new(config: PolicyConfig) -> Result<Self, ConfigErrors> {
        Ok(Self::empty(Plan::new(config)?))
    }

    fn empty(plan: Plan) -> Self {
        Self {
            plan: Arc::new(plan),
            known: BTreeMap::new(),
            by_weight: BTreeSet::new(),
            ended: BTreeMap::new(),
            ended_by_time: BTreeSet::new(),
            silences: BTreeMap::new(),
            sources: Sources::default(),
            groups: BTreeMap::new(),
            muted: BTreeSet::new(),
            held: BTreeSet::new(),
            blocked: BTreeSet::new(),
            agenda: Agenda::default(),
            touched: BTreeSet::new(),
            changes: BTreeSet::from([StateKey::of(Table::Config, "")]),
            counters: Counters::default(),
            last_dropped: None,
        }
    }

    /// An alert fires, has changed, or is over. What else is due at `now_ms` is told too.
    pub fn push(&mut self, alert: Alert, now_ms: i64) -> Vec<Notice> {
        self.push_all([alert], now_ms)
    }

    /// Alerts that became known at once: those of one group are told in one notice.
    pub fn push_all(&mut self, alerts: impl IntoIterator<Item = Alert>, now_ms: i64) -> Vec<Notice> {
        for alert in alerts {
            self.take_in(alert, now_ms);
        }
        self.due(now_ms)
    }

    /// When [`Policy::due`] has something to do; after a restart that may be at once (a time long past).
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        self.agenda.next()
    }

    /// What is to be told by now.
    pub fn due(&mut self, now_ms: i64) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut ready = BTreeSet::new();
        while self.ended_by_time.first().is_some_and(|(at, _)| at.saturating_add(ENDED_MS) <= now_ms) {
            self.forget_first_ended();
        }
        loop {
            self.agenda.take_due(now_ms, &mut ready);
            match ready.pop_first() {
                Some(Task::Wake) => self.wake_expired(now_ms),
                Some(Task::News(group)) => self.tell_news(&group, now_ms, &mut notices),
                Some(Task::Digest) => self.tell_digests(now_ms, &mut notices),
                Some(Task::Care(group)) => self.take_care(&group, now_ms, &mut notices),
                None => break,
            }
        }
        self.save_groups();
        notices
    }

    /// What was not told and why, since the program began.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The alert that was dropped last.
    #[must_use]
    pub fn last_dropped(&self) -> Option<&Dropped> {
        self.last_dropped.as_ref()
    }

    fn drop_if_empty(&mut self, group: &GroupId) {
        let Some(at) = self.groups.get(group) else { return };
        if at.members.is_empty() && at.last_at.is_none() {
            if at.saved != (None, None) {
                self.changes.insert(self.group_key(group));
            }
            self.groups.remove(group);
            self.blocked.remove(group);
            self.agenda.cancel(&Task::News(group.clone()));
            self.agenda.cancel(&Task::Care(group.clone()));
        }
    }

    fn save_groups(&mut self) {
        for group in std::mem::take(&mut self.touched) {
            let key = self.group_key(&group);
            let Some(at) = self.groups.get_mut(&group) else { continue };
            let times = (at.last_at, at.news_due);
            if at.saved != times {
                at.saved = times;
                self.changes.insert(key);
            }
        }
    }

    /// Where what there is to tell of the alert goes by that route now.
    fn judge(&self, known: &Known, route: usize, now: i64) -> Judgement {
        if self.is_muted(&known.alert, now) {
            return Judgement::Muted;
        }
        let until = self.plan.held_until(route, known.severity_to_judge(), now);
        until.map_or(Judgement::Tell, Judgement::Held)
    }
}

/// Whether something is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Tell,
    Muted,
    /// Until then.
    Held(i64),
}

impl Judgement {
    fn place(self) -> Place {
        match self {
            Self::Tell => Place::Idle,
            Self::Muted => Place::Muted,
            Self::Held(_) => Place::Held,
        }
    }
}
