//! The whole program on real recorded input and on the simulated market, as a user runs it.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod program;
mod recordings;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Output;

use program::built::{answer, check_ends, json, ok, regimeflow};
use program::market::{feeds, without_polls};
use program::{Program, text};
use serde_json::Value;

/// A decimal as an integer with 12 decimals, written without the product's own code.
fn fixed(decimal: &str) -> i128 {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

fn exact(value: i128) -> f64 {
    format!("{value}e-12").parse().unwrap()
}

/// What a trade says: (time, venue's order, place in the message), price, quantity, taker bought.
type Print = ((i64, u64, usize), i128, i128, bool);

/// The trades of a recording by (symbol, minute), read with serde_json and nothing of ours.
fn prints(path: &Path) -> BTreeMap<(String, i64), Vec<Print>> {
    let mut bars: BTreeMap<(String, i64), Vec<Print>> = BTreeMap::new();
    let log = BufReader::new(zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap());
    for line in log.lines().map(Result::unwrap) {
        let fields: Vec<&str> = line.splitn(5, '\t').collect();
        if fields[3] != "in" {
            continue;
        }
        let message: Value = serde_json::from_str(fields[4]).unwrap();
        let data = message.get("data").unwrap_or(&message);
        let mut add = |symbol: &Value, ts: &Value, order: u64, at: usize, price: &Value, qty: &Value, bought: bool| {
            let ts = ts.as_i64().unwrap();
            let key = (symbol.as_str().unwrap().to_owned(), ts.div_euclid(60_000) * 60_000);
            let print = ((ts, order, at), fixed(price.as_str().unwrap()), fixed(qty.as_str().unwrap()), bought);
            bars.entry(key).or_default().push(print);
        };
        if data["e"] == "trade" && data["X"] == "MARKET" {
            add(&data["s"], &data["T"], data["t"].as_u64().unwrap(), 0, &data["p"], &data["q"], data["m"] == false);
        }
        let topic = message["topic"].as_str().unwrap_or_default();
        if topic.starts_with("publicTrade") {
            // The recorder's spot socket bears the same venue; only contracts tell the tick's direction (`L`).
            for (at, item) in data.as_array().unwrap().iter().enumerate().filter(|(_, item)| item.get("L").is_some()) {
                add(&item["s"], &item["T"], item["seq"].as_u64().unwrap(), at, &item["p"], &item["v"], item["S"] == "Buy");
            }
        }
    }
    bars
}

/// Replays a recording and compares every minute bar with the recount, to the last bit.
fn check_bars_equal_a_recount(name: &str) {
    let Some(path) = recordings::find(name) else { return };
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let summary = json(&["replay", text(&path), "--store", text(dir.path())]);
    let accounted = ["used", "skipped", "rejected"].iter().map(|fate| summary[*fate].as_u64().unwrap()).sum::<u64>();
    assert_eq!(summary["lines"].as_u64().unwrap(), accounted, "every line is accounted for");

    let sql = "SELECT symbol, toUnixTimestamp64Milli(ts) AS ts, open, high, low, close, volume, taker_buy_volume, trades \
               FROM bars WHERE timeframe = '1m'";
    let rows = ok(&["query", "--store", text(dir.path()), "--format", "JSONEachRow", sql]);
    let mut expected = prints(&path);
    for row in rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let symbol = row["symbol"].as_str().unwrap().replace("-PERP", "").replace('-', "");
        let integer = |field: &str| row[field].as_i64().or_else(|| row[field].as_str()?.parse().ok()).unwrap();
        let prints = expected.remove(&(symbol.clone(), integer("ts"))).unwrap_or_else(|| panic!("no such minute: {row}"));
        let price = |print: Option<&Print>| exact(print.unwrap().1);
        let total = |keep: fn(&&Print) -> bool| exact(prints.iter().filter(keep).map(|print| print.2).sum());
        for (field, value) in [
            ("open", price(prints.iter().min())),
            ("high", price(prints.iter().max_by_key(|print| print.1))),
            ("low", price(prints.iter().min_by_key(|print| print.1))),
            ("close", price(prints.iter().max())),
            ("volume", total(|_| true)),
            ("taker_buy_volume", total(|print| print.3)),
            ("trades", prints.len() as f64),
        ] {
            let ours = row[field].as_f64().or_else(|| row[field].as_str()?.parse().ok()).unwrap();
            assert_eq!(ours, value, "{field} of {row}");
        }
    }
    assert!(expected.is_empty(), "minutes without a bar: {:?}", expected.keys().collect::<Vec<_>>());
}

