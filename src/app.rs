//! The wiring: frames go into the engine; what comes out is joined with rules, told, stored and counted.
//!
//! One keeper thread reads complete quanta in order: it maintains the view `alerts`, hands what is to be told to the alert desk, and every row to the
//! store's writer. A slow store holds the keeper, the keeper holds the workers, the workers hold the feeder.

mod desk;
mod keeper;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alerts::Desk;
use anyhow::Context;
use crossbeam_channel::Sender;
use dataflows::hot::Counters;
use dataflows::model::{Instruments, fnv1a};

use crate::accounts::Accounts;
use crate::clock;
use crate::cluster::Joined;
use crate::config::{Config, integer};
use crate::engine::{self, Agreement, Engine, Input, Running, Teller};
use crate::feeds::{ParseContext, parser_for};
use crate::model_dir::Models;
use crate::notify::{Charts, Reload};
use crate::recovery::{self, Entry, Past, Recorder, Restored, Snapshotter, Stored};
use crate::rules::{AlertsView, Rules};
use crate::status::{self, Status};
use crate::store::edge::{EdgeRow, ModelRow};
use crate::store::{Quantum, SpoolHealth, Store, Writer, WriterOptions};

use desk::{answer, desk, remove_outbox, tells};
use keeper::{Keeper, Voice};
pub use keeper::{Kept, Watch};

/// Deliveries still under way at the end may take so long.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// At the end of a run the spool may have so long for its last rows; and whoever waits for room in a full one, too.
const SETTLE_MAX: Duration = Duration::from_secs(8);

/// How the pipeline is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Frames arrive as they happen.
    Live,
    /// Frames are read as fast as they can be taken.
    Replay,
}

/// What a run does beside computing and storing.
#[derive(Default)]
pub struct Extras {
    /// People are told.
    pub alerts: bool,
    /// Sees every complete quantum, alerts included, before it is stored.
    pub watch: Option<Watch>,
    /// Models, as [`crate::model_dir::load`] gave them. `None`: regimes are not computed, at no cost.
    pub models: Option<Models>,
    /// A journal is kept, and what it holds is restored ([`Pipeline::restore`]). `None`: a restart knows nothing.
    pub journal: Option<recovery::Settings>,
    /// The other processes; the first of them all tells people, and releases models.
    pub joined: Option<Joined>,
}

/// The running pipeline.
pub struct Pipeline {
    /// Where frames go in.
    pub input: Input,
    running: Running,
    pace: Pace,
    past: Option<Past>,
    snapshots: Option<Snapshots>,
    keeper: JoinHandle<anyhow::Result<(Kept, Vec<EdgeRow>)>>,
    desk: Option<Arc<Desk>>,
    /// Of the first of several processes: what the others have to tell.
    answering: Option<JoinHandle<anyhow::Result<()>>>,
    /// Of a replay: a file that is not needed afterwards.
    outbox: Option<PathBuf>,
    /// How many quanta were kept so far.
    pub quanta: Arc<AtomicU64>,
    rules: Sender<Rules>,
    edge: Sender<EdgeRow>,
    writer: Option<Writer>,
    /// How it is doing; only a live one tells.
    pub status: Arc<Status>,
    journal: Option<Arc<journal::GroupSync>>,
    journal_ends_at: Arc<OnceLock<Instant>>,
}

/// What a finished run can tell.
pub struct Summary {
    /// What the views became.
    pub kept: Kept,
    /// What became of frames.
    pub accounts: Arc<Accounts>,
    /// What became of ticks.
    pub counters: Arc<Counters>,
    /// Notices that were not delivered when the run ended. A live run's wait in the outbox for the next start.
    pub undelivered: usize,
    /// Rows that ClickHouse has not taken, and dead letters. A live run's rows are in the spool for the next start.
    pub spool: SpoolHealth,
}

