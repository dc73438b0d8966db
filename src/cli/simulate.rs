//! `regimeflow simulate`: writes a simulated market as a frame log, and the truth about it beside.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use dataflows::model::Venue;
use serde::Serialize;

use super::{print, print_json, report};
use crate::simulate::{LogSink, Settings, Simulation, Truth};

/// Writes a simulated market as a frame log in the venues' wire format, and the truth about it beside.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// All chance derives from it: equal arguments give equal bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many symbols: BTC, ETH, SOL, then generated names (1 to 1000).
    #[arg(long, default_value_t = 3)]
    pub symbols: usize,
    /// Simulated time in hours.
    #[arg(long, default_value_t = 168.0)]
    pub hours: f64,
    /// The first event time, a full minute in RFC 3339.
    #[arg(long, default_value = "2026-01-05T00:00:00Z")]
    pub start: DateTime<Utc>,
    /// The venues, separated by commas: binance-usdm, bybit-linear.
    #[arg(long, value_delimiter = ',', default_value = "binance-usdm,bybit-linear", value_parser = parse_venue)]
    pub venues: Vec<Venue>,
    /// Prints per second and symbol in the normal regime (Bybit: half of it), up to 20000.
    #[arg(long, default_value_t = 0.5)]
    pub trades_per_second: f64,
    /// Seconds between mark prices, 1 to 60.
    #[arg(long, default_value_t = 3)]
    pub mark_interval_secs: i64,
    /// Liquidation cascades per symbol and day, decoys included (market-wide ones come on top), 0 to 96.
    #[arg(long, default_value_t = 4.0)]
    pub bursts_per_day: f64,
    /// Funding episodes per symbol and day, 0 to 4.
    #[arg(long, default_value_t = 0.35)]
    pub episodes_per_day: f64,
    /// The frame log to write (zstd).
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The truth file to write (JSON lines).
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// A run that is over sooner has no progress bar.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    out: PathBuf,
    truth: Option<PathBuf>,
    seed: u64,
    symbols: usize,
    minutes: i64,
    frames: u64,
    /// Bytes before compression.
    bytes: u64,
    cascades: usize,
    decoys: usize,
    funding_episodes: usize,
    regime_runs: usize,
    seconds: f64,
}

fn parse_venue(text: &str) -> Result<Venue, String> {
    Venue::from_name(text.as_bytes()).ok_or_else(|| "no such venue, choose binance-usdm or bybit-linear".to_owned())
}

impl SimulateArgs {
    /// What the market is made with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            seed: self.seed,
            symbols: self.symbols,
            minutes: (self.hours * 60.0).round() as i64,
            start_ms: self.start.timestamp_millis(),
            venues: self.venues.clone(),
            trades_per_second: self.trades_per_second,
            mark_interval_secs: self.mark_interval_secs,
            bursts_per_day: self.bursts_per_day,
            episodes_per_day: self.episodes_per_day,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A setting outside its limits, or a file that can't be written.
pub fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let settings = args.settings();
    let simulation = Simulation::new(settings.clone())?;
    let create = |path: &PathBuf| File::create(path).with_context(|| format!("creating {}", path.display()));
    let writing = || format!("writing {}", args.out.display());
    let truth_file = args.truth.as_ref().map(create).transpose()?;
    let mut log = LogSink::new(create(&args.out)?, 1).with_context(writing)?;
    let truth = simulated(simulation, &settings, &mut log).with_context(writing)?;
    let (frames, bytes) = (log.frames, log.bytes);
    log.finish().and_then(|mut file| file.flush()).with_context(writing)?;
    if let (Some(file), Some(path)) = (truth_file, &args.truth) {
        truth.write(BufWriter::new(file)).with_context(|| format!("writing {}", path.display()))?;
    }
    let decoys = truth.bursts.iter().filter(|b| b.decoy).count();
    let written = Written {
        out: args.out,
        truth: args.truth,
        seed: settings.seed,
        symbols: settings.symbols,
        minutes: settings.minutes,
        frames,
        bytes,
        cascades: truth.bursts.len() - decoys,
        decoys,
        funding_episodes: truth.funding_episodes.len(),
        regime_runs: truth.regimes.len(),
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.json {
        print_json(&written)?
    } else {
        print(&text(&written))?
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the market to its end; on a terminal, with a bar.
fn simulated(mut simulation: Simulation, settings: &Settings, log: &mut LogSink<File>) -> std::io::Result<Truth> {
    let started = Instant::now();
    let bar = report::progress(settings.minutes.unsigned_abs(), "{bar:40} {percent} % of the market's minutes {eta}");
    while simulation.second(&mut |frame| log.push(frame))? {
        let elapsed_ms = simulation.now_ms() - settings.start_ms;
        if elapsed_ms % 60_000 == 0 && started.elapsed() > PROGRESS_AFTER {
            bar.set_position(elapsed_ms.unsigned_abs() / 60_000); // the first call draws it
        }
    }
    bar.finish_and_clear();
    Ok(simulation.truth())
}

fn text(written: &Written) -> String {
    format!(
        "{} frames, {} cascades and {} decoys, {} funding episodes, {} regime runs: {}\n",
        report::grouped(written.frames),
        written.cascades,
        written.decoys,
        written.funding_episodes,
        written.regime_runs,
        written.out.display(),
    )
}
