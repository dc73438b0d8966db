//! The wiring: frames go into the engine; what comes out is announced, stored and counted.
//!
//! One keeper thread reads complete quanta in order: it turns episodes into events for the couriers and hands every row to the
//! store's writer. A slow store holds the keeper, the keeper holds the workers, the workers hold the feeder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alerts::deliver::{self, Courier, Options, Refused};
use alerts::{Event, EventType, Secret};
use anyhow::Context;
use crossbeam_channel::{Receiver, Sender};
use dataflows::hot::Counters;
use dataflows::model::Instruments;

use crate::accounts::Accounts;
use crate::announce::Announcer;
use crate::clock;
use crate::config::{self, Config, integer};
use crate::engine::{self, Engine, Input, Running};
use crate::feeds::{ParseContext, parser_for};
use crate::model_dir::Models;
use crate::store::edge::{DeliveryRow, EdgeRow, ModelRow, RejectedFrame};
use crate::store::{Quantum, Store, Writer, WriterOptions};

/// Deliveries still under way at the end may take so long.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// How the pipeline is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Frames arrive as they happen.
    Live,
    /// Frames are read as fast as they can be taken.
    Replay,
}

/// Looks at what leaves the engine.
pub type Watch = Box<dyn FnMut(&Quantum) + Send>;

/// What a run does beside computing and storing.
#[derive(Default)]
pub struct Extras {
    /// Webhooks are called.
    pub alerts: bool,
    /// Sees every complete quantum, alerts included, before it is stored.
    pub watch: Option<Watch>,
    /// Models, as [`crate::model_dir::load`] gave them. `None`: regimes are not computed, at no cost.
    pub models: Option<Models>,
}

/// The running pipeline.
pub struct Pipeline {
    /// Where frames go in.
    pub input: Input,
    running: Running,
    keeper: JoinHandle<anyhow::Result<(Kept, Receiver<EdgeRow>)>>,
    couriers: Arc<Vec<Courier>>,
    edge: Sender<EdgeRow>,
    writer: Option<Writer>,
}

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

/// What a finished run can tell.
pub struct Summary {
    /// What the views became.
    pub kept: Kept,
    /// What became of frames.
    pub accounts: Arc<Accounts>,
    /// What became of ticks.
    pub counters: Arc<Counters>,
    /// Deliveries that were still under way when the run ended.
    pub undelivered: usize,
}

impl Pipeline {
    /// Starts workers, keeper, couriers and writer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the configuration asks for what can't be had (a secret file that can't be read).
    pub fn start(config: &Config, pace: Pace, store: Option<&Store>, extras: Extras) -> anyhow::Result<Self> {
        let Extras { alerts, watch, models } = extras;
        let instruments = Arc::new(Instruments::default());
        let context = ParseContext {
            instruments: Arc::clone(&instruments),
            skew_ms_max: i64::try_from(config.time.skew_ms_max).unwrap_or(i64::MAX),
        };
        let parsers: engine::ParserFactory = Arc::new(move |venue| parser_for(venue, context.clone()));
        let mut settings = settings(config, pace);
        if models.is_none() {
            settings.views.regimes.timeframes.clear();
        }
        let Models { releases, standings } = models.unwrap_or_default();
        let Engine { input, mut collector, running } = engine::start(settings, Arc::clone(&instruments), parsers, releases)?;

        let options = if pace == Pace::Live { WriterOptions::live() } else { WriterOptions::bulk() };
        let writer = store.map(|store| store.writer(Arc::clone(&instruments), options));
        let (edge, from_edge) = crossbeam_channel::unbounded(); // bounded by the couriers' queues and the feeds' reconnects
        // A replay knows them before its first frame.
        let known_at = if pace == Pace::Live { u64::try_from(clock::now_ms()).unwrap_or_default() } else { 0 };
        for standing in standings {
            let _ = edge.send(EdgeRow::Model(Box::new(ModelRow { standing, known_at, diff: 1 }))); // read below
        }
        let couriers = Arc::new(if alerts { couriers(config, &edge)? } else { Vec::new() });

        let mut keeper = Keeper {
            announcer: Announcer::new(instruments),
            couriers: Arc::clone(&couriers),
            writer: writer.clone(),
            from_edge,
            pace,
            watch,
            kept: Kept::default(),
        };
        let keep = move || {
            while let Some(quantum) = collector.next_quantum() {
                keeper.keep(quantum)?;
            }
            Ok((keeper.kept, keeper.from_edge))
        };
        let keeper = std::thread::Builder::new().name("keeper".into()).spawn(keep).context("starting the keeper's thread")?;
        Ok(Self { input, running, keeper, couriers, edge, writer })
    }

    /// Where the edge's own rows (gaps) go.
    #[must_use]
    pub fn edge(&self) -> Sender<EdgeRow> {
        self.edge.clone()
    }

