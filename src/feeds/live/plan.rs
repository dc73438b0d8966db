//! Which streams go on which connection.
//!
//! A symbol's streams stay together, so that its rare ones (liquidations) share a socket with something that is always
//! heard. A connection carries one route, at most `streams_per_connection_max` streams, and no more names than the venue
//! reads.

use std::time::Duration;

use dataflows::model::Venue;

use super::session::{Session, Stream};
use crate::config::Feed;

/// What one connection listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// `market`, `public`, `linear`.
    pub route: &'static str,
    /// Root, path, and all.
    pub url: String,
    /// In the order in which they are subscribed.
    pub streams: Vec<Stream>,
}

/// The configuration asks for something that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A venue without live feed.
    #[error("feeds: {0} can't be listened to live; live feeds exist for binance-usdm and bybit-linear")]
    NoSuchFeed(Venue),
    /// Nothing to listen to.
    #[error("feeds.{0}: no symbols are configured; name at least one, as the venue writes it: symbols = [\"BTCUSDT\"]")]
    NoSymbols(Venue),
    /// Nothing to listen to.
    #[error("feeds.{venue}: symbol {symbol:?} is none; write it as the venue does: BTCUSDT")]
    BadSymbol {
        /// Whose.
        venue: Venue,
        /// As configured.
        symbol: String,
    },
    /// A stream that the venue lacks.
    #[error("feeds.{venue}: there is no stream {name:?}; there are {known}")]
    UnknownStream {
        /// Whose.
        venue: Venue,
        /// As configured.
        name: String,
        /// What would do.
        known: String,
    },
    /// A root that is no WebSocket or HTTP address.
    #[error("feeds.{venue}: {url:?} is no address; write {scheme}://host:port")]
    BadUrl {
        /// Whose.
        venue: Venue,
        /// As configured.
        url: String,
        /// What it should begin with.
        scheme: &'static str,
    },
}

/// Spreads the configured streams over connections.
///
/// # Errors
/// If the configuration names a symbol, stream or address that can't be.
pub fn plan(session: &dyn Session, cfg: &Feed) -> Result<Vec<ConnectionPlan>, PlanError> {
    let root = root(session.venue(), cfg.ws_url.as_deref(), session.ws_url(), ["ws", "wss"])?;
    let mut plans: Vec<ConnectionPlan> = Vec::new();
    for stream in streams(session, cfg)? {
        let room = |plan: &&mut ConnectionPlan| {
            let names: usize = plan.streams.iter().map(|other| other.key.len() + 3).sum();
            plan.route == stream.route
                && plan.streams.len() < cfg.streams_per_connection_max.max(1)
                && names + stream.key.len() + 3 <= session.names_max()
        };
        if let Some(plan) = plans.iter_mut().rev().find(room) {
            plan.streams.push(stream);
        } else {
            let url = format!("{root}{}", session.path(stream.route));
            plans.push(ConnectionPlan { route: stream.route, url, streams: vec![stream] });
        }
    }
    Ok(plans)
}

/// The root under which REST is asked.
///
/// # Errors
/// If the configured one is no HTTP address.
pub fn rest_root(session: &dyn Session, cfg: &Feed) -> Result<String, PlanError> {
    root(session.venue(), cfg.rest_url.as_deref(), session.rest_url(), ["http", "https"])
}

fn root(venue: Venue, own: Option<&str>, usual: &str, schemes: [&'static str; 2]) -> Result<String, PlanError> {
    let text = own.unwrap_or(usual).trim_end_matches('/');
    let good = url::Url::parse(text).is_ok_and(|url| schemes.contains(&url.scheme()) && url.host().is_some());
    let bad = || PlanError::BadUrl { venue, url: text.to_owned(), scheme: schemes[1] };
    good.then(|| text.to_owned()).ok_or_else(bad)
}

/// All streams that are configured, each once, a symbol's side by side.
fn streams(session: &dyn Session, cfg: &Feed) -> Result<Vec<Stream>, PlanError> {
    let venue = session.venue();
    let usual: Vec<String> = session.usual().iter().map(|&name| name.to_owned()).collect();
    let names = if cfg.streams.is_empty() { &usual } else { &cfg.streams };
    if cfg.symbols.is_empty() {
        return Err(PlanError::NoSymbols(venue));
    }
    let mut seen = std::collections::HashSet::new();
    let mut streams = Vec::new();
    for symbol in &cfg.symbols {
        if symbol.is_empty() || !symbol.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
            return Err(PlanError::BadSymbol { venue, symbol: symbol.clone() });
        }
        for name in names {
            if let Some(mut stream) = session.stream(name, symbol) {
                stream.silence = silence(cfg, &stream);
                if seen.insert(stream.key.clone()) {
                    streams.push(stream);
                }
            } else if !session.known().contains(&name.as_str()) {
                return Err(PlanError::UnknownStream { venue, name: name.clone(), known: session.known().join(", ") });
            }
        }
    }
    Ok(streams)
}

