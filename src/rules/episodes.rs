//! Rules on episodes that need time: how long one must last, and how soon another may follow.
//!
//! Rules without hold and cooldown need no memory: whether they ask for an episode follows from its row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alerts::{Event, Status};

use super::Rule;

/// What was decided of an episode is kept for so long after it became known.
const REMEMBERED_MS: i64 = 6 * 3_600_000;

/// What rules with a hold or a cooldown have decided.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Gates {
    /// By rule and episode.
    decided: HashMap<(String, String), Decision>,
    /// The onsets of admitted episodes, by rule and symbol.
    admitted: HashMap<(String, String), BTreeSet<i64>>,
    /// When a hold ends: (time, episode).
    due: BTreeMap<i64, BTreeSet<String>>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Decision {
    is_admitted: bool,
    known_at: i64,
}

impl Gates {
    /// Whether the rule lets the episode through now.
    pub fn admits(&mut self, rule: &Rule, event: &Event, onset: i64, known_at: i64) -> bool {
        if rule.hold_s == 0 && rule.cooldown_s == 0 {
            return true;
        }
        let key = (rule.name.clone(), event.id.clone());
        if let Some(decision) = self.decided.get(&key) {
            return decision.is_admitted;
        }
        let lasts = if event.status == Status::Resolved { event.timestamp } else { known_at } - onset;
        if lasts < rule.hold_ms() {
            if event.status == Status::Firing {
                self.due.entry(onset.saturating_add(rule.hold_ms())).or_default().insert(event.id.clone());
            }
            return false;
        }
        let onsets = self.admitted.entry((rule.name.clone(), event.symbol.clone())).or_default();
        let cooldown = rule.cooldown_ms();
        let is_admitted =
            onsets.range(onset.saturating_sub(cooldown) + 1..onset.saturating_add(cooldown)).all(|other| *other == onset);
        if is_admitted {
            onsets.insert(onset);
        }
        self.decided.insert(key, Decision { is_admitted, known_at });
        is_admitted
    }

    /// Whether the rule has let the episode through; decides nothing.
    pub fn has_admitted(&self, rule: &Rule, event: &Event) -> bool {
        (rule.hold_s == 0 && rule.cooldown_s == 0)
            || self.decided.get(&(rule.name.clone(), event.id.clone())).is_some_and(|decision| decision.is_admitted)
    }

    /// Episodes whose hold has ended.
    pub fn due(&mut self, known_at: i64) -> BTreeSet<String> {
        let later = self.due.split_off(&(known_at + 1));
        std::mem::replace(&mut self.due, later).into_values().flatten().collect()
    }

    /// Drops what no correction reaches any more.
    pub fn forget(&mut self, known_at: i64, is_open: impl Fn(&str) -> bool) {
        let limit = known_at - REMEMBERED_MS;
        self.decided.retain(|(_, id), decision| decision.known_at > limit || is_open(id));
        for onsets in self.admitted.values_mut() {
            // Cooldowns are at most a week.
            *onsets = onsets.split_off(&(known_at - 8 * 86_400_000));
        }
        self.admitted.retain(|_, onsets| !onsets.is_empty());
    }

    /// Forgets a rule.
    pub fn drop_rule(&mut self, name: &str) {
        self.decided.retain(|(rule, _), _| rule != name);
        self.admitted.retain(|(rule, _), _| rule != name);
    }
}
