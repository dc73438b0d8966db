//! Binance's past: aggregate trades by id, klines, settled funding, open interest.
//!
//! Limits of the venue: 1,000 trades a page and a window under an hour, 1,500 klines, 1,000 settlements, 500 samples of open
//! interest (of the last month). Liquidations, mark prices and predicted rates can't be had.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::session::BinanceUsdm;
use crate::feeds::live::history::{Cure, History, Page, PageError, Question, Recovered, Source, Span};
use crate::feeds::live::session::encoded;

const AGG_TRADES: [Cure; 2] =
    [Cure { source: Source::Prints, worth: Recovered::Full }, Cure { source: Source::Minutes, worth: Recovered::Full }];
/// Aggregates and single trades share their ids, but an aggregate of which a part was heard would count as heard: minutes.
const MINUTES: [Cure; 1] = [Cure { source: Source::Minutes, worth: Recovered::Full }];
/// Of what the mark price stream tells only the rate at which it was settled.
const MARK: [Cure; 1] = [Cure { source: Source::Settled, worth: Recovered::Partial }];
/// The venue gives 500 of these in five minutes, whatever the budget: as many as have this weight in ours.
const SETTLED_WEIGHT: u32 = 12;
/// 1,000 in five minutes.
const INTEREST_WEIGHT: u32 = 6;
/// Every fifth minute instead of four times a minute.
const OPEN_INTEREST: [Cure; 1] = [Cure { source: Source::Interest, worth: Recovered::Partial }];

impl History for BinanceUsdm {
    fn cures(&self, kind: &str) -> &'static [Cure] {
        match kind {
            "aggTrades" | "@aggTrade" => &AGG_TRADES,
            "trades" | "klines" | "@trade" | "@kline_1m" => &MINUTES,
            "mark" | "@markPrice" | "@markPrice@1s" => &MARK,
            "open_interest" => &OPEN_INTEREST,
            _ => &[],
        }
    }

    fn rows_max(&self, source: Source) -> usize {
        match source {
            // A thousand cost half of what 1,500 do.
            Source::Prints | Source::Minutes | Source::Settled => 1_000,
            Source::Interest => 500,
        }
    }

    fn question(&self, source: Source, symbol: &str, span: Span, next: Option<u64>) -> Question {
        let (symbol, Span { from_ms, to_ms }) = (encoded(symbol), span);
        let times = format!("startTime={from_ms}&endTime={to_ms}");
        match source {
            Source::Prints => {
                let from = next.map_or(times, |id| format!("fromId={id}"));
                Question { path: format!("/fapi/v1/aggTrades?symbol={symbol}&{from}&limit=1000"), weight: 20 }
            }
            Source::Minutes => {
                let rows = (to_ms - from_ms).div_euclid(60_000) + 1;
                let weight = match rows {
                    ..100 => 1,
                    100..500 => 2,
                    500..=1_000 => 5,
                    _ => 10,
                };
                Question { path: format!("/fapi/v1/klines?symbol={symbol}&interval=1m&{times}&limit={rows}"), weight }
            }
            Source::Settled => {
                Question { path: format!("/fapi/v1/fundingRate?symbol={symbol}&{times}&limit=1000"), weight: SETTLED_WEIGHT }
            }
            Source::Interest => Question {
                path: format!("/futures/data/openInterestHist?symbol={symbol}&period=5m&{times}&limit=500"),
                weight: INTEREST_WEIGHT,
            },
        }
    }

    fn page(&self, source: Source, body: &[u8]) -> Result<Page, PageError> {
        match source {
            Source::Prints => {
                let rows: Vec<AggTrade> = rows(body)?;
                Ok(Page { last_id: rows.last().map(|row| row.id), times: rows.iter().map(|row| row.ts).collect() })
            }
            Source::Minutes => times(rows::<Row>(body)?, |row| Some(row.0)),
            Source::Settled => times(rows::<Settlement>(body)?, |row| Some(row.ts)),
            Source::Interest => times(rows::<Sample<'_>>(body)?, |row| row.ts.parse().ok()),
        }
    }
}

fn times<R>(rows: Vec<R>, ts: impl Fn(R) -> Option<i64>) -> Result<Page, PageError> {
    Ok(Page { times: rows.into_iter().filter_map(ts).collect(), last_id: None })
}

/// `{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true}`
#[derive(Deserialize)]
struct AggTrade {
    #[serde(rename = "a")]
    id: u64,
    #[serde(rename = "T")]
    ts: i64,
}

/// `[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]`
struct Row(i64);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Open;
        impl<'de> serde::de::Visitor<'de> for Open {
            type Value = Row;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a kline: an array that begins with its opening time")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut row: A) -> Result<Row, A::Error> {
                let open_ms = row.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
                while row.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Row(open_ms))
            }
        }
        deserializer.deserialize_seq(Open)
    }
}