#[test]
fn binance_minute_bars_equal_a_recount() {
    check_bars_equal_a_recount("wire/binance-usdm-20240808.frames.zst");
}

#[test]
fn bybit_minute_bars_equal_a_recount() {
    check_bars_equal_a_recount("wire/bybit-linear-20260809.frames.zst");
}

#[test]
fn bybit_funding_open_interest_and_klines_are_what_the_frames_say() {
    let Some(path) = recordings::find("wire/bybit-linear-20260809.frames.zst") else { return };
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    json(&["replay", text(&path), "--store", text(dir.path())]);
    // The last value of each field by (minute, symbol), straight from the ticker frames; deltas leave fields out.
    let (mut rate, mut one_side, mut minutes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut kline_volume = BTreeMap::new();
    let log = BufReader::new(zstd::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap());
    for line in log.lines().map(Result::unwrap).filter(|line| line.contains("\tBYBIT.ws.2\tin\t")) {
        let message: Value = serde_json::from_str(line.splitn(5, '\t').nth(4).unwrap()).unwrap();
        let topic = message["topic"].as_str().unwrap_or_default();
        let minute = message["ts"].as_i64().unwrap_or_default() / 60_000 * 60_000;
        let symbol = topic.rsplit('.').next().unwrap().replace("USDT", "-USDT-PERP");
        if topic.starts_with("tickers") {
            for (field, values) in [("fundingRate", &mut rate), ("singleOpenInterest", &mut one_side)] {
                if let Some(said) = message["data"][field].as_str() {
                    values.insert(symbol.clone(), said.to_owned());
                }
            }
            // Both sides come in the same message, but one side is not always sent with them: once, not twice.
            if let (Some(both), Some(one)) =
                (message["data"]["openInterest"].as_str(), message["data"]["singleOpenInterest"].as_str())
            {
                let ratio = both.parse::<f64>().unwrap() / one.parse::<f64>().unwrap();
                assert!((ratio - 2.0).abs() < 1e-4, "{both} is both sides of {one}");
            }
            minutes.insert((symbol.clone(), minute), (rate[&symbol].clone(), one_side[&symbol].clone()));
        }
        if topic.starts_with("kline") {
            let kline = &message["data"][0];
            let key = (symbol, kline["start"].as_i64().unwrap());
            kline_volume.insert(key, (kline["timestamp"].as_i64().unwrap(), fixed(kline["volume"].as_str().unwrap())));
        }
    }
    let sql = "SELECT symbol, toUnixTimestamp64Milli(ts), rate, interval_hours FROM funding WHERE kind = 'predicted'";
    let funding = answer(dir.path(), sql);
    let interest = answer(dir.path(), "SELECT symbol, toUnixTimestamp64Milli(ts), base FROM open_interest");
    let rows = |tsv: &str| {
        let row = |line: &str| {
            let cells: Vec<&str> = line.split('\t').collect();
            ((cells[0].to_owned(), cells[1].parse::<i64>().unwrap()), cells[2].parse::<f64>().unwrap())
        };
        tsv.lines().map(row).collect::<BTreeMap<_, _>>()
    };
    let expected_rate = minutes.iter().map(|(key, (rate, _))| (key.clone(), rate.parse::<f64>().unwrap())).collect();
    let expected_base = minutes.iter().map(|(key, (_, base))| (key.clone(), base.parse::<f64>().unwrap())).collect();
    assert_eq!(rows(&funding), expected_rate, "funding");
    assert_eq!(rows(&interest), expected_base, "open interest, one side");
    // The minute that the recording holds from its beginning: the venue's last running bar has the volume of our prints up to it.
    let prints = prints(&path);
    for ((symbol, minute), (until, volume)) in kline_volume.iter().filter(|((_, minute), _)| *minute == 1_786_310_820_000) {
        let ours = &prints[&(symbol.replace("-PERP", "").replace('-', ""), *minute)];
        let sum: i128 = ours.iter().filter(|print| print.0.0 <= *until).map(|print| print.2).sum();
        assert_eq!(sum, *volume, "volume of {symbol} up to {until}");
    }
}

#[test]
fn the_dump_is_the_same_for_any_number_of_workers_and_any_quantum() {
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = Program::built();
    let frames = program.market(dir.path(), "--seed 5 --symbols 3 --hours 4 --bursts-per-day 48").unwrap();
    let run = |workers: &str, quantum: &str| {
        let store = tempfile::tempdir().unwrap();
        let summary =
            json(&["replay", text(&frames), "--store", text(store.path()), "--workers", workers, "--quantum-ms", quantum]);
        assert_eq!(summary["rejected"], 0, "{summary}");
        assert!(summary["rows"]["cascades"].as_i64().unwrap() > 0, "the market has cascades: {summary}");
        program.hash(store.path()).unwrap()
    };
    let one = run("1", "1000");
    assert_eq!(run("2", "1000"), one, "2 workers");
    assert_eq!(run("4", "1000"), one, "4 workers");
    assert_eq!(run("2", "250"), one, "another quantum");
}

#[test]
fn a_run_against_the_mock_venue_equals_a_replay() {
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = Program::built();
    let market = program.market(dir.path(), "--seed 9 --symbols 2 --hours 0.7 --bursts-per-day 96").unwrap();
    let frames = without_polls(&market);
    let [replayed, lived, config] = ["replayed", "lived", "run.toml"].map(|name| dir.path().join(name));
    let by_replay = json(&["replay", text(&frames), "--store", text(&replayed)]);

    let (mut venue, address) = program.venue(&frames, "--once --wait-for-subscriptions 16");
    std::fs::write(&config, format!("[time]\nskew_ms_max = 0\n{}", feeds(&address, ""))).unwrap();
    let by_run = json(&["run", "--config", text(&config), "--store", text(&lived), "--until-idle-secs", "3"]);
    let _ = venue.kill(); // it has ended by itself if all was sent
    let _ = venue.wait();
    assert_eq!(by_run["prints"], by_replay["prints"], "{by_run}\n{by_replay}");
    let [lived, replayed] = [lived, replayed].map(|store| program.hash(&store).unwrap());
    assert_eq!(lived, replayed, "{by_run}\n{by_replay}");
}

/// Replays a log made of `lines` and gives the summary.
fn replay_of(lines: &[u8], compress: bool) -> (Output, Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.frames");
    let bytes = if compress { zstd::encode_all(lines, 1).unwrap() } else { lines.to_vec() };
    std::fs::write(&path, bytes).unwrap();
    let output = regimeflow(&["replay", text(&path), "--store", "none", "--json"]).output().unwrap();
    let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, summary)
}

