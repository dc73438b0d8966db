//! `regimeflow run`: live feeds through the pipeline, until SIGTERM or Ctrl-C.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use dataflows::model::Venue;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::cluster_args::{ClusterArgs, join, open_store, own_journal};
use super::{EX_CONFIG, EX_UNAVAILABLE, Failure, print, print_json, read_config, report, store_location};
use crate::app::{Extras, Pace, Pipeline, Summary, settings};
use crate::clock;
use crate::cluster::Cluster;
use crate::config::{Config, Feed};
use crate::feeds::live::{Earlier, FeedOutput, run_feed};
use crate::model_dir::{self, Listing};
use crate::notify::{self, Reload};
use crate::recovery::Restored;
use crate::status::Teller;
use crate::store::Store;
use crate::store::edge::EdgeRow;
use crate::training::live::{LiveModels, listing_if_any};
use crate::training::refits::Refits;

/// What feeds have said and the engine has not taken yet.
pub(super) const FEED_OUTPUTS_MAX: usize = 256;
/// More than a process has connections.
const PROCESSES_APART_MS: i64 = 64;
/// Edits of files that wait.
const RELOADS_MAX: usize = 4;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration; it names the venues and symbols.
    #[arg(long)]
    config: PathBuf,
    /// A directory (embedded engine), a ClickHouse URL, or `none`.
    #[arg(long)]
    store: Option<String>,
    /// Worker threads.
    #[arg(long)]
    workers: Option<usize>,
    /// A directory of models (`models.json` and what it names): regimes are told. What is added to it meanwhile counts from its
    /// bar on; refits (`[training]`) go into it.
    #[arg(long)]
    models: Option<PathBuf>,
    /// End by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    for_secs: Option<u64>,
    /// End by itself once no frame has come for so many seconds (for recorded frames that end).
    #[arg(long, value_name = "SECONDS")]
    until_idle_secs: Option<u64>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Pass over damaged records of the journal (they are lost, and told of).
    #[arg(long)]
    skip_corrupt: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A configuration without feeds, a store that can't be opened or written.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let mut config = read_config(Some(&args.config))?;
    let has_store = store_location(&mut config, args.store.as_deref());
    config.engine.workers = args.workers.unwrap_or(config.engine.workers);
    let mut feeds = configured_feeds(&config, &args.config)?;
    let cluster = args.cluster.cluster()?;
    let journal = config.journal(args.skip_corrupt).map(|journal| own_journal(journal, cluster.as_ref()));
    let join = |cluster| join(cluster, &mut config, Pace::Live, args.models.is_some(), true, journal.is_some());
    let joined = cluster.as_ref().map(join).transpose()?;
    let store = if has_store { Some(open_store(&config, "run", joined.as_ref(), Pace::Live).await?) } else { None };
    let started = Instant::now();
    let is_first = cluster.as_ref().is_none_or(|cluster| cluster.process == 0);
    if let Some(cluster) = &cluster {
        feeds = share(feeds, cluster);
    }
    if !is_first {
        config.training.enabled = false; // models are the first process's
    }
    let own_models = args.models.as_deref().filter(|_| is_first);
    let listing = own_models.map(|dir| listing(dir, &config)).transpose()?;
    let refits = refits(&args, &config, store.as_ref(), listing.as_ref())?;
    let models = own_models.zip(listing.as_ref());
    let mut models = models.map(|(dir, listing)| model_dir::of_listing(dir, listing)).transpose()?;
    if args.models.is_some() {
        models.get_or_insert_default();
    }
    let journal_dir = journal.as_ref().map(|journal| journal.dir.clone());
    let extras = Extras { alerts: true, watch: None, models, journal, joined };
    let mut pipeline = Pipeline::start(&config, Pace::Live, store.as_ref(), extras)?;
    let restored = tokio::task::block_in_place(|| report::restoring(&mut pipeline))?;
    let bounds = config.training.promote.then(|| config.training.bounds());
    let of_dir = own_models.map(Path::to_owned).zip(listing);
    let models = of_dir.map(|(dir, listing)| LiveModels::new(dir, listing, refits, bounds, pipeline.edge()));
    let shutdown = CancellationToken::new();
    let (outputs, from_feeds) = mpsc::channel(FEED_OUTPUTS_MAX);
    let mut running = JoinSet::new();
    for (venue, feed) in feeds {
        running.spawn(run_feed(venue, feed, earlier(&restored, venue, cluster.as_ref()), outputs.clone(), shutdown.clone()));
    }
    if running.is_empty() {
        // Of several processes one that has no symbol works for the others until it is told to stop.
        let (outputs, stopped) = (outputs.clone(), shutdown.clone());
        running.spawn(async move {
            stopped.cancelled().await;
            drop(outputs);
            Ok(())
        });
    }
    drop(outputs);
    let stop = tokio::spawn(stop_on(args.for_secs, shutdown.clone()));
    let (hurry, stopped) = (pipeline.hurry(), shutdown.clone());
    let hurry = tokio::spawn(async move {
        stopped.cancelled().await;
        hurry();
    });

    let keeps_journal = journal_dir.is_some();
    let teller = Teller::start(pipeline.sources(), journal_dir, config.alerts.lag_s * 1_000);
    if is_first {
        notify::heartbeat(&config, Arc::clone(&pipeline.quanta), shutdown.clone())?;
    }
    let (changed, reloads) = mpsc::channel(RELOADS_MAX);
    let watcher = tokio::spawn(notify::watch(Some(args.config.clone()), config.clone(), shutdown.clone(), changed));
    let quantum = Duration::from_millis(settings(&config, Pace::Live).quantum_ms);
    let until_idle = args.until_idle_secs.map(Duration::from_secs);
    let live = Live { pipeline, models, reloads, shutdown, quantum, until_idle, frames: 0, is_over: false };
    let Live { pipeline, models, frames, is_over, .. } = live.listen(from_feeds).await;
    hurry.abort(); // ending the pipeline says the same
    let _ = hurry.await; // it held the store's writer
    watcher.abort();
    if let Some(models) = models {
        tokio::task::block_in_place(|| models.finish());
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended?.err());
    }
    teller.finish().await;
    // With a journal the next run goes on from here, so nothing is closed that isn't over.
    let summary = if keeps_journal && !is_over { pipeline.stop().await? } else { pipeline.finish().await? };
    if let Some(store) = store {
        store.close().await?;
    }
    stop.abort(); // until here a second signal ends the process
    tell(&args, &summary, frames, started.elapsed())?;
    for error in &failed {
        eprintln!("regimeflow: {error}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EX_UNAVAILABLE) })
}

/// What a directory of models lists. It may have no list yet if refits are to make one.
fn listing(dir: &Path, config: &Config) -> anyhow::Result<Listing> {
    if config.training.enabled { listing_if_any(dir) } else { model_dir::read_listing(dir) }
}

/// The schedule of refits, where the configuration asks for one.
fn refits(args: &RunArgs, config: &Config, store: Option<&Store>, listing: Option<&Listing>) -> anyhow::Result<Option<Refits>> {
    if !config.training.enabled {
        return Ok(None);
    }
    let (Some(dir), Some(listing), Some(store)) = (args.models.as_deref(), listing, store) else {
        let path = args.config.display();
        let message =
            format!("{path}: training.enabled asks for a store to read and a directory to write: give --models DIR and a store");
        return Err(Failure { code: EX_CONFIG, message }.into());
    };
    let regimes = &config.views.regimes;
    Refits::start(&config.training, regimes, store.client().clone(), dir, listing).map(Some)
}

/// The feeds of a configuration, at least one.
pub(super) fn configured_feeds(config: &Config, path: &Path) -> Result<Vec<(Venue, Feed)>, Failure> {
    let feeds = [(Venue::BinanceUsdm, &config.feeds.binance_usdm), (Venue::BybitLinear, &config.feeds.bybit_linear)];
    let feeds: Vec<_> = feeds.into_iter().filter_map(|(venue, feed)| Some((venue, feed.clone()?))).collect();
    if feeds.is_empty() {
        let path = path.display();
        let message =
            format!("{path}: no feed is configured; add a section [feeds.binance_usdm] or [feeds.bybit_linear] with symbols");
        return Err(Failure { code: EX_CONFIG, message });
    }
    Ok(feeds)
}

/// The symbols that this process listens to: its share of those of all venues.
fn share(feeds: Vec<(Venue, Feed)>, cluster: &Cluster) -> Vec<(Venue, Feed)> {
    let all = feeds.iter().flat_map(|(venue, feed)| {
        let weight = |symbol| feed.weights.get(symbol).copied().unwrap_or(1);
        feed.symbols.iter().map(move |symbol| ((*venue, symbol.clone()), weight(symbol)))
    });
    let own = cluster.share(all);
    let share = |(venue, feed): (Venue, Feed)| {
        let symbols: Vec<_> = own.iter().filter(|(of, _)| *of == venue).map(|(_, symbol)| symbol.clone()).collect();
        (!symbols.is_empty()).then_some((venue, Feed { symbols, ..feed }))
    };
    feeds.into_iter().filter_map(share).collect()
}

/// What the run before has left to a venue's feed. Several processes begin at the same quantum, and a gap's key names no process: those of each begin some
/// milliseconds before those of the one before, as those of its connections do after each other.
fn earlier(restored: &Restored, venue: Venue, cluster: Option<&Cluster>) -> Earlier {
    let Some(known_at) = restored.known_at else { return Earlier::default() };
    let mut unhealed = restored.ongoing.unhealed(known_at, clock::now_ms());
    unhealed.retain(|gap| gap.venue == venue.to_string());
    let before_ms = cluster.map_or(0, |cluster| cluster.process as i64 * PROCESSES_APART_MS);
    Earlier { since_ms: i64::try_from(known_at).ok().map(|since_ms| since_ms - before_ms), unhealed }
}

fn tell(args: &RunArgs, summary: &Summary, frames: u64, elapsed: Duration) -> anyhow::Result<()> {
    if args.json { print_json(&report::json(summary, frames, elapsed)) } else { print(&report::text(summary, frames, elapsed)) }
}

/// Ends the run on SIGTERM, Ctrl-C, or after its time; a second signal ends the process at once.
pub(super) async fn stop_on(for_secs: Option<u64>, shutdown: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else { return };
    let time_is_up = async {
        match for_secs {
            Some(secs) => tokio::time::sleep(Duration::from_secs(secs)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = time_is_up => {}
    }
    shutdown.cancel();
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    std::process::exit(130);
}

/// Between the feeds and the engine.
struct Live {
    pipeline: Pipeline,
    models: Option<LiveModels>,
    reloads: mpsc::Receiver<Reload>,
    shutdown: CancellationToken,
    quantum: Duration,
    until_idle: Option<Duration>,
    frames: u64,
    /// The frames have come to their end.
    is_over: bool,
}

impl Live {
    /// Until every feed has ended. The engine's channels block, so the work is done where blocking is allowed.
    async fn listen(mut self, mut from_feeds: mpsc::Receiver<FeedOutput>) -> Self {
        let mut beat = tokio::time::interval(self.quantum);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let goes_on = tokio::select! {
                output = from_feeds.recv() => match output {
                    Some(output) => {
                        if matches!(output, FeedOutput::Frames(_)) {
                            heard = Instant::now();
                        }
                        tokio::task::block_in_place(|| take(output, &mut self.pipeline, &mut self.frames))
                    }
                    None => return self,
                },
                Some(reload) = self.reloads.recv() => {
                    tokio::task::block_in_place(|| self.pipeline.reload(reload));
                    true
                }
                _ = beat.tick() => tokio::task::block_in_place(|| {
                    let goes_on = self.pipeline.input.heartbeat(clock::now_ns());
                    self.pipeline.snapshot_if_due();
                    if let Some(models) = &mut self.models {
                        models.tick(&mut self.pipeline.input);
                    }
                    goes_on
                }),
            };
            let is_idle = self.frames > 0 && self.until_idle.is_some_and(|limit| heard.elapsed() > limit);
            self.is_over |= is_idle;
            if !goes_on || self.pipeline.has_failed() || self.pipeline.a_process_ends() || is_idle {
                self.shutdown.cancel(); // the feeds end, and with them this loop; finishing says what failed
            }
        }
    }
}

/// False: the workers are gone.
fn take(output: FeedOutput, pipeline: &mut Pipeline, frames: &mut u64) -> bool {
    log(&output);
    match output {
        FeedOutput::Frames(batch) => {
            *frames += (batch.frames.len() + batch.defects.len()) as u64;
            let received = batch.frames.first().map(|frame| frame.recv_ns);
            let goes_on = pipeline.input.push(batch); // waits while the engine is full
            received.iter().for_each(|recv_ns| pipeline.status.taken(*recv_ns));
            goes_on
        }
        FeedOutput::Gap(gap) => pipeline.enter(EdgeRow::Gap(gap)),
        FeedOutput::Silent(_) | FeedOutput::Status(_) => true,
    }
}

/// What a feed says beside frames, for people.
pub(super) fn log(output: &FeedOutput) {
    match output {
        FeedOutput::Frames(_) => {}
        FeedOutput::Gap(gap) => {
            tracing::warn!(venue = gap.venue, stream = gap.stream, symbol = gap.symbol, cause = gap.cause, "gap in a feed");
        }
        FeedOutput::Silent(silent) => {
            let (venue, stream, silent_for_ms) = (silent.venue, &silent.key, silent.silent_for_ms);
            if silent.never_heard {
                tracing::warn!(%venue, stream, silent_for_ms, "stream is acknowledged but silent since connect");
            } else {
                tracing::warn!(%venue, stream, silent_for_ms, "stream went silent");
            }
        }
        FeedOutput::Status(status) => {
            tracing::info!(venue = %status.venue, connection = status.connection, state = ?status.state, "connection changed");
        }
    }
}