impl Pipeline {
    /// Starts workers, keeper, alert desk and writer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the configuration asks for what can't be had (a secret file that can't be read), or rules are wrong.
    pub fn start(config: &Config, pace: Pace, store: Option<&Store>, extras: Extras) -> anyhow::Result<Self> {
        let Extras { alerts, watch, models, journal, mut joined } = extras;
        let is_first = joined.as_ref().is_none_or(|joined| joined.process == 0);
        let instruments = Arc::new(Instruments::default());
        let context = ParseContext {
            instruments: Arc::clone(&instruments),
            skew_ms_max: i64::try_from(config.time.skew_ms_max).unwrap_or(i64::MAX),
        };
        let parsers: engine::ParserFactory = Arc::new(move |venue| parser_for(venue, context.clone()));
        let journal_dir = journal.as_ref().map(|settings| settings.dir.clone());
        let mut settings = settings(config, pace);
        if models.is_none() {
            settings.views.regimes.timeframes.clear();
        }
        settings.tells = joined.is_some() && tells(config, pace, alerts)?;
        let fingerprint = dataflows::keeping::fingerprint(&settings.views);
        let open = |settings: &recovery::Settings| match joined.as_mut() {
            None => recovery::open(settings, Arc::clone(&instruments), fingerprint, None),
            // It waits for the others.
            joined => tokio::task::block_in_place(|| recovery::open(settings, Arc::clone(&instruments), fingerprint, joined)),
        };
        let mut opened = journal.as_ref().map(open).transpose()?;
        if let Some(opened) = &opened {
            (settings.keeps_journal, settings.states, settings.start) = (true, Arc::clone(&opened.states), opened.start);
        }
        let Models { releases, standings } = models.unwrap_or_default();
        let engine = engine::start(settings, Arc::clone(&instruments), parsers, releases, joined)?;
        let Engine { input, collector, running, teller, agreement } = engine;

        let options = if pace == Pace::Live { WriterOptions::live() } else { WriterOptions::bulk() };
        let writer = store.map(|store| store.writer(Arc::clone(&instruments), options));
        let (edge, from_edge) = crossbeam_channel::unbounded(); // bounded by the couriers' queues and the feeds' reconnects
        // A replay knows them before its first frame.
        let known_at = if pace == Pace::Live { clock::known_at() } else { 0 };
        for standing in standings {
            let _ = edge.send(EdgeRow::Model(Box::new(ModelRow { standing, known_at, diff: 1 }))); // read below
        }
        let (desk, outbox) = if alerts && is_first { desk(config, pace, journal_dir.as_deref(), &edge)? } else { (None, None) };
        let mut rules_now = rules(config)?;
        let (rules, new_rules) = crossbeam_channel::unbounded(); // a person edits files
        if opened.is_some() {
            // The journal says which rules counted when; these count from the first new quantum on.
            let _ = rules.send(rules_now); // read below
            rules_now = opened.as_mut().and_then(|opened| opened.rules.take()).unwrap_or_else(|| Rules(Vec::new()));
        }
        let horizon_ms = integer(config.time.correction_horizon_ms);

        let mut alerts = AlertsView::new(Arc::clone(&instruments), rules_now, horizon_ms, pace == Pace::Live);
        let snapshots = match (&journal, opened.as_mut()) {
            (Some(settings), Some(opened)) => {
                if !opened.alerts.is_empty() {
                    alerts.load(&opened.alerts).context("going on from a snapshot of the view `alerts`")?;
                }
                let stored = stored(writer.as_ref());
                Some(Snapshots {
                    due: is_first.then(|| Instant::now() + settings.snapshot_every),
                    every: settings.snapshot_every,
                    thread: opened.snapshotter(settings, stored, agreement.as_ref().map(Agreement::snapshots))?,
                })
            }
            _ => None,
        };
        let (voice, answering) = match teller {
            Some(Teller::Asking(asking)) => (Some(Voice::Asking(asking)), None),
            Some(Teller::Answering(others)) => (None, Some(answer(others, desk.clone(), running.lost.clone())?)),
            None => (None, None),
        };
        let (past, recorder) = Recorder::of(opened, collector, from_edge, new_rules, agreement);
        let status = Arc::new(Status::new(Arc::clone(&running.reached)));
        let (quanta, journal, journal_ends_at) = (Arc::new(AtomicU64::new(0)), recorder.journal(), recorder.end_at());
        let keeper = Keeper {
            alerts,
            snapshots: snapshots.as_ref().map(|snapshots| Arc::clone(&snapshots.thread)),
            voice: voice.or_else(|| desk.clone().map(Voice::Desk)),
            charts: Charts::new(),
            quanta: Arc::clone(&quanta),
            writer: writer.clone(),
            watch,
            kept: Kept::default(),
            status: Arc::clone(&status),
        };
        let keep = move || keeper.work(recorder);
        let keeper = std::thread::Builder::new().name("keeper".into()).spawn(keep).context("starting the keeper's thread")?;
        Ok(Self {
            input,
            running,
            pace,
            past,
            snapshots,
            keeper,
            desk,
            answering,
            outbox,
            quanta,
            rules,
            edge,
            writer,
            status,
            journal,
            journal_ends_at,
        })
    }