fn trade(id: u64, price: &str, qty: &str, ts: &str) -> String {
    let payload = format!(
        r#"{{"e":"trade","E":1723161256322,"T":{ts},"s":"BTCUSDT","t":{id},"p":"{price}","q":"{qty}","X":"MARKET","m":false}}"#
    );
    format!("1723161256322000000\tbinance-usdm\tc1\tin\t{payload}\n")
}

/// A bad line between two good trades: one rejection with this reason, both trades in the bars.
fn check_bad_line(bad: &[u8], reason: &str) {
    let good = |id| trade(id, "61800.30", "0.006", "1723161256322").into_bytes();
    let log = [good(1), bad.to_vec(), good(3)].concat();
    let (output, summary) = replay_of(&log, true);
    assert!(output.status.success(), "{reason}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(summary["prints"], 2, "{reason}: the good ones are kept: {summary}");
    assert_eq!(summary["rejected"], 1, "{reason}: {summary}");
    let whats: Vec<&str> = summary["frames"].as_array().unwrap().iter().filter_map(|line| line["what"].as_str()).collect();
    assert!(whats.iter().any(|what| what.contains(reason)), "{reason} not in {whats:?}");
    let place = summary["first_rejected"][0].as_str().unwrap();
    assert!(place.starts_with("line 2: ") && place.contains(reason), "{place}");
}

#[test]
fn bad_frames_are_refused_by_reason_and_nothing_else_is_lost() {
    check_bad_line(trade(2, "1e400", "0.006", "1723161256322").as_bytes(), "price out of range");
    check_bad_line(trade(2, "61800.30", "-0.006", "1723161256322").as_bytes(), "quantity out of range");
    check_bad_line(trade(2, "61800.30", "0.006", "9223372036854").as_bytes(), "time outside the years 2009 to 2100");
    check_bad_line(trade(2, "NaN", "0.006", "1723161256322").as_bytes(), "price not a decimal number");
    check_bad_line(trade(2, "61800.30", "0.006", "1723161256").as_bytes(), "time outside the years");
    let huge = format!("1723161256322000000\tbinance-usdm\tc1\tin\t{{\"e\":\"trade\",\"x\":\"{}\"}}\n", "x".repeat(2 << 20));
    check_bad_line(huge.as_bytes(), "frame over 1 MiB");
    let mut invalid = trade(2, "61800.30", "0.006", "1723161256322").into_bytes();
    let at = invalid.windows(7).position(|w| w == b"BTCUSDT").unwrap();
    invalid[at] = 0xff;
    check_bad_line(&invalid, "invalid UTF-8");
    check_bad_line(b"no frame at all\n", "missing fields");
    // Two hours ahead: inside the limit of skew, but it would make everything after it too late.
    check_bad_line(trade(2, "61800.30", "0.006", "1723168456322").as_bytes(), "ahead_ms_max");
}

#[test]
fn a_torn_log_is_used_up_to_the_tear() {
    let lines: String = (1..=2_000).map(|id| trade(id, "61800.30", "0.006", "1723161256322")).collect();
    let (output, summary) = replay_of(&lines.as_bytes()[..lines.len() - 20], false);
    assert!(output.status.success());
    assert_eq!(summary["prints"], 1_999, "the torn last line is not used: {summary}");
    assert!(summary.to_string().contains("torn last line"), "{summary}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.frames.zst");
    let whole = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let output = regimeflow(&["replay", text(&path), "--store", "none", "--json"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("truncated zstd stream"), "{said}");
}

fn check_fails(args: &[&str], code: i32, parts: &[&str]) {
    check_ends(&mut regimeflow(args), code, parts);
}

#[test]
fn errors_say_where_and_what_to_do() {
    check_fails(&["replay", "no-such-file.frames.zst", "--store", "none"], 74, &["no-such-file.frames.zst"]);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bad.toml");
    std::fs::write(&config, "[time]\nlatenes_ms = 5\n\n[engine]\nworkers = 0\n").unwrap();
    check_fails(&["run", "--config", text(&config)], 78, &["bad.toml:2", "lateness_ms", "bad.toml:5", "workers"]);
    check_fails(&["replay"], 64, &["FRAMES"]);
    check_fails(&["config", "check", text(&config)], 78, &["did you mean"]);
    let empty = dir.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    check_fails(&["run", "--config", text(&empty), "--store", "none"], 78, &["no feed is configured"]);
}

#[test]
fn evaluate_compares_what_was_told_with_what_was_simulated() {
    let told = json(&["evaluate", "--seeds", "2", "--first-seed", "3", "--days", "1", "--symbols", "2"]);
    let figure = |what: &str| {
        let figures = told["figures"].as_array().unwrap();
        let figure = figures.iter().find(|figure| figure["what"] == what);
        figure.unwrap_or_else(|| panic!("no {what} in {told}"))
    };
    for (what, floor) in [("cascades 5m, recall", 0.8), ("cascades 5m, precision", 0.9)] {
        assert!(figure(what)["value"].as_f64().unwrap() >= floor, "{}", figure(what));
    }
    // Half a quantum in the mean; nothing is known before it arrived.
    for what in ["delay to the alert, median", "delay to the alert, p95"] {
        assert!((0.0..1_100.0).contains(&figure(what)["value"].as_f64().unwrap()), "{}", figure(what));
        assert_eq!(figure(what)["met"], true);
    }
    let counts = &told["counts"];
    assert!(counts["cascades"][0]["planted"].as_u64().unwrap() >= 8, "{counts}");
    assert_eq!((&counts["markets"], &counts["untold"]), (&Value::from(2), &Value::from(0)));
    // Two markets, two symbols, two venues; the first 1,152 minutes are too few for a regime.
    let minutes: u64 = counts["regimes"]["minutes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(minutes, 8 * (1_440 - 1_152), "{counts}");
    check_fails(&["evaluate", "--symbols", "0"], 1, &["symbols is 0", "1 to 1000"]);
}

#[test]
fn the_demo_finds_what_was_simulated() {
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let demo = json(&["demo", "--days", "1", "--seed", "3", "--store", text(dir.path())]);
    let found = &demo["found"];
    let number = |value: &Value| value.as_u64().unwrap();
    let cascades = &found["cascades"];
    assert!(number(&cascades["planted"]) >= 5, "{found}");
    assert_eq!(cascades["found"], cascades["planted"], "{found}");
    assert_eq!(number(&cascades["wrong"]), 0, "{found}");
    assert_eq!(found["klines_disagreeing"], 0, "{found}");
    assert!(number(&found["klines_agreeing"]) > 8_000, "{found}");
    assert_eq!(demo["run"]["rejected"], 0, "{demo}");
    let events: u64 = demo["run"]["events"].as_array().unwrap().iter().map(|event| number(&event["count"])).sum();
    assert_eq!(number(&demo["webhook"]["valid"]), events, "every event reached the receiver, signed: {demo}");
    assert_eq!(demo["webhook"]["invalid"], 0, "{demo}");
}
