//! Frames into ticks.
//!
//! A push nearly always begins with its topic ([`peek`]), so order books are passed over without reading further.
//! The topic names the instrument; items of `publicTrade` and `allLiquidation` name it again and that counts.

use dataflows::model::{
    self, Coverage, Funding, FundingKind, Liquidation, Mark, OpenInterest, PositionSide, PriceKind, Tick, TradeId, TradeKind,
    Venue,
};
use rustc_hash::FxHashMap;

use super::super::check::{self, Arrival};
use super::super::rest::hex;
use super::super::scan;
use super::super::symbols::{Symbol, Symbols};
use super::super::tally::Tally;
use super::super::wire::{self, Text};
use super::super::{Outcome, ParseContext, Parser, Rejection, reason};
use super::message::{Kline, Liquidation as LiquidationItem, Push, Ticker, TickerPush, Trade, TradePush};
use super::timeframe;
use crate::frames::Direction;

/// The venue's parser.
pub struct BybitLinear {
    pub(super) symbols: Symbols,
    skew_ms_max: i64,
    pub(super) unknown_fields: u64,
    /// How often an equal liquidation was met in the current message: (ts, side, price, quantity).
    equal: FxHashMap<(i64, PositionSide, i64, i128), u32>,
}

impl BybitLinear {
    /// A parser with nothing learned yet.
    #[must_use]
    pub fn new(context: &ParseContext) -> Self {
        let symbols = Symbols::new(Venue::BybitLinear, context.instruments.clone(), super::canonical);
        Self { symbols, skew_ms_max: context.skew_ms_max, unknown_fields: 0, equal: FxHashMap::default() }
    }
}

impl Parser for BybitLinear {
    fn parse(&mut self, payload: &[u8], direction: Direction, recv_ns: i64, ticks: &mut Vec<Tick>) -> Outcome {
        let arrival = Arrival::new(recv_ns, self.skew_ms_max);
        match direction {
            Direction::Out => Outcome::Skipped("sent by us"),
            Direction::Http => self.rest(payload, arrival, ticks),
            Direction::In => match peek(payload).map(kind) {
                Some(Kind::Useless(name)) => Outcome::Skipped(name),
                peeked => self.push(payload, peeked, arrival, ticks),
            },
        }
    }

    fn unknown_fields(&self) -> u64 {
        self.unknown_fields
    }
}

/// The topic, if the frame begins with it.
fn peek(payload: &[u8]) -> Option<&[u8]> {
    let rest = wire::after(payload, br#"{"topic":""#)?;
    let topic = &rest[..memchr::memchr(b'"', &rest[..rest.len().min(128)])?];
    (!topic.contains(&b'\\')).then_some(topic)
}

#[derive(Clone, Copy)]
enum Kind {
    Trades,
    Tickers,
    Klines,
    Liquidations,
    Useless(&'static str),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Trades => "publicTrade",
            Self::Tickers => "tickers",
            Self::Klines => "kline",
            Self::Liquidations => "allLiquidation",
            Self::Useless(name) => name,
        }
    }
}

fn kind(topic: &[u8]) -> Kind {
    match topic.split(|&b| b == b'.').next().unwrap_or_default() {
        b"publicTrade" => Kind::Trades,
        b"tickers" => Kind::Tickers,
        b"kline" => Kind::Klines,
        b"allLiquidation" => Kind::Liquidations,
        b"orderbook" => Kind::Useless("orderbook"),
        b"insurance" => Kind::Useless("insurance"),
        b"adlAlert" => Kind::Useless("adlAlert"),
        b"priceLimit" => Kind::Useless("priceLimit"),
        b"liquidation" => Kind::Useless("liquidation (retired topic)"),
        b"trade" | b"instrument_info" | b"candle" | b"klineV2" | b"orderBookL2_25" => {
            Kind::Useless("topic of an old API version")
        }
        _ => Kind::Useless("unknown message type"),
    }
}

/// Why a push had nothing for us.
fn nothing(kind: Kind) -> &'static str {
    match kind {
        Kind::Tickers => "tickers without a field that is used",
        _ => "no items",
    }
}

