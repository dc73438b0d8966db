//! What each venue's messages become: real messages, hostile numbers, and whole recordings.

#![allow(clippy::unwrap_used)]

mod recordings;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use dataflows::fixed::ONE;
use dataflows::model::{Instruments, Tick, TradeId, Venue};
use regimeflow::feeds::{Outcome, ParseContext, Parser, parser_for, reason};
use regimeflow::frames::{BatchLimits, Direction, FrameBatch, FrameLogReader};

fn context(skew_ms_max: i64) -> ParseContext {
    ParseContext { instruments: Arc::new(Instruments::default()), skew_ms_max }
}

struct Parsed {
    outcome: Outcome,
    ticks: Vec<Tick>,
    unknown_fields: u64,
    instruments: Arc<Instruments>,
}

fn parse_as(venue: Venue, payload: &[u8], direction: Direction, recv_ms: i64, skew_ms_max: i64) -> Parsed {
    let context = context(skew_ms_max);
    let instruments = Arc::clone(&context.instruments);
    let mut parser = parser_for(venue, context).unwrap();
    let mut ticks = Vec::new();
    let outcome = parser.parse(payload, direction, recv_ms * 1_000_000, &mut ticks);
    Parsed { outcome, ticks, unknown_fields: parser.unknown_fields(), instruments }
}

fn parse(venue: Venue, payload: &str) -> Parsed {
    parse_as(venue, payload.as_bytes(), Direction::In, 0, 0)
}

fn decimal(value: i128) -> String {
    let (sign, value) = if value < 0 { ("-", -value) } else { ("", value) };
    let text = format!("{sign}{}.{:012}", value / ONE, value % ONE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A tick as a short line, the way a person would note it.
fn note(tick: &Tick, instruments: &Instruments) -> String {
    let mut line = format!("{} {} @{}", tick.stream(), instruments.get(tick.instrument()).unwrap().symbol, tick.ts());
    let price = |p: dataflows::fixed::Price| decimal(i128::from(p.0));
    match tick {
        Tick::Trade(t) => {
            let side = if t.taker_buy { "buy" } else { "sell" };
            write!(line, " {side} {} x {} {:?} fills={}", decimal(t.qty.0), price(t.price), t.kind, t.fills).unwrap();
        }
        Tick::Liquidation(l) => write!(
            line,
            " {:?} {} x {} {:?} {:?} seq={}",
            l.position_side,
            decimal(l.qty.0),
            price(l.price),
            l.price_kind,
            l.coverage,
            l.seq
        )
        .unwrap(),
        Tick::Mark(m) => {
            write!(line, " mark={} index={}", m.mark.map_or("-".into(), price), m.index.map_or("-".into(), price)).unwrap()
        }
        Tick::Funding(f) => write!(
            line,
            " {:?} {} hours={} next={}",
            f.kind,
            f.rate.map_or("-".into(), |r| decimal(i128::from(r.0))),
            f.interval_hours.map_or("-".into(), |h| h.to_string()),
            f.next_ts.map_or("-".into(), |t| t.to_string())
        )
        .unwrap(),
        Tick::OpenInterest(o) => write!(line, " {}", decimal(o.base.0)).unwrap(),
        Tick::Kline(k) => write!(
            line,
            " {} open@{} {} {} {} {} v={} closed={} n={}",
            k.timeframe.as_str(),
            k.open_ts,
            price(k.open),
            price(k.high),
            price(k.low),
            price(k.close),
            decimal(k.volume.0),
            k.closed,
            k.trades.map_or("-".into(), |n| n.to_string())
        )
        .unwrap(),
    }
    line
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Used(name) => format!("used: {name}"),
        Outcome::Skipped(why) => format!("skipped: {why}"),
        Outcome::Rejected(r) => format!("rejected: {}: {}", r.stream, r.reason),
    }
}

/// A fixture file: a message per paragraph (`venue direction recv_ms`, the payload, then what must come of it).
fn check_file(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut rewritten, mut cases) = (String::new(), 0);
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        if paragraph.starts_with('#') {
            write!(rewritten, "{paragraph}\n\n").unwrap();
            continue;
        }
        let mut lines = paragraph.lines();
        let (head, payload) = (lines.next().unwrap(), lines.next().unwrap());
        let fields: Vec<&str> = head.split(' ').collect();
        let venue = Venue::from_name(fields[0].as_bytes()).unwrap();
        let direction = match fields[1] {
            "in" => Direction::In,
            "out" => Direction::Out,
            _ => Direction::Http,
        };
        let parsed = parse_as(venue, payload.as_bytes(), direction, fields[2].parse().unwrap(), 86_400_000);
        write!(rewritten, "{head}\n{payload}\n= {}", outcome_text(&parsed.outcome)).unwrap();
        if parsed.unknown_fields > 0 {
            write!(rewritten, " (unknown fields: {})", parsed.unknown_fields).unwrap();
        }
        for tick in &parsed.ticks {
            write!(rewritten, "\n= {}", note(tick, &parsed.instruments)).unwrap();
        }
        rewritten.push_str("\n\n");
        cases += 1;
    }
    assert!(cases > 0, "{name} holds no case");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, rewritten.trim_end().to_owned() + "\n").unwrap();
    } else {
        for (got, expected) in rewritten.split("\n\n").zip(text.split("\n\n")) {
            assert_eq!(got.trim(), expected.trim(), "{name}: run with UPDATE=1 if the new outcome is right");
        }
    }
}

