//! From signals to events: what the dataflow says has begun or is over, in the words of the `alerts` crate.
//!
//! One quantum in, events and rows of the `alerts` view out. The figures come from the view's own row, which changed in the same
//! quantum. Rules, routing and the outbox come between this and the couriers later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alerts::{CascadeFacts, Event, VolatilityFacts};
use dataflows::model::{
    Cascade, Changes, Coverage, InstrumentId, Instruments, Severity, SideBias, Signal, SignalKind, Volatility, VolatilityRegime,
};

use crate::store::Quantum;
use crate::store::edge::{AlertRow, EdgeRow};

/// Follows signals.
pub struct Announcer {
    instruments: Arc<Instruments>,
    cascades: HashMap<u64, Cascade>,
    volatility: HashMap<InstrumentId, Volatility>,
    firing: HashMap<String, AlertRow>,
}

impl Announcer {
    /// Nothing is firing yet.
    #[must_use]
    pub fn new(instruments: Arc<Instruments>) -> Self {
        Self { instruments, cascades: HashMap::new(), volatility: HashMap::new(), firing: HashMap::new() }
    }

    /// Takes in a quantum: returns the events to send and adds their rows to the quantum.
    pub fn observe(&mut self, quantum: &mut Quantum) -> Vec<Event> {
        let mut signals: BTreeMap<Signal, isize> = BTreeMap::new();
        let mut ended = Vec::new();
        for changes in &quantum.changes {
            match changes {
                Changes::Cascades(rows) => {
                    for (row, _, _) in rows.iter().filter(|(_, _, diff)| *diff > 0) {
                        self.cascades.insert(row.cascade_id, *row);
                        ended.extend(row.ended_at.map(|_| row.cascade_id));
                    }
                }
                Changes::Volatility(rows) => {
                    for (row, _, _) in rows.iter().filter(|(_, _, diff)| *diff > 0) {
                        let latest = self.volatility.entry(row.instrument).or_insert(*row);
                        *latest = if row.ts >= latest.ts { *row } else { *latest };
                    }
                }
                Changes::Signals(rows) => rows.iter().for_each(|(signal, _, diff)| *signals.entry(*signal).or_default() += diff),
                _ => {}
            }
        }
        let events = self.announce(&signals, quantum);
        for cascade_id in ended {
            self.cascades.remove(&cascade_id);
        }
        events
    }

    /// A signal whose severity alone changed goes on: it fires again under its id. One that left without another resolves.
    fn announce(&mut self, signals: &BTreeMap<Signal, isize>, quantum: &mut Quantum) -> Vec<Event> {
        let known_at = quantum.known_at;
        let mut events = Vec::new();
        let is_on = |signal: &Signal| signals.iter().any(|(s, &diff)| diff > 0 && name(s) == name(signal));
        let over = signals.iter().filter(|&(signal, &diff)| diff < 0 && !is_on(signal)).map(|(signal, _)| (signal, false));
        let begun = signals.iter().filter(|&(_, &diff)| diff > 0).map(|(signal, _)| (signal, true));
        for (signal, fires) in over.chain(begun) {
            let Some(mut event) = self.event(signal, known_at) else { continue };
            if !fires {
                event = event.resolved(self.over_at(signal, known_at), i64::try_from(known_at).unwrap_or(i64::MAX));
            }
            let row = to_row(&event, signal, known_at, (!fires).then(|| self.over_at(signal, known_at)));
            let old = self.firing.remove(&row.id);
            quantum.edge.extend(old.map(|old| EdgeRow::Alert(AlertRow { known_at, diff: -1, ..old })));
            if fires {
                self.firing.insert(row.id.clone(), row.clone());
            }
            quantum.edge.push(EdgeRow::Alert(row));
            events.push(event);
        }
        events
    }

