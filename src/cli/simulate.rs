//! `regimeflow simulate`: writes a simulated market as a frame log, and the truth about it beside.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use dataflows::model::Venue;

use crate::simulate::{LogSink, Settings, Simulation};

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
    let simulation = Simulation::new(args.settings())?;
    let create = |path: &PathBuf| File::create(path).with_context(|| format!("creating {}", path.display()));
    let writing = || format!("writing {}", args.out.display());
    let truth_file = args.truth.as_ref().map(create).transpose()?;
    let mut log = LogSink::new(create(&args.out)?, 1).with_context(writing)?;
    let truth = simulation.run(&mut |frame| log.push(frame)).with_context(writing)?;
    let frames = log.frames;
    log.finish().and_then(|mut file| file.flush()).with_context(writing)?;
    if let (Some(file), Some(path)) = (truth_file, &args.truth) {
        truth.write(BufWriter::new(file)).with_context(|| format!("writing {}", path.display()))?;
    }
    let decoys = truth.bursts.iter().filter(|b| b.decoy).count();
    println!(
        "{frames} frames, {} cascades and {decoys} decoys, {} funding episodes, {} regime runs: {}",
        truth.bursts.len() - decoys,
        truth.funding_episodes.len(),
        truth.regimes.len(),
        args.out.display(),
    );
    Ok(ExitCode::SUCCESS)
}
