//! From episodes to events: what has begun, grown graver or is over, in the words of the `alerts` crate.
//!
//! The `alerts` view is a function of the views behind it, row by row, so it is the same however the run was cut into quanta. Sending is
//! not: only what was going on when we learnt of it is sent. Rules, routing and the outbox come between this and the couriers later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alerts::{Event, Status};
use dataflows::model::{Change, Changes, Coverage, Instruments, Severity};

use crate::store::Quantum;
use crate::store::edge::{AlertRow, EdgeRow};

mod correlation;
mod funding;
mod liquidations;
mod regimes;
mod support_zones;
mod volatility;

/// A view's row that speaks of an episode: something that begins, may grow graver, and ends.
pub trait Announced {
    /// When it began, event time, UTC ms.
    fn onset(&self) -> i64;
    /// What it tells as of now: firing while it has no end, then resolved, under one id. `None`: it is not worth telling, or `names` lacks its instrument.
    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event>;
}

/// Events by id and diff, with their onset.
type Rows = BTreeMap<(String, isize), (Event, i64)>;

/// Ended alerts are remembered for so long after they became known, so that a correction does not fire them again.
const REMEMBERED_MS: u64 = 6 * 3_600_000;

/// Follows the views that speak of episodes.
pub struct Announcer {
    instruments: Arc<Instruments>,
    told: HashMap<String, Told>,
    forgotten_at: u64,
}

/// What was last sent of an alert.
enum Told {
    /// It goes on.
    Firing(Box<Event>),
    /// It is over, as became known then.
    Over(u64),
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
        let mut rows = Rows::new();
        for changes in &quantum.changes {
            match changes {
                Changes::Cascades(changes) => self.tell(changes, &mut rows),
                Changes::MarketCascades(changes) => self.tell(changes, &mut rows),
                Changes::VolatilityRegimes(changes) => self.tell(changes, &mut rows),
                Changes::ZoneTouches(changes) => self.tell(changes, &mut rows),
                Changes::FundingAnomalies(changes) => self.tell(changes, &mut rows),
                Changes::OiShocks(changes) => self.tell(changes, &mut rows),
                Changes::RegimeEpisodes(changes) => self.tell(changes, &mut rows),
                Changes::CorrelationBreaks(changes) => self.tell(changes, &mut rows),
                Changes::Leaders(changes) => self.tell(changes, &mut rows),
                _ => {} // not an episode
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

    fn tell<R: Announced>(&self, changes: &[Change<R>], rows: &mut Rows) {
        for (row, known_at, diff) in changes {
            let event = row.event(&self.instruments, i64::try_from(*known_at).unwrap_or(i64::MAX));
            rows.extend(event.map(|event| ((event.id.clone(), *diff), (event, row.onset()))));
        }
    }

    /// What begins is told, what grows graver is told again under the same id, what is over is resolved. What was over before we knew
    /// of it is history: it is kept, not told.
    fn news(&mut self, event: &Event, diff: isize, known_at: u64) -> Option<Event> {
        let is_news = diff > 0
            && match (self.told.get(&event.id), event.status) {
                (None, status) => status == Status::Firing,
                (Some(Told::Firing(told)), Status::Firing) => event.severity > told.severity,
                (Some(Told::Firing(_)), Status::Resolved) => true,
                (Some(Told::Over(_)), _) => false,
            };
        if is_news {
            let is_over = event.status == Status::Resolved;
            let told = if is_over { Told::Over(known_at) } else { Told::Firing(Box::new(event.clone())) };
            self.told.insert(event.id.clone(), told);
        }
        is_news.then(|| event.clone())
    }

    /// A correction took an episode back altogether.
    fn taken_back(&mut self, id: &str, known_at: u64) -> Option<Event> {
        let Some(Told::Firing(event)) = self.told.remove(id) else { return None };
        let known_at = i64::try_from(known_at).unwrap_or(i64::MAX);
        Some(event.resolved(known_at, known_at))
    }

    fn forget(&mut self, known_at: u64) {
        if known_at >= self.forgotten_at + REMEMBERED_MS / 6 {
            self.forgotten_at = known_at;
            self.told.retain(|_, told| !matches!(told, Told::Over(at) if *at + REMEMBERED_MS <= known_at));
        }
    }
}

fn severity(severity: Severity) -> alerts::Severity {
    match severity {
        Severity::Info => alerts::Severity::Info,
        Severity::Warning => alerts::Severity::Warning,
        Severity::Critical => alerts::Severity::Critical,
    }
}

fn coverage(coverage: Coverage) -> alerts::Coverage {
    match coverage {
        Coverage::Full => alerts::Coverage::Full,
        Coverage::Sampled1s => alerts::Coverage::Sampled1s,
        Coverage::Partial => alerts::Coverage::Partial,
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
