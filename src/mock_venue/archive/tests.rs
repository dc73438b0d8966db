//! The past of a few minutes of two markets, asked for as clients do.

#![allow(clippy::unwrap_used)]

use super::*;

/// 2026-08-09 14:00 UTC.
const T: i64 = 1_786_284_000_000;

fn minute(n: i64) -> i64 {
    T + n * MINUTE_MS
}

fn trade(id: i64, ts: i64) -> String {
    format!(
        r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":{ts},"s":"BTCUSDT","a":{id},"p":"100.{id}","q":"1","nq":"1","f":{},"l":{},"T":{ts},"m":false}}}}"#,
        id * 2,
        id * 2 + 1
    )
}

fn kline(n: i64, close: &str) -> String {
    let (open_ms, end_ms) = (minute(n), minute(n + 1) - 1);
    format!(
        r#"{{"stream":"btcusdt@kline_1m","data":{{"e":"kline","E":{end_ms},"s":"BTCUSDT","k":{{"t":{open_ms},"T":{end_ms},"s":"BTCUSDT","i":"1m","f":1,"L":2,"o":"1","c":"{close}","h":"9","l":"1","v":"5","n":2,"x":true,"q":"10","V":"3","Q":"6","B":"0"}}}}}}"#
    )
}

/// Trades every 20 s of minutes 0, 1 and 3; minute 2 is quiet; minute 3 still runs.
fn binance() -> Archive {
    let archive = Archive::default();
    let pass = |key: &str, payload: &str| archive.pass(Venue::BinanceUsdm, key, payload);
    for (id, ts) in [(7, 0), (8, 20), (9, 40), (10, 60), (11, 80), (12, 100), (13, 180), (14, 200)] {
        pass("btcusdt@aggTrade", &trade(id, T + ts * 1_000));
        if id == 9 {
            pass("btcusdt@kline_1m", &kline(0, "4"));
        }
    }
    pass("btcusdt@kline_1m", &kline(1, "5"));
    archive
}

/// The answer's status, and the first or only thing of each row that matters here.
fn check(archive: &Archive, target: &str, want: &str) {
    let (status, body) = archive.answer(target).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let list = body["result"]["list"].as_array().or(body.as_array());
    let row = |row: &Value| {
        let ts = [&row["a"], &row["fundingTime"], &row["timestamp"], &row["fundingRateTimestamp"], &row[0]];
        let ts = ts.into_iter().find(|ts| !ts.is_null()).unwrap();
        let number = ts.as_i64().or_else(|| ts.as_str()?.parse().ok()).unwrap();
        let said = if number > T - 1 { format!("+{}s", (number - T) / 1_000) } else { number.to_string() };
        match row["sumOpenInterest"].as_str().or(row["openInterest"].as_str()) {
            Some(value) => format!("{said}={value}"),
            None => said,
        }
    };
    let rows = list.map(|rows| rows.iter().map(row).collect::<Vec<_>>().join(" "));
    let code = body.get("code").or(body.get("retCode").filter(|code| **code != 0));
    let got = code.map_or_else(|| rows.unwrap_or_default(), |code| format!("code {code}"));
    assert_eq!(format!("{status}: {got}"), want, "{target}");
}

#[test]
fn aggregate_trades_come_by_time_or_by_id() {
    let archive = binance();
    let ask = |query: &str, want: &str| check(&archive, &format!("/fapi/v1/aggTrades?symbol=BTCUSDT{query}"), want);
    ask(&format!("&startTime={}&endTime={}&limit=1000", T + 20_000, T + 60_000), "200: 8 9 10");
    ask(&format!("&startTime={}&endTime={}&limit=2", T + 20_000, T + 60_000), "200: 8 9");
    ask("&fromId=12&limit=2", "200: 12 13");
    ask("&fromId=99", "200: ");
    ask("&limit=3", "200: 12 13 14");
    ask(&format!("&fromId=12&startTime={T}"), "400: code -1128");
    ask(&format!("&startTime={}&endTime={}", T - 3_600_000, T), "400: code -1127");
    ask("&limit=1001", "400: code -1130");
    check(&archive, "/fapi/v1/aggTrades?symbol=NONE", "400: code -1121");
}