    /// Goes on where the last run was, if a journal is kept: to be called before the first frame. Blocks until all of it is on the way.
    ///
    /// # Errors
    /// If the journal can't be read, or another process is lost.
    pub fn restore(&mut self, progress: impl FnMut(u64)) -> anyhow::Result<Restored> {
        let restored = self.give_back(progress);
        match self.running.lost.as_ref().and_then(|lost| lost.who()) {
            Some(lost) if restored.is_err() => Err(lost.clone().into()), // the rest follows from it
            _ => restored,
        }
    }

    fn give_back(&mut self, progress: impl FnMut(u64)) -> anyhow::Result<Restored> {
        let Some(past) = self.past.take() else {
            if self.pace == Pace::Live {
                self.status.go_live();
            }
            return Ok(Restored::default());
        };
        let restored = past.restore(&mut self.input, &self.running.instruments, progress)?;
        let known_at = restored.known_at.unwrap_or(0);
        let goes_on = match self.pace {
            Pace::Live => {
                self.status.go_live();
                self.input.go_live(known_at, restored.ongoing.heard.iter().copied())
            }
            Pace::Replay => self.input.go_on_behind(known_at),
        };
        anyhow::ensure!(goes_on, "the workers stopped before everything was restored");
        if self.pace == Pace::Live {
            for gap in restored.ongoing.ended_at(known_at, clock::now_ms()) {
                anyhow::ensure!(self.enter(EdgeRow::Gap(gap)), "the workers stopped before everything was restored");
            }
        }
        if let Some(known_at) = restored.known_at {
            let (quanta, rows, took_ms) = (restored.quanta, restored.rows, restored.took.as_millis());
            tracing::info!(known_at, quanta, rows, took_ms, "the last run is restored from its journal");
        }
        Ok(restored)
    }

    /// A row of the edge enters now. False: the workers are gone.
    #[must_use]
    pub fn enter(&mut self, row: EdgeRow) -> bool {
        self.input.enter(Entry::Row(row), clock::now_ns())
    }

    /// Has a snapshot made if it is time for one (of several processes the first says so for all). To be called now and then between frames.
    pub fn snapshot_if_due(&mut self) {
        let Some(snapshots) = &mut self.snapshots else { return };
        let is_due = snapshots.due.is_some_and(|due| Instant::now() >= due);
        if is_due && !snapshots.thread.is_busy() && self.input.save() {
            snapshots.due = Some(Instant::now() + snapshots.every);
        }
    }

    /// Where rows of the edge go that can wait for the next quantum that holds anything.
    #[must_use]
    pub fn edge(&self) -> Sender<EdgeRow> {
        self.edge.clone()
    }

