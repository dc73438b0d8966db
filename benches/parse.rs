//! How fast each kind of message is parsed, and frame logs are read, on one thread; `regimeflow bench` times whole markets.
//!
//! `cargo bench --profile ci --bench parse`, each figure the best of five rounds. Messages lie in memory; logs are files, so
//! that decoding and line framing are timed with them.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dataflows::model::{Instruments, Venue};
use regimeflow::feeds::{ParseContext, parser_for};
use regimeflow::frames::{BatchLimits, Direction, FrameBatch, FrameLogReader};

const ROUNDS: usize = 5;
const MESSAGES: u64 = 40_000;
const LINES: u64 = 4_000_000;
const RECORDING: &str = "wire/binance-usdm-20240808.frames.zst";

fn main() {
    // `cargo test --all-targets` starts this too, without optimisation: nothing worth a figure.
    if std::env::args().any(|arg| arg == "--bench") {
        messages_a_second();
        lines_a_second();
    }
}

fn context() -> ParseContext {
    ParseContext { instruments: Arc::new(Instruments::default()), skew_ms_max: 60_000 }
}

/// Seconds of the best round.
fn best(mut round: impl FnMut()) -> f64 {
    let seconds = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        round();
        started.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

fn parse(name: &str, venue: Venue, messages: &[String]) {
    let mut parser = parser_for(venue, context()).unwrap();
    let (mut ticks, mut kept) = (Vec::new(), 0);
    let seconds = best(|| {
        kept = 0;
        for message in messages {
            parser.parse(message.as_bytes(), Direction::In, 1_723_161_256_322_000_000, &mut ticks);
            kept += ticks.len();
            ticks.clear();
        }
    });
    let (count, bytes) = (messages.len() as f64, messages.iter().map(String::len).sum::<usize>() as f64);
    println!("{name}: {:.2} M messages/s, {:.0} MB/s, {kept} ticks", count / seconds / 1e6, bytes / seconds / 1e6);
}

fn messages_a_second() {
    let symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT", "XRPUSDT"];
    let (mut trades, mut marks, mut orders, mut books) = (vec![], vec![], vec![], vec![]);
    let (mut bybit_trades, mut tickers) = (vec![], vec![]);
    for i in 0..MESSAGES {
        let (s, t) = (symbols[i as usize % 5], 1_723_161_256_322 + i % 1000);
        let lower = s.to_lowercase();
        trades.push(format!(r#"{{"stream":"{lower}@aggTrade","data":{{"e":"aggTrade","E":{t},"a":{i},"s":"{s}","p":"61800.{:02}","q":"0.{:03}","nq":"0.006","f":{i},"l":{i},"T":{t},"m":{}}}}}"#, i % 100, 1 + i % 999, i % 2 == 0));
        marks.push(format!(r#"{{"stream":"{lower}@markPrice@1s","data":{{"e":"markPriceUpdate","E":{t},"s":"{s}","p":"11794.15000000","ap":"11794.15000000","i":"11784.62659091","P":"11784.25641265","r":"0.00038167","T":1723161600000}}}}"#));
        orders.push(format!(r#"{{"stream":"!forceOrder@arr","data":{{"e":"forceOrder","E":{t},"o":{{"s":"{s}","S":"SELL","o":"LIMIT","f":"IOC","q":"0.190","p":"82338.30","ap":"82651.90","X":"FILLED","l":"0.155","z":"0.190","T":{t},"ps":"{s}","st":1}}}}}}"#));
        books.push(format!(r#"{{"stream":"{lower}@bookTicker","data":{{"e":"bookTicker","u":{i},"s":"{s}","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":{t},"E":{t}}}}}"#));
        bybit_trades.push(format!(r#"{{"topic":"publicTrade.{s}","type":"snapshot","ts":{t},"data":[{{"T":{t},"s":"{s}","S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick","i":"a9188a0a-82bc-50de-be60-{i:012x}","BT":false,"RPI":false,"seq":{i}}}]}}"#));
        tickers.push(format!(r#"{{"topic":"tickers.{s}","type":"delta","data":{{"symbol":"{s}","markPrice":"66667.10","openInterest":"492370.10","fundingRate":"0.0001","bid1Price":"1","bid1Size":"2"}},"cs":{i},"ts":{t}}}"#));
    }
    let mix: Vec<String> = (0..trades.len())
        .flat_map(|i| [trades[i].clone(), trades[(i * 7) % MESSAGES as usize].clone(), marks[i].clone(), orders[i].clone()])
        .collect();
    parse("binance mix (2 trades, 1 mark price, 1 liquidation)", Venue::BinanceUsdm, &mix);
    parse("binance aggTrade", Venue::BinanceUsdm, &trades);
    parse("binance markPriceUpdate", Venue::BinanceUsdm, &marks);
    parse("binance forceOrder", Venue::BinanceUsdm, &orders);
    parse("binance bookTicker", Venue::BinanceUsdm, &books);
    parse("bybit publicTrade", Venue::BybitLinear, &bybit_trades);
    parse("bybit tickers", Venue::BybitLinear, &tickers);
}

fn lines_a_second() {
    let line = |i| format!("17231612550{i:08}\tbinance-usdm\tc1\tin\t{{\"e\":\"x\",\"i\":{i}}}\n");
    let log: String = (0..LINES).map(line).collect();
    let folder = tempfile::tempdir().unwrap();
    let (plain, packed) = (folder.path().join("plain"), folder.path().join("packed"));
    std::fs::write(&plain, &log).unwrap();
    std::fs::write(&packed, zstd::encode_all(log.as_bytes(), 3).unwrap()).unwrap();
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let recorded = std::env::var_os("REGIMEFLOW_DATA").map_or_else(beside, PathBuf::from).join(RECORDING);
    for (name, path) in [("plain", plain), ("zstd", packed), ("recorded", recorded)] {
        if path.is_file() {
            read(name, &path, false);
            read(name, &path, true);
        } else {
            println!("{name}: skipped, there is no {}", path.display());
        }
    }
}

fn read(name: &str, path: &Path, parsed: bool) {
    let (mut lines, mut bytes) = (0, 0);
    let seconds = best(|| {
        let mut reader = FrameLogReader::open(&[path.to_owned()], BatchLimits::default()).unwrap();
        let (mut batch, mut ticks) = (FrameBatch::default(), Vec::new());
        let mut parser = parser_for(Venue::BinanceUsdm, context()).unwrap();
        while reader.next_batch(&mut batch).unwrap() {
            for frame in batch.frames.iter().filter(|_| parsed) {
                parser.parse(batch.payload(frame), frame.direction, frame.recv_ns, &mut ticks);
            }
            ticks.clear();
        }
        (lines, bytes) = (reader.lines_read(), reader.bytes_read());
    });
    let what = if parsed { "read and parsed" } else { "read" };
    println!("{name}, {what}: {:.2} M lines/s, {:.0} MB/s", lines as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
}
