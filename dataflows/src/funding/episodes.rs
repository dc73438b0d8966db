//! From what holds after each sample to episodes: each stretch of it is a row, from its first sample to the first without it.
//!
//! Samples that can still be corrected are kept with what was said of them; what led to them is kept as the episodes then open.

use std::collections::BTreeMap;

use crate::by_time::ByTime;
use crate::fixed::Rate;
use crate::model::{AnomalyKind, FundingAnomaly, InstrumentId};
use crate::operators::replace;

use super::machine::State;
use super::scores::Verdict;

/// One instrument's episodes of some kinds.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Episodes {
    instrument: InstrumentId,
    kinds: Box<[AnomalyKind]>,
    /// By the samples' time, UTC ms. Without a verdict nothing can begin; where nothing holds none is needed.
    recent: ByTime<(Option<Box<Verdict>>, State)>,
    before: Vec<Going>,
    /// The rows that are out and can still change.
    rows: BTreeMap<(AnomalyKind, i64), FundingAnomaly>,
}

/// What goes on of a kind: how it is marked, and its row.
type Going = (i8, Option<FundingAnomaly>);

impl Episodes {
    pub fn new(instrument: InstrumentId, kinds: &'static [AnomalyKind]) -> Self {
        let before = vec![(0, None); kinds.len()];
        Self { instrument, kinds: kinds.into(), recent: ByTime::default(), before, rows: BTreeMap::new() }
    }

    /// What is said of the sample at `ts` (UTC ms), if there is one.
    pub fn set(&mut self, ts: i64, said: Option<(Option<Verdict>, State)>) {
        let kinds = &self.kinds;
        let boxed = |(verdict, state): (Option<Verdict>, State)| {
            let holds = kinds.iter().any(|&kind| mark(kind, &state) != 0);
            (verdict.filter(|_| holds).map(Box::new), state)
        };
        self.recent.set(ts, said.map(boxed));
    }

    /// Forgets what was said of all samples that can be corrected.
    pub fn clear(&mut self) {
        self.recent = ByTime::default();
    }

    /// What the rows should be now, against what they are.
    pub fn report<O>(&mut self, wrap: impl Fn(FundingAnomaly) -> O, changes: &mut Vec<(O, isize)>) {
        let is_quiet = |(mark, row): &Going| *mark == 0 && row.is_none();
        let nothing_holds = || self.recent.values().all(|(_, state)| self.kinds.iter().all(|&kind| mark(kind, state) == 0));
        if self.rows.is_empty() && self.before.iter().all(is_quiet) && nothing_holds() {
            return;
        }
        let mut open = self.before.clone();
        let mut rows = BTreeMap::new();
        let key = |row: &FundingAnomaly| (row.kind, row.onset);
        for (ts, said) in self.recent.iter() {
            rows.extend(self.step(&mut open, ts, said).into_iter().map(|row| (key(&row), row)));
        }
        rows.extend(open.into_iter().filter_map(|(_, row)| row).map(|row| (key(&row), row)));
        for (key, &new) in &rows {
            replace(self.rows.remove(key), Some(new), &wrap, changes);
        }
        changes.extend(self.rows.values().map(|&gone| (wrap(gone), -1)));
        self.rows = rows;
    }

    /// Goes over the sample at `ts`; returns the episodes that are over with it.
    fn step(&self, open: &mut [Going], ts: i64, (verdict, state): &(Option<Box<Verdict>>, State)) -> Vec<FundingAnomaly> {
        let mut ended = Vec::new();
        for (&kind, slot) in self.kinds.iter().zip(open) {
            let now = mark(kind, state);
            if now == slot.0 {
                continue;
            }
            ended.extend(slot.1.take().map(|row| FundingAnomaly { ended_at: Some(ts), ..row }));
            let begun = verdict.as_ref().filter(|_| now != 0).map(|verdict| row(self.instrument, kind, ts, verdict, state));
            *slot = (now, begun);
        }
        ended
    }

    /// What was said of samples before `limit` (UTC ms) can no longer change.
    pub fn settle(&mut self, limit: i64) {
        while self.recent.first().is_some_and(|(ts, _)| ts < limit) {
            let Some((ts, said)) = self.recent.pop_first() else { break };
            let mut open = std::mem::take(&mut self.before);
            self.step(&mut open, ts, &said); // the rows of what is over are out for good
            self.before = open;
        }
        self.rows.retain(|_, row| row.ended_at.is_none_or(|ended| ended >= limit));
    }
}

/// How an episode of `kind` shows in what holds; 0: not at all.
fn mark(kind: AnomalyKind, state: &State) -> i8 {
    match kind {
        AnomalyKind::Anomaly | AnomalyKind::Spread => i8::from(state.anomaly),
        AnomalyKind::Deviation => i8::from(state.deviation),
        AnomalyKind::Reversal => state.reversed,
    }
}

fn row(instrument: InstrumentId, kind: AnomalyKind, onset: i64, verdict: &Verdict, state: &State) -> FundingAnomaly {
    let (z, score, reasons) = match kind {
        AnomalyKind::Anomaly | AnomalyKind::Spread => verdict.of_anomaly(),
        AnomalyKind::Deviation => verdict.of_deviation(),
        AnomalyKind::Reversal => verdict.of_reversal(state.reversed, state.held),
    };
    FundingAnomaly { instrument, onset, kind, ended_at: None, rate_8h: Rate(verdict.rate), z, score, reasons }
}
