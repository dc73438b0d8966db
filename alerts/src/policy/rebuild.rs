//! Rows out, rows in, and another configuration: in both cases everything that can be derived is derived again.

use std::sync::Arc;

use super::agenda::{GroupId, Task};
use super::check::ConfigErrors;
use super::config::PolicyConfig;
use super::inhibit::{Claim, Sources};
use super::plan::Plan;
use super::seats::close_untellable;
use super::state::{PART, StateKey, Table};
use super::{Group, Policy, Times};
use crate::notice::Notice;

/// Why the state could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The configuration is wrong.
    #[error("the policy's configuration is wrong: {0}")]
    Config(#[from] ConfigErrors),
    /// A key of no known form.
    #[error("row `{0}` of the policy's state has a key of no known form: it was written by a newer version, use that")]
    Key(StateKey),
    /// Text of no known form.
    #[error("row `{key}` of the policy's state can't be read: {source}; delete the row to go on without it")]
    Row {
        /// The row.
        key: StateKey,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What is stored beside alerts, by names: indexes change with the configuration.
#[derive(Default)]
struct Kept {
    /// Route, key, times.
    groups: Vec<(String, String, Times)>,
    /// Inhibition, equal values, whether the source was two-sided, until.
    holds: Vec<(String, String, bool, i64)>,
}

impl Policy {
    /// Goes on from stored rows. What is due already, or new by a changed configuration, is told at the next
    /// [`Policy::due`]; [`Policy::next_due`] says so.
    ///
    /// # Errors
    /// The configuration is wrong, or a row is of no known form.
    pub fn restore(config: PolicyConfig, rows: impl Iterator<Item = (StateKey, String)>) -> Result<Self, RestoreError> {
        let mut policy = Self::empty(Plan::new(config)?);
        let mut kept = Kept::default();
        let mut fingerprint = String::new();
        for (key, json) in rows {
            let read = policy.read(&key, &json, &mut kept, &mut fingerprint);
            match read {
                Ok(true) => {}
                Ok(false) => return Err(RestoreError::Key(key)),
                Err(source) => return Err(RestoreError::Row { key, source }),
            }
        }
        let is_same = fingerprint == policy.plan.fingerprint;
        if is_same {
            policy.changes.clear();
        }
        policy.index(kept, i64::MIN, is_same);
        Ok(policy)
    }

    /// Goes on with another configuration. Alerts that fire are judged by it at once.
    ///
    /// # Errors
    /// All that is wrong with it; the old one stays in force.
    pub fn configure(&mut self, config: PolicyConfig, now_ms: i64) -> Result<Vec<Notice>, ConfigErrors> {
        let plan = Plan::new(config)?;
        if plan.fingerprint == self.plan.fingerprint {
            return Ok(self.due(now_ms));
        }
        let mut kept = Kept::default();
        for (id, group) in std::mem::take(&mut self.groups) {
            if group.saved != (None, None) {
                kept.groups.push((self.plan.routes[id.route].name.clone(), id.key, group.saved));
            }
        }
        for (claim, until) in self.sources.take_holds() {
            let name = self.plan.inhibitions[claim.inhibition].name.clone();
            kept.holds.push((name, claim.equal, claim.is_two_sided, until));
        }
        self.plan = Arc::new(plan);
        self.changes.insert(StateKey::of(Table::Config, ""));
        self.index(kept, now_ms, false);
        Ok(self.due(now_ms))
    }

    /// The rows that changed since the last call, with what is to be stored; `None`: to be deleted.
    pub fn take_changes(&mut self) -> Vec<(StateKey, Option<String>)> {
        let changes = std::mem::take(&mut self.changes);
        changes.into_iter().map(|key| (key.clone(), self.write(&key))).collect()
    }

    fn write(&self, key: &StateKey) -> Option<String> {
        // Only a map with keys that are no text, or a failing `Serialize`, can make serde_json fail; there is neither.
        let (table, key) = key.parts()?;
        match table {
            Table::Alert => serde_json::to_string(self.known.get(key)?).ok(),
            Table::Ended => serde_json::to_string(self.ended.get(key)?).ok(),
            Table::Silence => serde_json::to_string(self.silences.get(key)?).ok(),
            Table::Config => serde_json::to_string(&self.plan.fingerprint).ok(),
            Table::Group => {
                let (route, key) = key.split_once(PART)?;
                let group = self.groups.get(&GroupId { route: self.plan.route(route)?, key: key.to_owned() })?;
                (group.saved != (None, None)).then(|| serde_json::to_string(&group.saved).ok())?
            }
            Table::Hold => {
                let (name, is_two_sided, equal) = hold_parts(key)?;
                serde_json::to_string(&self.sources.held_until(&claim(&self.plan, name, equal, is_two_sided)?)?).ok()
            }
        }
    }

    /// `Ok(false)`: the key is of no known form.
    fn read(&mut self, key: &StateKey, json: &str, kept: &mut Kept, fingerprint: &mut String) -> serde_json::Result<bool> {
        let Some((table, key)) = key.parts() else { return Ok(false) };
        match table {
            Table::Alert => _ = self.known.insert(key.to_owned(), serde_json::from_str(json)?),
            Table::Ended => _ = self.ended.insert(key.to_owned(), serde_json::from_str(json)?),
            Table::Silence => _ = self.silences.insert(key.to_owned(), serde_json::from_str(json)?),
            Table::Config => *fingerprint = serde_json::from_str(json)?,
            Table::Group => match key.split_once(PART) {
                Some((route, key)) => kept.groups.push((route.to_owned(), key.to_owned(), serde_json::from_str(json)?)),
                None => return Ok(false),
            },
            Table::Hold => match hold_parts(key) {
                Some((name, two, equal)) => kept.holds.push((name.into(), equal.into(), two, serde_json::from_str(json)?)),
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Derives everything from the alerts and what was kept. `is_same`: nothing is to be judged anew.
    fn index(&mut self, kept: Kept, now: i64, is_same: bool) {
        self.by_weight = self.known.iter().map(|(id, k)| (k.alert.event.severity, k.since, id.clone())).collect();
        self.ended_by_time = self.ended.iter().map(|(id, at)| (*at, id.clone())).collect();
        self.sources = Sources::default();
        self.groups.clear();
        self.muted.clear();
        self.held.clear();
        self.blocked.clear();
        self.agenda = super::Agenda::default();
        for (name, equal, is_two_sided, until) in kept.holds {
            match claim(&self.plan, &name, &equal, is_two_sided) {
                Some(claim) => self.sources.hold(claim, until),
                None => _ = self.changes.insert(hold_key(&name, is_two_sided, &equal)),
            }
        }
        for (route, key, saved) in kept.groups {
            match self.plan.route(&route) {
                Some(route) => self.index_group(GroupId { route, key }, saved),
                None => _ = self.changes.insert(StateKey::of(Table::Group, &format!("{route}{PART}{key}"))),
            }
        }
        let ids: Vec<String> = self.known.keys().cloned().collect();
        for id in &ids {
            for (group, place, _) in self.seats(id) {
                self.sit(id, &group, place);
            }
            self.look_at_source(id, now);
        }
        if !is_same {
            ids.iter().for_each(|id| self.judge_anew(id, now));
        }
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.agenda.set(Task::Care(group.clone()), now);
            self.drop_if_empty(&group);
        }
        if !self.held.is_empty() {
            self.agenda.set(Task::Digest, now);
        }
        self.set_wake();
    }

    fn index_group(&mut self, id: GroupId, saved: Times) {
        let (last_at, news_due) = saved;
        if let Some(due) = news_due {
            self.agenda.set(Task::News(id.clone()), due);
        }
        self.groups.insert(id, Group { last_at, news_due, saved, ..Group::default() });
    }

    fn judge_anew(&mut self, id: &str, now: i64) {
        self.reseat(id);
        let plan = Arc::clone(&self.plan);
        if let Some(known) = self.known.get_mut(id) {
            close_untellable(&plan, known);
        }
        self.mark(id);
        self.pend_news(id, now, true);
        self.settle(id);
    }

    pub(super) fn group_key(&self, group: &GroupId) -> StateKey {
        StateKey::of(Table::Group, &format!("{}{PART}{}", self.plan.routes[group.route].name, group.key))
    }

    pub(super) fn hold_key(&self, claim: &Claim) -> StateKey {
        hold_key(&self.plan.inhibitions[claim.inhibition].name, claim.is_two_sided, &claim.equal)
    }
}

fn hold_key(name: &str, is_two_sided: bool, equal: &str) -> StateKey {
    StateKey::of(Table::Hold, &format!("{name}{PART}{is_two_sided}{PART}{equal}"))
}

fn hold_parts(key: &str) -> Option<(&str, bool, &str)> {
    let mut parts = key.splitn(3, PART);
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?))
}

fn claim(plan: &Plan, name: &str, equal: &str, is_two_sided: bool) -> Option<Claim> {
    let inhibition = plan.inhibitions.iter().position(|inhibition| inhibition.name == name)?;
    Some(Claim { inhibition, equal: equal.to_owned(), is_two_sided })
}
