//! What the pipeline said: looks at every quantum as it leaves the engine, alerts included, and keeps what is asked for.

use std::collections::{BTreeMap, HashMap};

use alerts::EventType;
use dataflows::model::{Cascade, Change, Changes, InstrumentId, MINUTE_MS, Venue, Volatility, VolatilityRegime, Window};

use super::episodes::Stretch;
use super::funding;
use crate::store::Quantum;
use crate::store::edge::{AlertRow, EdgeRow};

/// The rows that are true so far, of the views that are evaluated. It grows with the market's length.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// `last_active` by instrument, window, onset.
    cascades: BTreeMap<(InstrumentId, Window, i64), i64>,
    /// When a cascade alert of an instrument and onset first became known.
    first_alerts: HashMap<(InstrumentId, i64), u64>,
    /// Funding anomalies by alert id.
    funding: HashMap<String, Stretch>,
    /// By instrument: the first minute that has a regime, and the regimes from there.
    regimes: HashMap<InstrumentId, (i64, Vec<Option<VolatilityRegime>>)>,
}

impl Observed {
    /// Takes in a complete quantum.
    pub fn observe(&mut self, quantum: &Quantum) {
        for changes in &quantum.changes {
            match changes {
                Changes::Cascades(changes) => self.take_cascades(changes),
                Changes::Volatility(changes) => self.take_volatility(changes),
                _ => {} // not evaluated
            }
        }
        for row in &quantum.edge {
            if let EdgeRow::Alert(row) = row {
                self.take_alert(row);
            }
        }
    }

    fn take_cascades(&mut self, changes: &[Change<Cascade>]) {
        let key = |row: &Cascade| (row.instrument, row.window, row.onset);
        // A correction is (old, −1) and (new, +1), in either order.
        for (row, _, _) in changes.iter().filter(|change| change.2 < 0) {
            self.cascades.remove(&key(row));
        }
        for (row, _, _) in changes.iter().filter(|change| change.2 > 0) {
            self.cascades.insert(key(row), row.last_active);
        }
    }

    fn take_volatility(&mut self, changes: &[Change<Volatility>]) {
        for sign in [-1, 1] {
            for (row, _, _) in changes.iter().filter(|change| change.2.signum() == sign) {
                let minute = row.ts.div_euclid(MINUTE_MS) - 1;
                let (first, regimes) = self.regimes.entry(row.instrument).or_insert_with(|| (minute, Vec::new()));
                let Ok(at) = usize::try_from(minute - *first) else { continue }; // before the first: only its warm-up
                if at >= regimes.len() {
                    regimes.resize(at + 1, None);
                }
                regimes[at] = row.regime.filter(|_| sign > 0);
            }
        }
    }

    fn take_alert(&mut self, row: &AlertRow) {
        let Some(venue) = Venue::from_name(row.venue.as_bytes()) else { return }; // of all venues together
        let instrument = InstrumentId::of(venue, &row.symbol);
        if row.event_type == EventType::LiquidationCascade.as_str() && row.diff > 0 {
            self.first_alerts.entry((instrument, row.onset)).or_insert(row.known_at);
        }
        if row.event_type == funding::EVENT_TYPE {
            let stretch = Stretch { instrument, from_ts: row.onset, to_ts: row.resolved_at.unwrap_or(i64::MAX) };
            if row.diff > 0 {
                self.funding.insert(row.id.clone(), stretch);
            } else if self.funding.get(&row.id) == Some(&stretch) {
                self.funding.remove(&row.id); // not the new row that replaced it
            }
        }
    }

    /// The cascades of a window, as stretches from onset to last_active.
    #[must_use]
    pub fn cascades(&self, window: Window) -> Vec<Stretch> {
        let of_window = self.cascades.iter().filter(|((_, w, _), _)| *w == window);
        of_window.map(|(&(instrument, _, onset), &to_ts)| Stretch { instrument, from_ts: onset, to_ts }).collect()
    }

    /// When the cascade began that was going on at `ts`, event time.
    #[must_use]
    pub fn onset(&self, instrument: InstrumentId, window: Window, ts: i64) -> Option<i64> {
        let up_to = self.cascades.range((instrument, window, i64::MIN)..=(instrument, window, ts)).next_back();
        up_to.filter(|&(_, &last_active)| ts <= last_active).map(|(&(_, _, onset), _)| onset)
    }

    /// When the first alert about a cascade that began in that event second became known, UTC ms.
    #[must_use]
    pub fn first_alert(&self, instrument: InstrumentId, onset: i64) -> Option<u64> {
        self.first_alerts.get(&(instrument, onset)).copied()
    }

    /// The funding anomalies; those that last end never.
    #[must_use]
    pub fn funding(&self) -> Vec<Stretch> {
        let mut told: Vec<Stretch> = self.funding.values().copied().collect();
        told.sort_by_key(|stretch| (stretch.instrument, stretch.from_ts));
        told
    }

    /// The regime said of the minute that opens at `ts`.
    #[must_use]
    pub fn regime(&self, instrument: InstrumentId, ts: i64) -> Option<VolatilityRegime> {
        let (first, regimes) = self.regimes.get(&instrument)?;
        *regimes.get(usize::try_from(ts.div_euclid(MINUTE_MS) - first).ok()?)?
    }
}