#[test]
fn binance_messages_become_ticks() {
    check_file("binance_usdm.txt");
}

#[test]
fn bybit_messages_become_ticks() {
    check_file("bybit_linear.txt");
}

/// What the collections of single messages hold, by case: some are of other markets and must say so.
#[test]
fn every_collected_message_has_the_expected_outcome() {
    let Some(wire) = recordings::find("wire") else { return };
    let mut outcomes = String::new();
    for (file, venue) in [("binance", Venue::BinanceUsdm), ("bybit", Venue::BybitLinear), ("liquidations", Venue::BinanceUsdm)] {
        let text = std::fs::read_to_string(wire.join(format!("messages/{file}.jsonl"))).unwrap();
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let message = value["msg"].as_str().unwrap();
            let (venue, case) = match value["venue"].as_str() {
                Some("binance-um") => (Venue::BinanceUsdm, "binance-um"),
                Some("bybit-linear") => (Venue::BybitLinear, "bybit-linear"),
                Some(_) => continue,
                None => (venue, value["case"].as_str().unwrap()),
            };
            let parsed = parse(venue, message);
            writeln!(outcomes, "{file} {case} | {} | {} ticks", outcome_text(&parsed.outcome), parsed.ticks.len()).unwrap();
            assert_eq!(parsed.unknown_fields, 0, "{message}");
        }
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/collected_outcomes.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &outcomes).unwrap();
    }
    assert_eq!(outcomes, std::fs::read_to_string(&path).unwrap());
}

/// Whole recordings: every line has an outcome, and nothing real is refused.
#[test]
fn every_recorded_frame_is_accounted_for() {
    let Some(wire) = recordings::find("wire") else { return };
    for (file, lines) in [("binance-usdm-20240808", 168_609), ("binance-usdm-20210722", 1_540), ("bybit-linear-20260809", 3_253)]
    {
        let path = wire.join(format!("{file}.frames.zst"));
        let mut reader = FrameLogReader::open(&[path], BatchLimits::default()).unwrap();
        let context = context(10_000);
        let mut parsers: BTreeMap<Venue, Box<dyn Parser>> = BTreeMap::new();
        let (mut batch, mut ticks, mut outcomes) = (FrameBatch::default(), Vec::new(), BTreeMap::<String, u64>::new());
        while reader.next_batch(&mut batch).unwrap() {
            assert!(batch.defects.is_empty());
            for frame in &batch.frames {
                let parser = parsers.entry(frame.venue).or_insert_with(|| parser_for(frame.venue, context.clone()).unwrap());
                let outcome = parser.parse(batch.payload(frame), frame.direction, frame.recv_ns, &mut ticks);
                // One recording holds the venue's spot socket too, under the same name.
                let is_spot = matches!(outcome, Outcome::Rejected(rejection) if rejection.reason == reason::SPOT);
                assert!(is_spot || !matches!(outcome, Outcome::Rejected(_)), "line {}: {outcome:?}", frame.line);
                *outcomes.entry(outcome_text(&outcome)).or_default() += 1;
            }
        }
        assert_eq!(reader.lines_read(), lines);
        assert_eq!(outcomes.values().sum::<u64>(), lines, "{outcomes:?}");
        assert_eq!(parsers.values().map(|p| p.unknown_fields()).sum::<u64>(), 0);
        println!("{file}: {} ticks of {outcomes:#?}", ticks.len());
        assert!(!ticks.is_empty());
    }
}

