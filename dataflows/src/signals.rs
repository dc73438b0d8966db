//! View `signals`: what is worth telling people while it lasts. Rules will be joined with it; alerts follow from it.
//!
//! A signal holds only what names it and how grave it is, not the figures that change with every event: otherwise a running cascade
//! would fire and resolve in every quantum. The figures are in the view's own row at the same time.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;

use crate::config::Config;
use crate::model::{Cascade, Change, Clock, InstrumentId, Severity, Signal, SignalKind, Volatility, VolatilityRegime};
use crate::operators::{KnownAt, per_quantum, replace};

/// All signals.
pub fn signals<'scope>(
    cascades: VecCollection<'scope, KnownAt, Cascade, isize>,
    volatility: VecCollection<'scope, KnownAt, Volatility, isize>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Signal, isize> {
    let going_on = cascades.flat_map(|cascade| {
        cascade.ended_at.is_none().then_some(Signal {
            instrument: cascade.instrument,
            kind: SignalKind::Cascade { cascade_id: cascade.cascade_id },
            onset: cascade.onset,
            severity: cascade.severity_label,
        })
    });
    going_on.concat(regimes(volatility, clocks, config)).consolidate()
}

/// The current volatility regime of each instrument, once it has changed.
fn regimes<'scope>(
    volatility: VecCollection<'scope, KnownAt, Volatility, isize>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Signal, isize> {
    let horizon_ms = config.correction_horizon_ms;
    let mut by_instrument: FxHashMap<InstrumentId, Spells> = FxHashMap::default();
    per_quantum(
        volatility.inner,
        clocks,
        "volatility regimes",
        move |_known_at, mut rows: Vec<Change<Volatility>>, _, changes| {
            // A correction is (old, −1) and (new, +1), in either order: take away before adding.
            rows.sort_unstable_by_key(|(row, _, diff)| (row.instrument, *diff));
            for rows in rows.chunk_by(|a, b| a.0.instrument == b.0.instrument) {
                let instrument = rows[0].0.instrument;
                let spells = by_instrument.entry(instrument).or_default();
                for (row, _, diff) in rows {
                    match row.regime.filter(|_| *diff > 0) {
                        Some(regime) => drop(spells.recent.insert(row.ts, regime)),
                        None => drop(spells.recent.remove(&row.ts)),
                    }
                }
                let signal = spells.current().signal(instrument);
                replace(std::mem::replace(&mut spells.signal, signal), signal, |signal| signal, changes);
                spells.settle(horizon_ms);
            }
        },
    )
}

/// An instrument's regimes: those that can still be corrected, and where they started from.
#[derive(Default)]
struct Spells {
    recent: BTreeMap<i64, VolatilityRegime>,
    before: Spell,
    signal: Option<Signal>,
}

/// A stretch of one regime.
#[derive(Clone, Copy, Default)]
struct Spell {
    regime: Option<VolatilityRegime>,
    from: Option<VolatilityRegime>,
    since: i64,
}

impl Spell {
    fn then(self, ts: i64, regime: VolatilityRegime) -> Self {
        if self.regime == Some(regime) { self } else { Self { regime: Some(regime), from: self.regime, since: ts } }
    }

    fn signal(self, instrument: InstrumentId) -> Option<Signal> {
        let (from, to) = (self.from?, self.regime?);
        let severity = if to == VolatilityRegime::Extreme { Severity::Critical } else { Severity::Warning };
        Some(Signal { instrument, kind: SignalKind::VolatilityRegime { from, to }, onset: self.since, severity })
    }
}

impl Spells {
    fn current(&self) -> Spell {
        self.recent.iter().fold(self.before, |spell, (&ts, &regime)| spell.then(ts, regime))
    }

    /// What can no longer be corrected moves into `before`.
    fn settle(&mut self, horizon_ms: i64) {
        let Some((&newest, _)) = self.recent.last_key_value() else { return };
        while let Some((&ts, &regime)) = self.recent.first_key_value() {
            if ts >= newest - horizon_ms {
                break;
            }
            self.before = self.before.then(ts, regime);
            self.recent.pop_first();
        }
    }
}
