//! `regimeflow bench alerts`: from the frame that crosses a threshold to the request at a webhook on loopback, in real time.
//!
//! A live run in one process: prints of some symbols come at a steady rate, and now and then one liquidation order that alone is a cascade of a symbol
//! that had none. What is timed is from the push of that frame to the head of the request with its alert, with everything in between: the quantum's end, the dataflow, the rules, the
//! policy, the outbox's fsync, HTTP. The store takes all rows meanwhile, unless it is left out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use clap::Args;
use dataflows::model::Venue;
use serde::Serialize;

use super::super::{print, print_json, report};
use super::Scratch;
use crate::app::{Extras, Pace, Pipeline};
use crate::clock;
use crate::config::{Config, Webhook};
use crate::frames::{Direction, FrameBatch, FrameRef};
use crate::store::{Mode, Store};

/// Frames are pushed so often.
const PUSH_EVERY: Duration = Duration::from_millis(2);
/// Milliseconds that the median and the slowest in a hundred may take.
const BOUNDS: [f64; 2] = [50.0, 200.0];

#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// Frames a second.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(500..=1_000_000))]
    rate: u32,
    /// Symbols whose prints these are.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    symbols: u32,
    /// Cascades to time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    cascades: u32,
    /// Cascades a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=400))]
    per_second: u32,
    /// Milliseconds of a quantum.
    #[arg(long, default_value_t = 20)]
    quantum_ms: u64,
    /// Leave the store out.
    #[arg(long)]
    no_store: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Result {
    frames_per_second: f64,
    quantum_ms: u64,
    cascades: u32,
    received: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    within: bool,
}

/// When each symbol's request came.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

pub(super) async fn run(args: &AlertsArgs) -> anyhow::Result<()> {
    let directory = Scratch::new()?;
    let result = measure(args, &directory.0).await?;
    if args.json {
        return print_json(&result);
    }
    let Result { frames_per_second, received, p50_ms, p90_ms, p99_ms, max_ms, within, .. } = &result;
    print(&format!(
        "from the frame that crosses a threshold to the request at a webhook on loopback, fsync included\n\
         {} frames a second, quantum {} ms, {received} of {} cascades\n\
         p50 {p50_ms:.1} ms   p90 {p90_ms:.1} ms   p99 {p99_ms:.1} ms   max {max_ms:.1} ms   (bounds: p50 {}, p99 {}: {})\n",
        report::grouped(*frames_per_second as u64),
        args.quantum_ms,
        args.cascades,
        BOUNDS[0],
        BOUNDS[1],
        if *within { "within" } else { "missed" },
    ))
}

async fn measure(args: &AlertsArgs, directory: &std::path::Path) -> anyhow::Result<Result> {
    let arrivals = Arrivals::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("opening a port on loopback")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let router = Router::new().route("/", post(receive)).with_state(Arc::clone(&arrivals));
    let server = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await; // ends with the runtime
    });
    let mut config = Config::default();
    config.time.quantum_ms = Some(args.quantum_ms);
    config.alerts.allow_addresses = vec!["127.0.0.1".into()];
    config.alerts.inhibitions.clear();
    config.webhooks = vec![Webhook { name: "bench".into(), url, secret_file: None, secret_env: None, event_types: Vec::new() }];
    config.store.location = directory.display().to_string();
    let store = if args.no_store { None } else { Some(Store::open(&config.store, Mode::Write("bench")).await?) };
    let pipeline = Pipeline::start(&config, Pace::Live, store.as_ref(), Extras { alerts: true, ..Extras::default() })?;

    let pushed = push(args, pipeline);
    let (pipeline, pushed, rate) = tokio::task::spawn_blocking(pushed).await??;
    pipeline.finish().await?;
    if let Some(store) = store {
        store.close().await?;
    }
    server.abort();
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let mut took: Vec<f64> = pushed
        .iter()
        .filter_map(|(symbol, at)| Some(arrivals.get(symbol)?.saturating_duration_since(*at).as_secs_f64() * 1_000.0))
        .collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| {
        took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    let (p50_ms, p99_ms) = (at(0.5), at(0.99));
    Ok(Result {
        frames_per_second: rate,
        quantum_ms: args.quantum_ms,
        cascades: args.cascades,
        received: took.len(),
        p50_ms,
        p90_ms: at(0.9),
        p99_ms,
        max_ms: at(1.0),
        within: took.len() == args.cascades as usize && p50_ms <= BOUNDS[0] && p99_ms <= BOUNDS[1],
    })
}

