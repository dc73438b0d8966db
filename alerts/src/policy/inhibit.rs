//! What fires and mutes others, and what mutes for a while after it ended.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{GroupBy, Inhibition};
use super::state::PART;
use crate::alert::Alert;

/// A source's hold on the targets that have the same values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub inhibition: usize,
    /// The values that targets must have too.
    pub equal: String,
    /// The source is a target as well. It does not mute what is both too: alerts of one kind would mute each other.
    pub is_two_sided: bool,
}

/// Firing sources, and ended ones that still hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    by_id: BTreeMap<String, Vec<Claim>>,
    active: BTreeMap<Claim, BTreeSet<String>>,
    holds: BTreeMap<Claim, i64>,
}

/// What an update set free.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// When, at the earliest.
    pub at: Option<i64>,
    /// Holds that are new or longer.
    pub held: Vec<Claim>,
}

impl Sources {
    /// `alert` fires (or no longer: `None`).
    pub fn update(&mut self, inhibitions: &[Inhibition], id: &str, alert: Option<&Alert>, now: i64) -> Released {
        let claims: Vec<Claim> = alert.map(|alert| claims(inhibitions, alert)).unwrap_or_default();
        let mut released = Released::default();
        if claims.is_empty() && !self.by_id.contains_key(id) {
            return released;
        }
        let before = if claims.is_empty() { self.by_id.remove(id) } else { self.by_id.insert(id.to_owned(), claims.clone()) };
        for claim in before.unwrap_or_default().into_iter().filter(|claim| !claims.contains(claim)) {
            let Some(ids) = self.active.get_mut(&claim) else { continue };
            ids.remove(id);
            if !ids.is_empty() {
                continue;
            }
            self.active.remove(&claim);
            let hold = inhibitions.get(claim.inhibition).map_or(0, |inhibition| inhibition.hold_ms);
            let until = now.saturating_add(hold);
            released.at = Some(released.at.map_or(until, |at| at.min(until)));
            if hold > 0 {
                self.holds.insert(claim.clone(), until);
                released.held.push(claim);
            }
        }
        for claim in claims {
            self.active.entry(claim).or_default().insert(id.to_owned());
        }
        released
    }

    /// Which inhibition mutes the alert.
    pub fn muting<'a>(&self, inhibitions: &'a [Inhibition], alert: &Alert, now: i64) -> Option<&'a Inhibition> {
        let is_held = |claim: &Claim| self.active.contains_key(claim) || self.holds.get(claim).is_some_and(|until| now < *until);
        inhibitions.iter().enumerate().find_map(|(index, inhibition)| {
            if !inhibition.target.matches(alert) {
                return None;
            }
            let claim = |is_two_sided| Claim { inhibition: index, equal: values(&inhibition.equal, alert), is_two_sided };
            let is_two_sided = inhibition.source.matches(alert);
            (is_held(&claim(false)) || (!is_two_sided && is_held(&claim(true)))).then_some(inhibition)
        })
    }

    pub fn hold(&mut self, claim: Claim, until: i64) {
        self.holds.insert(claim, until);
    }

    pub fn held_until(&self, claim: &Claim) -> Option<i64> {
        self.holds.get(claim).copied()
    }

    pub fn next_end(&self) -> Option<i64> {
        self.holds.values().min().copied()
    }

    /// Takes the holds that are over.
    pub fn take_ended(&mut self, now: i64) -> Vec<Claim> {
        self.holds.extract_if(.., |_, until| *until <= now).map(|(claim, _)| claim).collect()
    }

    /// Takes all holds.
    pub fn take_holds(&mut self) -> BTreeMap<Claim, i64> {
        std::mem::take(&mut self.holds)
    }
}

fn claims(inhibitions: &[Inhibition], alert: &Alert) -> Vec<Claim> {
    let of = |(inhibition, i): (usize, &Inhibition)| Claim {
        inhibition,
        equal: values(&i.equal, alert),
        is_two_sided: i.target.matches(alert),
    };
    inhibitions.iter().enumerate().filter(|(_, i)| i.source.matches(alert)).map(of).collect()
}

/// An alert's values in one text.
pub(super) fn values(by: &[GroupBy], alert: &Alert) -> String {
    let mut text = String::new();
    for (i, by) in by.iter().enumerate() {
        if i > 0 {
            text.push(PART);
        }
        text.push_str(&by.value(alert));
    }
    text
}