/// The configured limit by the stream's own name, else by its kind, else the built-in one.
fn silence(cfg: &Feed, stream: &Stream) -> Option<Duration> {
    match cfg.silence_ms.get(&stream.key).or_else(|| cfg.silence_ms.get(&stream.kind)) {
        Some(0) => None,
        Some(&ms) => Some(Duration::from_millis(ms)),
        None => stream.silence,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::feeds::live::session;

    /// Plans `symbols` and `streams`, written with spaces, and writes a line per connection.
    fn check(venue: Venue, symbols: &str, streams: &str, max: usize, want: &[&str]) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let cfg = Feed {
            symbols: words(symbols),
            streams: words(streams),
            ws_url: Some("ws://127.0.0.1:1/".into()),
            streams_per_connection_max: max,
            ..Feed::default()
        };
        let got: Vec<String> = match plan(session::of(venue).unwrap(), &cfg) {
            Ok(plans) => plans.iter().map(|plan| format!("{} {}", plan.url, keys(plan))).collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(got, want);
    }

    fn keys(plan: &ConnectionPlan) -> String {
        plan.streams.iter().map(|stream| stream.key.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_route_per_connection() {
        check(
            Venue::BinanceUsdm,
            "BTCUSDT ETHUSDT",
            "aggTrades trades liquidations open_interest",
            200,
            &[
                "ws://127.0.0.1:1/market/stream btcusdt@aggTrade btcusdt@forceOrder ethusdt@aggTrade ethusdt@forceOrder",
                "ws://127.0.0.1:1/public/stream btcusdt@trade ethusdt@trade",
            ],
        );
    }

    #[test]
    fn no_more_streams_than_allowed_and_none_twice() {
        check(
            Venue::BybitLinear,
            "BTCUSDT ETHUSDT",
            "tickers mark trades",
            3,
            &[
                "ws://127.0.0.1:1/v5/public/linear tickers.BTCUSDT publicTrade.BTCUSDT tickers.ETHUSDT",
                "ws://127.0.0.1:1/v5/public/linear publicTrade.ETHUSDT",
            ],
        );
    }

    #[test]
    fn no_more_names_than_the_venue_reads() {
        let symbols: Vec<String> = (0..2_000).map(|n| format!("SYMBOL{n}USDT")).collect();
        let cfg = Feed { symbols, streams_per_connection_max: usize::MAX, ..Feed::default() };
        let plans = plan(session::of(Venue::BybitLinear).unwrap(), &cfg).unwrap();
        assert_eq!(plans.iter().map(|plan| plan.streams.len()).sum::<usize>(), 8_000);
        assert!(plans.iter().all(|plan| keys(plan).len() <= 21_000));
    }

    #[test]
    fn what_can_not_be_is_said() {
        let bybit = Venue::BybitLinear;
        check(
            bybit,
            "BTCUSDT",
            "aggTrades",
            9,
            &[
                "feeds.bybit-linear: there is no stream \"aggTrades\"; there are trades, klines, tickers, mark, open_interest, liquidations",
            ],
        );
        check(
            bybit,
            "BTC/USDT",
            "",
            9,
            &["feeds.bybit-linear: symbol \"BTC/USDT\" is none; write it as the venue does: BTCUSDT"],
        );
        check(
            bybit,
            "",
            "",
            9,
            &[
                "feeds.bybit-linear: no symbols are configured; name at least one, as the venue writes it: symbols = [\"BTCUSDT\"]",
            ],
        );
        let cfg = Feed { symbols: vec!["BTCUSDT".into()], ws_url: Some("localhost:80".into()), ..Feed::default() };
        let error = plan(session::of(bybit).unwrap(), &cfg).unwrap_err().to_string();
        assert_eq!(error, "feeds.bybit-linear: \"localhost:80\" is no address; write wss://host:port");
    }

    #[test]
    fn silence_limits_are_overridden_by_name_then_by_kind() {
        let mut cfg = Feed { symbols: vec!["BTCUSDT".into(), "ETHUSDT".into()], streams: vec!["mark".into()], ..Feed::default() };
        cfg.silence_ms = [("mark".to_owned(), 5), ("ethusdt@markPrice@1s".to_owned(), 0)].into();
        let plans = plan(session::of(Venue::BinanceUsdm).unwrap(), &cfg).unwrap();
        let limits: Vec<_> = plans[0].streams.iter().map(|stream| stream.silence).collect();
        assert_eq!(limits, [Some(Duration::from_millis(5)), None]);
    }
}