async fn receive(State(arrivals): State<Arrivals>, body: Bytes) {
    let now = Instant::now();
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(&body) else { return };
    if event["event_type"] == "LIQUIDATION_CASCADE"
        && event["status"] == "firing"
        && let Some(symbol) = event["symbol"].as_str()
    {
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(symbol.to_owned()).or_insert(now);
    }
}

/// The pipeline again, when each symbol's cascade was pushed, and the rate that was reached.
type Pushed = anyhow::Result<(Pipeline, Vec<(String, Instant)>, f64)>;

fn push(args: &AlertsArgs, mut pipeline: Pipeline) -> impl FnOnce() -> Pushed + Send + 'static {
    let (rate, symbols, cascades, per_second) = (args.rate, u64::from(args.symbols), args.cascades, args.per_second);
    let quantum = Duration::from_millis(args.quantum_ms);
    move || {
        let begun = Instant::now();
        let (mut sent, mut pushed) = (0u64, Vec::new());
        let total = Duration::from_secs_f64(f64::from(cascades) / f64::from(per_second)) + Duration::from_secs(2);
        let mut tick = 0u32;
        while begun.elapsed() < total {
            tick += 1;
            std::thread::sleep((begun + PUSH_EVERY * tick).saturating_duration_since(Instant::now()));
            let elapsed = begun.elapsed();
            let mut batch = FrameBatch::default();
            let due = (elapsed.as_secs_f64() * f64::from(rate)) as u64;
            for n in sent..due {
                add(&mut batch, n, &print_of(n, n % symbols, clock::now_ms()));
            }
            sent = sent.max(due);
            // The first second is for warming up.
            let wanted = (elapsed.saturating_sub(Duration::from_secs(1)).as_secs_f64() * f64::from(per_second)) as usize;
            if pushed.len() < wanted.min(cascades as usize) {
                add(&mut batch, due, &order_of(pushed.len(), clock::now_ms()));
                pushed.push((format!("T{}-USDT-PERP", pushed.len()), Instant::now()));
            }
            anyhow::ensure!(pipeline.input.push(batch) && !pipeline.has_failed(), "the pipeline stopped");
            if tick.is_multiple_of((quantum.as_millis() / PUSH_EVERY.as_millis()).max(1) as u32) {
                anyhow::ensure!(pipeline.input.heartbeat(clock::now_ns()), "the pipeline stopped");
            }
        }
        let rate = sent as f64 / begun.elapsed().as_secs_f64();
        Ok((pipeline, pushed, rate))
    }
}

fn add(batch: &mut FrameBatch, line: u64, payload: &str) {
    let start = batch.bytes.len() as u32;
    batch.bytes.extend_from_slice(payload.as_bytes());
    let len = payload.len() as u32;
    batch.frames.push(FrameRef {
        recv_ns: clock::now_ns(),
        line,
        start,
        len,
        venue: Venue::BinanceUsdm,
        direction: Direction::In,
    });
}

fn print_of(n: u64, symbol: u64, now: i64) -> String {
    let (id, price) = (n + 1, 100.0 + (n % 100) as f64 / 100.0);
    format!(
        r#"{{"stream":"s{symbol}usdt@aggTrade","data":{{"e":"aggTrade","E":{now},"s":"S{symbol}USDT","a":{id},"p":"{price:.2}","q":"1.5","f":{id},"l":{id},"T":{now},"m":{}}}}}"#,
        n.is_multiple_of(2)
    )
}

fn order_of(n: usize, now: i64) -> String {
    format!(
        r#"{{"stream":"t{n}usdt@forceOrder","data":{{"e":"forceOrder","E":{now},"o":{{"s":"T{n}USDT","S":"SELL","o":"LIMIT","f":"IOC","q":"100000","p":"100.0","ap":"100.0","X":"FILLED","l":"100000","z":"100000","T":{now}}}}}}}"#
    )
}
