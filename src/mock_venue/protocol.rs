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
