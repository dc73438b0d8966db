//! Silences: what nobody wants to hear of for a while. A silence mutes, it does not resolve: when it ends, or an inhibition
//! lets go, everything that was muted is looked at again.

use serde::{Deserialize, Serialize};

use super::Policy;
use super::agenda::Task;
use super::matcher::Matcher;
use super::state::{StateKey, Table};
use crate::alert::Alert;
use crate::notice::Notice;

/// So many silences are kept.
pub const SILENCES_MAX: usize = 1_000;

/// Mutes what matches while it lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Chosen by the caller; the same id again replaces it.
    pub id: String,
    /// What is muted.
    pub matcher: Matcher,
    /// From when, UTC ms.
    pub from: i64,
    /// Until when (exclusive), UTC ms.
    pub until: i64,
    /// Who.
    pub author: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

impl Silence {
    pub(super) fn lasts(&self, now: i64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// Why a silence is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No id.
    #[error("silence without an id: give it one")]
    NoId,
    /// It would never be in force.
    #[error("silence `{id}` ends at {until}, which is not after {after}: choose a later end")]
    Over {
        /// Its id.
        id: String,
        /// Its end, UTC ms.
        until: i64,
        /// The later of its begin and now, UTC ms.
        after: i64,
    },
    /// Too many.
    #[error("silence `{0}` is one too many: {SILENCES_MAX} are kept, end some first")]
    TooMany(String),
}

impl Policy {
    /// Adds a silence, or replaces the one of the same id.
    ///
    /// # Errors
    /// It has no id, would never be in force, or is one too many.
    pub fn silence(&mut self, silence: Silence, now_ms: i64) -> Result<Vec<Notice>, SilenceError> {
        let after = silence.from.max(now_ms);
        if silence.id.is_empty() {
            return Err(SilenceError::NoId);
        }
        if silence.until <= after {
            return Err(SilenceError::Over { id: silence.id, until: silence.until, after });
        }
        if self.silences.len() >= SILENCES_MAX && !self.silences.contains_key(&silence.id) {
            return Err(SilenceError::TooMany(silence.id));
        }
        self.changes.insert(StateKey::of(Table::Silence, &silence.id));
        self.agenda.sooner(Task::Wake, silence.until);
        if self.silences.insert(silence.id.clone(), silence).is_some() {
            self.wake(now_ms);
        }
        Ok(self.due(now_ms))
    }

    /// Ends a silence. `None`: there is none of that id.
    pub fn unsilence(&mut self, id: &str, now_ms: i64) -> Option<Vec<Notice>> {
        self.silences.remove(id)?;
        self.changes.insert(StateKey::of(Table::Silence, id));
        self.wake(now_ms);
        Some(self.due(now_ms))
    }

    pub(super) fn silence_of(&self, alert: &Alert, now: i64) -> Option<&Silence> {
        self.silences.values().find(|silence| silence.lasts(now) && silence.matcher.matches(alert))
    }

    pub(super) fn is_muted(&self, alert: &Alert, now: i64) -> bool {
        self.silence_of(alert, now).is_some() || self.sources.muting(&self.plan.inhibitions, alert, now).is_some()
    }

    /// Looks again at everything that is muted.
    pub(super) fn wake(&mut self, now: i64) {
        for (group, id) in std::mem::take(&mut self.muted) {
            self.pend(&id, &group, now, false);
        }
        for group in std::mem::take(&mut self.blocked) {
            self.agenda.sooner(Task::Care(group), now);
        }
    }

    /// Ends what is over, and wakes if something is: a silence that was made longer leaves a task behind.
    pub(super) fn wake_expired(&mut self, now: i64) {
        let ended: Vec<String> = self.silences.values().filter(|s| s.until <= now).map(|s| s.id.clone()).collect();
        let released = self.sources.take_ended(now);
        if !ended.is_empty() || !released.is_empty() {
            self.wake(now);
        }
        for id in ended {
            self.silences.remove(&id);
            self.changes.insert(StateKey::of(Table::Silence, &id));
        }
        for claim in released {
            self.changes.insert(self.hold_key(&claim));
        }
        self.set_wake();
    }

    pub(super) fn set_wake(&mut self) {
        let silences = self.silences.values().map(|silence| silence.until).min();
        if let Some(at) = silences.into_iter().chain(self.sources.next_end()).min() {
            self.agenda.sooner(Task::Wake, at);
        }
    }
}
