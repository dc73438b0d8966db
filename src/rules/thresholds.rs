//! A rule on a number: where it fires, for how long it must, and where it is over, over event time.
//!
//! The states follow from the values by event time, so a corrected value corrects the alert: within the correction horizon values are kept and stepped
//! through again; what is older is sealed into the state that it led to.

use std::collections::BTreeMap;

use alerts::{Chart, Event, Severity, ThresholdFacts};

use super::Rule;
use super::signals::{Line, Signal};

/// One rule's numbers of one line.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Watch {
    #[serde(with = "super::saved::pairs")]
    values: BTreeMap<i64, f64>,
    /// What the values before the kept ones led to.
    sealed: Machine,
    #[serde(with = "super::saved::pairs")]
    said: BTreeMap<i64, Spell>,
}

/// One stretch of time in which it fired.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Spell {
    pub onset: i64,
    pub ended: Option<i64>,
    /// Where it fired; once over, the value that ended it.
    pub value: f64,
    /// The furthest value, known once it is over; the one where it fired before.
    pub extreme: f64,
}

#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Machine {
    state: State,
    /// No other spell begins before.
    rest_until: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
enum State {
    #[default]
    Quiet,
    /// Beyond the bound, but not yet for long enough.
    Held {
        since: i64,
    },
    Firing {
        spell: Spell,
        extreme: f64,
    },
}

impl Machine {
    fn step(&mut self, rule: &Rule, ts: i64, value: f64) -> Option<Spell> {
        let fire = rule.fire.unwrap_or(f64::INFINITY);
        let clear = rule.clear.unwrap_or(fire);
        match self.state {
            State::Firing { spell, extreme } => {
                let is_further = rule.comparison.is_beyond(value, extreme)
                    || (rule.comparison == super::Comparison::Outside && value.abs() > extreme.abs());
                let extreme = if is_further { value } else { extreme };
                if rule.comparison.is_beyond(value, clear) {
                    self.state = State::Firing { spell, extreme };
                    return Some(spell);
                }
                self.state = State::Quiet;
                self.rest_until = Some(spell.onset.saturating_add(rule.cooldown_ms()));
                Some(Spell { ended: Some(ts), value, extreme, ..spell })
            }
            _ if !rule.comparison.is_beyond(value, fire) => {
                self.state = State::Quiet;
                None
            }
            State::Quiet => self.hold(rule, ts, ts, value),
            State::Held { since } => self.hold(rule, since, ts, value),
        }
    }

    fn hold(&mut self, rule: &Rule, since: i64, ts: i64, value: f64) -> Option<Spell> {
        let is_resting = self.rest_until.is_some_and(|until| ts < until);
        if ts - since < rule.hold_ms() || is_resting {
            self.state = State::Held { since };
            return None;
        }
        let spell = Spell { onset: ts, ended: None, value, extreme: value };
        self.state = State::Firing { spell, extreme: value };
        Some(spell)
    }
}

impl Watch {
    /// Takes in changes of the line and says how its spells change: (spell, diff).
    pub fn update(&mut self, rule: &Rule, changes: &[(i64, f64, isize)], horizon_ms: i64) -> Vec<(Spell, isize)> {
        // Taken away before it is added: a correction is both, in either order.
        for diff in [-1, 1] {
            for &(ts, value, _) in changes.iter().filter(|(.., d)| d.signum() == diff) {
                if diff > 0 {
                    self.values.insert(ts, value);
                } else if self.values.get(&ts) == Some(&value) {
                    self.values.remove(&ts);
                }
            }
        }
        self.seal(rule, horizon_ms);
        let mut machine = self.sealed;
        let mut spells: BTreeMap<i64, Spell> = BTreeMap::new();
        if let State::Firing { spell, .. } = machine.state {
            spells.insert(spell.onset, spell);
        }
        for (&ts, &value) in &self.values {
            if let Some(spell) = machine.step(rule, ts, value) {
                spells.insert(spell.onset, spell);
            }
        }
        let mut said = Vec::new();
        for (onset, old) in &self.said {
            if spells.get(onset) != Some(old) {
                said.push((*old, -1));
            }
        }
        for (onset, new) in &spells {
            if self.said.get(onset) != Some(new) {
                said.push((*new, 1));
            }
        }
        self.said = spells;
        said
    }

    /// Another rule of the same name goes on with a spell that the old one began.
    pub fn going_on(spell: Spell) -> Self {
        let state = State::Firing { spell, extreme: spell.extreme };
        Self {
            values: BTreeMap::new(),
            sealed: Machine { state, rest_until: None },
            said: BTreeMap::from([(spell.onset, spell)]),
        }
    }

    /// Spells that go on.
    pub fn firing(&self) -> impl Iterator<Item = Spell> {
        self.said.values().copied().filter(|spell| spell.ended.is_none())
    }

    fn seal(&mut self, rule: &Rule, horizon_ms: i64) {
        let Some((&newest, _)) = self.values.last_key_value() else { return };
        let kept = self.values.split_off(&newest.saturating_sub(horizon_ms));
        for (ts, value) in std::mem::replace(&mut self.values, kept) {
            if let Some(Spell { onset, ended: Some(_), .. }) = self.sealed.step(rule, ts, value) {
                self.said.remove(&onset); // it is history: no correction reaches it
            }
        }
    }

    /// What it was like, to be drawn.
    pub fn chart(&self, rule: &Rule) -> Chart {
        let skipped = self.values.len().saturating_sub(alerts::chart::POINTS_MAX);
        let (ts, values) = self.values.iter().skip(skipped).map(|(ts, value)| (*ts, *value)).unzip();
        Chart::Line { ts, name: rule.column.clone().unwrap_or_default(), values, threshold: rule.fire }
    }
}

