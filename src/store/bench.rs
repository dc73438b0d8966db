//! `bench store`: rows per second into `bars_changes` through the real writer and the embedded engine, and reading them back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::fixed::{Notional, Price, Quantity};
use dataflows::model::{Bar, Change, Changes, DAY_MS, Instruments, MINUTE_MS, Timeframe, Venue};
use serde::Serialize;

use super::{Mode, Quantum, Store, StoreError, WriterOptions};
use crate::config;

/// 2024-01-01 00:00 UTC.
const START: i64 = 1_704_067_200_000;
const SYMBOLS: usize = 100;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Rows inserted.
    pub rows: u64,
    /// From the first push to the last acknowledgement.
    pub seconds: f64,
    /// rows / seconds.
    pub rows_per_second: f64,
    /// Rows counted in the table afterwards.
    pub rows_found: u64,
    /// One symbol's day out of `bars`, the median of 20, ms.
    pub symbol_day_ms: f64,
    /// The rows of that day.
    pub symbol_day_rows: u64,
    /// A count over all of `bars` that reads two of its figures, ms.
    pub full_scan_ms: f64,
}

/// Inserts `rows` minute bars of 100 symbols into a new store in `dir` and reads them back.
///
/// # Errors
/// Whatever the store says.
pub async fn bench(dir: &Path, rows: u64) -> Result<Figures, StoreError> {
    let location = dir.to_string_lossy().into_owned();
    let store = Store::open(&config::Store { location, ..config::Store::default() }, Mode::Write("bench")).await?;
    let instruments = Arc::new(Instruments::default());
    let ids: Vec<_> =
        (0..SYMBOLS).filter_map(|i| instruments.intern(Venue::BinanceUsdm, &format!("SYM{i:03}-USDT-PERP"))).collect();
    let writer = store.writer(instruments, WriterOptions::bulk());

    let begin = Instant::now();
    let mut left = rows;
    let mut minute = 0;
    while left > 0 {
        let mut changes: Vec<Change<Bar>> = Vec::new();
        let known_at = (START + (minute + 10) * MINUTE_MS) as u64;
        for m in minute..minute + 10 {
            let now = ids.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            changes.extend(ids.iter().take(now).enumerate().map(|(i, &id)| (bar(id, i as i64, m), known_at, 1)));
            left -= now as u64;
        }
        minute += 10;
        writer.push(Quantum { known_at, changes: vec![Changes::Bars(changes)], edge: Vec::new() }).await?;
    }
    writer.flush().await?;
    let seconds = begin.elapsed().as_secs_f64();

    let (rows_found, _) = counted(&store, "SELECT count() FROM bars_changes").await?;
    let day = format!(
        "SELECT count() FROM (SELECT * FROM bars WHERE venue = 'binance-usdm' AND symbol = 'SYM042-USDT-PERP' AND timeframe = '1m' \
         AND ts >= fromUnixTimestamp64Milli({START}) AND ts < fromUnixTimestamp64Milli({}))",
        START + DAY_MS
    );
    let (symbol_day_rows, _) = counted(&store, &day).await?;
    let mut times = Vec::new();
    for _ in 0..20 {
        times.push(counted(&store, &day).await?.1);
    }
    times.sort_unstable();
    let (_, scan) = counted(&store, "SELECT count() FROM bars WHERE close * volume >= 0").await?;
    store.close().await?;
    Ok(Figures {
        rows,
        seconds,
        rows_per_second: rows as f64 / seconds,
        rows_found,
        symbol_day_ms: times[times.len() / 2].as_secs_f64() * 1e3,
        symbol_day_rows,
        full_scan_ms: scan.as_secs_f64() * 1e3,
    })
}

async fn counted(store: &Store, sql: &str) -> Result<(u64, Duration), StoreError> {
    let begin = Instant::now();
    let query = format!("SELECT assumeNotNull(toUInt64(({sql})))");
    let count = store.client().query(&query).fetch_one::<u64>().await.map_err(|e| StoreError::of("the bench's query", &e))?;
    Ok((count, begin.elapsed()))
}

/// Prices and sums with as many digits as a real bar has.
fn bar(instrument: dataflows::model::InstrumentId, symbol: i64, minute: i64) -> Bar {
    const CENT: i64 = 10_000_000_000;
    let wave = (minute * 7_919 + symbol * 104_729) % 20_011;
    let price = |cents: i64| Price((6_180_020 + wave + cents) * CENT);
    let volume = Quantity(i128::from(1_234 + wave) * 1_000_000_000);
    let notional = price(7).notional(volume);
    Bar {
        instrument,
        timeframe: Timeframe::M1,
        ts: START + minute * MINUTE_MS,
        open: price(0),
        high: price(311),
        low: price(-207),
        close: price(13),
        volume,
        notional: Notional(notional.0),
        taker_buy_volume: Quantity(volume.0 / 3),
        trades: 100 + wave as u64,
    }
}