impl BybitLinear {
    fn push(&mut self, payload: &[u8], peeked: Option<Kind>, arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        let stream = peeked.map_or("unknown", Kind::name);
        let rejected = |reason| Outcome::Rejected(Rejection { stream, reason });
        if let Some(outcome) = peeked.and_then(|kind| self.push_at_once(payload, kind, arrival, ticks)) {
            return outcome;
        }
        let mut push = Push::default();
        if let Err(reason) = wire::read_frame(payload, &mut push) {
            return rejected(reason);
        }
        self.unknown_fields += push.unknown;
        let Some(topic) = push.topic.said() else {
            return match &push {
                p if p.success.is("false") => {
                    Outcome::Rejected(Rejection { stream: "acknowledgement", reason: reason::VENUE_ERROR })
                }
                p if p.success.said().is_some() || p.op.said().is_some() => Outcome::Skipped("acknowledgement"),
                _ => {
                    self.unknown_fields -= push.unknown;
                    Outcome::Skipped("unknown message type")
                }
            };
        };
        let kind = kind(&topic);
        let mut tally = Tally::new(kind.name());
        match kind {
            Kind::Useless(name) => return Outcome::Skipped(name),
            Kind::Trades => {
                let items: Vec<_> = wire::items(push.data.json()).collect();
                let items = items.iter().map(|item| item.as_ref().map_err(|r| *r).and_then(|item| wire::read(item.json())));
                self.trades(&push.ts, items, arrival, ticks, &mut tally);
            }
            Kind::Tickers => {
                if let Some(ticker) = tally.note(wire::read(push.data.json())) {
                    self.ticker(&ticker, &push.ts, &push.cs, arrival, ticks, &mut tally);
                }
            }
            Kind::Liquidations => self.liquidations(&push, arrival, ticks, &mut tally),
            Kind::Klines => {
                let mut parts = topic.splitn(3, |&b| b == b'.').skip(1);
                match (parts.next(), parts.next()) {
                    (Some(b"3" | b"30" | b"120" | b"360" | b"720" | b"M"), _) => {
                        return Outcome::Skipped("kline of a time frame that is not kept");
                    }
                    (_, Some(symbol)) => self.klines(&push, symbol, arrival, ticks, &mut tally),
                    _ => tally.refuse(reason::MISSING),
                }
            }
        }
        tally.outcome(nothing(kind))
    }

    /// The frequent kinds, whole in one pass. `None`: the message is written in an unusual way, nothing has been done.
    fn push_at_once(&mut self, json: &[u8], kind: Kind, arrival: Arrival, ticks: &mut Vec<Tick>) -> Option<Outcome> {
        let mut tally = Tally::new(kind.name());
        let is_still = |topic: &Text<'_>| topic.said().is_some_and(|topic| self::kind(&topic).name() == kind.name());
        match kind {
            Kind::Trades => {
                let mut push = TradePush::default();
                scan::whole(json, &mut push)?;
                if push.data.is_empty() || !is_still(&push.topic) {
                    return None;
                }
                self.unknown_fields += push.unknown;
                self.trades(&push.ts, push.data.into_iter().map(Ok), arrival, ticks, &mut tally);
            }
            Kind::Tickers => {
                let mut push = TickerPush::default();
                scan::whole(json, &mut push)?;
                if push.data.symbol.said().is_none() || !is_still(&push.topic) {
                    return None; // without a symbol there may be no data at all
                }
                self.unknown_fields += push.unknown;
                self.ticker(&push.data, &push.ts, &push.cs, arrival, ticks, &mut tally);
            }
            _ => return None,
        }
        Some(tally.outcome(nothing(kind)))
    }

