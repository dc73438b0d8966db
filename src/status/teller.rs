//! The task that writes `status.json`, logs a line a minute, and has people told of a lag.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use alerts::{Alert, Desk, Event, PipelineLagFacts};
use journal::GroupSync;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Status;
use super::alarm::{Alarm, Change};
use super::report::{Journal, Report, Store};
use crate::clock;
use crate::recovery::Snapshotter;
use crate::store::Writer;

/// Between checks.
const EVERY: Duration = Duration::from_secs(2);
/// A line in the log after so many.
const CHECKS_PER_LINE: u64 = 30;
/// As the rule that asked for it: none did.
const RULE: &str = "pipeline";

/// Whom it asks.
pub struct Sources {
    /// What the keeper says.
    pub status: Arc<Status>,
    /// The journal.
    pub journal: Option<Arc<GroupSync>>,
    /// Who makes snapshots.
    pub snapshots: Option<Arc<Snapshotter>>,
    /// The store's writer.
    pub writer: Option<Writer>,
    /// Who tells people. Not owned: whoever ends the run ends the desk.
    pub desk: Option<Weak<Desk>>,
}

/// The task's other end.
pub struct Teller {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

struct Work {
    sources: Sources,
    dir: Option<PathBuf>,
    alarm: Alarm,
    limit_ms: u64,
    started_at: i64,
    restarts: u64,
    /// The last attempt to write failed, and that was said.
    fails: bool,
}

impl Teller {
    /// `dir`: the journal's directory. `limit_ms`: people are told of a lag beyond; 0: never.
    #[must_use]
    pub fn start(sources: Sources, dir: Option<PathBuf>, limit_ms: u64) -> Self {
        let before = dir.as_deref().and_then(|dir| Report::read(dir).ok().flatten()); // one that can't be read is replaced
        let restarts = before.as_ref().map_or(0, |before| before.restarts + 1);
        let alarm = Alarm::new(limit_ms, before.and_then(|before| before.lagging_since));
        let work = Work { sources, dir, alarm, limit_ms, started_at: clock::now_ms(), restarts, fails: false };
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(work.run(stop.clone())), stop }
    }

    /// Writes it for the last time. To be called before the pipeline ends: the task holds the store's writer.
    pub async fn finish(self) {
        self.stop.cancel();
        let _ = self.task.await; // it only reads and writes; a panic there is no reason to fail
    }
}

impl Work {
    async fn run(mut self, stop: CancellationToken) {
        let mut beat = tokio::time::interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for check in 0u64.. {
            let is_over = tokio::select! {
                () = stop.cancelled() => true,
                _ = beat.tick() => false,
            };
            let report = self.look().await;
            self.write(&report).await;
            if check > 0 && check.is_multiple_of(CHECKS_PER_LINE) {
                log(&report);
            }
            if is_over {
                return;
            }
        }
    }

    async fn look(&mut self) -> Report {
        let Sources { status, journal, snapshots, writer, desk: _ } = &self.sources;
        let (lag_ms, intake_ms) = status.spreads();
        let lag_now_ms = status.lag_now_ms();
        let journal = journal.as_ref().map(|journal| {
            let health = journal.health();
            Journal {
                taken: health.taken,
                durable: health.durable,
                waiting_bytes: health.waiting_bytes as u64,
                waiting_ms: health.waiting.map_or(0, |waiting| u64::try_from(waiting.as_millis()).unwrap_or(u64::MAX)),
                failing: health.failing.map(|(attempts, why)| format!("{attempts} attempts: {why}")),
            }
        });
        let store = writer.as_ref().map(|writer| {
            let health = writer.health();
            Store {
                acknowledged: writer.acknowledged(),
                spool_rows: health.rows,
                spool_bytes: health.bytes,
                spool_oldest_age_ms: health.oldest_age_ms(clock::known_at()),
                away: health.away,
                draining: health.draining,
                full: health.full,
                last_error: health.last_error,
                dead_letters: health.dead_letters,
            }
        });
        let mut report = Report {
            pid: std::process::id(),
            started_at: self.started_at,
            written_at: clock::now_ms(),
            restarts: self.restarts,
            lag_now_ms,
            lag_ms,
            intake_ms,
            lagging_since: None,
            quanta: status.quanta.load(Ordering::Relaxed),
            rows: status.rows.load(Ordering::Relaxed),
            known_at: status.reached.load(Ordering::Relaxed),
            snapshot_known_at: snapshots.as_ref().map_or(0, |snapshots| snapshots.last_known_at()),
            journal,
            store,
            ..Report::default()
        };
        report.measure_self();
        // Frames that have waited are as late as quanta that did.
        if let Some(change) = self.alarm.check(report.written_at, lag_now_ms.max(status.take_waited_ms())) {
            self.tell(change, report.written_at).await;
        }
        report.lagging_since = self.alarm.since_ms();
        report
    }

    async fn tell(&self, change: Change, now_ms: i64) {
        let Change { onset_ms, is_over, worst_ms } = change;
        if is_over {
            tracing::info!(onset_ms, worst_ms, "the pipeline keeps up again");
        } else {
            tracing::warn!(onset_ms, worst_ms, limit_ms = self.limit_ms, "the pipeline lags: what is told and stored is late");
        }
        let Some(desk) = self.sources.desk.as_ref().and_then(Weak::upgrade) else { return };
        let event = Event::pipeline_lag(PipelineLagFacts {
            onset_ms,
            ended_at_ms: is_over.then_some(now_ms),
            worst_ms,
            limit_ms: self.limit_ms,
            known_at_ms: now_ms,
        });
        let alert = Alert { event, rules: vec![RULE.into()], labels: Default::default(), chart: None, is_correction: false };
        // It waits for an fsync.
        let told = tokio::task::spawn_blocking(move || desk.tell(vec![alert])).await;
        if !told.unwrap_or(false) {
            tracing::error!("the alert desk's thread is gone: nobody is told of the lag");
        }
    }

    async fn write(&mut self, report: &Report) {
        let Some(dir) = self.dir.clone() else { return };
        let (report, into) = (report.clone(), dir.clone());
        let written = tokio::task::spawn_blocking(move || report.write(&into)).await; // a disk may take its time
        match written.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            Ok(()) => self.fails = false,
            Err(error) if !std::mem::replace(&mut self.fails, true) => {
                tracing::warn!(dir = %dir.display(), "status.json can't be written, `regimeflow status` will show an old one: {error}");
            }
            Err(_) => {}
        }
    }
}

fn log(report: &Report) {
    tracing::info!(
        lag_p50_ms = report.lag_ms.p50,
        lag_p99_ms = report.lag_ms.p99,
        lag_max_ms = report.lag_ms.max,
        intake_max_ms = report.intake_ms.max,
        quanta = report.quanta,
        rows = report.rows,
        spool_rows = report.store.as_ref().map_or(0, |store| store.spool_rows),
        rss_mib = report.rss_bytes >> 20,
        open_files = report.open_files,
        "status"
    );
}
