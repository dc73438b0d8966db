//! What differs between venues on the wire: a [`Session`] names streams, writes subscriptions, and tells data from
//! acknowledgements. It never looks into market data: that is the parsers' work, behind the dataflow's door.

use std::time::Duration;

use dataflows::model::Venue;

use super::history::History;
use crate::config::Feed;

/// One stream, as the venue names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The venue's name for it, as its messages repeat it: `btcusdt@aggTrade`, `tickers.BTCUSDT`.
    pub key: String,
    /// Ours, as the configuration writes it: `aggTrades`, `tickers`.
    pub kind: String,
    /// The venue's symbol; empty: all of them.
    pub symbol: String,
    /// Which of the venue's routes carries it. One connection serves one route.
    pub route: &'static str,
    /// Longer silence is an alarm. `None`: silence is normal.
    pub silence: Option<Duration>,
    /// Frames are rare by nature (liquidations), so the connection's other streams prove it alive.
    pub sparse: bool,
}

/// What a text frame is, found out cheaply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class<'a> {
    /// Market data of this stream.
    Data(&'a str),
    /// The answer to our request number `id` (not all venues repeat it).
    Ack {
        /// Our number, where the answer repeats it.
        id: Option<u64>,
        /// Why the venue refused; `None`: it did not.
        refused: Option<String>,
    },
    /// The answer to our ping.
    Pong,
    /// The venue will close this connection soon.
    Leaving,
    /// Anything else. Handed on like data, so that the parsers count it.
    Other,
}

/// Something that has to be asked for over REST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Path and query.
    pub path: String,
    /// Ours: `open_interest`.
    pub kind: &'static str,
    /// The venue's symbol; empty: all.
    pub symbol: String,
    /// Asked once at the start, not again and again.
    pub once: bool,
    /// What it costs of the venue's budget.
    pub weight: u32,
}

/// A rate: so many in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u32, pub Duration);

/// One venue's rules.
pub trait Session: Send + Sync {
    /// Whose rules.
    fn venue(&self) -> Venue;
    /// WebSocket root.
    fn ws_url(&self) -> &'static str;
    /// REST root.
    fn rest_url(&self) -> &'static str;
    /// The path of a route, with its leading slash.
    fn path(&self, route: &str) -> String;
    /// New connections.
    fn connects(&self) -> Rate;
    /// Messages of ours on one connection.
    fn client_messages(&self) -> Rate;
    /// REST weight.
    fn rest_weight(&self) -> Rate;
    /// Most streams in one subscription request.
    fn subscribe_max(&self) -> usize;
    /// Most characters of stream names on one connection.
    fn names_max(&self) -> usize;
    /// The streams that one configured name stands for, for one symbol. `None`: this venue has no such stream.
    fn stream(&self, name: &str, symbol: &str) -> Option<Stream>;
    /// The names that [`Session::stream`] and [`Session::polls`] know.
    fn known(&self) -> &'static [&'static str];
    /// The names meant by an empty list.
    fn usual(&self) -> &'static [&'static str];
    /// What has to be polled for the names of `cfg`.
    fn polls(&self, cfg: &Feed) -> Vec<Poll>;
    /// The subscription request number `id`.
    fn subscribe(&self, id: u64, keys: &[&str]) -> String;
    /// The ping message number `id` that the venue wants at all times. `None`: the venue pings us, and we send a ping
    /// frame only when nothing at all came for a while, to find a half-open socket.
    fn ping(&self, id: u64) -> Option<String>;
    /// What a frame is.
    fn classify<'a>(&self, text: &'a str) -> Class<'a>;
    /// When a frame of data was sent, by the venue's clock, UTC ms, found without parsing it.
    fn event_ms(&self, text: &str) -> Option<i64>;
    /// What its REST still has of the past.
    fn history(&self) -> &'static dyn History;
}

/// A symbol as a query has it: some are not ASCII.
#[must_use]
pub fn encoded(symbol: &str) -> String {
    url::form_urlencoded::byte_serialize(symbol.as_bytes()).collect()
}

/// The time, UTC ms, behind the first `key` of a frame. `None`: it has none, or not one of the years 2001 to 2100.
#[must_use]
pub fn time_after(text: &str, key: &str) -> Option<i64> {
    let at = memchr::memmem::find(text.as_bytes(), key.as_bytes())? + key.len();
    let digits = text.as_bytes()[at..].iter().take(14).take_while(|byte| byte.is_ascii_digit());
    let ms = digits.fold(0, |ms: i64, digit| ms * 10 + i64::from(digit - b'0'));
    (TIME_MIN..TIME_MAX).contains(&ms).then_some(ms)
}

/// 2001-09-09, UTC ms: thirteen digits.
const TIME_MIN: i64 = 1_000_000_000_000;
/// 2101-01-01, UTC ms.
const TIME_MAX: i64 = 4_133_980_800_000;

/// The rules of a venue that can be listened to live.
#[must_use]
pub fn of(venue: Venue) -> Option<&'static dyn Session> {
    match venue {
        Venue::BinanceUsdm => Some(&crate::feeds::binance_usdm::session::BinanceUsdm),
        Venue::BybitLinear => Some(&crate::feeds::bybit_linear::session::BybitLinear),
        _ => None,
    }
}

/// Symbols that trade at least once a minute at any hour: their trades may not be silent for longer.
const MAJORS: [&str; 8] = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT", "DOGEUSDT", "ADAUSDT", "1000PEPEUSDT"];

/// The silence limit of trades: a minute for a major symbol, a quarter of an hour for a minor one.
#[must_use]
pub fn trades_silence(symbol: &str) -> Option<Duration> {
    Some(Duration::from_secs(if MAJORS.contains(&symbol) { 60 } else { 900 }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_makes_a_session_panic(text in "\\PC{0,120}", at in 0..120usize, byte in any::<u8>()) {
            let real = [
                r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT"}}"#,
                r#"{"code":2,"msg":"Invalid request: unknown variant","id":6,"error":{"code":1,"msg":"m"}}"#,
                r#"{"success":false,"ret_msg":"Invalid topic","conn_id":"c","req_id":"1","op":"subscribe"}"#,
            ];
            for venue in [Venue::BinanceUsdm, Venue::BybitLinear] {
                let session = of(venue).unwrap();
                session.classify(&text);
                for real in real {
                    let mut bytes = real.as_bytes().to_vec();
                    let at = at % bytes.len();
                    bytes[at] = byte;
                    session.classify(&String::from_utf8_lossy(&bytes));
                    session.classify(&real[..at]);
                }
            }
        }
    }
}