    /// The keeper has stopped before its time: the store failed. [`Self::finish`] says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.keeper.is_finished()
    }

    /// What became of frames so far.
    #[must_use]
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.running.accounts)
    }

    /// Ends the input, waits until everything is computed, delivered and stored.
    ///
    /// # Errors
    /// If a worker died or the store refused rows for good.
    pub async fn finish(self) -> anyhow::Result<Summary> {
        let Self { input, running, keeper, couriers, edge, writer } = self;
        let (accounts, counters) = (Arc::clone(&running.accounts), Arc::clone(&running.counters));
        input.finish();
        let (kept, worked) = tokio::task::spawn_blocking(move || (keeper.join(), running.join())).await?;
        worked?;
        let (kept, from_edge) = match kept {
            Ok(kept) => kept?,
            Err(_) => anyhow::bail!("the keeper's thread died"),
        };
        let mut undelivered = 0;
        for courier in Arc::into_inner(couriers).into_iter().flatten() {
            undelivered += courier.drain(DRAIN_MAX).await;
        }
        drop(edge);
        if let Some(writer) = writer {
            let rest: Vec<EdgeRow> = from_edge.try_iter().collect();
            if !rest.is_empty() {
                let known_at = u64::try_from(clock::now_ms()).unwrap_or_default();
                writer.push(Quantum { known_at, changes: Vec::new(), edge: rest }).await?;
            }
            writer.flush().await?;
        }
        Ok(Summary { kept, accounts, counters, undelivered })
    }
}

struct Keeper {
    announcer: Announcer,
    couriers: Arc<Vec<Courier>>,
    writer: Option<Writer>,
    from_edge: Receiver<EdgeRow>,
    pace: Pace,
    watch: Option<Watch>,
    kept: Kept,
}

impl Keeper {
    fn keep(&mut self, mut quantum: Quantum) -> anyhow::Result<()> {
        let events = self.announcer.observe(&mut quantum);
        quantum.edge.extend(self.from_edge.try_iter());
        self.count(&quantum, &events);
        if let Some(watch) = &mut self.watch {
            watch(&quantum);
        }
        if let Some(writer) = &self.writer {
            writer.push_blocking(quantum)?;
        }
        events.iter().for_each(|event| self.send(event));
        Ok(())
    }

    fn send(&self, event: &Event) {
        for courier in self.couriers.iter() {
            // A replay makes a month's alerts in seconds: it waits for the receiver. A live run must not, and the courier lists what it refuses.
            while let Err(Refused::Full { .. }) = courier.enqueue(event) {
                if self.pace == Pace::Live {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn count(&mut self, quantum: &Quantum, events: &[Event]) {
        self.kept.quanta += 1;
        for event in events {
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

/// The engine's settings out of the configuration's.
#[must_use]
pub fn settings(config: &Config, pace: Pace) -> engine::Settings {
    engine::Settings {
        workers: config.engine.workers,
        quantum_ms: config.time.quantum_ms.unwrap_or(if pace == Pace::Live { 20 } else { 1_000 }),
        idle_ms: config.time.idle_ms,
        // Without the check of skew, old frames are replayed live: no arrival to compare with.
        ahead_ms_max: if config.time.skew_ms_max == 0 { i64::MAX } else { integer(config.time.ahead_ms_max) },
        views: config.views.settings(&config.time),
    }
}

/// One courier a webhook; each attempt becomes a row of `deliveries`.
fn couriers(config: &Config, edge: &Sender<EdgeRow>) -> anyhow::Result<Vec<Courier>> {
    config.webhooks.iter().map(|webhook| courier(webhook, edge.clone())).collect()
}

fn courier(webhook: &config::Webhook, edge: Sender<EdgeRow>) -> anyhow::Result<Courier> {
    let mut secrets = Vec::new();
    if let Some(path) = &webhook.secret_file {
        secrets.push(Secret::from_file(path)?);
    }
    if let Some(name) = &webhook.secret_env {
        secrets.push(Secret::from_env(name)?);
    }
    let channel = deliver::Webhook::new(&webhook.name, &webhook.url, secrets)?;
    let event_types = webhook.event_types.iter().filter_map(|name| EventType::from_name(name)).collect();
    let options = Options { event_types, ..Options::default() };
    let on_attempt = Arc::new(move |attempt: deliver::Attempt| {
        let row = EdgeRow::Delivery(DeliveryRow {
            alert_id: format!("{}_{}", attempt.event_id, attempt.status.as_str()),
            channel: attempt.channel,
            attempt: attempt.attempt,
            sent_at: attempt.sent_at_ms,
            result: attempt.result.as_str().to_owned(),
            http_status: attempt.http_status,
            latency_ms: attempt.latency_ms,
            reason: attempt.reason,
            known_at: u64::try_from(clock::now_ms()).unwrap_or_default(),
        });
        let _ = edge.send(row); // the keeper is gone only when the run is being torn down
    });
    Ok(Courier::start(channel, options, Arc::new(clock::now_ms), on_attempt))
}
