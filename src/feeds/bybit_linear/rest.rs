//! REST answers into ticks. Their times may be long ago, so they are not compared with the arrival.

use dataflows::model::{Funding, FundingKind, Kline, KlineSource, MINUTE_MS, OpenInterest, Tick, Timeframe};

use super::super::check::{self, Arrival};
use super::super::rest;
use super::super::symbols::Symbol;
use super::super::tally::Tally;
use super::super::wire::{self, Row};
use super::super::{Outcome, Rejection, reason};
use super::message::{Answer, FundingPast, OpenInterestPast};
use super::parse::{BybitLinear, one_side};
use super::timeframe;

impl BybitLinear {
    pub(super) fn rest(&mut self, payload: &[u8], arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        // Only what is used is looked into: a list of all instruments is not.
        let url_end = memchr::memchr(b' ', payload).unwrap_or(payload.len());
        let url = std::str::from_utf8(&payload[..url_end]).unwrap_or_default();
        let stream = match rest::answer(url).path {
            "/v5/market/funding/history" => "funding/history",
            "/v5/market/open-interest" => "open-interest",
            "/v5/market/kline" => "REST kline",
            "/v5/market/instruments-info" => return Outcome::Skipped("REST: instruments-info"),
            "/v5/market/orderbook" => return Outcome::Skipped("REST: orderbook"),
            "" => return Outcome::Skipped("REST: answer without its URL"),
            _ => return Outcome::Skipped("REST: other answer"),
        };
        let mut tally = Tally::new(stream);
        match wire::text(payload) {
            Ok(text) => self.answer(stream, &rest::answer(text), arrival, ticks, &mut tally),
            Err(reason) => return Outcome::Rejected(Rejection { stream, reason }),
        }
        tally.outcome("REST: empty answer")
    }

    fn answer(&mut self, stream: &str, asked: &rest::Answer<'_>, arrival: Arrival, ticks: &mut Vec<Tick>, tally: &mut Tally) {
        let Some(m) = tally.note(wire::read::<Answer<'_>>(asked.body)) else { return };
        self.unknown_fields += m.unknown + m.result.unknown;
        if !m.code.is("0") {
            return tally.refuse(reason::VENUE_ERROR);
        }
        if !m.result.category.is("linear") {
            return tally.refuse(reason::CATEGORY);
        }
        let symbol = if stream == "funding/history" { None } else { Some(self.symbols.get(&m.result.symbol)) };
        let frame = asked.parameter("interval").ok_or(reason::MISSING);
        let frame = frame.and_then(|i| timeframe(&i).ok_or(reason::TIMEFRAME));
        for item in wire::items(m.result.list.json()) {
            let tick = item.and_then(|item| match symbol {
                None => self.funding_past(item.json()),
                Some(symbol) if stream == "open-interest" => self.open_interest_past(item.json(), symbol?),
                Some(symbol) => kline(item.json(), symbol?, frame?).map(|k| Tick::Kline(Box::new(k))),
            });
            match tick {
                Ok(Tick::Kline(kline)) if kline.ts > arrival.ms => {} // still open: its topic tells the rest
                tick => tally.push(tick, ticks),
            }
        }
    }

    fn funding_past(&mut self, json: &str) -> Result<Tick, &'static str> {
        let m: FundingPast<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let instrument = self.symbols.get(&m.symbol)?.instrument;
        let ts = check::time(&m.ts)?.div_euclid(MINUTE_MS) * MINUTE_MS;
        let rate = Some(check::rate(&m.rate)?.ok_or(reason::MISSING)?);
        let (kind, order) = (FundingKind::Settled, 0);
        Ok(Tick::Funding(Funding { instrument, ts, order, kind, rate, interval_hours: None, next_ts: None }))
    }

    fn open_interest_past(&mut self, json: &str, symbol: Symbol) -> Result<Tick, &'static str> {
        let m: OpenInterestPast<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let base = one_side(&m.single, &m.both, symbol)?.ok_or(reason::MISSING)?;
        Ok(Tick::OpenInterest(OpenInterest { instrument: symbol.instrument, ts: check::time(&m.ts)?, order: 0, base }))
    }
}

/// `["1670608800000","17071","17073","17027","17055.5","268611","15.74462667"]`
fn kline(json: &str, symbol: Symbol, timeframe: Timeframe) -> Result<Kline, &'static str> {
    let Row([open_ts, open, high, low, close, volume, turnover]) = wire::read(json)?;
    let open_ts = check::time(&open_ts)?;
    check::kline(Kline {
        instrument: symbol.instrument,
        timeframe,
        open_ts,
        ts: open_ts + timeframe.ms(),
        closed: true,
        source: KlineSource::Backfill,
        open: check::price(&open, symbol)?,
        high: check::price(&high, symbol)?,
        low: check::price(&low, symbol)?,
        close: check::price(&close, symbol)?,
        volume: check::quantity(&volume, symbol)?,
        notional: check::turnover(&turnover)?,
        taker_buy_volume: None,
        trades: None,
    })
}
