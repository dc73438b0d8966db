//! From episodes to events: what has begun, grown graver or is over, in the words of the `alerts` crate.
//!
//! The `alerts` view is a function of the views behind it, row by row, so it is the same however the run was cut into quanta. Sending is
//! not: only what was going on when we learnt of it is sent. Rules, routing and the outbox come between this and the couriers later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alerts::{CascadeFacts, Event, Status, VolatilityFacts};
use dataflows::model::{Cascade, Changes, Coverage, Instruments, Severity, SideBias, Signal, SignalKind, VolatilityRegime};

use crate::store::Quantum;
use crate::store::edge::{AlertRow, EdgeRow};

/// Ended alerts are remembered for so long after they became known, so that a correction does not fire them again.
const REMEMBERED_MS: u64 = 6 * 3_600_000;

/// Follows the views that speak of episodes.
pub struct Announcer {
    instruments: Arc<Instruments>,
    told: HashMap<String, Told>,
    forgotten_at: u64,
}

/// What was last sent of an alert.
#[derive(Clone)]
struct Told {
    event: Event,
    known_at: u64,
}

impl Announcer {
    /// Nothing has been told yet.
    #[must_use]
    pub fn new(instruments: Arc<Instruments>) -> Self {
        Self { instruments, told: HashMap::new(), forgotten_at: 0 }
    }

    /// Takes in a quantum: returns the events to send and adds the rows of the `alerts` view to the quantum.
    pub fn observe(&mut self, quantum: &mut Quantum) -> Vec<Event> {
        let known_at = quantum.known_at;
        let mut rows: BTreeMap<(String, isize), (Event, i64)> = BTreeMap::new();
        for changes in &quantum.changes {
            match changes {
                Changes::Cascades(changes) => {
                    for (row, _, diff) in changes {
                        let event = self.cascade(row, known_at);
                        rows.extend(event.map(|event| ((event.id.clone(), *diff), (event, row.onset))));
                    }
                }
                Changes::Signals(changes) => {
                    for (signal, _, diff) in changes {
                        let event = self.regime_change(signal, known_at);
                        rows.extend(event.map(|event| ((event.id.clone(), *diff), (event, signal.onset))));
                    }
                }
                _ => {}
            }
        }
        let mut events = Vec::new();
        for ((id, diff), (event, onset)) in &rows {
            let is_gone = *diff < 0 && !rows.contains_key(&(id.clone(), 1));
            events.extend(if is_gone { self.taken_back(id, known_at) } else { self.news(event, *diff, known_at) });
            quantum.edge.push(EdgeRow::Alert(to_row(event, *onset, known_at, *diff)));
        }
        self.forget(known_at);
        events
    }

    /// What begins is told, what grows graver is told again under the same id, what is over is resolved. What was over before we knew
    /// of it is history: it is kept, not told.
    fn news(&mut self, event: &Event, diff: isize, known_at: u64) -> Option<Event> {
        let told = self.told.get(&event.id);
        let is_news = diff > 0
            && match (told, event.status) {
                (None, status) => status == Status::Firing,
                (Some(told), Status::Firing) => told.event.status == Status::Firing && event.severity > told.event.severity,
                (Some(told), Status::Resolved) => told.event.status == Status::Firing,
            };
        if is_news {
            self.told.insert(event.id.clone(), Told { event: event.clone(), known_at });
        }
        is_news.then(|| event.clone())
    }

    /// A correction took an episode back altogether.
    fn taken_back(&mut self, id: &str, known_at: u64) -> Option<Event> {
        let told = self.told.remove(id).filter(|told| told.event.status == Status::Firing)?;
        let known_at = i64::try_from(known_at).unwrap_or(i64::MAX);
        Some(told.event.resolved(known_at, known_at))
    }

    fn forget(&mut self, known_at: u64) {
        if known_at >= self.forgotten_at + REMEMBERED_MS / 6 {
            self.forgotten_at = known_at;
            self.told.retain(|_, told| told.event.status == Status::Firing || told.known_at + REMEMBERED_MS > known_at);
        }
    }

    fn cascade(&self, row: &Cascade, known_at: u64) -> Option<Event> {
        let instrument = self.instruments.get(row.instrument)?;
        Some(Event::cascade(CascadeFacts {
            cascade_id: row.cascade_id,
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            window: row.window.as_str().to_owned(),
            onset_ms: row.onset,
            last_active_ms: row.last_active,
            ended_at_ms: row.ended_at,
            known_at_ms: i64::try_from(known_at).unwrap_or(i64::MAX),
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

    fn regime_change(&self, signal: &Signal, known_at: u64) -> Option<Event> {
        let SignalKind::VolatilityRegime { from, to, close_to_close, parkinson } = signal.kind else { return None };
        let instrument = self.instruments.get(signal.instrument)?;
        let known_at_ms = i64::try_from(known_at).unwrap_or(i64::MAX);
        let event = Event::volatility_regime_change(VolatilityFacts {
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            ts_ms: signal.onset,
            known_at_ms,
            from: regime(from),
            to: regime(to),
            close_to_close: close_to_close.0,
            parkinson: parkinson.map(|p| p.0),
            risk_multiplier_before: from.risk_multiplier(),
            risk_multiplier: to.risk_multiplier(),
        });
        Some(match signal.over {
            Some(over) => event.resolved(over, known_at_ms),
            None => event,
        })
    }
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

fn to_row(event: &Event, onset: i64, known_at: u64, diff: isize) -> AlertRow {
    AlertRow {
        id: event.id.clone(),
        event_type: event.event_type.as_str().to_owned(),
        status: event.status.as_str().to_owned(),
        severity: event.severity.as_str().to_owned(),
        symbol: event.symbol.clone(),
        venue: event.venue.clone(),
        onset,
        resolved_at: (event.status == Status::Resolved).then_some(event.timestamp),
        title: event.title.clone(),
        description: event.description.clone(),
        data: serde_json::Value::Object(event.data.clone()).to_string(),
        known_at,
        diff: if diff > 0 { 1 } else { -1 },
    }
}
