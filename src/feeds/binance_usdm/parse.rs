//! Frames into ticks.
//!
//! A frame's first bytes usually tell its type ([`peek`]); order books, which are nine frames of ten, are passed over
//! without reading further. Where they don't tell, the frame is parsed to find out.

use dataflows::model::{
    self, Coverage, Funding, FundingKind, Liquidation, Mark, PositionSide, PriceKind, Tick, Timeframe, TradeId, TradeKind, Venue,
};
use serde::Deserialize;

use super::super::check::{self, Arrival};
use super::super::scan::Fill;
use super::super::symbols::{Symbol, Symbols};
use super::super::wire::{self, Text, Wrapped, after};
use super::super::{Outcome, ParseContext, Parser, Rejection, reason, tally::Tally};
use super::message::{AggTrade, Envelope, ForceOrder, KlineEvent, MarkPrice, Trade};
use crate::frames::Direction;

/// An aggregate trade spans 100 ms: more fills than this are a damaged id.
const FILLS_MAX: u64 = 1_000_000;

/// The venue's parser.
pub struct BinanceUsdm {
    pub(super) symbols: Symbols,
    skew_ms_max: i64,
    pub(super) unknown_fields: u64,
}

impl BinanceUsdm {
    /// A parser with nothing learned yet.
    #[must_use]
    pub fn new(context: &ParseContext) -> Self {
        let symbols = Symbols::new(Venue::BinanceUsdm, context.instruments.clone(), super::canonical);
        Self { symbols, skew_ms_max: context.skew_ms_max, unknown_fields: 0 }
    }
}

impl Parser for BinanceUsdm {
    fn parse(&mut self, payload: &[u8], direction: Direction, recv_ns: i64, ticks: &mut Vec<Tick>) -> Outcome {
        let arrival = Arrival::new(recv_ns, self.skew_ms_max);
        match direction {
            Direction::Out => Outcome::Skipped("sent by us"),
            Direction::Http => self.rest(payload, arrival, ticks),
            Direction::In => match peek(payload) {
                Some((event, _)) if let Some(name) = useless(event) => Outcome::Skipped(name),
                Some((event, wrapped)) if is_used(event) => self.event(event, payload, wrapped, arrival, ticks),
                _ => self.unclear(payload, arrival, ticks),
            },
        }
    }

    fn unknown_fields(&self) -> u64 {
        self.unknown_fields
    }
}