    fn event(&self, signal: &Signal, known_at: u64) -> Option<Event> {
        let instrument = self.instruments.get(signal.instrument)?;
        let (venue, symbol) = (instrument.venue.to_string(), instrument.symbol.clone());
        let known_at_ms = i64::try_from(known_at).unwrap_or(i64::MAX);
        match signal.kind {
            SignalKind::Cascade { cascade_id } => {
                let row = self.cascades.get(&cascade_id)?;
                Some(Event::cascade(CascadeFacts {
                    cascade_id,
                    venue,
                    symbol,
                    window: row.window.as_str().to_owned(),
                    onset_ms: row.onset,
                    last_active_ms: row.last_active,
                    ended_at_ms: row.ended_at,
                    known_at_ms,
                    long_notional_usd: row.long_notional.to_f64(),
                    short_notional_usd: row.short_notional.to_f64(),
                    velocity_usd_per_hour: row.velocity(row.window_notional),
                    peak_velocity_usd_per_hour: row.velocity(row.peak_window_notional),
                    count: row.count,
                    side_bias: match row.side_bias {
                        SideBias::Long => alerts::SideBias::Long,
                        SideBias::Short => alerts::SideBias::Short,
                        SideBias::Balanced => alerts::SideBias::Balanced,
                    },
                    severity: row.severity.0,
                    severity_label: severity(row.severity_label),
                    price_move_bps: row.price_move_bps.map(|bps| bps.0),
                    coverage: match row.coverage {
                        Coverage::Full => alerts::Coverage::Full,
                        Coverage::Sampled1s => alerts::Coverage::Sampled1s,
                        Coverage::Partial => alerts::Coverage::Partial,
                    },
                }))
            }
            SignalKind::VolatilityRegime { from, to } => {
                let day = self.volatility.get(&signal.instrument)?.day?;
                Some(Event::volatility_regime_change(VolatilityFacts {
                    venue,
                    symbol,
                    ts_ms: signal.onset,
                    known_at_ms,
                    from: regime(from),
                    to: regime(to),
                    close_to_close: day.close_to_close.0,
                    parkinson: day.parkinson.map(|p| p.0),
                    risk_multiplier_before: from.risk_multiplier(),
                    risk_multiplier: to.risk_multiplier(),
                }))
            }
        }
    }

    /// When it was over, event time; where nothing says so (a correction took it back), when that became known.
    fn over_at(&self, signal: &Signal, known_at: u64) -> i64 {
        let ended_at = match signal.kind {
            SignalKind::Cascade { cascade_id } => self.cascades.get(&cascade_id).and_then(|row| row.ended_at),
            SignalKind::VolatilityRegime { .. } => self.volatility.get(&signal.instrument).map(|row| row.ts),
        };
        ended_at.unwrap_or_else(|| i64::try_from(known_at).unwrap_or(i64::MAX))
    }
}

/// What makes two signals the same alert: everything but the severity.
fn name(signal: &Signal) -> (InstrumentId, SignalKind, i64) {
    (signal.instrument, signal.kind, signal.onset)
}

fn severity(severity: Severity) -> alerts::Severity {
    match severity {
        Severity::Info => alerts::Severity::Info,
        Severity::Warning => alerts::Severity::Warning,
        Severity::Critical => alerts::Severity::Critical,
    }
}

fn regime(regime: VolatilityRegime) -> alerts::Regime {
    match regime {
        VolatilityRegime::Stable => alerts::Regime::Stable,
        VolatilityRegime::HighVol => alerts::Regime::HighVol,
        VolatilityRegime::Explosive => alerts::Regime::Explosive,
        VolatilityRegime::Extreme => alerts::Regime::Extreme,
    }
}

fn to_row(event: &Event, signal: &Signal, known_at: u64, resolved_at: Option<i64>) -> AlertRow {
    AlertRow {
        id: event.id.clone(),
        event_type: event.event_type.as_str().to_owned(),
        status: event.status.as_str().to_owned(),
        severity: event.severity.as_str().to_owned(),
        symbol: event.symbol.clone(),
        venue: event.venue.clone(),
        onset: signal.onset,
        resolved_at,
        title: event.title.clone(),
        description: event.description.clone(),
        data: serde_json::Value::Object(event.data.clone()).to_string(),
        known_at,
        diff: 1,
    }
}
