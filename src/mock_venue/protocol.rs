//! The venues' side of the conversation: which path is which route, what a request is answered.

use dataflows::model::Venue;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::feeds::binance_usdm::session::route_of_key;
use crate::feeds::live::session::{Class, of};

/// What a socket's path makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose path.
    pub venue: Venue,
    /// `market`, `public`, `linear`. The retired paths without route deliver what `public` delivers.
    pub name: &'static str,
    /// Messages come wrapped: `{"stream":…,"data":…}`.
    pub combined: bool,
    /// Streams that the path itself names.
    pub streams: Vec<String>,
}

impl Route {
    /// Reads a request's path and query.
    pub fn of(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == "/v5/public/linear" {
            return Some(Self { venue: Venue::BybitLinear, name: "linear", combined: false, streams: Vec::new() });
        }
        let (name, rest) = match path {
            path if path.starts_with("/market/") => ("market", &path["/market".len()..]),
            path if path.starts_with("/public/") => ("public", &path["/public".len()..]),
            path => ("public", path),
        };
        let split = |text: &str| text.split('/').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        let (combined, streams) = match rest {
            "/stream" => (true, query.strip_prefix("streams=").map(split).unwrap_or_default()),
            rest if rest == "/ws" || rest.starts_with("/ws/") => (false, split(&rest["/ws".len()..])),
            _ => return None,
        };
        Some(Self { venue: Venue::BinanceUsdm, name, combined, streams })
    }