#[test]
fn a_symbols_multiplier_is_moved_from_price_to_quantity_exactly() {
    let message = r#"{"e":"aggTrade","E":1716202009196,"a":1,"s":"1000PEPEUSDT","p":"0.0148901","q":"67125","f":1,"l":3,"T":1716202009188,"m":false}"#;
    let parsed = parse(Venue::BinanceUsdm, message);
    let [Tick::Trade(trade)] = parsed.ticks[..] else { panic!("{:?}", parsed.outcome) };
    assert_eq!((decimal(i128::from(trade.price.0)), decimal(trade.qty.0)), ("0.0000148901".into(), "67125000".into()));
    assert_eq!((trade.fills, trade.id), (3, TradeId::Dense(1, 3)));
    assert_eq!(decimal(trade.price.notional(trade.qty).0 / ONE), "999.4979625");
}

#[test]
fn ten_thousand_brackets_do_not_overflow_the_stack() {
    for open in ["[", "{\"a\":", "[{\"a\":", "{\"data\":["] {
        let bomb = open.repeat(10_000);
        for (venue, message) in [
            (Venue::BinanceUsdm, bomb.clone()),
            (Venue::BinanceUsdm, format!(r#"{{"e":"aggTrade","s":{bomb}"#)),
            (Venue::BinanceUsdm, format!(r#"{{"stream":"!markPrice@arr","data":[{bomb}"#)),
            (Venue::BybitLinear, bomb.clone()),
            (Venue::BybitLinear, format!(r#"{{"topic":"publicTrade.BTCUSDT","data":[{bomb}"#)),
        ] {
            let Outcome::Rejected(rejection) = parse(venue, &message).outcome else { panic!("{open}") };
            assert_eq!(rejection.reason, "JSON nested deeper than 64 levels");
        }
    }
}

#[test]
fn one_bad_item_does_not_take_the_good_ones_with_it() {
    let item = |p: &str| format!(r#"{{"T":1791565600992,"s":"BTCUSDT","S":"Buy","v":"0.006","p":"{p}"}}"#);
    let message = format!(
        r#"{{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1791565601482,"data":[{},{},7,{},{}]}}"#,
        item("82396.90"),
        item("NaN"),
        item("82396.90"),
        item("82396.91")
    );
    let parsed = parse(Venue::BybitLinear, &message);
    assert_eq!(outcome_text(&parsed.outcome), "rejected: allLiquidation: price not a decimal number");
    let seqs: Vec<u32> = parsed.ticks.iter().map(|t| if let Tick::Liquidation(l) = t { l.seq } else { 99 }).collect();
    assert_eq!(seqs, [0, 1, 0], "equal events are counted, the others start anew");
}

/// `p`, `q`, `f`, `l`, `T` of an aggregate trade and what must come of them.
#[test]
fn hostile_numbers_have_golden_outcomes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/numbers.txt");
    let table = std::fs::read_to_string(&path).unwrap();
    let mut rewritten = String::new();
    let mut rows = 0;
    for line in table.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(rewritten, "{line}").unwrap();
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let mut fields: BTreeMap<&str, &str> =
            [("p", "\"61800.30\""), ("q", "\"0.006\""), ("f", "7"), ("l", "7"), ("T", "1723161256322"), ("m", "false")].into();
        fields.insert(cells[0], cells[1]);
        let body: String = fields.iter().map(|(k, v)| format!(r#","{k}":{v}"#)).collect();
        let message = format!(r#"{{"e":"aggTrade","E":1723161256322,"s":"BTCUSDT","a":1{body}}}"#);
        let parsed = parse_as(Venue::BinanceUsdm, message.as_bytes(), Direction::In, 1_723_161_256_322, 86_400_000);
        let got = match &parsed.ticks[..] {
            [tick] => note(tick, &parsed.instruments),
            _ => outcome_text(&parsed.outcome),
        };
        writeln!(rewritten, "{} | {} | {got}", cells[0], cells[1]).unwrap();
        if std::env::var_os("UPDATE").is_none() {
            assert_eq!(got, cells[2], "{line}");
        }
        rows += 1;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, rewritten).unwrap();
    }
    assert!(rows >= 80, "{rows} rows");
}