    /// The keeper has stopped before its time: the store failed. [`Self::finish`] says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.keeper.is_finished()
    }

    /// Whom the status task asks.
    #[must_use]
    pub fn sources(&self) -> status::Sources {
        status::Sources {
            status: Arc::clone(&self.status),
            journal: self.journal.clone(),
            snapshots: self.snapshots.as_ref().map(|snapshots| Arc::clone(&snapshots.thread)),
            writer: self.writer.clone(),
            desk: self.desk.as_ref().map(Arc::downgrade),
        }
    }

    /// With several processes: one of them has come to the end of its input, and waits for the others.
    #[must_use]
    pub fn a_process_ends(&self) -> bool {
        self.running.a_process_ends()
    }

    /// What became of frames so far.
    #[must_use]
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.running.accounts)
    }

    /// Takes over what has changed in files. What is wrong with it is logged, and the old stays.
    pub fn reload(&self, reload: Reload) {
        match reload {
            Reload::Rules(rules) => drop(self.rules.send(rules)), // the keeper is gone only when the run is being torn down
            Reload::Setup(setup) => {
                if let Some(Err(problem)) = self.desk.as_ref().map(|desk| desk.set_up(*setup)) {
                    tracing::error!("channels and routes are refused, the old ones stay in force: {problem}");
                }
            }
        }
    }

    /// What ends the waiting for a disk or a store that takes nothing: to be called when the run is to end, from wherever that is known. (The
    /// feeder itself may be waiting.)
    pub fn hurry(&self) -> impl FnOnce() + Send + use<> {
        let (writer, journal_ends_at) = (self.writer.clone(), Arc::clone(&self.journal_ends_at));
        move || hurry(writer.as_ref(), &journal_ends_at)
    }

    /// Ends the input, waits until everything is computed, delivered and stored.
    ///
    /// # Errors
    /// If a worker died or the store refused rows for good.
    pub async fn finish(self) -> anyhow::Result<Summary> {
        self.end(true).await
    }

    /// As [`Self::finish`], but closes nothing: a later run goes on from the journal.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub async fn stop(self) -> anyhow::Result<Summary> {
        self.end(false).await
    }

    async fn end(self, closes: bool) -> anyhow::Result<Summary> {
        let Self { input, running, pace, keeper, desk, answering, outbox, rules, edge, writer, journal_ends_at, .. } = self;
        drop(rules);
        if pace == Pace::Live {
            hurry(writer.as_ref(), &journal_ends_at);
        }
        let (accounts, counters) = (Arc::clone(&running.accounts), Arc::clone(&running.counters));
        if closes {
            input.finish()
        } else {
            input.stop()
        }
        let ended = tokio::task::spawn_blocking(move || ended(keeper, running, answering)).await?;
        let (kept, rest) = ended?;
        let mut undelivered = 0;
        // The keeper's thread has ended, and with it the other handle.
        if let Some(desk) = desk.and_then(Arc::into_inner) {
            undelivered = tokio::task::spawn_blocking(move || desk.finish(DRAIN_MAX)).await?;
        }
        outbox.iter().for_each(|path| remove_outbox(path));
        drop(edge);
        let mut spool = SpoolHealth::default();
        if let Some(writer) = writer {
            if !rest.is_empty() {
                writer.push(Quantum { known_at: clock::known_at(), changes: Vec::new(), edge: rest }).await?;
            }
            writer.flush().await?;
            spool = writer.settle(SETTLE_MAX).await;
        }
        Ok(Summary { kept, accounts, counters, undelivered, spool })
    }
}

/// When the next snapshot is due, and who makes it.
struct Snapshots {
    /// `None`: it is another process that says so.
    due: Option<Instant>,
    every: Duration,
    thread: Arc<Snapshotter>,
}

