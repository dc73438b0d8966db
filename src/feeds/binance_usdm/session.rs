//! Binance USDⓈ-M: routed URLs, SUBSCRIBE by id, server pings.
//!
//! One socket serves one route, `/market` or `/public`. A stream on the wrong route is acknowledged and stays silent, which
//! is why each stream knows its route here and is watched on its own.

use std::borrow::Cow;
use std::time::Duration;

use dataflows::model::Venue;
use serde::Deserialize;

use crate::config::Feed;
use crate::feeds::live::history::History;
use crate::feeds::live::session::{Class, Poll, Rate, Session, Stream, encoded, time_after, trades_silence};

/// The venue's rules.
#[derive(Clone, Copy, Debug)]
pub struct BinanceUsdm;

const MARKET: &str = "market";
const PUBLIC: &str = "public";
const USUAL: [&str; 5] = ["aggTrades", "klines", "mark", "liquidations", "open_interest"];
const KNOWN: [&str; 6] = ["aggTrades", "trades", "klines", "mark", "liquidations", "open_interest"];

impl Session for BinanceUsdm {
    fn venue(&self) -> Venue {
        Venue::BinanceUsdm
    }

    fn ws_url(&self) -> &'static str {
        "wss://fstream.binance.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://fapi.binance.com"
    }

    fn path(&self, route: &str) -> String {
        format!("/{route}/stream")
    }

    fn connects(&self) -> Rate {
        Rate(300, Duration::from_secs(300))
    }

    /// The venue allows ten a second, pongs among them: two are left for those.
    fn client_messages(&self) -> Rate {
        Rate(8, Duration::from_secs(1))
    }

    /// Half of the venue's 2,400 a minute, so that others on this address have something too.
    fn rest_weight(&self) -> Rate {
        Rate(1_200, Duration::from_secs(60))
    }

    fn subscribe_max(&self) -> usize {
        50
    }

    fn names_max(&self) -> usize {
        usize::MAX
    }

    fn stream(&self, name: &str, symbol: &str) -> Option<Stream> {
        let lower = symbol.to_lowercase();
        let secs = |n| Some(Duration::from_secs(n));
        let (key, route, silence) = match name {
            "aggTrades" => (format!("{lower}@aggTrade"), MARKET, trades_silence(symbol)),
            // Undocumented for futures; sources differ, and the newest file it under /public.
            "trades" => (format!("{lower}@trade"), PUBLIC, trades_silence(symbol)),
            "klines" => (format!("{lower}@kline_1m"), MARKET, secs(90)),
            "mark" => (format!("{lower}@markPrice@1s"), MARKET, secs(15)),
            "liquidations" => (format!("{lower}@forceOrder"), MARKET, None),
            // The venue's own names: `@bookTicker` for each symbol, `!forceOrder@arr` for all.
            own if own.starts_with('@') => (format!("{lower}{own}"), route_of(own), None),
            own if own.starts_with('!') => {
                let (key, symbol) = (own.to_owned(), String::new());
                return Some(Stream { key, kind: own.into(), symbol, route: route_of(own), silence: None, sparse: true });
            }
            _ => return None,
        };
        let sparse = name == "liquidations" || name.starts_with("@forceOrder");
        Some(Stream { key, kind: name.into(), symbol: symbol.into(), route, silence, sparse })
    }

    fn known(&self) -> &'static [&'static str] {
        &KNOWN
    }

    fn usual(&self) -> &'static [&'static str] {
        &USUAL
    }

    fn polls(&self, cfg: &Feed) -> Vec<Poll> {
        if !(cfg.streams.is_empty() || cfg.streams.iter().any(|name| name == "open_interest")) {
            return Vec::new();
        }
        let funding =
            Poll { path: "/fapi/v1/fundingInfo".into(), kind: "funding_info", symbol: String::new(), once: true, weight: 1 };
        let interest = cfg.symbols.iter().map(|symbol| Poll {
            path: format!("/fapi/v1/openInterest?symbol={}", encoded(symbol)),
            kind: "open_interest",
            symbol: symbol.clone(),
            once: false,
            weight: 1,
        });
        std::iter::once(funding).chain(interest).collect()
    }

    fn subscribe(&self, id: u64, keys: &[&str]) -> String {
        serde_json::json!({"method": "SUBSCRIBE", "params": keys, "id": id}).to_string()
    }

    fn ping(&self, _id: u64) -> Option<String> {
        None
    }

    fn classify<'a>(&self, text: &'a str) -> Class<'a> {
        if let Some(key) = text.strip_prefix(r#"{"stream":""#).and_then(|rest| rest.split_once('"')).map(|(key, _)| key) {
            return if key == "!serverShutdown" { Class::Leaving } else { Class::Data(key) };
        }
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Class::Other };
        if envelope.event == Some("serverShutdown") || envelope.stream == Some("!serverShutdown") {
            return Class::Leaving;
        }
        if let Some(key) = envelope.stream {
            return Class::Data(key);
        }
        let error = envelope.error.unwrap_or(Refusal { code: envelope.code, msg: envelope.msg });
        let refused = (error.code.is_some() || error.msg.is_some())
            .then(|| format!("code {}: {}", error.code.unwrap_or_default(), error.msg.unwrap_or_default()));
        match (envelope.id, refused) {
            (None, None) => Class::Other,
            (id, refused) => Class::Ack { id, refused },
        }
    }

    fn event_ms(&self, text: &str) -> Option<i64> {
        time_after(text, "\"E\":")
    }

    fn history(&self) -> &'static dyn History {
        &BinanceUsdm
    }
}

