//! The view `alerts`: what the views say ⋈ rules.
//!
//! It stands behind the collector, where a quantum's changes of all workers are together, and is maintained like a view inside the dataflow: (row, time, ±1) in, (row, time, ±1)
//! out, the same for any number of workers and any cut into quanta. It stands here and not inside because an alert is words, and words need the rows of the edge; workers don't wait for them.
//!
//! Telling is not the view: only what goes on when we learn of it is told. What was over before we knew is kept, and never pages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alerts::{Alert, Chart, Event, Status};
use dataflows::model::{Changes, Instruments};

use super::episodes::Gates;
use super::signals::{Line, Signal, signals, watchable};
use super::thresholds::{self, Spell, Watch};
use super::{Rule, Rules};
use crate::announce::{self, Rows};
use crate::store::Quantum;
use crate::store::edge::{AlertRow, EdgeRow};

/// Ended alerts are remembered for so long after they became known, so that a correction does not fire them again.
const REMEMBERED_MS: i64 = 6 * 3_600_000;
/// Most lines whose newest row is kept for rules to come.
const LATEST_MAX: usize = 200_000;

/// What a quantum, or a change of the rules, led to.
#[derive(Debug, Default)]
pub struct Said {
    /// Rows of the view.
    pub rows: Vec<AlertRow>,
    /// What people are told, if routes say so.
    pub alerts: Vec<Alert>,
}

/// The maintained view.
pub struct AlertsView {
    instruments: Arc<Instruments>,
    pub(super) rules: Vec<Rule>,
    horizon_ms: i64,
    /// Episodes that go on, with their onsets.
    pub(super) open: BTreeMap<String, (Event, i64)>,
    pub(super) gates: Gates,
    pub(super) watches: HashMap<(String, Line), Watch>,
    /// The newest row of each line, for a rule that comes while it runs. `None`: rules don't change (a replay).
    pub(super) latest: Option<HashMap<Line, Signal>>,
    pub(super) told: HashMap<String, Told>,
    pub(super) forgotten_at: i64,
}

/// What was last told of an alert.
pub(super) enum Told {
    /// It goes on.
    Firing(Box<Alert>),
    /// It is over, as became known then.
    Over(i64),
}

impl AlertsView {
    /// Nothing has been said yet. `is_live`: rules may change while it runs.
    #[must_use]
    pub fn new(instruments: Arc<Instruments>, rules: Rules, horizon_ms: i64, is_live: bool) -> Self {
        Self {
            instruments,
            rules: rules.0,
            horizon_ms,
            open: BTreeMap::new(),
            gates: Gates::default(),
            watches: HashMap::new(),
            latest: is_live.then(HashMap::new),
            told: HashMap::new(),
            forgotten_at: 0,
        }
    }

    /// Takes in a quantum.
    pub fn observe(&mut self, quantum: &Quantum) -> Said {
        let known_at = i64::try_from(quantum.known_at).unwrap_or(i64::MAX);
        let mut said = Said::default();
        let mut episodes = announce::episodes(&quantum.changes, &self.instruments, known_at);
        announce::gaps(&quantum.edge, known_at, &mut episodes);
        self.episodes(&episodes, known_at, &mut said);
        self.thresholds(&quantum.changes, known_at, &mut said);
        self.forget(known_at);
        said
    }