/// A spell as an event.
pub(super) fn event(rule: &Rule, line: &Line, spell: Spell, known_at: i64) -> Event {
    let fire = rule.fire.unwrap_or_default();
    Event::threshold(ThresholdFacts {
        rule: rule.name.clone(),
        view: line.view.to_owned(),
        column: rule.column.clone().unwrap_or_default(),
        comparison: rule.comparison.as_str(),
        fire,
        clear: rule.clear.unwrap_or(fire),
        venue: line.venue.clone(),
        symbol: line.symbol.clone(),
        rest: line.rest.clone(),
        value: spell.value,
        extreme: spell.extreme,
        onset_ms: spell.onset,
        ended_at_ms: spell.ended,
        severity: rule.severity.unwrap_or(Severity::Warning),
        known_at_ms: known_at,
    })
}

/// Whether the rule watches this row, and the number that it watches.
pub(super) fn watched(rule: &Rule, signal: &Signal) -> Option<f64> {
    let is_meant = rule.view.as_deref() == Some(signal.view)
        && rule.speaks_of(&signal.symbol, &signal.venue)
        && rule.only.iter().all(|(name, value)| match name.as_str() {
            "symbol" => signal.symbol == *value,
            "venue" => signal.venue == *value,
            _ => signal.rest.get(name) == Some(value),
        });
    if is_meant { signal.values.get(rule.column.as_deref()?).copied() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Comparison;

    const MINUTE: i64 = 60_000;

    fn rule(fire: f64, clear: f64, hold_s: u64, cooldown_s: u64) -> Rule {
        Rule {
            name: "r".into(),
            view: Some("funding".into()),
            column: Some("funding_z_score".into()),
            fire: Some(fire),
            clear: Some(clear),
            hold_s,
            cooldown_s,
            ..Rule::default()
        }
    }

    /// Feeds one value a minute, one quantum each; the net rows afterwards as `onset-end`.
    fn check(rule: &Rule, values: &[f64], expected: &[&str]) {
        let mut watch = Watch::default();
        let mut net: BTreeMap<(i64, Option<i64>), isize> = BTreeMap::new();
        for (minute, value) in values.iter().enumerate() {
            for (spell, diff) in watch.update(rule, &[(minute as i64 * MINUTE, *value, 1)], 120 * MINUTE) {
                *net.entry((spell.onset / MINUTE, spell.ended.map(|ts| ts / MINUTE))).or_default() += diff;
            }
        }
        let rows: Vec<String> = net
            .into_iter()
            .filter(|(_, diff)| *diff != 0)
            .map(|((onset, ended), diff)| {
                assert_eq!(diff, 1);
                format!("{onset}-{}", ended.map(|ts| ts.to_string()).unwrap_or_default())
            })
            .collect();
        assert_eq!(rows, expected, "{values:?}");
    }

    #[test]
    fn it_fires_beyond_one_bound_and_ends_within_the_other() {
        check(&rule(3.0, 2.0, 0, 0), &[1.0, 3.5, 2.5, 3.5, 1.9, 1.0], &["1-4"]);
        check(&rule(3.0, 2.0, 0, 0), &[3.0, 3.0], &[]);
        check(&rule(3.0, 2.0, 0, 0), &[4.0], &["0-"]);
        let below = Rule { comparison: Comparison::Below, ..rule(-3.0, -2.0, 0, 0) };
        check(&below, &[-2.5, -3.1, -2.1, -1.9], &["1-3"]);
        let outside = Rule { comparison: Comparison::Outside, ..rule(3.0, 2.0, 0, 0) };
        check(&outside, &[-3.1, 2.5, 1.0, 4.0], &["0-2", "3-"]);
    }

    #[test]
    fn a_thousand_wobbles_round_a_bound_fire_once() {
        let values: Vec<f64> = (0..1_000).map(|n| if n % 2 == 0 { 3.03 } else { 2.97 }).chain([1.0]).collect();
        check(&rule(3.0, 2.0, 0, 0), &values, &["0-1000"]);
    }

    #[test]
    fn hold_and_cooldown_are_event_time() {
        check(&rule(3.0, 2.0, 120, 0), &[4.0, 4.0, 1.0, 4.0, 4.0, 4.0, 4.0, 1.0], &["5-7"]);
        check(&rule(3.0, 2.0, 0, 300), &[4.0, 1.0, 4.0, 1.0, 4.0, 4.0, 4.0, 1.0], &["0-1", "5-7"]);
    }

    #[test]
    fn a_corrected_value_corrects_the_alert_whatever_the_order() {
        let rule = rule(3.0, 2.0, 60, 0);
        let values = [1.0, 4.0, 4.0, 4.0, 1.0, 5.0, 5.0];
        let at = |n: usize| n as i64 * MINUTE;
        let mut forward = Watch::default();
        for (n, value) in values.iter().enumerate() {
            forward.update(&rule, &[(at(n), *value, 1)], 120 * MINUTE);
        }
        let mut corrected = Watch::default();
        for n in (0..values.len()).rev() {
            corrected.update(&rule, &[(at(n), 9.0, 1)], 120 * MINUTE);
        }
        for (n, value) in values.iter().enumerate() {
            corrected.update(&rule, &[(at(n), *value, 1), (at(n), 9.0, -1)], 120 * MINUTE);
        }
        assert_eq!(forward.said, corrected.said);
        assert_eq!(forward.said.len(), 2);
    }

    #[test]
    fn what_began_before_the_horizon_still_ends() {
        let values: Vec<f64> = std::iter::repeat_n(4.0, 300).chain([1.0, 4.0]).collect();
        check(&rule(3.0, 2.0, 0, 0), &values, &["0-300", "301-"]);
    }
}
