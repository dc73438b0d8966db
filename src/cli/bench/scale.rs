//! `regimeflow bench scale`: does an event cost the same with 500 symbols as with 10, and what does a day of 500 symbols keep in memory?
//!
//! Cost: the same number of messages a second, spread over more and more symbols, through the whole graph on one worker, without a store. Each
//! size has a corpus of its own in memory while it is timed; the parse-only rate of the same round stands beside it, so that a machine that became
//! slower meanwhile can be told from a graph that did.
//!
//! Memory: a simulated market pushed through the pipeline, while the process's resident set is read (Linux only). It holds the
//! simulator and the frames under way too; what was there before the first frame is said beside the peak.

use std::sync::Arc;

use clap::Args;
use dataflows::model::Venue;
use serde::Serialize;

use super::super::{market, print, print_json, report};
use super::{median, parse_rate, pipeline_rate};
use crate::app::{Extras, Pace, Pipeline};
use crate::config::Config;
use crate::frames::FrameBatch;
use crate::simulate::{Settings, dense_corpus};
use crate::status::report::self_number;

/// Cost per event may differ from the smallest market's by this share.
const FLAT_WITHIN: f64 = 0.2;
/// Megabytes that a day of 500 symbols may take.
const MEMORY_MB_MAX: f64 = 500.0;

#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// Numbers of symbols to time; the first is what the others are compared with. 1 to 1000 each.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 20, 50, 100, 200, 500], value_parser = clap::value_parser!(u32).range(1..=1_000))]
    symbols: Vec<u32>,
    /// Frames of each (20,000 are a second).
    #[arg(long, default_value_t = 2_000_000)]
    messages: usize,
    /// How often each is timed; 0: not at all.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    rounds: u32,
    /// Milliseconds of a quantum.
    #[arg(long, default_value_t = 1_000)]
    quantum_ms: u64,
    /// Symbols of the market whose memory is measured; 0: none.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    memory_symbols: u32,
    /// Its simulated hours.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8_784))]
    memory_hours: u32,
    /// Its prints per second and symbol.
    #[arg(long, default_value_t = 0.2)]
    memory_trades_per_second: f64,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// One size.
#[derive(Debug, Serialize)]
struct Cost {
    symbols: u32,
    /// ns per event through the whole graph, median over rounds.
    ns_per_event: f64,
    /// Times the cost with the first number of symbols.
    of_first: f64,
    /// Share of the parse-only rate of the same round, median.
    of_parse_only: f64,
    is_flat: bool,
}

/// Megabytes (of 1,000,000 bytes) of the resident set.
#[derive(Debug, Serialize)]
struct Memory {
    symbols: u32,
    hours: u32,
    frames: u64,
    before_mb: Option<f64>,
    peak_mb: Option<f64>,
    fits: Option<bool>,
}

/// Runs it.
pub(super) async fn run(args: &ScaleArgs) -> anyhow::Result<()> {
    // Memory first: what the corpora leave to the allocator would count.
    let memory = if args.memory_symbols > 0 { Some(memory(args).await?) } else { None };
    let costs = if args.rounds > 0 { costs(args).await? } else { Vec::new() };
    if args.json {
        let (messages, rounds, quantum_ms) = (args.messages, args.rounds, args.quantum_ms);
        return print_json(&serde_json::json!({
            "messages": messages, "rounds": rounds, "quantum_ms": quantum_ms, "costs": costs, "memory": memory,
        }));
    }
    if let Some(memory) = memory {
        let mb = |mb: Option<f64>| mb.map_or("unknown".into(), |mb| format!("{mb:.0} MB"));
        let verdict = memory.fits.map_or("", |fits| if fits { ", met" } else { ", missed" });
        let (frames, peak, before) = (report::grouped(memory.frames), mb(memory.peak_mb), mb(memory.before_mb));
        print(&format!(
            "{} symbols × {} h simulated on one venue, {frames} frames: at most {peak} resident (target: {MEMORY_MB_MAX:.0} MB{verdict}), {before} before the first frame\n",
            memory.symbols, memory.hours,
        ))?;
    }
    if costs.is_empty() {
        return Ok(());
    }
    let rows = costs.iter().map(|cost| {
        let verdict = if cost.is_flat { "met" } else { "missed" };
        vec![
            cost.symbols.to_string(),
            format!("{:.0}", cost.ns_per_event),
            format!("{:.2}", cost.of_first),
            format!("{:.3}", cost.of_parse_only),
            verdict.to_owned(),
        ]
    });
    let first = format!("of {} symbols", costs[0].symbols);
    let table = report::table(&["symbols", "ns/event", &first, "of parse only", "within ± 20 %"], rows);
    let messages = report::grouped(args.messages as i128);
    print(&format!("whole graph, one worker, {messages} frames each, median of {} rounds\n{table}\n", args.rounds))
}

async fn costs(args: &ScaleArgs) -> anyhow::Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = Vec::new();
    let bar = report::progress(args.symbols.len() as u64 * u64::from(args.rounds), "{bar:40} {pos} of {len}");
    for &symbols in &args.symbols {
        let batches: Vec<Arc<FrameBatch>> =
            dense_corpus(args.messages, symbols as usize, 1, &[Venue::BinanceUsdm])?.into_iter().map(Arc::new).collect();
        let (mut ns, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let parse = parse_rate(&batches);
            let rate = pipeline_rate(&batches, 1, args.quantum_ms, false).await?;
            ns.push(1e9 / rate);
            shares.push(rate / parse);
            bar.inc(1);
        }
        let ns_per_event = median(ns);
        let of_first = ns_per_event / costs.first().map_or(ns_per_event, |first| first.ns_per_event);
        let is_flat = (of_first - 1.0).abs() <= FLAT_WITHIN;
        costs.push(Cost { symbols, ns_per_event, of_first, of_parse_only: median(shares), is_flat });
    }
    bar.finish_and_clear();
    Ok(costs)
}

async fn memory(args: &ScaleArgs) -> anyhow::Result<Memory> {
    let simulated = Settings {
        symbols: args.memory_symbols as usize,
        minutes: i64::from(args.memory_hours) * 60,
        venues: vec![Venue::BinanceUsdm],
        trades_per_second: args.memory_trades_per_second,
        mark_interval_secs: 10,
        ..Settings::default()
    };
    let mut config = Config::default();
    config.time.quantum_ms = Some(args.quantum_ms);
    let before_mb = resident_mb();
    let pipeline = Pipeline::start(&config, Pace::Replay, None, Extras::default())?;
    let bar = report::progress(simulated.minutes.unsigned_abs(), market::PROGRESS);
    let progress = bar.clone();
    let pushed = tokio::task::spawn_blocking(move || {
        let mut peak_mb = before_mb;
        let pushed = market::push(simulated, pipeline, |minute| {
            progress.set_position(minute);
            peak_mb = max(peak_mb, resident_mb());
        });
        pushed.map(|(pipeline, _, frames)| (pipeline, frames, peak_mb))
    });
    let (pipeline, frames, peak_mb) = pushed.await??;
    pipeline.finish().await?;
    bar.finish_and_clear();
    let peak_mb = max(peak_mb, resident_mb());
    let (symbols, hours) = (args.memory_symbols, args.memory_hours);
    Ok(Memory { symbols, hours, frames, before_mb, peak_mb, fits: peak_mb.map(|peak| peak <= MEMORY_MB_MAX) })
}

fn max(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| a.max(b))
}

/// This process's resident set, MB. `None` where the system does not tell.
fn resident_mb() -> Option<f64> {
    self_number("VmRSS:").map(|kib| kib as f64 * 1_024.0 / 1e6)
}