    /// Does this route carry the stream? A venue acknowledges it either way.
    pub fn carries(&self, key: &str) -> bool {
        self.venue != Venue::BinanceUsdm || route_of_key(key) == self.name
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// These streams, from now on.
    Subscribe(Vec<String>),
    /// These no longer.
    Unsubscribe(Vec<String>),
    /// To be told what it is subscribed to.
    List,
    /// A pong.
    Ping,
    /// Only the answer.
    Nothing,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    method: String,
    params: Value,
    id: Value,
    op: String,
    args: Vec<String>,
    req_id: String,
}

/// Reads a client's message: what it wants, and the answer (for [`Request::List`] without its list).
pub fn request(venue: Venue, text: &str) -> (Request, Value) {
    match (venue, serde_json::from_str::<Asked>(text)) {
        (Venue::BybitLinear, asked) => bybit(asked.unwrap_or_default()),
        (_, Err(error)) => (Request::Nothing, json!({"code": 3, "msg": format!("Invalid JSON: {error}")})),
        (_, Ok(asked)) => binance(asked),
    }
}

fn binance(asked: Asked) -> (Request, Value) {
    let done = json!({"result": null, "id": asked.id});
    let keys = || serde_json::from_value::<Vec<String>>(asked.params.clone()).unwrap_or_default();
    match asked.method.as_str() {
        "SUBSCRIBE" => (Request::Subscribe(keys()), done),
        "UNSUBSCRIBE" => (Request::Unsubscribe(keys()), done),
        "LIST_SUBSCRIPTIONS" => (Request::List, done),
        "SET_PROPERTY" => (Request::Nothing, done),
        other => {
            let msg = format!("Invalid request: unknown variant `{other}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, ...");
            (Request::Nothing, json!({"code": 2, "msg": msg, "id": asked.id}))
        }
    }
}

fn bybit(asked: Asked) -> (Request, Value) {
    let answer = |success: bool, msg: &str| json!({"success": success, "ret_msg": msg, "conn_id": "mock", "req_id": asked.req_id, "op": asked.op});
    match asked.op.as_str() {
        "ping" => (Request::Ping, answer(true, "pong")),
        "subscribe" => match asked.args.iter().find(|topic| !known(topic)) {
            Some(topic) => (Request::Nothing, answer(false, &format!("Invalid topic: {topic}"))),
            None => (Request::Subscribe(asked.args.clone()), answer(true, "")),
        },
        "unsubscribe" => (Request::Unsubscribe(asked.args.clone()), answer(true, "")),
        _ => (Request::Nothing, answer(false, "Request not supported")),
    }
}

/// Topics that Bybit's linear socket has.
fn known(topic: &str) -> bool {
    let heads = ["publicTrade.", "tickers.", "kline.", "allLiquidation.", "orderbook.", "insurance.", "adlAlert."];
    heads.iter().any(|head| topic.starts_with(head))
}

/// The stream of a recorded frame. Acknowledgements and the like have none.
pub fn stream_of(venue: Venue, payload: &str) -> Option<String> {
    match of(venue)?.classify(payload) {
        Class::Data(key) => Some(key.to_owned()),
        _ if venue == Venue::BinanceUsdm => raw_stream(payload),
        _ => None,
    }
}

/// The stream of a Binance message that was recorded without its wrapper.
fn raw_stream(payload: &str) -> Option<String> {
    let message: Value = serde_json::from_str(payload).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let symbol = text(&message["s"]).or_else(|| text(&message["o"]["s"]))?.to_lowercase();
    let name = match message["e"].as_str()? {
        "kline" => format!("kline_{}", message["k"]["i"].as_str()?),
        "markPriceUpdate" => "markPrice@1s".into(),
        "depthUpdate" => "depth".into(),
        other => other.to_owned(),
    };
    Some(format!("{symbol}@{name}"))
}

/// The frame as a connection of this kind gets it.
pub fn dressed(route: &Route, key: &str, payload: &str) -> String {
    let wrapped = payload.starts_with(r#"{"stream":"#);
    match (route.venue == Venue::BinanceUsdm, route.combined, wrapped) {
        (true, true, false) => format!(r#"{{"stream":{},"data":{payload}}}"#, Value::from(key)),
        (true, false, true) => {
            let inner = payload.split_once(r#","data":"#).and_then(|(_, rest)| rest.strip_suffix('}'));
            inner.unwrap_or(payload).to_owned()
        }
        _ => payload.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_routes() {
        let check = |target: &str, want: Option<(&str, bool, &str)>| {
            let route = Route::of(target);
            let got = route.as_ref().map(|route| (route.name, route.combined, route.streams.join(" ")));
            assert_eq!(got, want.map(|(name, combined, streams)| (name, combined, streams.to_owned())), "{target}");
        };
        check("/market/stream", Some(("market", true, "")));
        check(
            "/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker",
            Some(("public", true, "btcusdt@bookTicker ethusdt@bookTicker")),
        );
        check("/market/ws/btcusdt@aggTrade", Some(("market", false, "btcusdt@aggTrade")));
        check("/ws", Some(("public", false, "")));
        check("/stream", Some(("public", true, "")));
        check("/v5/public/linear", Some(("linear", false, "")));
        check("/v5/public/spot", None);
        check("/", None);
    }

    #[test]
    fn a_stream_on_the_wrong_route_is_not_carried() {
        let market = Route::of("/market/stream").unwrap();
        let legacy = Route::of("/stream").unwrap();
        for (key, on_market) in [("btcusdt@aggTrade", true), ("btcusdt@bookTicker", false), ("!forceOrder@arr", true)] {
            assert_eq!((market.carries(key), legacy.carries(key)), (on_market, !on_market), "{key}");
        }
    }

    #[test]
    fn requests_are_answered_as_the_venues_do() {
        let check = |venue, text: &str, want: Request, answer: &str| {
            let (request, value) = request(venue, text);
            assert_eq!((request, value.to_string()), (want, answer.to_owned()), "{text}");
        };
        let keys = || vec!["btcusdt@aggTrade".to_owned()];
        let binance = Venue::BinanceUsdm;
        check(
            binance,
            r#"{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}"#,
            Request::Subscribe(keys()),
            r#"{"id":1,"result":null}"#,
        );
        check(
            binance,
            r#"{"method":"UNSUBSCRIBE","params":["btcusdt@aggTrade"],"id":2}"#,
            Request::Unsubscribe(keys()),
            r#"{"id":2,"result":null}"#,
        );
        check(binance, r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#, Request::List, r#"{"id":3,"result":null}"#);
        let (_, refused) = request(binance, r#"{"method":"SING","id":6}"#);
        assert_eq!((&refused["code"], &refused["id"]), (&json!(2), &json!(6)));
        let bybit = Venue::BybitLinear;
        let (wish, answer) = request(bybit, r#"{"req_id":"7","op":"subscribe","args":["tickers.BTCUSDT","no.such"]}"#);
        assert_eq!((wish, &answer["success"], &answer["req_id"]), (Request::Nothing, &json!(false), &json!("7")));
        let (wish, answer) = request(bybit, r#"{"req_id":"8","op":"ping"}"#);
        assert_eq!((wish, &answer["ret_msg"]), (Request::Ping, &json!("pong")));
    }

    #[test]
    fn frames_are_dressed_for_their_connection() {
        let (combined, raw) = (Route::of("/market/stream").unwrap(), Route::of("/market/ws").unwrap());
        let (bare, wrapped) = (r#"{"e":"aggTrade"}"#, r#"{"stream":"a@aggTrade","data":{"e":"aggTrade"}}"#);
        for payload in [bare, wrapped] {
            assert_eq!(dressed(&combined, "a@aggTrade", payload), wrapped);
            assert_eq!(dressed(&raw, "a@aggTrade", payload), bare);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", cut in 0..200usize) {
            let real = r#"{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1,"op":"subscribe","args":["x"],"req_id":"1"}"#;
            for venue in [Venue::BinanceUsdm, Venue::BybitLinear] {
                for text in [text.as_str(), &real[..cut.min(real.len())]] {
                    let _ = (request(venue, text), stream_of(venue, text), Route::of(text));
                }
            }
        }
    }
}