    fn trades<'a>(
        &mut self,
        ts: &Text<'_>,
        items: impl Iterator<Item = Result<Trade<'a>, &'static str>>,
        arrival: Arrival,
        ticks: &mut Vec<Tick>,
        tally: &mut Tally,
    ) {
        let Some(pushed) = tally.note(check::time(ts)) else { return };
        for (i, item) in items.enumerate() {
            let order = ((pushed as u64) << 12) | (i as u64).min(0xfff);
            let trade = item.and_then(|item| self.trade(&item, order, arrival));
            tally.push(trade.map(Tick::Trade), ticks);
        }
    }

    fn trade(&mut self, m: &Trade<'_>, order: u64, arrival: Arrival) -> Result<model::Trade, &'static str> {
        self.unknown_fields += m.unknown;
        let symbol = self.symbols.get(&m.symbol)?;
        let id = m.id.said().ok_or(reason::MISSING)?;
        let uuid = uuid(&id);
        if uuid.is_none() && m.direction.said().is_none() {
            return Err(reason::SPOT); // recorders label both sockets of the venue alike; only contracts tell the direction
        }
        let (high, low) = uuid.unwrap_or_else(|| name_hash(&id));
        let block = m.block.said().is_some() && check::flag(&m.block)?;
        check::trade(model::Trade {
            instrument: symbol.instrument,
            ts: arrival.live(&m.ts)?,
            order: (check::id(&m.seq)?, order),
            id: TradeId::Unique(high, low),
            price: check::price(&m.price, symbol)?,
            qty: check::quantity(&m.qty, symbol)?,
            taker_buy: is_buy(&m.side)?,
            fills: 1,
            kind: if block { TradeKind::Block } else { TradeKind::Market },
        })
    }

    /// Equal items are distinct events: each gets the number of its equals before it.
    fn liquidations(&mut self, push: &Push<'_>, arrival: Arrival, ticks: &mut Vec<Tick>, tally: &mut Tally) {
        self.equal.clear();
        for item in wire::items(push.data.json()) {
            let liquidation = item.and_then(|item| self.liquidation(item.json(), arrival));
            tally.push(liquidation.map(Tick::Liquidation), ticks);
        }
    }

    fn liquidation(&mut self, json: &str, arrival: Arrival) -> Result<Liquidation, &'static str> {
        let m: LiquidationItem<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let symbol = self.symbols.get(&m.symbol)?;
        let (price, qty) = (check::price(&m.price, symbol)?, check::quantity(&m.qty, symbol)?);
        check::event_size(price, qty)?;
        let position_side = if is_buy(&m.side)? { PositionSide::Long } else { PositionSide::Short };
        let (instrument, ts) = (symbol.instrument, arrival.live(&m.ts)?);
        let count = self.equal.entry((ts, position_side, price.0, qty.0)).or_default();
        let seq = *count;
        *count += 1;
        let (price_kind, coverage) = (PriceKind::Bankruptcy, Coverage::Full);
        Ok(Liquidation { instrument, ts, position_side, price, qty, seq, price_kind, coverage })
    }

    /// Each field is an observation of its own; one that is refused does not take the others with it.
    fn ticker(
        &mut self,
        m: &Ticker<'_>,
        pushed: &Text<'_>,
        cs: &Text<'_>,
        arrival: Arrival,
        ticks: &mut Vec<Tick>,
        tally: &mut Tally,
    ) {
        self.unknown_fields += m.unknown;
        let Some(symbol) = tally.note(self.symbols.get(&m.symbol)) else { return };
        let instrument = symbol.instrument;
        let Some(ts) = tally.note(arrival.live(pushed)) else { return };
        let Some(order) = tally.note(check::id(cs)) else { return };
        let mark = tally.note(check::price_if_said(&m.mark, symbol)).flatten();
        let index = tally.note(check::price_if_said(&m.index, symbol)).flatten();
        if mark.is_some() || index.is_some() {
            tally.push(Ok(Tick::Mark(Mark { instrument, ts, order, mark, index })), ticks);
        }
        if let Some(Some(base)) = tally.note(one_side(&m.single_open_interest, &m.open_interest, symbol)) {
            tally.push(Ok(Tick::OpenInterest(OpenInterest { instrument, ts, order, base })), ticks);
        }
        let rate = tally.note(check::rate(&m.rate)).flatten();
        let interval_hours = tally.note(check::interval_hours(&m.interval)).flatten();
        let pays = m.next_ts.said().is_some() && !m.next_ts.is("0"); // dated contracts pay no funding
        let next_ts = if pays { tally.note(check::time(&m.next_ts)) } else { None };
        if rate.is_some() || interval_hours.is_some() || next_ts.is_some() {
            let kind = FundingKind::Predicted;
            tally.push(Ok(Tick::Funding(Funding { instrument, ts, order, kind, rate, interval_hours, next_ts })), ticks);
        }
    }

    fn klines(&mut self, push: &Push<'_>, symbol: &[u8], arrival: Arrival, ticks: &mut Vec<Tick>, tally: &mut Tally) {
        let Some(symbol) = tally.note(self.symbols.of(symbol)) else { return };
        for item in wire::items(push.data.json()) {
            let kline = item.and_then(|item| self.kline(item.json(), symbol, arrival));
            tally.push(kline.map(|k| Tick::Kline(Box::new(k))), ticks);
        }
    }

    fn kline(&mut self, json: &str, symbol: Symbol, arrival: Arrival) -> Result<model::Kline, &'static str> {
        let m: Kline<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let interval = m.interval.said().ok_or(reason::MISSING)?;
        check::kline(model::Kline {
            instrument: symbol.instrument,
            timeframe: timeframe(&interval).ok_or(reason::TIMEFRAME)?,
            open_ts: check::time(&m.open_ts)?,
            ts: arrival.live(&m.ts)?,
            closed: check::flag(&m.closed)?,
            source: model::KlineSource::Stream,
            open: check::price(&m.open, symbol)?,
            high: check::price(&m.high, symbol)?,
            low: check::price(&m.low, symbol)?,
            close: check::price(&m.close, symbol)?,
            volume: check::quantity(&m.volume, symbol)?,
            notional: check::turnover(&m.turnover)?,
            taker_buy_volume: None,
            trades: None,
        })
    }
}