/// The event's type and whether it is wrapped, if the frame is written in the venue's usual order.
fn peek(payload: &[u8]) -> Option<(&[u8], bool)> {
    let name = |rest: &'_ [u8]| memchr::memchr(b'"', &rest[..rest.len().min(32)]);
    if let Some(rest) = after(payload, br#"{"e":""#) {
        return Some((&rest[..name(rest)?], false));
    }
    let stream = after(payload, br#"{"stream":""#)?;
    let end = memchr::memchr(b'"', &stream[..stream.len().min(128)])?;
    let data = after(&stream[end..], br#"","data":{"#)?;
    if stream[..end].ends_with(b"@bookTicker") || stream[..end] == *b"!bookTicker" {
        return Some((b"bookTicker", true));
    }
    let rest = after(data, br#""e":""#)?;
    Some((&rest[..name(rest)?], true))
}

fn is_used(event: &[u8]) -> bool {
    matches!(event, b"aggTrade" | b"trade" | b"markPriceUpdate" | b"forceOrder" | b"kline")
}

/// The type of event that a stream of this name must hold, if it is one that is used.
fn stream_of(stream: &[u8]) -> Option<&'static str> {
    let kind = stream.split(|&b| b == b'@').nth(1)?;
    Some(match kind {
        _ if stream.starts_with(b"!markPrice@arr") => "markPriceUpdate",
        _ if stream.starts_with(b"!forceOrder@arr") => "forceOrder",
        b"aggTrade" => "aggTrade",
        b"trade" => "trade",
        b"markPrice" => "markPriceUpdate",
        b"forceOrder" => "forceOrder",
        kind if kind.starts_with(b"kline_") => "kline",
        _ => return None,
    })
}

/// Events that hold nothing for us, by name.
fn useless(event: &[u8]) -> Option<&'static str> {
    Some(match event {
        b"bookTicker" => "bookTicker",
        b"depthUpdate" => "depthUpdate",
        b"24hrTicker" => "24hrTicker",
        b"24hrMiniTicker" => "24hrMiniTicker",
        b"contractInfo" => "contractInfo",
        b"compositeIndex" => "compositeIndex",
        b"assetIndexUpdate" => "assetIndexUpdate",
        b"continuous_kline" => "continuous_kline",
        b"tradingSession" => "tradingSession",
        b"serverShutdown" => "serverShutdown",
        _ => return None,
    })
}

impl BinanceUsdm {
    /// A frame whose first bytes don't tell what it is.
    #[cold]
    fn unclear(&mut self, payload: &[u8], arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        let rejected = |reason| Outcome::Rejected(Rejection { stream: "unknown", reason });
        let json = match wire::text(payload) {
            Ok(json) => json,
            Err(reason) => return rejected(reason),
        };
        if json.trim_start().starts_with('[') {
            return self.array(json, arrival, ticks);
        }
        let envelope: Envelope<'_> = match wire::read(json) {
            Ok(envelope) => envelope,
            Err(reason) => return rejected(reason),
        };
        let data = envelope.data.json();
        let stream = envelope.stream.said().as_deref().and_then(stream_of);
        if data.starts_with('[') {
            return match (self.array(data, arrival, ticks), stream) {
                (Outcome::Skipped(_), Some(stream)) if data != "[]" => {
                    Outcome::Rejected(Rejection { stream, reason: reason::MISSING })
                }
                (outcome, _) => outcome,
            };
        }
        if data.starts_with('{') {
            let inner: Envelope<'_> = match wire::read(data) {
                Ok(inner) => inner,
                Err(reason) => return rejected(reason),
            };
            return match stream {
                Some(stream) if inner.event.said().is_none() => Outcome::Rejected(Rejection { stream, reason: reason::MISSING }),
                _ => self.named(&inner, data, arrival, ticks),
            };
        }
        if !data.is_empty() {
            return rejected(reason::JSON_TYPE);
        }
        self.named(&envelope, json, arrival, ticks)
    }

    fn named(&mut self, envelope: &Envelope<'_>, json: &str, arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        if let Some(event) = envelope.event.said() {
            if is_used(&event) {
                return self.event(&event, json.as_bytes(), false, arrival, ticks);
            }
            return Outcome::Skipped(useless(&event).unwrap_or("unknown message type"));
        }
        match envelope {
            e if e.code.said().is_some() || e.error.said().is_some() => {
                Outcome::Rejected(Rejection { stream: "acknowledgement", reason: reason::VENUE_ERROR })
            }
            e if !e.result.json().is_empty() || !e.id.json().is_empty() => Outcome::Skipped("acknowledgement"),
            e if e.last_update_id.said().is_some() => Outcome::Skipped("depth"),
            _ => Outcome::Skipped("unknown message type"),
        }
    }

    /// `!markPrice@arr`; the other arrays are tickers and indices.
    fn array(&mut self, json: &str, arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        let mut tally = Tally::new("markPriceUpdate");
        let mut other = "unknown message type";
        for item in wire::items(json) {
            let Some(item) = tally.note(item) else { continue };
            let Some(mark) = tally.note(wire::read::<MarkPrice<'_>>(item.json())) else { continue };
            if mark.event.is("markPriceUpdate") {
                self.mark_price(&mark, arrival, ticks, &mut tally);
            } else {
                other = mark.event.said().as_deref().and_then(useless).unwrap_or(other);
            }
        }
        tally.outcome(other)
    }

    fn event(&mut self, event: &[u8], json: &[u8], wrapped: bool, arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        match event {
            b"aggTrade" => self.one("aggTrade", json, wrapped, |parser, m: &AggTrade<'_>, tally| {
                parser.unknown_fields += m.unknown;
                let trade = parser.symbols.get(&m.symbol).and_then(|symbol| agg_trade(m, symbol, arrival.live(&m.ts)?));
                tally.push(trade.map(Tick::Trade), ticks);
            }),
            b"trade" => self.one("trade", json, wrapped, |parser, m: &Trade<'_>, tally| {
                parser.unknown_fields += m.unknown;
                tally.push(parser.trade(m, arrival).map(Tick::Trade), ticks);
            }),
            b"markPriceUpdate" => self.one("markPriceUpdate", json, wrapped, |parser, m: &MarkPrice<'_>, tally| {
                parser.mark_price(m, arrival, ticks, tally);
            }),
            b"forceOrder" => self.one("forceOrder", json, wrapped, |parser, m: &ForceOrder<'_>, tally| {
                parser.unknown_fields += m.unknown + m.order.unknown;
                tally.push(parser.force_order(m, arrival).map(Tick::Liquidation), ticks);
            }),
            _ => {
                let mut skipped = None;
                let outcome = self.one("kline", json, wrapped, |parser, m: &KlineEvent<'_>, tally| {
                    parser.unknown_fields += m.unknown + m.kline.unknown;
                    match m.kline.interval.said().as_deref() {
                        Some(b"1s" | b"3m" | b"30m" | b"2h" | b"6h" | b"8h" | b"12h" | b"3d" | b"1M") => {
                            skipped = Some("kline of a time frame that is not kept");
                        }
                        _ => tally.push(parser.kline(m, arrival).map(|k| Tick::Kline(Box::new(k))), ticks),
                    }
                });
                skipped.map_or(outcome, Outcome::Skipped)
            }
        }
    }

    /// Reads one message and has its ticks taken from it.
    fn one<'a, M, F>(&mut self, stream: &'static str, json: &'a [u8], wrapped: bool, take: F) -> Outcome
    where
        M: Deserialize<'a> + Fill<'a>,
        F: FnOnce(&mut Self, &M, &mut Tally),
    {
        let mut tally = Tally::new(stream);
        let mut message = Wrapped::<M>::default();
        let read = if wrapped { wire::read_frame(json, &mut message) } else { wire::read_frame(json, &mut message.data) };
        if tally.note(read).is_some() {
            self.unknown_fields += message.unknown;
            take(self, &message.data, &mut tally);
        }
        tally.outcome("unknown message type")
    }

    fn trade(&mut self, m: &Trade<'_>, arrival: Arrival) -> Result<model::Trade, &'static str> {
        let symbol = self.symbols.get(&m.symbol)?;
        let id = check::id(&m.id)?;
        let market = m.kind.said().is_none_or(|kind| *kind == *b"MARKET");
        check::trade(model::Trade {
            instrument: symbol.instrument,
            ts: arrival.live(&m.ts)?,
            order: (id, id),
            id: TradeId::Dense(id, id),
            price: check::price(&m.price, symbol)?,
            qty: check::quantity(&m.qty, symbol)?,
            taker_buy: !check::flag(&m.buyer_is_maker)?,
            fills: 1,
            kind: if market { TradeKind::Market } else { TradeKind::Administrative },
        })
    }

    /// The mark price and the predicted rate stand on their own: one may be refused and the other kept.
    fn mark_price(&mut self, m: &MarkPrice<'_>, arrival: Arrival, ticks: &mut Vec<Tick>, tally: &mut Tally) {
        self.unknown_fields += m.unknown;
        let Some(symbol) = tally.note(self.symbols.get(&m.symbol)) else { return };
        let Some(ts) = tally.note(arrival.live(&m.ts)) else { return };
        let instrument = symbol.instrument;
        let mark = check::price(&m.mark, symbol).and_then(|mark| {
            Ok(Mark { instrument, ts, order: 0, mark: Some(mark), index: check::price_unless_zero(&m.index, symbol)? })
        });
        tally.push(mark.map(Tick::Mark), ticks);
        let next_ts = if m.next_ts.is("0") { Ok(None) } else { said(&m.next_ts).map(check::time).transpose() };
        let funding = check::rate(&m.rate).and_then(|rate| Ok((rate, next_ts?)));
        match funding {
            Ok((None, _)) => {} // dated contracts pay no funding
            funding => tally.push(
                funding.map(|(rate, next_ts)| {
                    let (kind, order, interval_hours) = (FundingKind::Predicted, 0, None);
                    Tick::Funding(Funding { instrument, ts, order, kind, rate, interval_hours, next_ts })
                }),
                ticks,
            ),
        }
    }

    /// What was filled at its average price; an order without fills counts as ordered.
    fn force_order(&mut self, m: &ForceOrder<'_>, arrival: Arrival) -> Result<Liquidation, &'static str> {
        let order = &m.order;
        let symbol = self.symbols.get(&order.symbol)?;
        let (price, price_kind) = match check::price_unless_zero(&order.average, symbol)? {
            Some(average) => (average, PriceKind::Fill),
            None => (check::price(&order.price, symbol)?, PriceKind::Order),
        };
        let qty = match check::quantity_if_said(&order.filled, symbol)? {
            Some(filled) if filled.0 > 0 => filled,
            _ => check::quantity(&order.qty, symbol)?,
        };
        let position_side = match order.side.said().as_deref() {
            Some(b"SELL") => PositionSide::Long,
            Some(b"BUY") => PositionSide::Short,
            Some(_) => return Err(reason::SIDE),
            None => return Err(reason::MISSING),
        };
        check::event_size(price, qty)?;
        let (instrument, ts) = (symbol.instrument, arrival.live(&order.ts)?);
        Ok(Liquidation { instrument, ts, position_side, price, qty, seq: 0, price_kind, coverage: Coverage::Sampled1s })
    }

    fn kline(&mut self, m: &KlineEvent<'_>, arrival: Arrival) -> Result<model::Kline, &'static str> {
        let k = &m.kline;
        let symbol = self.symbols.get(&k.symbol)?;
        let interval = k.interval.said().ok_or(reason::MISSING)?;
        check::kline(model::Kline {
            instrument: symbol.instrument,
            timeframe: timeframe(&interval).ok_or(reason::TIMEFRAME)?,
            open_ts: check::time(&k.open_ts)?,
            ts: arrival.live(&m.ts)?,
            closed: check::flag(&k.closed)?,
            source: model::KlineSource::Stream,
            open: check::price(&k.open, symbol)?,
            high: check::price(&k.high, symbol)?,
            low: check::price(&k.low, symbol)?,
            close: check::price(&k.close, symbol)?,
            volume: check::quantity(&k.volume, symbol)?,
            notional: check::turnover(&k.turnover)?,
            taker_buy_volume: check::quantity_if_said(&k.taker_buy, symbol)?,
            trades: said(&k.trades).map(check::id).transpose()?,
        })
    }
}

fn said<'t, 'a>(text: &'t Text<'a>) -> Option<&'t Text<'a>> {
    text.said().is_some().then_some(text)
}

/// An aggregate trade, of the stream or of REST.
#[inline]
pub(super) fn agg_trade(m: &AggTrade<'_>, symbol: Symbol, ts: i64) -> Result<model::Trade, &'static str> {
    let (first, last) = (check::id(&m.first)?, check::id(&m.last)?);
    let fills = last.checked_sub(first).filter(|&n| n < FILLS_MAX).ok_or(reason::ID_ORDER)? as u32 + 1;
    check::trade(model::Trade {
        instrument: symbol.instrument,
        ts,
        order: (first, last),
        id: TradeId::Dense(first, last),
        price: check::price(&m.price, symbol)?,
        qty: check::quantity(&m.qty, symbol)?,
        taker_buy: !check::flag(&m.buyer_is_maker)?,
        fills,
        kind: TradeKind::Market,
    })
}

/// `1m`, `4h`, `1w`: the venue writes them as we do.
pub(super) fn timeframe(name: &[u8]) -> Option<Timeframe> {
    Timeframe::ALL.into_iter().find(|t| t.as_str().as_bytes() == name)
}
