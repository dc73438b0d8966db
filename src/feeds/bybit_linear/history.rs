//! Bybit's past: klines, settled funding, open interest.
//!
//! Prints can't be had beyond the last thousand, so a gap's trades come back as minutes; those don't say who took nor how
//! often was traded. Limits of the venue: 1,000 klines, 200 settlements or samples an answer, newest first. Our spans never
//! hold more, so there is nothing to page.

use std::borrow::Cow;

use serde::Deserialize;

use super::session::BybitLinear;
use crate::feeds::live::history::{Cure, History, Page, PageError, Question, Recovered, Source, Span};
use crate::feeds::live::session::encoded;

const TRADES: [Cure; 1] = [Cure { source: Source::Minutes, worth: Recovered::Partial }];
const KLINES: [Cure; 1] = [Cure { source: Source::Minutes, worth: Recovered::Full }];
/// Of what a ticker tells neither mark prices nor predicted rates.
const TICKERS: [Cure; 2] =
    [Cure { source: Source::Settled, worth: Recovered::Partial }, Cure { source: Source::Interest, worth: Recovered::Partial }];
/// A per-endpoint limit was reached; too many visits.
const LATER: [i64; 2] = [10_006, 10_018];

impl History for BybitLinear {
    fn cures(&self, kind: &str) -> &'static [Cure] {
        match kind {
            "trades" => &TRADES,
            "klines" => &KLINES,
            "tickers" => &TICKERS,
            _ => &[],
        }
    }

    fn rows_max(&self, source: Source) -> usize {
        if source == Source::Minutes { 1_000 } else { 200 }
    }

    fn question(&self, source: Source, symbol: &str, span: Span, _next: Option<u64>) -> Question {
        let (symbol, Span { from_ms, to_ms }) = (encoded(symbol), span);
        let path = match source {
            Source::Prints | Source::Minutes => {
                format!("/v5/market/kline?category=linear&symbol={symbol}&interval=1&start={from_ms}&end={to_ms}&limit=1000")
            }
            Source::Settled => format!(
                "/v5/market/funding/history?category=linear&symbol={symbol}&startTime={from_ms}&endTime={to_ms}&limit=200"
            ),
            Source::Interest => format!(
                "/v5/market/open-interest?category=linear&symbol={symbol}&intervalTime=5min&startTime={from_ms}&endTime={to_ms}&limit=200"
            ),
        };
        Question { path, weight: 1 }
    }

    fn page(&self, source: Source, body: &[u8]) -> Result<Page, PageError> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| PageError::Unreadable(error.to_string()))?;
        if answer.code != 0 {
            let (code, message) = (answer.code, answer.message.into_owned());
            return Err(PageError::Refused { code, message, is_retryable: LATER.contains(&code) });
        }
        let ts = |row: &Row<'_>| match (row, source) {
            (Row::Kline(row), _) => row.first()?.parse().ok(),
            (Row::Object(row), Source::Settled) => row.settled.parse().ok(),
            (Row::Object(row), _) => row.sampled.parse().ok(),
        };
        Ok(Page { times: answer.result.list.iter().filter_map(ts).collect(), last_id: None })
    }
}

/// `{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSDT","category":"linear","list":[…]},"retExtInfo":{},"time":1672025956592}`
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "retCode")]
    code: i64,
    #[serde(borrow, rename = "retMsg", default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    result: List<'a>,
}

#[derive(Default, Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    list: Vec<Row<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row<'a> {
    /// `["1670608800000","17071","17073","17027","17055.5","268611","15.74462667"]`
    Kline(#[serde(borrow)] Vec<Cow<'a, str>>),
    Object(#[serde(borrow)] Times<'a>),
}

/// `{"symbol":"BTCUSDT","fundingRate":"0.0001","fundingRateTimestamp":"1709884800000"}`,
/// `{"openInterest":"63910691.0","singleOpenInterest":"31955346","timestamp":"1780963200000"}`
#[derive(Deserialize)]
struct Times<'a> {
    #[serde(borrow, default, rename = "fundingRateTimestamp")]
    settled: Cow<'a, str>,
    #[serde(borrow, default, rename = "timestamp")]
    sampled: Cow<'a, str>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_the_venues() {
        let check = |source, want: &str| {
            let span = Span { from_ms: 1_670_608_800_000, to_ms: 1_670_608_919_999 };
            assert_eq!(BybitLinear.question(source, "BTCUSDT", span, None).path, want);
        };
        check(
            Source::Minutes,
            "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&start=1670608800000&end=1670608919999&limit=1000",
        );
        check(
            Source::Settled,
            "/v5/market/funding/history?category=linear&symbol=BTCUSDT&startTime=1670608800000&endTime=1670608919999&limit=200",
        );
        check(
            Source::Interest,
            "/v5/market/open-interest?category=linear&symbol=BTCUSDT&intervalTime=5min&startTime=1670608800000&endTime=1670608919999&limit=200",
        );
    }

    #[test]
    fn answers_are_read_as_far_as_completeness_needs() {
        let page = |source, list: &str| {
            let body = format!(r#"{{"retCode":0,"retMsg":"OK","result":{{"category":"linear","list":{list}}},"time":1}}"#);
            BybitLinear.page(source, body.as_bytes()).map(|page| page.times)
        };
        let klines =
            r#"[["1670608860000","17071","17073","17027","17055.5","268611","15.7"],["1670608800000","1","1","1","1","1","1"]]"#;
        assert_eq!(page(Source::Minutes, klines), Ok(vec![1_670_608_860_000, 1_670_608_800_000]));
        let settled = r#"[{"symbol":"BTCUSDT","fundingRate":"0.0001","fundingRateTimestamp":"1709884800000"}]"#;
        assert_eq!(page(Source::Settled, settled), Ok(vec![1_709_884_800_000]));
        let interest = r#"[{"openInterest":"63910691.0","singleOpenInterest":"31955346","timestamp":"1780963200000"}]"#;
        assert_eq!(page(Source::Interest, interest), Ok(vec![1_780_963_200_000]));
        let refused = BybitLinear.page(Source::Minutes, br#"{"retCode":10006,"retMsg":"Too many visits!","result":{}}"#);
        assert!(matches!(refused, Err(PageError::Refused { code: 10_006, is_retryable: true, .. })), "{refused:?}");
        assert!(matches!(BybitLinear.page(Source::Minutes, b"nonsense"), Err(PageError::Unreadable(_))));
    }
}
