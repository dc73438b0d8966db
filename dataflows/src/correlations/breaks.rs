//! When a pair breaks apart: r below its bound, or Fisher's z far below the pair's own baseline, for some bars.
//!
//! Only falls count: r below its bound is no break of a pair that has always been so (z within the clearing distance of the baseline). Bars
//! without a figure neither hold nor clear. It is over when z comes back (without a baseline: when r does), and at the latest a window's
//! length after the last bar at which it held: so whether a pair is broken depends on two windows of bars and nothing before them.
//! `onset` is the bar at which it had held for long enough, never one before that was known.

use std::collections::BTreeMap;

use super::baseline::History;
use super::key::Key;
use super::returns::fisher_z;
use crate::config::CorrelationBreaks as Settings;
use crate::model::{Baseline, CorrelationBreak, Real};
use crate::operators::replace;

/// What one figure says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    /// A break, and how strong.
    Broken(f64),
    /// Neither.
    Between,
    Clear,
}

/// A pair that is broken, or may become so.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Watch {
    /// Broken bars in a row, as far as they matter.
    run: u32,
    /// The last bar that said anything.
    seen: i64,
    /// The last bar at which it had held for long enough.
    held: i64,
    /// The bar of the onset of the break that is open.
    onset: Option<i64>,
}

/// The breaks of one horizon.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Breaks {
    settings: Settings,
    window: i64,
    watches: BTreeMap<Key, Watch>,
    rows: BTreeMap<(i64, Key), CorrelationBreak>,
    /// What stood in `rows` before this quantum touched it.
    before: BTreeMap<(i64, Key), Option<CorrelationBreak>>,
    undo: Vec<Undo>,
}

/// How one bar's changes are taken back.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Undo {
    Watch(Key, Option<Watch>),
    Row((i64, Key), Option<CorrelationBreak>),
}

/// z against a baseline.
pub(super) fn baseline(z: f64, history: Option<History>, sd_min: f64) -> Option<Baseline> {
    let History { mean, sd } = history?;
    Some(Baseline { mean: Real(mean), sd: Real(sd), delta_z: Real((z - mean) / sd.max(sd_min)) })
}

impl Breaks {
    pub fn new(settings: Settings, window: i64) -> Self {
        let (watches, rows, before) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { settings, window, watches, rows, before, undo: Vec::new() }
    }

    /// Takes in a pair's figure of a bar. `row` makes the row of a break that begins with it.
    pub fn observe(&mut self, key: Key, bar: i64, r: f64, history: Option<History>, row: impl Fn() -> CorrelationBreak) {
        let known = self.watches.get(&key).copied();
        let against = baseline(fisher_z(r), history, self.settings.sd_min);
        let sign = sign(&self.settings, r, against);
        if known.is_none() && !matches!(sign, Sign::Broken(_)) {
            return; // the usual case
        }
        let mut watch = known.unwrap_or(Watch { run: 0, seen: bar, held: bar, onset: None });
        if bar - watch.seen >= self.window {
            watch.run = 0;
        }
        watch.seen = bar;
        watch.run = if matches!(sign, Sign::Broken(_)) { (watch.run + 1).min(self.settings.hold_bars) } else { 0 };
        if let Sign::Broken(divergence_strength) = sign
            && watch.run >= self.settings.hold_bars
        {
            watch.held = bar;
            if watch.onset.is_none() {
                watch.onset = Some(bar);
                let is_pair_trade = against.is_some_and(|b| b.mean.0.tanh() >= self.settings.pair_trade_r);
                let (return_correlation, divergence_strength) = (Real(r), Real(divergence_strength));
                let row = CorrelationBreak { return_correlation, divergence_strength, is_pair_trade, baseline: against, ..row() };
                self.set((bar, key), Some(row));
            }
        }
        if sign == Sign::Clear
            && let Some(onset) = watch.onset.take()
        {
            self.end((onset, key), row().onset);
        }
        self.watch(key, Some(watch).filter(|watch| watch.run > 0 || watch.onset.is_some()));
    }

    /// Ends what has not held for a window's length. `ts` is the end of a bar.
    pub fn expire(&mut self, bar: i64, ts: impl Fn(i64) -> i64) {
        let over = |watch: &Watch| watch.onset.filter(|_| bar - watch.held >= self.window);
        let over: Vec<(Key, i64, Watch)> =
            self.watches.iter().filter_map(|(&key, watch)| Some((key, over(watch)?, *watch))).collect();
        for (key, onset, watch) in over {
            self.end((onset, key), ts(watch.held + self.window));
            self.watch(key, Some(Watch { onset: None, ..watch }).filter(|watch| watch.run > 0));
        }
    }

    fn end(&mut self, at: (i64, Key), ts: i64) {
        if let Some(row) = self.rows.get(&at).copied() {
            self.set(at, Some(CorrelationBreak { ended_at: Some(ts), ..row }));
        }
    }

    fn watch(&mut self, key: Key, watch: Option<Watch>) {
        let old = match watch {
            Some(watch) => self.watches.insert(key, watch),
            None => self.watches.remove(&key),
        };
        if old != watch {
            self.undo.push(Undo::Watch(key, old));
        }
    }

    fn set(&mut self, at: (i64, Key), row: Option<CorrelationBreak>) {
        let old = match row {
            Some(row) => self.rows.insert(at, row),
            None => self.rows.remove(&at),
        };
        self.before.entry(at).or_insert(old);
        self.undo.push(Undo::Row(at, old));
    }

    /// What takes the last bar's changes back.
    pub fn take_undo(&mut self) -> Vec<Undo> {
        std::mem::take(&mut self.undo)
    }

    /// Takes a bar's changes back.
    pub fn undo(&mut self, steps: Vec<Undo>) {
        for step in steps.into_iter().rev() {
            match step {
                Undo::Watch(key, watch) => self.watch(key, watch),
                Undo::Row(at, row) => self.set(at, row),
            }
        }
        self.undo.clear(); // nobody takes back what was taken back
    }

    /// How rows have changed in this quantum.
    pub fn report<O>(&mut self, wrap: impl Fn(CorrelationBreak) -> O, changes: &mut Vec<(O, isize)>) {
        for (at, old) in std::mem::take(&mut self.before) {
            replace(old, self.rows.get(&at).copied(), &wrap, changes);
        }
    }

    /// Drops breaks that were over before `ts`.
    pub fn settle(&mut self, ts: i64) {
        if self.rows.values().any(|row| row.ended_at.is_some_and(|end| end < ts)) {
            self.rows.retain(|_, row| row.ended_at.is_none_or(|end| end >= ts));
        }
    }
}

fn sign(settings: &Settings, r: f64, baseline: Option<Baseline>) -> Sign {
    let is_low = baseline.map_or(r < settings.r_below, |b| b.delta_z.0 <= -settings.clear_sd);
    if !is_low {
        return Sign::Clear;
    }
    let below = (r < settings.r_below).then_some(r.abs());
    let fallen = baseline.filter(|b| b.delta_z.0 < -settings.fall_sd && r <= b.mean.0.tanh() - settings.fall_r);
    let fallen = fallen.map(|b| b.delta_z.0.abs() / settings.fall_sd);
    below.into_iter().chain(fallen).reduce(f64::max).map_or(Sign::Between, Sign::Broken)
}
