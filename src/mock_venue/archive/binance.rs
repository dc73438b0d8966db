//! `/fapi/v1/aggTrades`, `/fapi/v1/klines`, `/fapi/v1/fundingRate`, `/futures/data/openInterestHist`.

use dataflows::model::{HOUR_MS, MINUTE_MS, Venue};
use serde_json::{Value, json};

use super::{Answer, Archive, Asked, Market, keep};

const VENUE: Venue = Venue::BinanceUsdm;

/// The rows of a market that a question with this limit is answered with, as JSON.
type Rows = fn(&Market, &Asked, usize) -> Result<Vec<String>, Answer>;

pub(super) fn pass(archive: &Archive, key: &str, payload: &str) {
    if !(key.ends_with("@aggTrade") || key.ends_with("@kline_1m")) {
        return;
    }
    let Ok(message) = serde_json::from_str::<Value>(payload) else { return };
    let data = message.get("data").unwrap_or(&message);
    let Some(symbol) = data["s"].as_str() else { return };
    let k = &data["k"];
    if let (Some(id), Some(ts)) = (data["a"].as_u64(), data["T"].as_i64()) {
        let row = json!({"a": id, "p": data["p"], "q": data["q"], "f": data["f"], "l": data["l"], "T": ts, "m": data["m"]});
        archive.of(VENUE, symbol, |market| market.print(id, ts, &row));
    } else if let (Some(open_ms), Some(true), Some("1m")) = (k["t"].as_i64(), k["x"].as_bool(), k["i"].as_str()) {
        let row = json!([k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"], k["V"], k["Q"], "0"]);
        archive.of(VENUE, symbol, |market| keep(&mut market.minutes, open_ms, row));
    }
}

pub(super) fn pass_answer(archive: &Archive, path: &str, body: &Value) {
    let rows = || body.as_array().into_iter().flatten();
    let symbol = |row: &Value| row["symbol"].as_str().map(str::to_owned);
    match path {
        "/fapi/v1/fundingRate" => {
            for (symbol, ts, row) in rows().filter_map(|row| Some((symbol(row)?, row["fundingTime"].as_i64()?, row))) {
                archive.of(VENUE, &symbol, |market| keep(&mut market.settled, ts, row.clone()));
            }
        }
        "/futures/data/openInterestHist" => {
            for (symbol, row) in rows().filter_map(|row| Some((symbol(row)?, row))) {
                let Some(ts) = row["timestamp"].as_str().and_then(|ts| ts.parse().ok()) else { continue };
                archive.of(VENUE, &symbol, |market| {
                    keep(&mut market.interest, ts, json!({"sumOpenInterest": row["sumOpenInterest"]}))
                });
            }
        }
        "/fapi/v1/openInterest" => {
            let (Some(symbol), Some(ts)) = (symbol(body), body["time"].as_i64()) else { return };
            archive.of(VENUE, &symbol, |market| market.sample(ts, json!({"sumOpenInterest": body["openInterest"]})));
        }
        _ => {}
    }
}

pub(super) fn answer(archive: &Archive, asked: &Asked) -> Option<Answer> {
    let (usual, most, rows): (usize, usize, Rows) = match asked.path.as_str() {
        "/fapi/v1/aggTrades" => (500, 1_000, prints),
        "/fapi/v1/klines" => (500, 1_500, klines),
        "/fapi/v1/fundingRate" => (100, 1_000, settled),
        "/futures/data/openInterestHist" => (30, 500, interest),
        _ => return None,
    };
    let Some(limit) = asked.limit(usual, most) else {
        return Some(refused(-1130, "Data sent for parameter 'limit' is not valid."));
    };
    let rows = archive.known(VENUE, asked.text("symbol"), |market| rows(market, asked, limit));
    Some(match rows {
        None => refused(-1121, "Invalid symbol."),
        Some(Err(refusal)) => refusal,
        Some(Ok(rows)) => (200, format!("[{}]", rows.join(","))),
    })
}

fn refused(code: i64, msg: &str) -> Answer {
    (400, json!({"code": code, "msg": msg}).to_string())
}

fn span(asked: &Asked) -> (i64, i64) {
    (asked.number("startTime").unwrap_or(i64::MIN), asked.number("endTime").unwrap_or(i64::MAX))
}

/// By id or by time, never both; a window is at most an hour.
fn prints(market: &Market, asked: &Asked, limit: usize) -> Result<Vec<String>, Answer> {
    let (from_ms, to_ms) = span(asked);
    let by_time = asked.number("startTime").is_some() || asked.number("endTime").is_some();
    let from_id = asked.number("fromId").map(|id| u64::try_from(id).unwrap_or(0));
    if from_id.is_some() && by_time {
        return Err(refused(-1128, "Combination of optional parameters invalid."));
    }
    if by_time
        && to_ms.saturating_sub(from_ms) >= HOUR_MS
        && asked.number("startTime").is_some()
        && asked.number("endTime").is_some()
    {
        return Err(refused(-1127, "More than 1 hours between startTime and endTime."));
    }
    let rows = market.prints.iter().filter(|(id, ts, _)| from_id.map_or((from_ms..=to_ms).contains(ts), |from| *id >= from));
    let skipped = if from_id.is_some() || by_time { 0 } else { market.prints.len().saturating_sub(limit) };
    Ok(rows.skip(skipped).take(limit).map(|(_, _, row)| row.to_string()).collect())
}

fn klines(market: &Market, asked: &Asked, limit: usize) -> Result<Vec<String>, Answer> {
    if asked.text("interval") != "1m" {
        return Err(refused(-1120, "Invalid interval."));
    }
    let (from_ms, to_ms) = span(asked);
    let quiet = |open_ms: i64, before: &Value| {
        let close = &before[4];
        json!([open_ms, close, close, close, close, "0", open_ms + MINUTE_MS - 1, "0", 0, "0", "0", "0"])
    };
    let rows = market.minutes(from_ms, to_ms, quiet);
    let skipped = if asked.number("startTime").is_some() { 0 } else { rows.len().saturating_sub(limit) };
    Ok(rows.iter().skip(skipped).take(limit).map(Value::to_string).collect())
}

fn settled(market: &Market, asked: &Asked, limit: usize) -> Result<Vec<String>, Answer> {
    let (from_ms, to_ms) = span(asked);
    if from_ms > to_ms {
        return Err(refused(-1127, "startTime is later than endTime."));
    }
    Ok(market.settled.range(from_ms..=to_ms).take(limit).map(|(_, row)| row.to_string()).collect())
}

fn interest(market: &Market, asked: &Asked, limit: usize) -> Result<Vec<String>, Answer> {
    let (from_ms, to_ms) = span(asked);
    if asked.text("period") != "5m" || from_ms > to_ms {
        return Err(refused(-1130, "parameter 'period' is invalid."));
    }
    let symbol = asked.text("symbol");
    let row = |(ts, row): (&i64, &Value)| {
        json!({"symbol": symbol, "sumOpenInterest": row["sumOpenInterest"], "sumOpenInterestValue": "0", "timestamp": ts.to_string()})
            .to_string()
    };
    Ok(market.interest.range(from_ms..=to_ms).take(limit).map(row).collect())
}