    /// Takes another set of rules, which counts from now on.
    pub fn set_rules(&mut self, rules: Rules, known_at: i64) -> Said {
        let mut said = Said::default();
        if rules.0 == self.rules {
            return said;
        }
        let before = std::mem::replace(&mut self.rules, rules.0);
        let gone: Vec<&Rule> = before.iter().filter(|rule| !self.rules.contains(rule)).collect();
        let new: Vec<Rule> = self.rules.iter().filter(|rule| !before.contains(rule)).cloned().collect();
        let open: Vec<(Event, i64)> = self.open.values().cloned().collect();
        let old: Vec<Option<Alert>> = open.iter().map(|(event, _)| self.alert(&before, event)).collect();
        for rule in gone {
            self.gates.drop_rule(&rule.name);
            self.end_watches(rule, known_at, &mut said);
        }
        for ((event, onset), old) in open.iter().zip(old) {
            let now = self.decide(event, *onset, known_at);
            self.replace(old, now, *onset, known_at, &mut said);
        }
        let latest: Vec<Signal> = self.latest.iter().flat_map(|latest| latest.values().cloned()).collect();
        for rule in new.iter().filter(|rule| rule.is_threshold()) {
            for signal in &latest {
                if let Some(value) = thresholds::watched(rule, signal) {
                    self.watch(rule, &signal.line(), &[(signal.ts, value, 1)], known_at, &mut said);
                }
            }
        }
        said
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn episodes(&mut self, rows: &Rows, known_at: i64, said: &mut Said) {
        for ((id, diff), (event, onset)) in rows {
            if *diff < 0 {
                if !rows.contains_key(&(id.clone(), 1)) {
                    let old = self.alert(&self.rules, event);
                    self.open.remove(id);
                    self.replace(old, None, *onset, known_at, said);
                }
                continue;
            }
            let old = rows.get(&(id.clone(), -1)).and_then(|(old, _)| self.alert(&self.rules, old));
            let now = self.decide(event, *onset, known_at);
            match event.status {
                Status::Firing => drop(self.open.insert(id.clone(), (event.clone(), *onset))),
                Status::Resolved => drop(self.open.remove(id)),
            }
            self.replace(old, now, *onset, known_at, said);
        }
        for id in self.gates.due(known_at) {
            let Some((event, onset)) = self.open.get(&id).cloned() else { continue };
            let event = Event { known_at, ..event };
            let old = self.alert(&self.rules, &event);
            let now = self.decide(&event, onset, known_at);
            self.replace(old, now, onset, known_at, said);
        }
    }

    fn thresholds(&mut self, changes: &[Changes], known_at: i64, said: &mut Said) {
        let rules = std::mem::take(&mut self.rules);
        let is_watched = |view: &str| rules.iter().any(|rule| rule.view.as_deref() == Some(view));
        // Rules to come are judged by what is true: what was taken back before they came says nothing to them.
        let is_kept = |view: &str, diff: isize| diff > 0 && self.latest.is_some() && watchable().any(|kept| kept == view);
        let mut found = Vec::new();
        for changes in changes {
            signals(changes, &self.instruments, |view, diff| is_watched(view) || is_kept(view, diff), &mut found);
        }
        for rule in rules.iter().filter(|rule| rule.is_threshold()) {
            let mut by_line: BTreeMap<Line, Vec<(i64, f64, isize)>> = BTreeMap::new();
            for (signal, diff) in &found {
                if let Some(value) = thresholds::watched(rule, signal) {
                    by_line.entry(signal.line()).or_default().push((signal.ts, value, *diff));
                }
            }
            for (line, changes) in by_line {
                self.watch(rule, &line, &changes, known_at, said);
            }
        }
        self.rules = rules;
        let Some(latest) = &mut self.latest else { return };
        for (signal, _) in found.into_iter().filter(|(_, diff)| *diff > 0) {
            let line = signal.line();
            if latest.get(&line).is_none_or(|known| known.ts <= signal.ts)
                && (latest.len() < LATEST_MAX || latest.contains_key(&line))
            {
                latest.insert(line, signal);
            }
        }
    }

    fn watch(&mut self, rule: &Rule, line: &Line, changes: &[(i64, f64, isize)], known_at: i64, said: &mut Said) {
        let watch = self.watches.entry((rule.name.clone(), line.clone())).or_default();
        let spells = watch.update(rule, changes, self.horizon_ms);
        let chart = spells.iter().any(|(spell, diff)| *diff > 0 && spell.ended.is_none()).then(|| watch.chart(rule));
        let alert = |spell, chart| threshold_alert(rule, line, spell, chart, known_at);
        for (spell, _) in spells.iter().filter(|(_, diff)| *diff > 0) {
            let old = spells.iter().find(|(old, diff)| *diff < 0 && old.onset == spell.onset).map(|(old, _)| alert(*old, None));
            self.replace(old, Some(alert(*spell, chart.clone())), spell.onset, known_at, said);
        }
        for (spell, _) in
            spells.iter().filter(|(old, diff)| *diff < 0 && !spells.iter().any(|(s, d)| *d > 0 && s.onset == old.onset))
        {
            self.replace(Some(alert(*spell, None)), None, spell.onset, known_at, said);
        }
    }

    /// The rule is gone, or has become another of the same name. What it said is over, unless that one goes on with it.
    fn end_watches(&mut self, rule: &Rule, known_at: i64, said: &mut Said) {
        let successor = self.rules.iter().find(|new| new.name == rule.name && new.is_threshold()).cloned();
        let lines: Vec<Line> = self.watches.keys().filter(|(name, _)| *name == rule.name).map(|(_, line)| line.clone()).collect();
        for line in lines {
            let Some(watch) = self.watches.remove(&(rule.name.clone(), line.clone())) else { continue };
            let newest = self.latest.as_ref().and_then(|latest| latest.get(&line));
            let goes_on =
                newest.zip(successor.as_ref()).is_some_and(|(signal, rule)| thresholds::watched(rule, signal).is_some());
            for spell in watch.firing() {
                let old = threshold_alert(rule, &line, spell, None, known_at);
                let now = successor.as_ref().filter(|_| goes_on).map(|rule| threshold_alert(rule, &line, spell, None, known_at));
                if now.is_some() {
                    self.watches.insert((rule.name.clone(), line.clone()), Watch::going_on(spell));
                }
                self.replace(Some(old), now, spell.onset, known_at, said);
            }
        }
    }

    /// The alert that an episode is, new decisions included.
    fn decide(&mut self, event: &Event, onset: i64, known_at: i64) -> Option<Alert> {
        for rule in self.rules.iter().filter(|rule| rule.asks_for(event)) {
            self.gates.admits(rule, event, onset, known_at);
        }
        self.alert(&self.rules, event)
    }

    /// The alert that an episode is by these rules, as far as is decided.
    fn alert(&self, rules: &[Rule], event: &Event) -> Option<Alert> {
        let asking = rules.iter().filter(|rule| rule.asks_for(event) && self.gates.has_admitted(rule, event));
        super::explain::alert(asking, event)
    }

    /// An alert's row becomes another, or begins, or is taken back; what is new in that is told.
    fn replace(&mut self, old: Option<Alert>, now: Option<Alert>, onset: i64, known_at: i64, said: &mut Said) {
        let row = |alert: &Alert, diff| announce::to_row(&alert.event, onset, u64::try_from(known_at).unwrap_or_default(), diff);
        said.rows.extend(old.as_ref().map(|alert| row(alert, -1)));
        said.rows.extend(now.as_ref().map(|alert| row(alert, 1)));
        match now {
            Some(alert) => said.alerts.extend(self.news(alert, known_at)),
            None => {
                if let Some(id) = old.map(|alert| alert.event.id)
                    && let Some(Told::Firing(_)) = self.told.get(&id)
                    && let Some(Told::Firing(alert)) = self.told.insert(id, Told::Over(known_at))
                {
                    said.alerts.push(Alert { event: alert.event.clone().resolved(known_at, known_at), ..*alert });
                }
            }
        }
    }

    /// What begins is told, what grows graver is told again under the same id, what is over is resolved. What was over before we knew
    /// of it is history: it is kept, not told.
    fn news(&mut self, alert: Alert, known_at: i64) -> Option<Alert> {
        let event = &alert.event;
        let is_news = match (self.told.get(&event.id), event.status) {
            (None, status) => status == Status::Firing,
            (Some(Told::Firing(told)), Status::Firing) => event.severity > told.event.severity,
            (Some(Told::Firing(_)), Status::Resolved) => true,
            (Some(Told::Over(_)), _) => false,
        };
        if is_news {
            let is_over = event.status == Status::Resolved;
            let kept = || Alert { chart: None, ..alert.clone() };
            let told = if is_over { Told::Over(known_at) } else { Told::Firing(Box::new(kept())) };
            self.told.insert(event.id.clone(), told);
        }
        is_news.then_some(alert)
    }

    fn forget(&mut self, known_at: i64) {
        if known_at >= self.forgotten_at + REMEMBERED_MS / 6 {
            self.forgotten_at = known_at;
            self.told.retain(|_, told| !matches!(told, Told::Over(at) if *at + REMEMBERED_MS <= known_at));
            let open = &self.open;
            self.gates.forget(known_at, |id| open.contains_key(id));
        }
    }
}

fn threshold_alert(rule: &Rule, line: &Line, spell: Spell, chart: Option<Chart>, known_at: i64) -> Alert {
    let event = thresholds::event(rule, line, spell, known_at);
    Alert { event, rules: vec![rule.name.clone()], labels: rule.labels.clone(), chart, is_correction: false }
}

impl Said {
    /// Puts the view's rows to the others of the quantum.
    pub fn into_quantum(self, quantum: &mut Quantum) -> Vec<Alert> {
        quantum.edge.extend(self.rows.into_iter().map(EdgeRow::Alert));
        self.alerts
    }
}
