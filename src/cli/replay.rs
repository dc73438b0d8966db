//! `regimeflow replay`: recorded frames through the same pipeline as live ones.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;

use super::cluster_args::{ClusterArgs, join, open_store, own_journal};
use super::{EX_UNAVAILABLE, Failure, names, print, print_json, read_config, report, store_location};
use crate::app::{Extras, Pace, Pipeline};
use crate::frames::{BatchLimits, FrameBatch, FrameLogReader};
use crate::model_dir::{self, Models};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Frame logs (`.frames.zst` or plain); several are merged by the time of receipt.
    #[arg(required = true)]
    frames: Vec<PathBuf>,
    /// Configuration; without it the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A directory (embedded engine), a ClickHouse URL, or `none`.
    #[arg(long)]
    store: Option<String>,
    /// Worker threads.
    #[arg(long)]
    workers: Option<usize>,
    /// `max`, or how many times faster than it was recorded.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Milliseconds of a quantum.
    #[arg(long)]
    quantum_ms: Option<u64>,
    /// A directory of models (`models.json` and what it names): regimes are told.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Keep a journal there; started again with the same frames, it goes on where it was. The answers are those of an uninterrupted replay.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Pass over damaged records of the journal (they are lost, and told of).
    #[arg(long)]
    skip_corrupt: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Call no webhook, whatever the configuration says.
    #[arg(long)]
    no_alerts: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// How fast recorded time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as the pipeline takes it.
    Max,
    /// Times faster than it was recorded.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.parse().ok().filter(|times: &f64| times.is_finite() && *times > 0.0);
        times.map(Self::Times).ok_or_else(|| format!("`{text}` is not a speed; write `max` or a number above 0, such as 10"))
    }
}

/// Runs the command.
///
/// # Errors
/// A file that can't be read, a store that can't be opened or written.
pub async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let mut config = read_config(args.config.as_deref())?;
    let has_store = store_location(&mut config, args.store.as_deref());
    config.engine.workers = args.workers.unwrap_or(config.engine.workers);
    config.time.quantum_ms = args.quantum_ms.or(config.time.quantum_ms);
    let limits = match args.speed {
        Speed::Max => BatchLimits::default(),
        Speed::Times(_) => BatchLimits { frames: 64, ..BatchLimits::default() },
    };
    let mut reader = FrameLogReader::open(&args.frames, limits)?;
    let cluster = args.cluster.cluster()?;
    let (has_models, alerts) = (args.models.is_some(), !args.no_alerts);
    let join = |cluster| join(cluster, &mut config, Pace::Replay, has_models, alerts, args.journal.is_some());
    let joined = cluster.as_ref().map(join).transpose()?;
    let store = if has_store { Some(open_store(&config, "replay", joined.as_ref(), Pace::Replay).await?) } else { None };

    let started = Instant::now();
    let journal = args.journal.clone().map(|dir| own_journal(config.journal_in(dir, args.skip_corrupt), cluster.as_ref()));
    let is_first = cluster.as_ref().is_none_or(|cluster| cluster.process == 0);
    let load = |dir| if is_first { model_dir::load(dir) } else { Ok(Models::default()) };
    let models = args.models.as_deref().map(load).transpose()?;
    let extras = Extras { alerts, watch: None, models, journal, joined };
    let mut pipeline = Pipeline::start(&config, Pace::Replay, store.as_ref(), extras)?;
    let restored = tokio::task::block_in_place(|| report::restoring(&mut pipeline))?;
    let bar = report::progress(reader.compressed_bytes_total(), "{bar:40} {percent} % {msg} {eta}");
    let mut pacer = Pacer::new(args.speed, restored.known_at);
    let mut batch = FrameBatch::default();
    // What was read before a file failed is kept; the failure is told at the end.
    let read = loop {
        match reader.next_batch(&mut batch) {
            Ok(true) => {}
            ended => break ended,
        }
        pacer.wait(&batch).await;
        let full = std::mem::take(&mut batch);
        let pushed = tokio::task::block_in_place(|| pipeline.input.push(full));
        pipeline.snapshot_if_due();
        if !pushed || pipeline.has_failed() {
            break Ok(false);
        }
        bar.set_position(reader.compressed_bytes_read());
        bar.set_message(format!("{} lines", report::grouped(reader.lines_read())));
    };
    // With a journal, a later run goes on where reading failed.
    let summary = if read.is_err() && args.journal.is_some() { pipeline.stop().await? } else { pipeline.finish().await? };
    bar.finish_and_clear();
    if let Some(store) = store {
        store.close().await?;
    }
    read?;
    let lines = reader.lines_read();
    if lines == 0 {
        let message = format!("replaying {}: there is no line in it", names(&args.frames));
        return Err(Failure { code: super::EX_DATA, message }.into());
    }
    if args.json {
        print_json(&report::json(&summary, lines, started.elapsed()))?;
    } else {
        print(&report::text(&summary, lines, started.elapsed()))?;
    }
    if summary.undelivered > 0 {
        eprintln!("regimeflow: {} events could not be delivered in time; see the view `deliveries`", summary.undelivered);
        return Ok(ExitCode::from(EX_UNAVAILABLE));
    }
    Ok(ExitCode::SUCCESS)
}

/// Holds frames back to the time at which they would come. What an earlier run has taken is not waited for again.
struct Pacer {
    speed: Speed,
    taken_to_ns: i64,
    start: Option<(i64, Instant)>,
}

impl Pacer {
    fn new(speed: Speed, taken_to_ms: Option<u64>) -> Self {
        let taken_to_ns = taken_to_ms.and_then(|ms| i64::try_from(ms).ok()?.checked_mul(1_000_000)).unwrap_or(i64::MIN);
        Self { speed, taken_to_ns, start: None }
    }

    async fn wait(&mut self, batch: &FrameBatch) {
        let (Speed::Times(times), Some(first)) = (self.speed, batch.frames.first()) else { return };
        if first.recv_ns < self.taken_to_ns {
            return;
        }
        let (start_ns, start) = *self.start.get_or_insert((first.recv_ns, Instant::now()));
        let due = Duration::from_nanos(u64::try_from(first.recv_ns - start_ns).unwrap_or_default()).div_f64(times);
        tokio::time::sleep_until((start + due).into()).await;
    }
}
