//! View `volatility_regimes`: each stretch of a volatility regime that began with a change, from its beginning to its end.
//!
//! It is a function of events like every view: what began and was over inside one quantum is there too. A corrected volatility row corrects
//! the stretches; what the correction horizon has passed stays as it is.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::keeping::ById;
use crate::model::{Change, Clock, Estimators, InstrumentId, RegimeSpell, Volatility, VolatilityRegime};
use crate::operators::{Clocks, KnownAt, NEVER, per_quantum, replace};

/// Each stretch of a volatility regime that began with a change.
pub fn volatility_regimes<'scope>(
    volatility: VecCollection<'scope, KnownAt, Volatility, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, RegimeSpell, isize> {
    let horizon_ms = config.correction_horizon_ms;
    let _by_instrument: FxHashMap<InstrumentId, Spells> = FxHashMap::default();
    let logic = move |by_instrument: &mut ById<Spells>,
                      _known_at,
                      mut rows: Vec<Change<Volatility>>,
                      _: &[Clock],
                      changes: &mut Vec<(RegimeSpell, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        rows.sort_unstable_by_key(|(row, _, diff)| (row.instrument, *diff));
        for rows in rows.chunk_by(|a, b| a.0.instrument == b.0.instrument) {
            let spells = by_instrument.entry(rows[0].0.instrument).or_default();
            for (row, _, diff) in rows {
                match row.regime.zip(row.day).filter(|_| *diff > 0) {
                    Some(said) => drop(spells.recent.insert(row.ts, said)),
                    None => drop(spells.recent.remove(row.ts)),
                }
            }
            spells.report(rows[0].0.instrument, changes);
            spells.settle(horizon_ms);
        }
    };
    per_quantum(volatility.inner, clocks, "volatility_regimes", ById::default(), logic)
}

/// An instrument's regimes: those that can still be corrected, and the stretch that led to them.
#[derive(serde::Serialize, serde::Deserialize)]
struct Spells {
    recent: ByTime<(VolatilityRegime, Estimators)>,
    before: Spell,
    /// The rows that are out and can still change, by onset.
    rows: BTreeMap<i64, RegimeSpell>,
}

impl Default for Spells {
    fn default() -> Self {
        let before = Spell { since: NEVER, regime: None, from: None, day: None };
        Self { recent: ByTime::default(), before, rows: BTreeMap::new() }
    }
}

/// A stretch of one regime.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Spell {
    since: i64,
    regime: Option<VolatilityRegime>,
    from: Option<VolatilityRegime>,
    /// The estimators when it began.
    day: Option<Estimators>,
}

impl Spell {
    /// The stretch that begins at `ts`, if the regime is another.
    fn changes(&self, ts: i64, regime: VolatilityRegime, day: Estimators) -> Option<Self> {
        (self.regime != Some(regime)).then_some(Self { since: ts, regime: Some(regime), from: self.regime, day: Some(day) })
    }

    fn row(&self, instrument: InstrumentId, ended_at: Option<i64>) -> Option<RegimeSpell> {
        let (from, to, day) = (self.from?, self.regime?, self.day?);
        let (close_to_close, parkinson) = (day.close_to_close, day.parkinson);
        Some(RegimeSpell { instrument, onset: self.since, ended_at, from, to, close_to_close, parkinson })
    }
}

impl Spells {
    /// What the rows should be now, against what they are.
    fn report(&mut self, instrument: InstrumentId, changes: &mut Vec<(RegimeSpell, isize)>) {
        let mut spell = self.before;
        let mut rows = BTreeMap::new();
        for (ts, &(regime, day)) in self.recent.iter() {
            if let Some(next) = spell.changes(ts, regime, day) {
                rows.extend(spell.row(instrument, Some(ts)).map(|row| (spell.since, row)));
                spell = next;
            }
        }
        rows.extend(spell.row(instrument, None).map(|row| (spell.since, row)));
        for (onset, &new) in &rows {
            replace(self.rows.remove(onset), Some(new), |row| row, changes);
        }
        changes.extend(self.rows.values().map(|&gone| (gone, -1)));
        self.rows = rows;
    }

    /// What can no longer be corrected moves into `before`.
    fn settle(&mut self, horizon_ms: i64) {
        let Some((newest, _)) = self.recent.last() else { return };
        while let Some((ts, &(regime, day))) = self.recent.first() {
            if ts >= newest - horizon_ms {
                break;
            }
            self.before = self.before.changes(ts, regime, day).unwrap_or(self.before);
            self.recent.pop_first();
        }
        self.rows = self.rows.split_off(&self.before.since);
    }
}