/// Disk and store may be waited for so long, and no longer.
fn hurry(writer: Option<&Writer>, journal_ends_at: &OnceLock<Instant>) {
    writer.iter().for_each(|writer| writer.close_within(SETTLE_MAX));
    let _ = journal_ends_at.set(Instant::now() + SETTLE_MAX); // it ends when it was said first
}

/// Until everything is computed, kept and told.
fn ended(
    keeper: JoinHandle<anyhow::Result<(Kept, Vec<EdgeRow>)>>,
    running: Running,
    answering: Option<JoinHandle<anyhow::Result<()>>>,
) -> anyhow::Result<(Kept, Vec<EdgeRow>)> {
    let kept = keeper.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the keeper's thread died")));
    if let (Err(_), Some(lost)) = (&kept, &running.lost)
        && lost.who().is_none()
    {
        lost.leave(); // the others would wait for this process, and it for them
        return kept;
    }
    running.join()?;
    if let Some(answering) = answering {
        answering.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that tells other processes' alerts died")))?;
    }
    kept
}

/// The engine's settings out of the configuration's.
#[must_use]
pub fn settings(config: &Config, pace: Pace) -> engine::Settings {
    engine::Settings {
        workers: config.engine.workers,
        quantum_ms: config.time.quantum_ms.unwrap_or(if pace == Pace::Live { 20 } else { 1_000 }),
        idle_ms: config.time.idle_ms,
        // Without the check of skew, old frames are replayed live: no arrival to compare with.
        ahead_ms_max: if config.time.skew_ms_max == 0 { i64::MAX } else { integer(config.time.ahead_ms_max) },
        keeps_journal: false,
        states: Arc::default(),
        views: config.views.settings(&config.time),
        shares_frames: pace == Pace::Replay,
        tells: false,
        start: None,
    }
}

/// What several processes must have alike, as a text.
///
/// # Errors
/// If the configuration of alerts is wrong.
pub fn together(config: &Config, pace: Pace, has_models: bool, alerts: bool, keeps_journal: bool) -> anyhow::Result<String> {
    let mut settings = settings(config, pace);
    if !has_models {
        settings.views.regimes.timeframes.clear();
    }
    let (workers, quantum_ms) = (settings.workers, settings.quantum_ms);
    let frames = if settings.shares_frames { "the same frames".to_owned() } else { format!("its share of {}", symbols(config)) };
    let told = if tells(config, pace, alerts)? { "alerts told" } else { "no alerts" };
    let kept = if keeps_journal { "a journal each" } else { "no journal" };
    let fingerprint = dataflows::keeping::fingerprint(&settings.views);
    Ok(format!(
        "version {}, {frames}, {workers} workers each, quanta of {quantum_ms} ms, {told}, {kept}, {fingerprint}",
        env!("CARGO_PKG_VERSION")
    ))
}

/// What is listened to, as a text: all must deal out the same.
fn symbols(config: &Config) -> String {
    let feeds =
        [&config.feeds.binance_usdm, &config.feeds.bybit_linear].map(|feed| feed.as_ref().map(|f| (&f.symbols, &f.weights)));
    let count: usize = feeds.iter().flatten().map(|(symbols, _)| symbols.len()).sum();
    format!("{count} symbols ({:016x})", fnv1a(format!("{feeds:?}").bytes()))
}

/// How far the store has everything. Without a store nothing waits for it.
fn stored(writer: Option<&Writer>) -> Stored {
    match writer.cloned() {
        Some(writer) => Box::new(move || writer.acknowledged()),
        None => Box::new(|| u64::MAX),
    }
}

/// The rules as the configuration names them.
fn rules(config: &Config) -> anyhow::Result<Rules> {
    let Some(directory) = &config.alerts.rules else { return Ok(Rules::default()) };
    let (rules, warnings) = Rules::load(directory)?;
    warnings.iter().for_each(|warning| tracing::warn!(%warning, "a rule may not do what was meant"));
    Ok(rules)
}
