//! `regimeflow bench`: the program's own speed, always beside the parse-only rate of the same run, because machines are noisy.
//!
//! Frames lie in memory before the clock starts, so what is timed is parsing and the dataflow, not the disk. Each round times
//! every setting once, one after the other; the table gives medians over rounds, and ratios within a round.

mod alerts;
mod correlation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, Subcommand};
use dataflows::model::{Instruments, Tick, Venue};
use serde::Serialize;

mod hmm;

use super::{print, print_json, report};
use crate::app::{Extras, Pace, Pipeline};
use crate::config::Config;
use crate::feeds::{ParseContext, Parser, parser_for};
use crate::frames::{BatchLimits, FrameBatch, FrameLogReader};
use crate::simulate::dense_corpus;
use crate::store::{Mode, Store};

mod scale;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Only the parsers, one thread.
    Parse(Corpus),
    /// The whole dataflow per worker count, store off and on.
    Pipeline(PipelineArgs),
    /// Cost per event from few symbols to many, and resident memory of many symbols for a day.
    Scale(scale::ScaleArgs),
    /// All pairs of many symbols for one bar.
    Correlation(correlation::CorrelationArgs),
    /// From the frame that crosses a threshold to the request at a webhook.
    Alerts(alerts::AlertsArgs),
    /// Rows into the embedded store.
    Store {
        /// How many.
        #[arg(long, default_value_t = 3_000_000)]
        rows: u64,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Regime models: EM, filter, Viterbi, restarts, many fits, beside their targets.
    Hmm(hmm::HmmArgs),
}

