//! Who leads the market, from the minute at which it was settled to the next change.

use std::collections::BTreeMap;

use crate::model::{InstrumentId, LeadScore, Leader, MINUTE_MS};
use crate::operators::{NEVER, replace};

/// The symbol with the highest score above zero, alone, and its score. Minutes without any pair say nothing.
type Said = Option<(InstrumentId, i32)>;

/// Where the story stands.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Story {
    candidate: Option<InstrumentId>,
    minutes: i64,
    /// The leader, the one before it, since when, with which score.
    leader: Option<(InstrumentId, Option<InstrumentId>, i64, i32)>,
}

/// Minutes that can still be corrected, and the story up to them.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Leaders {
    hold_minutes: i64,
    recent: BTreeMap<i64, Said>,
    before: Story,
    /// The rows that are out, by onset.
    rows: BTreeMap<i64, Leader>,
    is_dirty: bool,
}

impl Leaders {
    pub fn new(hold_minutes: i64) -> Self {
        let before = Story { candidate: None, minutes: 0, leader: None };
        Self { hold_minutes, recent: BTreeMap::new(), before, rows: BTreeMap::new(), is_dirty: false }
    }

    /// Takes in a minute's scores; none: nobody was compared.
    pub fn observe(&mut self, minute: i64, scores: &[LeadScore]) {
        let score = |row: &LeadScore| row.leads as i32 - row.lags as i32;
        let highest = scores.iter().map(score).max().filter(|&highest| highest > 0);
        let mut first = scores.iter().filter(|row| Some(score(row)) == highest);
        let said = match (first.next(), first.next(), highest) {
            (Some(leader), None, Some(highest)) => Some((leader.instrument, highest)),
            _ => None,
        };
        let old = if scores.is_empty() { self.recent.remove(&minute) } else { self.recent.insert(minute, said) };
        self.is_dirty |= old != (!scores.is_empty()).then_some(said);
    }

    /// What the rows should be now, against what they are.
    pub fn report<O>(&mut self, changes: &mut Vec<(O, isize)>, wrap: impl Fn(Leader) -> O) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        let mut story = self.before;
        let mut rows = BTreeMap::new();
        for (&minute, &said) in &self.recent {
            let ended = story.row(Some(minute * MINUTE_MS));
            if story.next(minute, said, self.hold_minutes) {
                rows.extend(ended.map(|row| (row.onset, row)));
            }
        }
        rows.extend(story.row(None).map(|row| (row.onset, row)));
        for (onset, &new) in &rows {
            replace(self.rows.remove(onset), Some(new), &wrap, changes);
        }
        changes.extend(self.rows.values().map(|&gone| (wrap(gone), -1)));
        self.rows = rows;
    }

    /// What can no longer be corrected moves into `before`.
    pub fn settle(&mut self, reach: i64) {
        while let Some(entry) = self.recent.first_entry().filter(|entry| *entry.key() < reach) {
            let (minute, said) = entry.remove_entry();
            self.before.next(minute, said, self.hold_minutes);
        }
        let since = self.before.leader.map_or(NEVER, |(_, _, since, _)| since);
        self.rows = self.rows.split_off(&since);
    }
}

impl Story {
    /// True: the leader is another.
    fn next(&mut self, minute: i64, said: Said, hold_minutes: i64) -> bool {
        let candidate = said.map(|(leader, _)| leader);
        self.minutes = if candidate == self.candidate { (self.minutes + 1).min(hold_minutes) } else { 1 };
        self.candidate = candidate;
        let before = self.leader.map(|(leader, ..)| leader);
        match said.filter(|(leader, _)| self.minutes >= hold_minutes && Some(*leader) != before) {
            Some((leader, score)) => {
                self.leader = Some((leader, before, minute * MINUTE_MS, score));
                true
            }
            None => false,
        }
    }

    fn row(&self, ended_at: Option<i64>) -> Option<Leader> {
        self.leader.map(|(instrument, before, onset, score)| Leader { instrument, onset, ended_at, before, score })
    }
}
