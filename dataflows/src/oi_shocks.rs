//! View `oi_shocks`: open interest falls within five minutes during a cascade of the instrument. That confirms it: positions were
//! closed, not only prints shown.
//!
//! A minute is shocked when its change over 5 minutes is a fall by at least the limit, and a cascade of any window was active at
//! some second of those 5 minutes. Consecutive shocked minutes are one shock, told with the figures of its onset and the cascade that began
//! first.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::keeping::ById;
use crate::model::{Cascade, Clock, InstrumentId, MINUTE_MS, OiShock, OpenInterestRow, Real};
use crate::operators::{Clocks, KnownAt, per_quantum, replace};

#[derive(Clone)]
enum Input {
    Interest(OpenInterestRow, isize),
    Cascade(Cascade, isize),
}

impl Input {
    fn order(&self) -> (InstrumentId, isize) {
        match self {
            Self::Interest(row, diff) => (row.instrument, *diff),
            Self::Cascade(cascade, diff) => (cascade.instrument, *diff),
        }
    }
}

/// Maintains the shocks of all instruments.
pub fn oi_shocks<'scope>(
    interest: VecCollection<'scope, KnownAt, OpenInterestRow, isize>,
    cascades: VecCollection<'scope, KnownAt, Cascade, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, OiShock, isize> {
    let (drop_min, horizon_ms) = (config.open_interest.shock_drop, config.correction_horizon_ms);
    let cascades = cascades.inner.map(|(cascade, _, diff)| Input::Cascade(cascade, diff));
    let input = interest.inner.map(|(row, _, diff)| Input::Interest(row, diff)).concat(cascades);
    let logic = move |by_instrument: &mut ById<Shocks>,
                      _known_at,
                      mut input: Vec<Input>,
                      _: &[Clock],
                      changes: &mut Vec<(OiShock, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        input.sort_unstable_by_key(Input::order);
        for input in input.chunk_by(|a, b| a.order().0 == b.order().0) {
            let id = input[0].order().0;
            let shocks = by_instrument.entry(id).or_default();
            input.iter().for_each(|input| shocks.apply(input));
            shocks.report(id, drop_min, changes);
            shocks.settle(id, drop_min, horizon_ms);
        }
    };
    per_quantum(input, clocks, "oi_shocks", ById::default(), logic)
}

/// An instrument's changes and cascades that can still be corrected, and the shock that led to them.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Shocks {
    /// The change over 5 minutes by the end of the minute, UTC ms.
    changes: ByTime<Option<Real>>,
    cascades: BTreeMap<u64, Cascade>,
    before: Option<OiShock>,
    /// The rows that are out and can still change, by onset.
    rows: BTreeMap<i64, OiShock>,
}

impl Shocks {
    fn apply(&mut self, input: &Input) {
        match input {
            Input::Interest(row, diff) if *diff > 0 => drop(self.changes.insert(row.ts + MINUTE_MS, row.changes.m5)),
            Input::Interest(row, _) => drop(self.changes.remove(row.ts + MINUTE_MS)),
            Input::Cascade(cascade, diff) if *diff > 0 => drop(self.cascades.insert(cascade.cascade_id, *cascade)),
            Input::Cascade(cascade, _) => drop(self.cascades.remove(&cascade.cascade_id)),
        }
    }

    fn report(&mut self, id: InstrumentId, drop_min: f64, changes: &mut Vec<(OiShock, isize)>) {
        if self.cascades.is_empty() && self.before.is_none() && self.rows.is_empty() {
            return;
        }
        let mut open = self.before;
        let mut rows = BTreeMap::new();
        for (end, &change) in self.changes.iter() {
            rows.extend(self.step(id, &mut open, end, change, drop_min).map(|row| (row.onset, row)));
        }
        rows.extend(open.map(|row| (row.onset, row)));
        for (onset, &new) in &rows {
            replace(self.rows.remove(onset), Some(new), |row| row, changes);
        }
        changes.extend(self.rows.values().map(|&gone| (gone, -1)));
        self.rows = rows;
    }

    /// Goes over the minute that ends at `end`; returns the shock that is over with it.
    fn step(
        &self,
        id: InstrumentId,
        open: &mut Option<OiShock>,
        end: i64,
        change: Option<Real>,
        drop_min: f64,
    ) -> Option<OiShock> {
        let shock = change.filter(|change| change.0 <= -drop_min).zip(self.cascade_before(end));
        match (shock, &open) {
            (None, _) => open.take().map(|row| OiShock { ended_at: Some(end), ..row }),
            (Some(_), Some(_)) => None,
            (Some((change, cascade_id)), None) => {
                *open = Some(OiShock { instrument: id, onset: end, ended_at: None, change, cascade_id });
                None
            }
        }
    }

    /// The first cascade that was active in the 5 minutes before `end`.
    fn cascade_before(&self, end: i64) -> Option<u64> {
        let active = self.cascades.values().filter(|c| c.onset < end && c.last_active >= end - 5 * MINUTE_MS);
        active.min_by_key(|c| (c.onset, c.window)).map(|c| c.cascade_id)
    }

    /// What can no longer be corrected moves into `before`.
    fn settle(&mut self, id: InstrumentId, drop_min: f64, horizon_ms: i64) {
        let Some((newest, _)) = self.changes.last() else { return };
        let limit = newest - horizon_ms - MINUTE_MS;
        while self.changes.first().is_some_and(|(end, _)| end < limit) {
            let Some((end, change)) = self.changes.pop_first() else { break };
            let mut open = self.before;
            self.step(id, &mut open, end, change, drop_min); // the row of what is over is out for good
            self.before = open;
        }
        self.rows.retain(|_, row| row.ended_at.is_none_or(|ended| ended >= limit));
        self.cascades.retain(|_, cascade| cascade.ended_at.is_none_or(|ended| ended >= limit - 5 * MINUTE_MS));
    }
}