#[derive(Debug, Args)]
struct Corpus {
    /// Frame logs; without one, a simulated dense market.
    frames: Vec<PathBuf>,
    /// Frames of the simulated market.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Symbols of the simulated market.
    #[arg(long, default_value_t = 20)]
    symbols: usize,
    /// How often everything is timed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PipelineArgs {
    #[command(flatten)]
    corpus: Corpus,
    /// Worker counts to time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    workers: Vec<usize>,
    /// Milliseconds of a quantum.
    #[arg(long, default_value_t = 1_000)]
    quantum_ms: u64,
    /// Leave the store out.
    #[arg(long)]
    no_store: bool,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    what: String,
    /// Frames per second, median over rounds.
    frames_per_second: f64,
    /// Share of the parse-only rate of the same round, median.
    of_parse_only: f64,
    /// Times the rate with one worker of the same round, median.
    of_one_worker: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Result {
    corpus: String,
    frames: usize,
    bytes: usize,
    figures: Vec<Figure>,
}

/// Runs the command.
///
/// # Errors
/// A frame log that can't be read, an engine that can't be started.
pub async fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Parse(corpus) => parse(&corpus)?,
        What::Pipeline(args) => pipeline(&args).await?,
        What::Scale(args) => scale::run(&args).await?,
        What::Correlation(args) => correlation::run(&args)?,
        What::Store { rows, json } => store(rows, json).await?,
        What::Alerts(args) => alerts::run(&args).await?,
        What::Hmm(args) => hmm::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(corpus: &Corpus) -> anyhow::Result<()> {
    let batches = corpus.load()?;
    let rates: Vec<f64> = (0..corpus.rounds).map(|_| parse_rate(&batches)).collect();
    let figure = Figure { what: "parse only".into(), frames_per_second: median(rates), of_parse_only: 1.0, of_one_worker: None };
    corpus.print(&batches, vec![figure])
}

async fn pipeline(args: &PipelineArgs) -> anyhow::Result<()> {
    let batches = args.corpus.load()?;
    let mut settings: Vec<(String, usize, bool)> =
        args.workers.iter().map(|&n| (format!("pipeline, {n} worker{}", if n == 1 { "" } else { "s" }), n, false)).collect();
    if !args.no_store {
        settings.extend(
            args.workers.iter().map(|&n| (format!("pipeline and store, {n} worker{}", if n == 1 { "" } else { "s" }), n, true)),
        );
    }
    let mut parse_rates = Vec::new();
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); settings.len()];
    let bar = report::progress(u64::from(args.corpus.rounds), "{bar:40} round {pos} of {len}");
    for _ in 0..args.corpus.rounds {
        parse_rates.push(parse_rate(&batches));
        for ((_, workers, with_store), rates) in settings.iter().zip(&mut rates) {
            rates.push(pipeline_rate(&batches, *workers, args.quantum_ms, *with_store).await?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let ratio = |over: &[f64], under: &[f64]| median(over.iter().zip(under).map(|(a, b)| a / b).collect());
    let mut figures = vec![Figure {
        what: "parse only".into(),
        frames_per_second: median(parse_rates.clone()),
        of_parse_only: 1.0,
        of_one_worker: None,
    }];
    for ((what, workers, with_store), own) in settings.iter().zip(&rates) {
        let one = settings.iter().position(|(_, n, stored)| *n == 1 && stored == with_store).filter(|_| *workers > 1);
        figures.push(Figure {
            what: what.clone(),
            frames_per_second: median(own.clone()),
            of_parse_only: ratio(own, &parse_rates),
            of_one_worker: one.map(|one| ratio(own, &rates[one])),
        });
    }
    args.corpus.print(&batches, figures)
}

async fn store(rows: u64, json: bool) -> anyhow::Result<()> {
    let dir = Scratch::new()?;
    let figures = crate::store::bench::bench(&dir.0, rows).await?;
    if json {
        return print_json(&figures);
    }
    let rows = [
        ("rows inserted", report::grouped(figures.rows)),
        ("rows/s", report::grouped(figures.rows_per_second as i64)),
        ("rows found", report::grouped(figures.rows_found)),
        ("one symbol's day, ms", format!("{:.1}", figures.symbol_day_ms)),
        ("its rows", report::grouped(figures.symbol_day_rows)),
        ("full scan, ms", format!("{:.1}", figures.full_scan_ms)),
    ];
    print(&format!("{}\n", report::table(&["embedded store", ""], rows.map(|(what, value)| vec![what.to_owned(), value]))))
}

impl Corpus {
    fn load(&self) -> anyhow::Result<Vec<Arc<FrameBatch>>> {
        if self.frames.is_empty() {
            let batches = dense_corpus(self.messages, self.symbols, 1, &[Venue::BinanceUsdm]).context("simulating frames")?;
            return Ok(batches.into_iter().map(Arc::new).collect());
        }
        let mut reader = FrameLogReader::open(&self.frames, BatchLimits::default())?;
        let mut batches = Vec::new();
        let mut batch = FrameBatch::default();
        while reader.next_batch(&mut batch)? {
            batches.push(Arc::new(std::mem::take(&mut batch)));
        }
        Ok(batches)
    }

    fn print(&self, batches: &[Arc<FrameBatch>], figures: Vec<Figure>) -> anyhow::Result<()> {
        let frames = batches.iter().map(|batch| batch.frames.len()).sum();
        let bytes = batches.iter().flat_map(|batch| &batch.frames).map(|frame| frame.len as usize).sum();
        let corpus =
            if self.frames.is_empty() { format!("simulated, {} symbols", self.symbols) } else { super::names(&self.frames) };
        let result = Result { corpus, frames, bytes, figures };
        if self.json {
            return print_json(&result);
        }
        let rows = result.figures.iter().map(|figure| {
            vec![
                figure.what.clone(),
                report::grouped(figure.frames_per_second as i64),
                format!("{:.3}", figure.of_parse_only),
                figure.of_one_worker.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            ]
        });
        let table = report::table(&["", "frames/s", "of parse only", "of one worker"], rows);
        let frames = report::grouped(result.frames as i128);
        print(&format!(
            "{}: {frames} frames, {:.0} MB of payload, median of {} rounds\n{table}\n",
            result.corpus,
            bytes as f64 / 1e6,
            self.rounds
        ))
    }
}

/// One thread: each frame through its parser, ticks thrown away.
fn parse_rate(batches: &[Arc<FrameBatch>]) -> f64 {
    let context = ParseContext { instruments: Instruments::default().into(), skew_ms_max: 86_400_000 };
    let mut parsers: Vec<Option<Box<dyn Parser>>> =
        Venue::ALL.into_iter().map(|venue| parser_for(venue, context.clone())).collect();
    let mut ticks: Vec<Tick> = Vec::with_capacity(1_024);
    let (started, mut frames) = (Instant::now(), 0usize);
    for batch in batches {
        for frame in &batch.frames {
            if let Some(parser) = &mut parsers[frame.venue as usize] {
                std::hint::black_box(parser.parse(batch.payload(frame), frame.direction, frame.recv_ns, &mut ticks));
            }
            if ticks.len() > 1_000 {
                ticks.clear();
            }
        }
        frames += batch.frames.len();
    }
    frames as f64 / started.elapsed().as_secs_f64()
}

/// From the first batch pushed until every row is out (and, with a store, acknowledged).
async fn pipeline_rate(batches: &[Arc<FrameBatch>], workers: usize, quantum_ms: u64, with_store: bool) -> anyhow::Result<f64> {
    let mut config = Config::default();
    config.engine.workers = workers;
    config.time.quantum_ms = Some(quantum_ms);
    let dir = Scratch::new()?;
    let store = if with_store {
        config.store.location = dir.0.to_string_lossy().into_owned();
        Some(Store::open(&config.store, Mode::Write("bench")).await?)
    } else {
        None
    };
    let copies = batches.to_vec();
    let frames: usize = batches.iter().map(|batch| batch.frames.len()).sum();
    let mut pipeline = Pipeline::start(&config, Pace::Replay, store.as_ref(), Extras::default())?;
    let started = Instant::now();
    let pipeline = tokio::task::spawn_blocking(move || {
        for batch in copies {
            anyhow::ensure!(pipeline.input.push(batch), "the workers stopped before their time");
        }
        Ok(pipeline)
    })
    .await??;
    pipeline.finish().await?;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(store) = store {
        store.close().await?;
    }
    Ok(frames as f64 / seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// A directory that goes when the bench is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let name = format!("regimeflow-bench-{}-{}", std::process::id(), crate::clock::now_ns());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        let _ = std::fs::remove_dir_all(path); // left behind, it is only a temporary directory
    }
}