/// The route that carries a stream, by the stream's full name.
#[must_use]
pub fn route_of_key(key: &str) -> &'static str {
    if key.starts_with('!') { route_of(key) } else { key.find('@').map_or(MARKET, |at| route_of(&key[at..])) }
}

/// `/public` carries books and book tickers, `/market` everything else.
fn route_of(name: &str) -> &'static str {
    let public = ["@bookTicker", "!bookTicker", "@depth", "@trade"];
    if public.iter().any(|prefix| name.starts_with(prefix)) { PUBLIC } else { MARKET }
}

/// `{"result":null,"id":1}`, `{"code":2,"msg":"Invalid request: …","id":6}`, `{"id":6,"error":{"code":2,"msg":"…"}}`,
/// or a combined message whose keys come in another order.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    stream: Option<&'a str>,
    #[serde(borrow, default, rename = "e")]
    event: Option<&'a str>,
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    code: Option<i64>,
    #[serde(borrow, default)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    error: Option<Refusal<'a>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(default)]
    code: Option<i64>,
    #[serde(borrow, default)]
    msg: Option<Cow<'a, str>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, want: Class<'_>) {
        assert_eq!(BinanceUsdm.classify(text), want, "{text}");
    }

    fn ack(id: Option<u64>, refused: Option<&str>) -> Class<'static> {
        Class::Ack { id, refused: refused.map(str::to_owned) }
    }

    #[test]
    fn frames_are_told_apart() {
        check(
            r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","f":100,"l":105,"T":123456785,"m":true}}"#,
            Class::Data("btcusdt@aggTrade"),
        );
        check(r#"{ "data":{"e":"aggTrade"}, "stream":"btcusdt@aggTrade"}"#, Class::Data("btcusdt@aggTrade"));
        check(r#"{"result":null,"id":1}"#, ack(Some(1), None));
        check(
            r#"{"code":2,"msg":"Invalid request: unknown variant \"X\"","id":6}"#,
            ack(Some(6), Some("code 2: Invalid request: unknown variant \"X\"")),
        );
        check(r#"{"id":6,"error":{"code":3,"msg":"bad"}}"#, ack(Some(6), Some("code 3: bad")));
        check(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}"#, Class::Leaving);
        check(r#"{"e":"serverShutdown","E":1770123456789}"#, Class::Leaving);
        for garbage in ["", "{", "[]", "null", r#"{"stream":"#, r#"{"stream":"x"#, r#"{"id":-1}"#, "\u{0}"] {
            check(garbage, Class::Other);
        }
    }

    #[test]
    fn a_frame_tells_the_venues_time() {
        let check = |text, want| assert_eq!(BinanceUsdm.event_ms(text), want, "{text}");
        check(
            r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1786310820123,"s":"BTCUSDT"}}"#,
            Some(1_786_310_820_123),
        );
        check(r#"{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT"}}"#, Some(1_568_014_460_893));
        check(r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":123456789,"s":"BTCUSDT"}}"#, None);
        check(r#"{"E":99999999999999999999}"#, None);
        check(r#"{"E":"#, None);
    }

    #[test]
    fn each_stream_knows_its_route() {
        let check = |name: &str, key: &str, route: &str| {
            let stream = BinanceUsdm.stream(name, "BTCUSDT").unwrap();
            assert_eq!((stream.key.as_str(), stream.route), (key, route));
        };
        check("aggTrades", "btcusdt@aggTrade", "market");
        check("trades", "btcusdt@trade", "public");
        check("klines", "btcusdt@kline_1m", "market");
        check("mark", "btcusdt@markPrice@1s", "market");
        check("liquidations", "btcusdt@forceOrder", "market");
        check("@bookTicker", "btcusdt@bookTicker", "public");
        check("@depth@0ms", "btcusdt@depth@0ms", "public");
        check("!forceOrder@arr", "!forceOrder@arr", "market");
        assert_eq!(BinanceUsdm.stream("tickers", "BTCUSDT"), None);
    }
}
