//! ClickHouse away: nothing is lost, nothing is seen twice, and it goes on by itself. With the real engine, killed and cut off.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod program;
#[path = "outage/proxy.rs"]
mod proxy;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dataflows::fixed::{Notional, Price, Quantity};
use dataflows::model::{Bar, Changes, InstrumentId, Timeframe};
use engine::{bitcoin, check, embedded, query};
use program::signal;
use proxy::{Proxy, Way};
use regimeflow::config;
use regimeflow::store::edge::{EdgeRow, RejectedFrame};
use regimeflow::store::{Mode, Quantum, Store, Writer, WriterOptions};

/// 2024-08-08 00:00 UTC.
const T0: i64 = 1_723_075_200_000;
const ONE: i64 = 1_000_000_000_000;
/// Rows a second of a busy program: 500 symbols with all views.
const NOMINAL_ROWS_PER_SECOND: f64 = 5_000.0;

/// Through the proxy, with a spool of its own.
fn server(proxy: &Proxy, spool: &Path) -> config::Store {
    config::Store { location: proxy.url.clone(), spool_dir: Some(spool.to_owned()), ..config::Store::default() }
}

/// Every one of so many bars once, by the view and by what the table keeps.
async fn check_bars(store: &Store, rows: i64) {
    check(store, "SELECT count(), uniqExact(ts) FROM bars", &format!("{rows}\t{rows}")).await;
    check(store, "SELECT count() FROM bars_changes FINAL", &rows.to_string()).await;
}

/// The bar of minute `n`, with digits as real ones have.
fn bar(instrument: InstrumentId, n: i64, close: i64) -> Bar {
    let wave = n * 7_919 % 20_011;
    let price = |cents: i64| Price((6_180_020 + wave + cents) * (ONE / 100));
    let volume = Quantity(i128::from(1_234 + wave) * 1_000_000_000);
    Bar {
        instrument,
        timeframe: Timeframe::M1,
        ts: T0 + n * 60_000,
        open: price(0),
        high: price(311),
        low: price(-207),
        close: Price(close * ONE),
        volume,
        notional: Notional(price(7).notional(volume).0),
        taker_buy_volume: Quantity(volume.0 / 3),
        trades: 100 + wave as u64,
    }
}

/// Quantum `n`: so many bars, known `n` ms after the beginning.
fn quantum(id: InstrumentId, n: i64, rows: i64) -> Quantum {
    let known_at = (T0 + n) as u64;
    let bars = (n * rows..(n + 1) * rows).map(|row| (bar(id, row, 61_000 + row % 100), known_at, 1)).collect();
    Quantum { known_at, changes: vec![Changes::Bars(bars)], edge: Vec::new() }
}

/// Small batches and short patience, so that much happens in little time.
fn quick() -> WriterOptions {
    WriterOptions {
        batch_rows: 1_000,
        batch_age: Duration::from_millis(50),
        retry_for: Duration::from_millis(200),
        ..WriterOptions::live()
    }
}

async fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{what}: not after {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn drained(writer: &Writer) {
    let start = Instant::now();
    while writer.health().rows > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the spool isn't empty: {:?}", writer.health());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What an earlier writer left is read by the next, and stored.
async fn until_stored(store: &Store, rows: i64) {
    let start = Instant::now();
    while query(store, "SELECT count() FROM bars").await.parse::<i64>().unwrap() < rows {
        assert!(start.elapsed() < Duration::from_secs(20), "not stored after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn bytes_in(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_killed_again_and_again_has_every_row() {
    let Some((dir, store)) = engine::start().await else { return };
    let (instruments, id) = bitcoin();
    let writer = store.writer(instruments, quick());
    let (kills, quanta, mut slowest) = (3, 60, Duration::ZERO);
    for n in 0..quanta * kills {
        if n % quanta == quanta / 2 {
            until("the engine runs", Duration::from_secs(30), || store.engine_pid().is_some()).await;
            assert!(signal(store.engine_pid().unwrap(), "KILL"));
        }
        let start = Instant::now();
        writer.push(quantum(id, n, 20)).await.unwrap();
        slowest = slowest.max(start.elapsed());
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    writer.flush().await.unwrap();
    drained(&writer).await;
    assert_eq!(writer.acknowledged(), (T0 + quanta * kills - 1) as u64);
    assert!(slowest < Duration::from_millis(500), "a push waited {slowest:?}: alerts would, too");
    check_bars(&store, quanta * kills * 20).await;
    // Another process finds the engine that runs now.
    let reader = Store::open(&embedded(dir.path()), Mode::Read("query")).await.unwrap();
    assert_eq!(reader.engine_pid(), None, "it attached");
    reader.close().await.unwrap();
    drop(writer);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_come_make_no_row_twice() {
    let Some((_dir, engine)) = engine::start().await else { return };
    let spool = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(engine.url(), Way::CutAfterCommit).await;
    let store = Store::open(&server(&proxy, spool.path()), Mode::Write("test")).await.unwrap();
    let (instruments, id) = bitcoin();
    let patient = WriterOptions { batch_rows: 20, inserts_max: 8, retry_for: Duration::from_secs(60), spool: false, ..quick() };
    let writer = store.writer(Arc::clone(&instruments), patient);
    let mut pushed = 0;
    while proxy.cuts.load(Ordering::SeqCst) < 200 {
        writer.push(quantum(id, pushed, 20)).await.unwrap();
        pushed += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writer.flush().await.unwrap();
    drained(&writer).await;
    let cuts = proxy.cuts.load(Ordering::SeqCst);
    drop(writer);

    // Now with refused connections, so that rows take both ways; answers are cut on both.
    let writer = store.writer(instruments, quick());
    for n in pushed..pushed + 150 {
        if n % 50 == 10 {
            proxy.set(Way::Refuse);
        } else if n % 50 == 40 {
            proxy.set(Way::CutAfterCommit);
        }
        writer.push(quantum(id, n, 20)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.set(Way::CutAfterCommit);
    writer.flush().await.unwrap();
    drained(&writer).await;
    eprintln!("{cuts} answers cut, {} more in the second part", proxy.cuts.load(Ordering::SeqCst) - cuts);
    check_bars(&engine, (pushed + 150) * 20).await;
    drop(writer);
    drop(store);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_from_the_start_on_costs_disk_and_not_memory() {
    if !engine::is_here() {
        return;
    }
    let (dir, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Store::connect(&embedded(dir.path()), Mode::Write("test")).await.unwrap(); // without tables
    let proxy = Proxy::start(engine.url(), Way::Refuse).await;
    let store = Store::open_even_if_away(&server(&proxy, spool.path()), "test").await.unwrap();
    let (instruments, id) = bitcoin();
    let writer = store.writer(Arc::clone(&instruments), WriterOptions::live());
    let (quanta, rows) = (240, 1_000);
    let (before, mut predicted) = (resident_bytes(), 0);
    let start = Instant::now();
    for n in 0..quanta {
        writer.push(quantum(id, n, rows)).await.unwrap();
        if n + 1 == quanta / 4 {
            writer.flush().await.unwrap();
            predicted = writer.health().bytes * 4;
        }
    }
    let flushing = Instant::now();
    writer.flush().await.unwrap();
    assert!(flushing.elapsed() < Duration::from_secs(10), "a run must be able to end");
    assert_eq!(writer.acknowledged(), (T0 + quanta - 1) as u64);
    let (health, on_disk, grown) = (writer.health(), bytes_in(spool.path()), resident_bytes().saturating_sub(before));
    eprintln!(
        "{} rows spooled in {:.1} s: {} bytes, predicted {predicted}, {on_disk} in files, {grown} more resident",
        health.rows,
        start.elapsed().as_secs_f64(),
        health.bytes
    );
    assert_eq!(health.rows, (quanta * rows) as u64);
    assert_eq!(health.oldest_known_at, Some(T0 as u64));
    assert!(health.away && health.last_error.is_some() && !health.draining, "{health:?}");
    let near = |a: u64, b: u64| a.abs_diff(b) * 20 <= b;
    assert!(near(health.bytes, predicted) && near(on_disk, health.bytes));
    assert!(grown < 64 << 20, "{grown}");
    assert!(proxy.inserts() == 0);

    let until_seen = Instant::now();
    proxy.set(Way::Pass);
    until("it drains", Duration::from_secs(60), || writer.health().draining).await;
    let (start, left) = (Instant::now(), writer.health().rows);
    drained(&writer).await;
    let rate = left as f64 / start.elapsed().as_secs_f64();
    eprintln!("ClickHouse was noticed after {:?}; drained at {rate:.0} rows/s", start - until_seen);
    assert!(rate > 3.0 * NOMINAL_ROWS_PER_SECOND, "{rate}");
    assert!(!writer.health().away, "{:?}", writer.health());
    let store_sees = Store::open(&embedded(dir.path()), Mode::Read("query")).await.unwrap(); // the tables were made meanwhile
    check_bars(&store_sees, quanta * rows).await;
    until("consumed segments go", Duration::from_secs(5), || bytes_in(spool.path()) < 20 << 20).await;
    store_sees.close().await.unwrap();
    drop(writer);
    drop(store);
    engine.close().await.unwrap();
}

/// Names the spool and the address for [`child`].
const CHILD: &str = "REGIMEFLOW_TEST_OUTAGE_CHILD";

/// Not a test: the process that [`what_was_spooled_survives_kill_9`] kills. Says up to when rows are safe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(places) = std::env::var(CHILD) else { return };
    let (url, spool) = places.split_once(' ').unwrap();
    let config = config::Store { location: url.into(), spool_dir: Some(spool.into()), ..config::Store::default() };
    let store = Store::open_even_if_away(&config, "test").await.unwrap();
    let (instruments, id) = bitcoin();
    let writer = store.writer(instruments, quick());
    for n in 0.. {
        writer.push(quantum(id, n, 20)).await.unwrap();
        println!("acknowledged {} {}", n, writer.acknowledged());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spooled_survives_kill_9() {
    use std::io::BufRead;
    let Some((_dir, engine)) = engine::start().await else { return };
    let spool = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(engine.url(), Way::Refuse).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{} {}", proxy.url, spool.path().display()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).filter_map(|line| {
        let (n, acknowledged) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
        Some((n.parse::<i64>().unwrap(), acknowledged.parse::<u64>().unwrap()))
    });
    let (pushed, acknowledged) = tokio::task::block_in_place(|| {
        let last = said.take_while(|(_, acknowledged)| *acknowledged < (T0 + 500) as u64).last();
        assert!(signal(child.id(), "KILL"));
        child.wait().unwrap();
        last.unwrap()
    });
    let safe = (acknowledged as i64 - T0 + 1).max(0); // quanta
    eprintln!("killed after {pushed} quanta, {safe} of them safe");
    assert!(safe > 0 && safe <= pushed);

    proxy.set(Way::Pass);
    let store = Store::open_even_if_away(&server(&proxy, spool.path()), "test").await.unwrap();
    let writer = store.writer(bitcoin().0, quick());
    until_stored(&engine, safe * 20).await;
    drained(&writer).await;
    let found: i64 = query(&engine, "SELECT count() FROM bars").await.parse().unwrap();
    assert!(found >= safe * 20, "{found} rows of {} that were acknowledged", safe * 20);
    check_bars(&engine, found).await;
    check(
        &engine,
        &format!("SELECT count() FROM bars_changes FINAL WHERE known_at < fromUnixTimestamp64Milli({})", T0 + safe),
        &(safe * 20).to_string(),
    )
    .await;
    drop(writer);
    drop(store);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_refused_is_a_dead_letter_and_the_others_land() {
    let Some((dir, store)) = engine::start().await else { return };
    store.client().query("ALTER TABLE bars_changes ADD CONSTRAINT lucky CHECK close != 666").execute().await.unwrap();
    let (instruments, id) = bitcoin();
    for options in [WriterOptions::live(), WriterOptions::bulk()] {
        let writer = store.writer(Arc::clone(&instruments), options);
        let rows = (0..10_000).map(|n| (bar(id, n, if n == 7_777 { 666 } else { 61_000 }), T0 as u64, 1)).collect();
        writer.push(Quantum { known_at: T0 as u64, changes: vec![Changes::Bars(rows)], edge: Vec::new() }).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!((writer.health().dead_letters, writer.health().rows), (1, 0));
        assert_eq!(writer.acknowledged(), T0 as u64);
        check_bars(&store, 9_999).await;
    }
    let letters = std::fs::read_to_string(dir.path().join("spool/dead_letter/rows.jsonl")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(letters.lines().next().unwrap()).unwrap();
    assert_eq!((letters.lines().count(), &letter["table"]), (2, &"bars_changes".into()));
    assert_eq!((&letter["row"]["close"], &letter["row"]["symbol"]), (&666.0.into(), &"BTC-USDT-PERP".into()));
    assert!(letter["reason"].as_str().unwrap().contains("lucky"), "{letter}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_changed_keeps_its_rows_waiting() {
    let Some((_dir, store)) = engine::start().await else { return };
    store.client().query("ALTER TABLE bars_changes RENAME COLUMN trades TO fills").execute().await.unwrap();
    let (instruments, id) = bitcoin();
    let writer = store.writer(Arc::clone(&instruments), quick());
    writer.push(quantum(id, 0, 20)).await.unwrap();
    writer.flush().await.unwrap();
    let health = writer.health();
    assert_eq!((health.rows, health.dead_letters), (20, 0));
    assert!(health.last_error.as_ref().unwrap().contains("column trades is missing"), "{health:?}");
    assert_eq!(writer.settle(Duration::from_secs(30)).await.rows, 20, "it isn't waited for");
    drop(writer);

    store.client().query("ALTER TABLE bars_changes RENAME COLUMN fills TO trades").execute().await.unwrap();
    let writer = store.writer(instruments, quick());
    until_stored(&store, 20).await;
    check_bars(&store, 20).await;
    drop(writer);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_holds_the_pipeline_and_lets_it_go_by_itself() {
    let Some((_dir, engine)) = engine::start().await else { return };
    let spool = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(engine.url(), Way::Hang).await;
    let config = config::Store { spool_bytes_max: 2 << 20, ..server(&proxy, spool.path()) };
    proxy.set(Way::Refuse);
    let store = Store::open_even_if_away(&config, "test").await.unwrap();
    let writer = store.writer(bitcoin().0, quick());
    // Nothing compresses these.
    let mut state = 1_u64;
    let mut frame = |n: u64| {
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + (state >> 57) as u8 % 75)
        });
        let (venue, stream, reason) = ("bybit-linear".into(), "trades".into(), "noise".into());
        let payload = noise.take(4_000).collect();
        EdgeRow::Rejected(RejectedFrame { venue, stream, known_at: T0 as u64 + n, seq: n, reason, payload })
    };
    let mut pushed = 0;
    loop {
        let edge = (pushed * 100..(pushed + 1) * 100).map(&mut frame).collect();
        let quantum = Quantum { known_at: T0 as u64 + (pushed + 1) * 100, changes: Vec::new(), edge };
        let push = writer.push(quantum);
        tokio::pin!(push);
        if tokio::time::timeout(Duration::from_millis(800), &mut push).await.is_ok() {
            pushed += 1;
            assert!(pushed < 1_000, "400 MB are more than the spool and the queues may hold");
            continue;
        }
        let health = writer.health();
        eprintln!("full after {pushed} quanta: {health:?}");
        assert!(health.full && health.away, "{health:?}");
        assert!(bytes_in(spool.path()) < 3 << 20);
        proxy.set(Way::Pass);
        push.await.unwrap(); // resumes alone
        pushed += 1;
        break;
    }
    writer.flush().await.unwrap();
    drained(&writer).await;
    until("it isn't full any more", Duration::from_secs(5), || !writer.health().full).await;
    check(&engine, "SELECT count(), uniqExact(seq) FROM rejected_frames", &format!("{0}\t{0}", pushed * 100)).await;
    drop(writer);
    drop(store);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clickhouse_that_says_nothing_does_not_hold_the_end_of_a_run() {
    let Some((_dir, engine)) = engine::start().await else { return };
    let spool = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(engine.url(), Way::Pass).await;
    let store = Store::open(&server(&proxy, spool.path()), Mode::Write("test")).await.unwrap();
    let (instruments, id) = bitcoin();
    let writer = store.writer(instruments, quick());
    proxy.set(Way::Hang);
    writer.push(quantum(id, 0, 20)).await.unwrap();
    let start = Instant::now();
    writer.flush().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((writer.health().rows, writer.acknowledged()), (20, T0 as u64));
    assert_eq!(writer.settle(Duration::from_secs(10)).await.rows, 20);
    drop(writer);
    drop(store);
    engine.close().await.unwrap();
}
