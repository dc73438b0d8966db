//! How fast frames are read and parsed, on one thread. Not a pass or a fail but figures:
//! `cargo test --profile ci --test parse_speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dataflows::model::{Instruments, Venue};
use regimeflow::feeds::{ParseContext, parser_for};
use regimeflow::frames::{BatchLimits, Direction, FrameBatch, FrameLogReader};

fn context() -> ParseContext {
    ParseContext { instruments: Arc::new(Instruments::default()), skew_ms_max: 60_000 }
}

/// The best of five rounds over `messages`, in messages a second.
fn check(name: &str, venue: Venue, messages: &[String]) {
    let mut parser = parser_for(venue, context()).unwrap();
    let (mut ticks, mut best) = (Vec::new(), f64::INFINITY);
    let (mut kept, bytes) = (0, messages.iter().map(String::len).sum::<usize>());
    for _ in 0..5 {
        let started = Instant::now();
        kept = 0;
        for message in messages {
            parser.parse(message.as_bytes(), Direction::In, 1_723_161_256_322_000_000, &mut ticks);
            kept += ticks.len();
            ticks.clear();
        }
        best = best.min(started.elapsed().as_secs_f64());
    }
    let rate = messages.len() as f64 / best;
    println!("{name}: {:.2} M messages/s, {:.0} MB/s, {kept} ticks", rate / 1e6, bytes as f64 / best / 1e6);
}

#[test]
#[ignore = "a measurement"]
fn messages_a_second() {
    let symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT", "XRPUSDT"];
    let (mut trades, mut marks, mut orders, mut books) = (vec![], vec![], vec![], vec![]);
    let (mut bybit_trades, mut tickers) = (vec![], vec![]);
    for i in 0..40_000u64 {
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
        .flat_map(|i| [trades[i].clone(), trades[(i * 7) % 40_000].clone(), marks[i].clone(), orders[i].clone()])
        .collect();
    check("binance mix (2 trades, 1 mark price, 1 liquidation)", Venue::BinanceUsdm, &mix);
    check("binance aggTrade", Venue::BinanceUsdm, &trades);
    check("binance markPriceUpdate", Venue::BinanceUsdm, &marks);
    check("binance forceOrder", Venue::BinanceUsdm, &orders);
    check("binance bookTicker", Venue::BinanceUsdm, &books);
    check("bybit publicTrade", Venue::BybitLinear, &bybit_trades);
    check("bybit tickers", Venue::BybitLinear, &tickers);
}

#[test]
#[ignore = "a measurement"]
fn lines_a_second() {
    let log: String =
        (0..4_000_000).map(|i| format!("17231612550{i:08}\tbinance-usdm\tc1\tin\t{{\"e\":\"x\",\"i\":{i}}}\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, &log).unwrap();
    let packed = folder.path().join("packed");
    std::fs::write(&packed, zstd::encode_all(log.as_bytes(), 3).unwrap()).unwrap();
    let named = std::env::var_os("REGIMEFLOW_DATA").map(PathBuf::from);
    let data = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    for (name, path) in [("plain", plain), ("zstd", packed), ("recorded", data.join("wire/binance-usdm-20240808.frames.zst"))] {
        if !path.is_file() {
            println!("{name}: skipped, no such file");
            continue;
        }
        for parse in [false, true] {
            let mut best = f64::INFINITY;
            let mut total = (0, 0);
            for _ in 0..5 {
                let mut reader = FrameLogReader::open(std::slice::from_ref(&path), BatchLimits::default()).unwrap();
                let (mut batch, mut ticks) = (FrameBatch::default(), Vec::new());
                let mut parser = parser_for(Venue::BinanceUsdm, context()).unwrap();
                let started = Instant::now();
                while reader.next_batch(&mut batch).unwrap() {
                    for frame in batch.frames.iter().filter(|_| parse) {
                        parser.parse(batch.payload(frame), frame.direction, frame.recv_ns, &mut ticks);
                    }
                    ticks.clear();
                }
                best = best.min(started.elapsed().as_secs_f64());
                total = (reader.lines_read(), reader.bytes_read());
            }
            let what = if parse { "read and parsed" } else { "read" };
            println!("{name}, {what}: {:.2} M lines/s, {:.0} MB/s", total.0 as f64 / best / 1e6, total.1 as f64 / best / 1e6);
        }
    }
}