/// Open interest of one side: as stated, or half of both sides (12 decimals, so halving an 11-decimal number is exact).
pub(super) fn one_side(
    single: &Text<'_>,
    both: &Text<'_>,
    symbol: Symbol,
) -> Result<Option<dataflows::fixed::Quantity>, &'static str> {
    match check::quantity_if_said(single, symbol)? {
        Some(one) => Ok(Some(one)),
        None => Ok(check::quantity_if_said(both, symbol)?.map(|both| dataflows::fixed::Quantity(both.0 / 2))),
    }
}

fn is_buy(side: &Text<'_>) -> Result<bool, &'static str> {
    match side.said().as_deref() {
        Some(b"Buy") => Ok(true),
        Some(b"Sell") => Ok(false),
        Some(_) => Err(reason::SIDE),
        None => Err(reason::MISSING),
    }
}

/// A UUID's 128 bits.
fn uuid(text: &[u8]) -> Option<(u64, u64)> {
    if text.len() != 36 {
        return None;
    }
    let mut bits: u128 = 0;
    for (i, &byte) in text.iter().enumerate() {
        match (i, byte) {
            (8 | 13 | 18 | 23, b'-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            _ => bits = bits << 4 | u128::from(hex(byte)?),
        }
    }
    Some(((bits >> 64) as u64, bits as u64))
}

/// FNV-1a, 128 bits: names an id that is no UUID.
fn name_hash(text: &[u8]) -> (u64, u64) {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = text.iter().fold(BASIS, |h, &b| (h ^ u128::from(b)).wrapping_mul(PRIME));
    ((hash >> 64) as u64, hash as u64)
}

#[cfg(test)]
mod tests {
    use super::{name_hash, uuid};

    #[test]
    fn trade_ids_are_128_bits() {
        let id = b"20f43950-d8dd-5b31-9112-a178eb6023af";
        assert_eq!(uuid(id), Some((0x20f4_3950_d8dd_5b31, 0x9112_a178_eb60_23af)));
        for text in
            [&b"2280000001739247417"[..], b"20f43950+d8dd-5b31-9112-a178eb6023af", b"20f43950-d8dd-5b31-9112-a178eb6023ag"]
        {
            assert_eq!(uuid(text), None);
        }
        assert_ne!(name_hash(b"2280000001739247417"), name_hash(b"2280000001739247418"));
        assert_eq!(name_hash(b"a"), (0xd228_cb69_6f1a_8caf, 0x7891_2b70_4e4a_8964)); // FNV's published value
    }
}
