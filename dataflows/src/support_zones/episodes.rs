//! Returns to zones as episodes: begun by a minute that re-enters, ended by the first minute away.

use std::collections::BTreeMap;

use crate::config::SupportZones as Settings;
use crate::fixed::Price;
use crate::model::{MINUTE_MS, PositionSide, ZoneTouch};
use crate::operators::replace;

use super::prices::Range;
use super::visits::Edges;

type Key = (PositionSide, i64, Price);

/// An instrument's episodes that are open or can still be corrected.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Episodes {
    now: BTreeMap<Key, ZoneTouch>,
    /// The rows that are out.
    published: BTreeMap<Key, ZoneTouch>,
    open: usize,
    has_changed: bool,
}

impl Episodes {
    pub fn is_empty(&self) -> bool {
        self.now.is_empty() && self.published.is_empty()
    }

    pub fn any_open(&self) -> bool {
        self.open > 0
    }

    pub fn begin(&mut self, touch: ZoneTouch) {
        self.now.insert((touch.side, touch.onset, touch.price_low), touch);
        self.open += 1;
        self.has_changed = true;
    }

    /// Ends what `minute` ends.
    pub fn step(&mut self, minute: i64, range: Option<Range>, settings: &Settings) {
        if self.open == 0 {
            return;
        }
        for touch in self.now.values_mut().filter(|touch| touch.ended_at.is_none()) {
            let edges = Edges::new(touch.price_low.0, touch.price_high.0, settings.leave_bps);
            let is_old = minute - touch.onset / MINUTE_MS >= settings.window_minutes;
            if is_old || range.is_some_and(|range| edges.is_left(range)) {
                touch.ended_at = Some(minute * MINUTE_MS);
                self.open -= 1;
                self.has_changed = true;
            }
        }
    }

    /// Undoes all minutes after `minute`.
    pub fn go_back(&mut self, minute: i64) {
        self.now.retain(|(_, onset, _), _| *onset <= minute * MINUTE_MS);
        for touch in self.now.values_mut() {
            touch.ended_at = touch.ended_at.filter(|&ended| ended <= minute * MINUTE_MS);
        }
        self.open = self.now.values().filter(|touch| touch.ended_at.is_none()).count();
        self.has_changed = true;
    }

    /// Says how the rows changed.
    pub fn report(&mut self, mut change: impl FnMut(ZoneTouch, isize)) {
        if !std::mem::take(&mut self.has_changed) {
            return;
        }
        let mut changes = Vec::new();
        for (key, &touch) in &self.now {
            replace(self.published.remove(key), Some(touch), |touch| touch, &mut changes);
        }
        changes.extend(self.published.values().map(|&gone| (gone, -1)));
        changes.into_iter().for_each(|(touch, diff)| change(touch, diff));
        self.published.clone_from(&self.now);
    }

    /// Drops what was over before `minute`.
    pub fn forget_before(&mut self, minute: i64) {
        let can_change = |touch: &ZoneTouch| touch.ended_at.is_none_or(|ended| ended >= minute * MINUTE_MS);
        if self.now.first_key_value().is_some_and(|(_, first)| !can_change(first)) || self.now.len() > 64 {
            self.now.retain(|_, touch| can_change(touch));
            self.published.retain(|_, touch| can_change(touch));
        }
    }
}
