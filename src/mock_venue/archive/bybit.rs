//! `/v5/market/kline`, `/v5/market/funding/history`, `/v5/market/open-interest`. Newest first.

use dataflows::model::Venue;
use serde_json::{Value, json};

use super::{Answer, Archive, Asked, Market, keep};

const VENUE: Venue = Venue::BybitLinear;

/// The rows of a market that a question is answered with, oldest first, or what is wrong with it.
type Rows = fn(&Market, &Asked) -> Result<Vec<Value>, &'static str>;

pub(super) fn pass(archive: &Archive, key: &str, payload: &str) {
    let Some(symbol) = key.strip_prefix("kline.1.").or_else(|| key.strip_prefix("tickers.")) else { return };
    let Ok(message) = serde_json::from_str::<Value>(payload) else { return };
    if key.starts_with("kline.") {
        for k in message["data"].as_array().into_iter().flatten().filter(|k| k["confirm"] == true) {
            let Some(open_ms) = k["start"].as_i64() else { continue };
            let row = json!([open_ms.to_string(), k["open"], k["high"], k["low"], k["close"], k["volume"], k["turnover"]]);
            archive.of(VENUE, symbol, |market| keep(&mut market.minutes, open_ms, row));
        }
        return;
    }
    let (data, Some(ts)) = (&message["data"], message["ts"].as_i64()) else { return };
    archive.of(VENUE, symbol, |market| {
        market.now_ms = market.now_ms.max(ts);
        if data["openInterest"].is_string() {
            market.sample(ts, json!({"openInterest": data["openInterest"]}));
        }
    });
}

pub(super) fn pass_answer(archive: &Archive, path: &str, body: &Value) {
    if path != "/v5/market/funding/history" {
        return;
    }
    for row in body["result"]["list"].as_array().into_iter().flatten() {
        let ts = row["fundingRateTimestamp"].as_str().and_then(|ts| ts.parse().ok());
        let (Some(symbol), Some(ts)) = (row["symbol"].as_str(), ts) else { continue };
        archive.of(VENUE, symbol, |market| keep(&mut market.settled, ts, row.clone()));
    }
}

pub(super) fn answer(archive: &Archive, asked: &Asked) -> Option<Answer> {
    let (most, rows): (usize, Rows) = match asked.path.as_str() {
        "/v5/market/kline" => (1_000, klines),
        "/v5/market/funding/history" => (200, settled),
        "/v5/market/open-interest" => (200, interest),
        _ => return None,
    };
    let symbol = asked.text("symbol");
    let said = match (asked.limit(200.min(most), most), asked.text("category")) {
        (None, _) => Err("limit is out of range"),
        (_, category) if category != "linear" => Err("Illegal category"),
        (Some(limit), _) => match archive.known(VENUE, symbol, |market| rows(market, asked)) {
            None => Err("symbol invalid"),
            Some(rows) => rows.map(|rows| rows.into_iter().rev().take(limit).collect::<Vec<_>>()),
        },
    };
    let (code, msg, list) = match said {
        Ok(list) => (0, "OK", list),
        Err(msg) => (10_001, msg, Vec::new()),
    };
    let result = json!({"symbol": symbol, "category": "linear", "list": list});
    Some((200, json!({"retCode": code, "retMsg": msg, "result": result, "retExtInfo": {}, "time": 0}).to_string()))
}

fn klines(market: &Market, asked: &Asked) -> Result<Vec<Value>, &'static str> {
    if asked.text("interval") != "1" {
        return Err("Invalid period!");
    }
    let (from_ms, to_ms) = (asked.number("start").unwrap_or(i64::MIN), asked.number("end").unwrap_or(i64::MAX));
    let quiet = |open_ms: i64, before: &Value| {
        let close = &before[4];
        json!([open_ms.to_string(), close, close, close, close, "0", "0"])
    };
    Ok(market.minutes(from_ms, to_ms, quiet))
}

/// A beginning without an end is an error there.
fn span(asked: &Asked) -> Result<(i64, i64), &'static str> {
    match (asked.number("startTime"), asked.number("endTime")) {
        (Some(_), None) => Err("endTime is missing"),
        (Some(from_ms), Some(to_ms)) if from_ms > to_ms => Err("startTime is after endTime"),
        (from_ms, to_ms) => Ok((from_ms.unwrap_or(i64::MIN), to_ms.unwrap_or(i64::MAX))),
    }
}

fn settled(market: &Market, asked: &Asked) -> Result<Vec<Value>, &'static str> {
    let (from_ms, to_ms) = span(asked)?;
    Ok(market.settled.range(from_ms..=to_ms).map(|(_, row)| row.clone()).collect())
}

fn interest(market: &Market, asked: &Asked) -> Result<Vec<Value>, &'static str> {
    if asked.text("intervalTime") != "5min" {
        return Err("intervalTime is invalid");
    }
    let (from_ms, to_ms) = span(asked)?;
    let row = |(ts, row): (&i64, &Value)| json!({"openInterest": row["openInterest"], "timestamp": ts.to_string()});
    Ok(market.interest.range(from_ms..=to_ms).map(row).collect())
}
