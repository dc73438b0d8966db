//! View `signals`: what is worth telling people, from its beginning to its end. Rules will be joined with it; alerts follow from it.
//!
//! A signal holds only what names it, how grave it is and whether it is over, not the figures that change with every event: those are
//! in the view's own row. It is a function of events like every view: what began and was over inside one quantum is there too.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;

use crate::config::Config;
use crate::model::{
    Cascade, Change, Clock, Estimators, InstrumentId, Severity, Signal, SignalKind, Volatility, VolatilityRegime,
};
use crate::operators::{KnownAt, NEVER, per_quantum, replace};

/// All signals.
pub fn signals<'scope>(
    cascades: VecCollection<'scope, KnownAt, Cascade, isize>,
    volatility: VecCollection<'scope, KnownAt, Volatility, isize>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Signal, isize> {
    let cascades = cascades.map(|cascade| Signal {
        instrument: cascade.instrument,
        kind: SignalKind::Cascade { cascade_id: cascade.cascade_id },
        onset: cascade.onset,
        severity: cascade.severity_label,
        over: cascade.ended_at,
    });
    cascades.concat(regimes(volatility, clocks, config)).consolidate()
}

/// Each stretch of a volatility regime that began with a change.
fn regimes<'scope>(
    volatility: VecCollection<'scope, KnownAt, Volatility, isize>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Signal, isize> {
    let horizon_ms = config.correction_horizon_ms;
    let mut by_instrument: FxHashMap<InstrumentId, Spells> = FxHashMap::default();
    let logic = move |_known_at, mut rows: Vec<Change<Volatility>>, _: &[Clock], changes: &mut Vec<(Signal, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        rows.sort_unstable_by_key(|(row, _, diff)| (row.instrument, *diff));
        for rows in rows.chunk_by(|a, b| a.0.instrument == b.0.instrument) {
            let spells = by_instrument.entry(rows[0].0.instrument).or_default();
            for (row, _, diff) in rows {
                match row.regime.zip(row.day).filter(|_| *diff > 0) {
                    Some(said) => drop(spells.recent.insert(row.ts, said)),
                    None => drop(spells.recent.remove(&row.ts)),
                }
            }
            spells.report(rows[0].0.instrument, changes);
            spells.settle(horizon_ms);
        }
    };
    per_quantum(volatility.inner, clocks, "volatility regimes", logic)
}

/// An instrument's regimes: those that can still be corrected, and the stretch that led to them.
struct Spells {
    recent: BTreeMap<i64, (VolatilityRegime, Estimators)>,
    before: Spell,
    /// The signals that are out and can still change, by onset.
    signals: BTreeMap<i64, Signal>,
}

impl Default for Spells {
    fn default() -> Self {
        let before = Spell { since: NEVER, regime: None, from: None, day: None };
        Self { recent: BTreeMap::new(), before, signals: BTreeMap::new() }
    }
}

/// A stretch of one regime.
#[derive(Clone, Copy)]
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

    fn signal(&self, instrument: InstrumentId, over: Option<i64>) -> Option<Signal> {
        let (from, to, day) = (self.from?, self.regime?, self.day?);
        let severity = if to == VolatilityRegime::Extreme { Severity::Critical } else { Severity::Warning };
        let kind = SignalKind::VolatilityRegime { from, to, close_to_close: day.close_to_close, parkinson: day.parkinson };
        Some(Signal { instrument, kind, onset: self.since, severity, over })
    }
}

impl Spells {
    /// What the signals should be now, against what they are.
    fn report(&mut self, instrument: InstrumentId, changes: &mut Vec<(Signal, isize)>) {
        let mut spell = self.before;
        let mut signals = BTreeMap::new();
        for (&ts, &(regime, day)) in &self.recent {
            if let Some(next) = spell.changes(ts, regime, day) {
                signals.extend(spell.signal(instrument, Some(ts)).map(|signal| (spell.since, signal)));
                spell = next;
            }
        }
        signals.extend(spell.signal(instrument, None).map(|signal| (spell.since, signal)));
        for (onset, &new) in &signals {
            replace(self.signals.remove(onset), Some(new), |signal| signal, changes);
        }
        changes.extend(self.signals.values().map(|&gone| (gone, -1)));
        self.signals = signals;
    }

    /// What can no longer be corrected moves into `before`.
    fn settle(&mut self, horizon_ms: i64) {
        let Some((&newest, _)) = self.recent.last_key_value() else { return };
        while let Some((&ts, &(regime, day))) = self.recent.first_key_value() {
            if ts >= newest - horizon_ms {
                break;
            }
            self.before = self.before.changes(ts, regime, day).unwrap_or(self.before);
            self.recent.pop_first();
        }
        self.signals = self.signals.split_off(&self.before.since);
    }
}