/// `{"symbol":"BTCUSDT","fundingRate":"-0.03750000","fundingTime":1570608000000,"markPrice":"34287.54619963"}`
#[derive(Deserialize)]
struct Settlement {
    #[serde(rename = "fundingTime")]
    ts: i64,
}

/// `{"symbol":"BTCUSDT","sumOpenInterest":"20403.637","sumOpenInterestValue":"150570784.07","timestamp":"1583127900000"}`
#[derive(Deserialize)]
struct Sample<'a> {
    #[serde(rename = "timestamp")]
    ts: std::borrow::Cow<'a, str>,
}

/// `{"code":-1121,"msg":"Invalid symbol."}`
#[derive(Deserialize)]
struct Refusal {
    code: i64,
    #[serde(default)]
    msg: String,
}

/// Too many requests; too much load.
const LATER: [i64; 3] = [-1003, -1008, -1015];

fn rows<'a, R: Deserialize<'a>>(body: &'a [u8]) -> Result<Vec<R>, PageError> {
    serde_json::from_slice(body).map_err(|error| match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { code, msg }) => PageError::Refused { code, message: msg, is_retryable: LATER.contains(&code) },
        Err(_) => PageError::Unreadable(error.to_string()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SPAN: Span = Span { from_ms: 1_499_040_000_000, to_ms: 1_499_040_239_999 };

    fn check(source: Source, next: Option<u64>, want: &str, weight: u32) {
        let question = BinanceUsdm.question(source, "BTCUSDT", SPAN, next);
        assert_eq!((question.path.as_str(), question.weight), (want, weight));
    }

    #[test]
    fn questions_are_the_venues() {
        const TIMES: &str = "startTime=1499040000000&endTime=1499040239999";
        check(Source::Prints, None, &format!("/fapi/v1/aggTrades?symbol=BTCUSDT&{TIMES}&limit=1000"), 20);
        check(Source::Prints, Some(26_130), "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=26130&limit=1000", 20);
        check(Source::Minutes, None, &format!("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&{TIMES}&limit=4"), 1);
        check(Source::Settled, None, &format!("/fapi/v1/fundingRate?symbol=BTCUSDT&{TIMES}&limit=1000"), 12);
        check(Source::Interest, None, &format!("/futures/data/openInterestHist?symbol=BTCUSDT&period=5m&{TIMES}&limit=500"), 6);
        let hour = Span { to_ms: SPAN.from_ms + 120 * 60_000 - 1, ..SPAN };
        let question = BinanceUsdm.question(Source::Minutes, "牛来USDT", hour, None);
        assert!(question.path.contains("symbol=%E7%89%9B%E6%9D%A5USDT&") && question.path.ends_with("limit=120"), "{question:?}");
        assert_eq!(question.weight, 2);
    }

    #[test]
    fn answers_are_read_as_far_as_paging_needs() {
        let page = |source, body: &str| BinanceUsdm.page(source, body.as_bytes());
        let trades = r#"[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true}]"#;
        assert_eq!(page(Source::Prints, trades), Ok(Page { times: vec![1_498_793_709_153], last_id: Some(26_129) }));
        let klines =
            r#"[[1499040000000,"0.01634790","0.8","0.0157","0.0157","148976.1",1499644799999,"2434.1",308,"1756.8","28.4","0"]]"#;
        assert_eq!(page(Source::Minutes, klines).unwrap().times, [1_499_040_000_000]);
        let settled =
            r#"[{"symbol":"BTCUSDT","fundingRate":"-0.03750000","fundingTime":1570608000000,"markPrice":"34287.54619963"}]"#;
        assert_eq!(page(Source::Settled, settled).unwrap().times, [1_570_608_000_000]);
        let interest = r#"[{"symbol":"BTCUSDT","sumOpenInterest":"20403.637","sumOpenInterestValue":"150570784.07","timestamp":"1583127900000"}]"#;
        assert_eq!(page(Source::Interest, interest).unwrap().times, [1_583_127_900_000]);
        assert_eq!(page(Source::Prints, "[]"), Ok(Page::default()));
        let error = page(Source::Prints, r#"{"code":-1121,"msg":"Invalid symbol."}"#).unwrap_err();
        assert_eq!(error.to_string(), "the venue answered: code -1121: Invalid symbol.");
        assert!(matches!(page(Source::Minutes, "[[]]"), Err(PageError::Unreadable(_))));
        assert!(matches!(page(Source::Minutes, "<html>"), Err(PageError::Unreadable(_))));
    }
}
