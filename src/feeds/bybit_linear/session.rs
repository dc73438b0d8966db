//! Bybit v5 linear: one route, subscriptions in tens, a JSON ping every 20 s.
//!
//! Whether one bad topic fails its whole request is not documented, so a refused request is repeated topic by topic.

use std::borrow::Cow;
use std::time::Duration;

use dataflows::model::Venue;
use serde::Deserialize;

use crate::config::Feed;
use crate::feeds::live::history::History;
use crate::feeds::live::session::{Class, Poll, Rate, Session, Stream, time_after, trades_silence};

/// The venue's rules.
#[derive(Clone, Copy, Debug)]
pub struct BybitLinear;

const USUAL: [&str; 4] = ["trades", "klines", "tickers", "liquidations"];
const KNOWN: [&str; 6] = ["trades", "klines", "tickers", "mark", "open_interest", "liquidations"];

impl Session for BybitLinear {
    fn venue(&self) -> Venue {
        Venue::BybitLinear
    }

    fn ws_url(&self) -> &'static str {
        "wss://stream.bybit.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.bybit.com"
    }

    fn path(&self, _route: &str) -> String {
        "/v5/public/linear".into()
    }

    fn connects(&self) -> Rate {
        Rate(500, Duration::from_secs(300))
    }

    /// The venue states no limit; this one is ours.
    fn client_messages(&self) -> Rate {
        Rate(10, Duration::from_secs(1))
    }

    fn rest_weight(&self) -> Rate {
        Rate(300, Duration::from_secs(5))
    }

    fn subscribe_max(&self) -> usize {
        10
    }

    fn names_max(&self) -> usize {
        21_000
    }

    fn stream(&self, name: &str, symbol: &str) -> Option<Stream> {
        let secs = |n| Some(Duration::from_secs(n));
        let (key, kind, silence) = match name {
            "trades" => (format!("publicTrade.{symbol}"), name, trades_silence(symbol)),
            "klines" => (format!("kline.1.{symbol}"), name, secs(90)),
            // Mark price, funding and open interest all come with the ticker.
            "tickers" | "mark" | "open_interest" => (format!("tickers.{symbol}"), "tickers", secs(15)),
            "liquidations" => (format!("allLiquidation.{symbol}"), name, None),
            // The venue's own names: `orderbook.200` for each symbol.
            own if own.contains('.') => (format!("{own}.{symbol}"), own, None),
            _ => return None,
        };
        let sparse = name == "liquidations";
        Some(Stream { key, kind: kind.into(), symbol: symbol.into(), route: "linear", silence, sparse })
    }

    fn known(&self) -> &'static [&'static str] {
        &KNOWN
    }

    fn usual(&self) -> &'static [&'static str] {
        &USUAL
    }

    fn polls(&self, _cfg: &Feed) -> Vec<Poll> {
        Vec::new()
    }

    fn subscribe(&self, id: u64, keys: &[&str]) -> String {
        serde_json::json!({"req_id": id.to_string(), "op": "subscribe", "args": keys}).to_string()
    }

    fn ping(&self, id: u64) -> Option<String> {
        Some(serde_json::json!({"req_id": id.to_string(), "op": "ping"}).to_string())
    }

    fn classify<'a>(&self, text: &'a str) -> Class<'a> {
        if let Some((key, _)) = text.strip_prefix(r#"{"topic":""#).and_then(|rest| rest.split_once('"')) {
            return Class::Data(key);
        }
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Class::Other };
        if let Some(key) = envelope.topic {
            return Class::Data(key);
        }
        match envelope.op {
            Some("ping" | "pong") => Class::Pong,
            Some("subscribe") => {
                let reason = envelope.ret_msg.unwrap_or_default();
                let refused = (envelope.success != Some(true)).then(|| reason.into_owned());
                Class::Ack { id: envelope.req_id.and_then(|id| id.parse().ok()), refused }
            }
            _ if envelope.ret_msg.as_deref() == Some("pong") => Class::Pong,
            _ => Class::Other,
        }
    }

    fn event_ms(&self, text: &str) -> Option<i64> {
        time_after(text, "\"ts\":")
    }

    fn history(&self) -> &'static dyn History {
        &BybitLinear
    }
}

/// `{"success":true,"ret_msg":"","conn_id":"cejreaspqfm9se7usbrg-2xh","req_id":"1","op":"subscribe"}`,
/// `{"success":true,"ret_msg":"pong","conn_id":"…","req_id":"100001","op":"ping"}`, `{"op":"pong",…}`, or data whose keys
/// come in another order.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    topic: Option<&'a str>,
    #[serde(borrow, default)]
    op: Option<&'a str>,
    #[serde(default)]
    success: Option<bool>,
    #[serde(borrow, default)]
    ret_msg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    req_id: Option<Cow<'a, str>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, want: Class<'_>) {
        assert_eq!(BybitLinear.classify(text), want, "{text}");
    }

    fn ack(id: Option<u64>, refused: Option<&str>) -> Class<'static> {
        Class::Ack { id, refused: refused.map(str::to_owned) }
    }

    #[test]
    fn frames_are_told_apart() {
        check(r#"{"topic":"tickers.BTCUSDT","ts":1,"type":"delta","data":{}}"#, Class::Data("tickers.BTCUSDT"));
        check(r#"{"type":"snapshot","topic":"kline.1.BTCUSDT","data":[]}"#, Class::Data("kline.1.BTCUSDT"));
        check(r#"{"success":true,"ret_msg":"","conn_id":"c","req_id":"7","op":"subscribe"}"#, ack(Some(7), None));
        check(r#"{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"","op":"subscribe"}"#, ack(None, None));
        check(
            r#"{"success":false,"ret_msg":"Invalid topic: invalid.topic.BTCUSDT","conn_id":"c","op":"subscribe"}"#,
            ack(None, Some("Invalid topic: invalid.topic.BTCUSDT")),
        );
        check(r#"{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"100001","op":"ping"}"#, Class::Pong);
        check(r#"{"req_id":"1","op":"pong","args":["1675418560633"],"conn_id":"c"}"#, Class::Pong);
        for garbage in ["", "{", "[]", "null", r#"{"topic":"#, r#"{"topic":"x"#, r#"{"op":"auth"}"#, "\u{0}"] {
            check(garbage, Class::Other);
        }
    }

    #[test]
    fn mark_and_open_interest_come_with_the_ticker() {
        for name in ["tickers", "mark", "open_interest"] {
            assert_eq!(BybitLinear.stream(name, "BTCUSDT").unwrap().key, "tickers.BTCUSDT");
        }
        assert_eq!(BybitLinear.stream("orderbook.200", "BTCUSDT").unwrap().key, "orderbook.200.BTCUSDT");
        assert_eq!(BybitLinear.stream("aggTrades", "BTCUSDT"), None);
    }
}
