//! `regimeflow demo`: a simulated market through the whole pipeline into the embedded store, with a webhook on loopback that
//! checks each signature. No config, no network. It ends with what was found, against what was simulated.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{print, print_json, report};
use crate::app::{Pace, Pipeline, Summary};
use crate::config::{Config, Webhook};
use crate::simulate::{Batches, Settings, Truth};
use crate::store::{Mode, Store};

mod found;
mod receiver;

use found::Found;
use receiver::Receiver;

/// Frames pushed at once.
const FRAMES_PER_BATCH: usize = 8_192;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Another seed, another market.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Symbols: BTC, ETH, SOL, then made-up ones.
    #[arg(long, default_value_t = 3)]
    symbols: usize,
    /// Simulated days.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(i64).range(1..=365))]
    days: i64,
    /// A directory (embedded engine) or a ClickHouse URL.
    #[arg(long, default_value = "regimeflow-demo")]
    store: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the store can't be opened or the pipeline fails.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let settings = Settings { seed: args.seed, symbols: args.symbols, minutes: args.days * 1_440, ..Settings::default() };
    let mut config: Config =
        toml::from_str(include_str!("../../config/demo.toml")).context("reading the demo's configuration")?;
    config.engine.workers = args.workers;
    config.store.location.clone_from(&args.store);

    eprintln!("opening the store {} (the ClickHouse engine is installed first if need be) …", args.store);
    let store = Store::open(&config.store, Mode::Write("demo")).await?;
    let receiver = Receiver::start().await?;
    config.webhooks = vec![Webhook {
        name: "demo".into(),
        url: receiver.url(),
        secret_file: Some(receiver.secret_file()),
        secret_env: None,
        event_types: Vec::new(),
    }];
    eprintln!("simulating {} symbols × {} days on 2 venues, seed {} …", args.symbols, args.days, args.seed);
    let pipeline = Pipeline::start(&config, Pace::Replay, Some(&store), true)?;
    let simulated = Instant::now();
    let (pipeline, truth, frames) = tokio::task::spawn_blocking(move || simulate(settings, pipeline)).await??;
    let summary = pipeline.finish().await?;
    let seconds = simulated.elapsed();

    let found = Found::read(&store, &truth).await?;
    store.close().await?;
    let verified = receiver.stop().await;
    if args.json {
        print_json(&json!({
            "seed": args.seed, "frames": frames, "seconds": started.elapsed().as_secs_f64(),
            "run": report::json(&summary, frames, seconds), "found": found, "webhook": verified,
        }))?;
    } else {
        print(&closing(&args, &summary, frames, seconds, &found, &verified))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn simulate(settings: Settings, mut pipeline: Pipeline) -> anyhow::Result<(Pipeline, Truth, u64)> {
    let begin_ms = settings.start_ms;
    let bar = report::progress(settings.minutes.unsigned_abs(), "{bar:40} {percent} % of the market's minutes {eta}");
    let mut market = Batches::new(settings, FRAMES_PER_BATCH)?;
    let mut frames = 0;
    while let Some(batch) = market.next() {
        let batch = batch.context("simulating")?;
        frames += batch.frames.len() as u64;
        bar.set_position((market.now_ms() - begin_ms).unsigned_abs() / 60_000);
        if !pipeline.input.push(batch) || pipeline.has_failed() {
            break; // finishing says why
        }
    }
    bar.finish_and_clear();
    Ok((pipeline, market.truth(), frames))
}

fn closing(
    args: &DemoArgs,
    summary: &Summary,
    frames: u64,
    took: Duration,
    found: &Found,
    webhook: &receiver::Verified,
) -> String {
    let sent: u64 = summary.kept.events.values().sum();
    let accounts = &summary.accounts;
    let fates = ["used", "skipped", "rejected"].map(|fate| report::grouped(accounts.total(fate)));
    let mut rows = vec![
        vec![
            "frames".into(),
            format!("{} in {:.1} s", report::grouped(frames), took.as_secs_f64()),
            format!("{} used, {} skipped, {} rejected", fates[0], fates[1], fates[2]),
        ],
        vec![
            "bars".into(),
            report::grouped(found.bars),
            format!(
                "on 7 time frames; {} venue klines agree, {} do not",
                report::grouped(found.klines_agreeing),
                found.klines_disagreeing
            ),
        ],
        vec![
            "liquidations".into(),
            report::grouped(found.liquidations),
            format!("{} window rows", report::grouped(found.liquidation_windows)),
        ],
        vec![
            "cascades".into(),
            format!("{} of {}", found.cascades_found, found.cascades_simulated),
            format!(
                "simulated ones that crossed the 5m threshold; {} of {} found 5m cascades are simulated ones",
                found.cascades_true, found.cascades_5m
            ),
        ],
    ];
    for regime in &found.regimes {
        rows.push(vec![format!("regimes {}", regime.symbol), format!("{} changes", regime.changes), regime.shares.clone()]);
    }
    rows.push(vec![
        "alerts sent".into(),
        report::grouped(sent),
        format!("{} received with a valid signature, {} without", webhook.valid, webhook.invalid),
    ]);
    let store = &args.store;
    format!(
        "\n{}\n\nWhat to try next:\n  \
         regimeflow query --store {store} \"SELECT symbol, onset, severity_label, round(total_liquidated_usd) FROM cascades ORDER BY severity DESC LIMIT 5\"\n  \
         regimeflow query --store {store} \"SELECT ts, close_to_close, regime FROM volatility WHERE symbol = 'BTC-USDT-PERP' ORDER BY ts DESC LIMIT 5\"\n  \
         regimeflow dump --store {store}\n  \
         regimeflow run --config config/live.toml\n",
        report::table(&["", "found", ""], rows)
    )
}
