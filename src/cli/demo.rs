//! `regimeflow demo`: a simulated market through the whole pipeline into the embedded store, with a webhook on loopback that
//! checks each signature. No config, no network. It ends with what was found, against what was simulated.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{market, print, print_json, report};
use crate::app::{Extras, Pace, Pipeline, Summary, settings};
use crate::config::{Config, Webhook};
use crate::simulate::Settings;
use crate::store::{Mode, Store};

mod found;
mod receiver;

use found::Found;
use receiver::Receiver;

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
    let simulated = Settings { seed: args.seed, symbols: args.symbols, minutes: args.days * 1_440, ..Settings::default() };
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
    config.alerts.allow_addresses = vec!["127.0.0.1".into()];
    // The receiver checks that every alert arrives: nothing is muted.
    config.alerts.inhibitions.clear();
    eprintln!("simulating {} symbols × {} days on 2 venues, seed {} …", args.symbols, args.days, args.seed);
    let pipeline = Pipeline::start(&config, Pace::Replay, Some(&store), Extras { alerts: true, ..Extras::default() })?;
    let begun = Instant::now();
    let bar = report::progress(simulated.minutes.unsigned_abs(), market::PROGRESS);
    let pushing = bar.clone();
    let (pipeline, truth, frames) =
        tokio::task::spawn_blocking(move || market::push(simulated, pipeline, |minute| pushing.set_position(minute))).await??;
    bar.finish_and_clear();
    let summary = pipeline.finish().await?;
    let seconds = begun.elapsed();

    let found = Found::read(&store, &truth, &settings(&config, Pace::Replay).views.cascades).await?;
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

fn closing(
    args: &DemoArgs,
    summary: &Summary,
    frames: u64,
    took: Duration,
    found: &Found,
    webhook: &receiver::Verified,
) -> String {
    let sent: u64 = summary.kept.events.values().sum();
    let (accounts, cascades) = (&summary.accounts, &found.cascades);
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
            format!("{} of {}", cascades.found, cascades.planted),
            format!(
                "simulated ones of at least twice the 5m threshold; {} of {} found 5m cascades are simulated ones",
                cascades.right,
                cascades.right + cascades.doubtful + cascades.wrong
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
