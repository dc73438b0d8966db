//! `regimeflow record`: raw frames of live feeds to disk, hourly, zstd. `replay` reads them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::run::{FEED_OUTPUTS_MAX, configured_feeds, log, stop_on};
use super::{EX_UNAVAILABLE, print, print_json, read_config, report};
use crate::feeds::live::{Earlier, FeedOutput, run_feed};
use crate::frames::{FrameLogError, Recorder};

/// A crash costs at most the frames of so long.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Configuration; it names the venues and symbols.
    #[arg(long)]
    config: PathBuf,
    /// The directory for the frame logs; an hour gets a file. Existing files stay as they are.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// End by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    for_secs: Option<u64>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// What was recorded.
#[derive(Debug, Serialize)]
struct Recorded {
    frames: u64,
    /// Frames that were refused unread (over 1 MiB).
    refused: u64,
    /// Gaps that opened, of each stream and symbol.
    gaps: u64,
    files: Vec<PathBuf>,
    seconds: f64,
}

/// Runs the command.
///
/// # Errors
/// A configuration without feeds, a directory that can't be written.
pub async fn run(args: RecordArgs) -> anyhow::Result<ExitCode> {
    let config = read_config(Some(&args.config))?;
    let feeds = configured_feeds(&config, &args.config)?;
    let recording = || format!("recording into {}", args.out.display());
    let mut recorder = Recorder::new(&args.out).with_context(recording)?;
    let started = Instant::now();
    let shutdown = CancellationToken::new();
    let (outputs, from_feeds) = mpsc::channel(FEED_OUTPUTS_MAX);
    let mut running = JoinSet::new();
    for (venue, feed) in feeds {
        running.spawn(run_feed(venue, feed, Earlier::default(), outputs.clone(), shutdown.clone()));
    }
    drop(outputs);
    let stop = tokio::spawn(stop_on(args.for_secs, shutdown.clone()));
    let mut recorded = Recorded { frames: 0, refused: 0, gaps: 0, files: Vec::new(), seconds: 0.0 };
    let written = record(from_feeds, &mut recorder, &mut recorded, &shutdown).await;
    stop.abort();
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended?.err());
    }
    let finished = recorder.finish();
    written.and(finished).with_context(recording)?;
    recorded.frames = recorder.frames();
    recorded.files = recorder.files().to_vec();
    recorded.seconds = started.elapsed().as_secs_f64();
    if args.json {
        print_json(&recorded)?
    } else {
        print(&text(&recorded))?
    }
    for error in &failed {
        eprintln!("regimeflow: {error}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EX_UNAVAILABLE) })
}

/// Until every feed has ended. A disk that fails ends them; what they say until then is read away.
async fn record(
    mut from_feeds: mpsc::Receiver<FeedOutput>,
    recorder: &mut Recorder,
    recorded: &mut Recorded,
    shutdown: &CancellationToken,
) -> Result<(), FrameLogError> {
    let mut beat = tokio::time::interval(FLUSH_EVERY);
    let mut outcome = Ok(());
    loop {
        let written = tokio::select! {
            output = from_feeds.recv() => match output {
                Some(FeedOutput::Frames(batch)) => {
                    recorded.refused += batch.defects.len() as u64;
                    if outcome.is_ok() { tokio::task::block_in_place(|| recorder.push(&batch)) } else { Ok(()) }
                }
                Some(other) => {
                    recorded.gaps += u64::from(matches!(&other, FeedOutput::Gap(gap) if gap.to_ts.is_none()));
                    log(&other);
                    Ok(())
                }
                None => return outcome,
            },
            _ = beat.tick(), if outcome.is_ok() => tokio::task::block_in_place(|| recorder.flush()),
        };
        if written.is_err() {
            outcome = written;
            shutdown.cancel();
        }
    }
}

fn text(recorded: &Recorded) -> String {
    format!(
        "{} frames in {:.1} s, {} refused, {} gaps: {}\n",
        report::grouped(recorded.frames),
        recorded.seconds,
        report::grouped(recorded.refused),
        report::grouped(recorded.gaps),
        super::names(&recorded.files),
    )
}