#[test]
fn minutes_are_those_that_are_over_and_a_quiet_one_says_so() {
    let archive = binance();
    let ask = |query: &str, want: &str| check(&archive, &format!("/fapi/v1/klines?symbol=BTCUSDT&interval=1m{query}"), want);
    ask(&format!("&startTime={T}&endTime={}&limit=1500", minute(9)), "200: +0s +60s +120s");
    ask(&format!("&startTime={}&limit=1", T + 1), "200: +60s");
    ask("&limit=2", "200: +60s +120s");
    ask(&format!("&startTime={}", i64::MAX), "200: ");
    ask("&limit=1501", "400: code -1130");
    let (_, body) =
        archive.answer(&format!("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={}&limit=1", minute(2))).unwrap();
    assert_eq!(body, format!(r#"[[{},"5","5","5","5","0",{},"0",0,"0","0","0"]]"#, minute(2), minute(3) - 1));
}

#[test]
fn settlements_and_open_interest_are_what_was_recorded() {
    let archive = Archive::default();
    let settled = format!(r#"[{{"symbol":"BTCUSDT","fundingRate":"0.0001","fundingTime":{T},"markPrice":"1"}}]"#);
    archive.pass_answer("https://fapi.binance.com/fapi/v1/fundingRate?symbol=BTCUSDT&limit=1", &settled);
    for (seconds, value) in [(10, "1"), (290, "2"), (310, "3"), (620, "4"), (640, "5")] {
        let body = format!(r#"{{"openInterest":"{value}","symbol":"BTCUSDT","time":{}}}"#, T + seconds * 1_000);
        archive.pass_answer("https://fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDT", &body);
    }
    check(&archive, &format!("/fapi/v1/fundingRate?symbol=BTCUSDT&startTime={T}&endTime={T}"), "200: +0s");
    check(&archive, &format!("/fapi/v1/fundingRate?symbol=BTCUSDT&startTime={}", T + 1), "200: ");
    check(&archive, &format!("/futures/data/openInterestHist?symbol=BTCUSDT&period=5m&startTime={T}"), "200: +300s=2 +600s=3");
    check(&archive, "/futures/data/openInterestHist?symbol=BTCUSDT&period=5m&limit=501", "400: code -1130");
}

#[test]
fn bybit_answers_newest_first() {
    let archive = Archive::default();
    for n in 0..3 {
        let kline = format!(
            r#"{{"topic":"kline.1.BTCUSDT","data":[{{"start":{},"end":1,"interval":"1","open":"1","close":"2","high":"3","low":"1","volume":"5","turnover":"9","confirm":{},"timestamp":1}}],"ts":1,"type":"snapshot"}}"#,
            minute(n),
            n < 2
        );
        archive.pass(Venue::BybitLinear, "kline.1.BTCUSDT", &kline);
        let ts = minute(5 * n) + 1_000;
        let ticker = format!(
            r#"{{"topic":"tickers.BTCUSDT","type":"delta","data":{{"symbol":"BTCUSDT","openInterest":"{n}"}},"cs":1,"ts":{ts}}}"#
        );
        archive.pass(Venue::BybitLinear, "tickers.BTCUSDT", &ticker);
    }
    let ask = |path: &str, query: &str, want: &str| {
        check(&archive, &format!("/v5/market/{path}?category=linear&symbol=BTCUSDT&{query}"), want);
    };
    ask("kline", &format!("interval=1&start={T}&end={}&limit=1000", minute(1) + 59_999), "200: +60s +0s");
    ask("kline", "interval=1&limit=1001", "200: code 10001");
    ask("open-interest", &format!("intervalTime=5min&startTime={T}&endTime={}", minute(60)), "200: +600s=1 +300s=0");
    ask("open-interest", &format!("intervalTime=5min&startTime={T}"), "200: code 10001");
    ask("funding/history", "limit=200", "200: ");
    check(&archive, "/v5/market/kline?category=linear&symbol=NONE&interval=1", "200: code 10001");
}

#[test]
fn what_is_no_question_about_the_past_is_left_to_others() {
    for target in ["/fapi/v1/openInterest?symbol=BTCUSDT", "/", "/fapi/v1/depth", "//", "/v5/market/tickers"] {
        assert_eq!(binance().answer(target), None, "{target}");
    }
}
