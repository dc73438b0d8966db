//! The keeper: reads complete quanta in order, and is the one place through which everything passes that is told and stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alerts::{Alert, Desk};

use crate::crash;
use crate::engine::Asking;
use crate::notify::Charts;
use crate::recovery::{Entered, Recorder, Snapshotter};
use crate::rules::AlertsView;
use crate::status::Status;
use crate::store::edge::{EdgeRow, RejectedFrame};
use crate::store::{Quantum, Writer};

/// Looks at what leaves the engine.
pub type Watch = Box<dyn FnMut(&Quantum) + Send>;

/// What the keeper saw.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Changes of each view.
    pub changes: BTreeMap<&'static str, u64>,
    /// Rows of each view at the end.
    pub rows: BTreeMap<&'static str, i64>,
    /// Events by type and status.
    pub events: BTreeMap<(&'static str, &'static str), u64>,
    /// Quanta that held anything.
    pub quanta: u64,
    /// The first frames that were refused; all of them are in `rejected_frames`.
    pub rejected: Vec<RejectedFrame>,
}

/// So many refused frames are shown at the end of a run.
const REJECTED_SHOWN_MAX: usize = 10;

/// How a keeper has people told.
pub(super) enum Voice {
    Desk(Arc<Desk>),
    /// Of another process.
    Asking(Asking),
}

pub(super) struct Keeper {
    pub alerts: AlertsView,
    pub snapshots: Option<Arc<Snapshotter>>,
    pub voice: Option<Voice>,
    pub charts: Charts,
    pub quanta: Arc<AtomicU64>,
    pub writer: Option<Writer>,
    pub watch: Option<Watch>,
    pub kept: Kept,
    pub status: Arc<Status>,
}

impl Keeper {
    /// Until the engine ends. Answers with what the edge said after the last quantum, too.
    pub fn work(mut self, mut recorder: Recorder) -> anyhow::Result<(Kept, Vec<EdgeRow>)> {
        while let Some(entered) = recorder.next_quantum()? {
            self.keep(entered, &mut recorder)?;
        }
        Ok((self.kept, recorder.rest()))
    }

    fn keep(&mut self, entered: Entered, recorder: &mut Recorder) -> anyhow::Result<()> {
        let Entered { mut quantum, rules, is_past, seq: _, cut } = entered;
        let mut alerts = Vec::new();
        if let Some(rules) = rules {
            let known_at = i64::try_from(quantum.known_at).unwrap_or(i64::MAX);
            alerts = self.alerts.set_rules(rules, known_at).into_quantum(&mut quantum);
        }
        if !quantum.changes.is_empty() || !quantum.edge.is_empty() {
            alerts.extend(self.alerts.observe(&quantum).into_quantum(&mut quantum));
        }
        if is_past {
            return Ok(());
        }
        self.count(&quantum, &alerts);
        if let Some(watch) = &mut self.watch {
            watch(&quantum);
        }
        // On disk before anything else: a row that is stored twice is one row, an alert that is lost is lost.
        crash::point("keeper: before telling");
        if let Some(voice) = &self.voice {
            self.charts.observe(&quantum.changes);
            self.charts.add_to(&mut alerts);
            let told = alerts.is_empty()
                || match voice {
                    Voice::Desk(desk) => desk.tell(alerts),
                    Voice::Asking(asking) => asking.tell(&alerts, || recorder.take_in())?,
                };
            anyhow::ensure!(told, "the alert desk's thread is gone");
        }
        crash::point("keeper: told");
        self.quanta.fetch_add(1, Ordering::Relaxed);
        let (known_at, rows) = (quantum.known_at, size(&quantum));
        if let Some(writer) = &self.writer {
            writer.push_blocking(quantum)?;
        }
        crash::point("keeper: handed to the store");
        self.status.kept(known_at, rows);
        if let (Some(snapshots), Some(mut cut)) = (&self.snapshots, cut) {
            cut.set_alerts(self.alerts.save()?);
            snapshots.take(*cut);
        }
        Ok(())
    }

    fn count(&mut self, quantum: &Quantum, alerts: &[Alert]) {
        self.kept.quanta += 1;
        for event in alerts.iter().map(|alert| &alert.event) {
            *self.kept.events.entry((event.event_type.as_str(), event.status.as_str())).or_default() += 1;
        }
        let refused = quantum.edge.iter().filter_map(|row| if let EdgeRow::Rejected(row) = row { Some(row) } else { None });
        let room = REJECTED_SHOWN_MAX - self.kept.rejected.len();
        self.kept.rejected.extend(refused.take(room).cloned());
        for changes in &quantum.changes {
            let (view, count, net) = changes.size();
            *self.kept.changes.entry(view).or_default() += count as u64;
            *self.kept.rows.entry(view).or_default() += net as i64;
        }
    }
}

/// Rows of a quantum.
fn size(quantum: &Quantum) -> u64 {
    let changes: usize = quantum.changes.iter().map(|changes| changes.size().1).sum();
    (changes + quantum.edge.len()) as u64
}
